"""What the commands of the training have in common."""

from __future__ import annotations

import importlib.util
import json
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import yaml
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from forgeprep.commands.groups import tell_renamed
from forgeprep.commands.terminal import console
from forgeprep.errors import Stopped, UsageError
from forgeprep.io.settings import name_and_value, read_settings_file

if TYPE_CHECKING:
    from forgeprep.training.run_folder import Training


def require_training() -> None:
    """Raise UsageError with the command to give, if the extra ``train`` is not installed."""
    # Looked for, not imported: sklearn alone takes two seconds.
    for name in ("safetensors", "sklearn", "torch"):
        if importlib.util.find_spec(name) is None:
            raise UsageError(f"{name} is not installed: pip install 'forgeprep[train]'")


def training_of(
    model: str,
    shards: Sequence[Path],
    run: Path,
    config: Path | None,
    settings: Sequence[str],
    options: Sequence[str],
    given: Mapping[str, Any],
    weights: Path | None,
    init: Path | None = None,
) -> Training:
    """A training from flags: ``given`` win over ``settings`` (``--set``), and these over the file ``config``."""
    from forgeprep.training.recipe import make_recipe
    from forgeprep.training.run_folder import Training, current_options

    flags = {name: value for name, value in given.items() if value is not None}
    values = {**(read_settings_file(config) if config else {}), **pairs_of("--set", settings), **flags}
    recipe = make_recipe(model, values)
    asked = pairs_of("--model-option", options)
    known = current_options(model, asked)
    for name in asked:
        if known[name] != asked[name]:
            tell_renamed(f"{name}={asked[name]}", f"{name}={known[name]}", "--model-option ")
    return Training(model, tuple(shards), run, recipe, known, weights, init)


@contextmanager
def interruptible() -> Iterator[Event]:
    """Ctrl-C sets the event, so that a step comes to its end; once more, and it interrupts at once."""
    asked = Event()

    def stop(*_: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        console.print("stopping after this step; Ctrl-C again to stop at once")

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def train_with_bar(training: Training, gpus: int | None) -> dict[str, Any]:
    """Train, and draw the curves; returns the facts of the best state."""
    from forgeprep.training.distributed import train_on_gpus
    from forgeprep.training.evaluation.plots import draw_training
    from forgeprep.training.run_folder import crop_warnings
    from forgeprep.training.trainer import train

    run = training.run
    for line in crop_warnings(training.shards):
        console.print(line, markup=False)
    columns = (TextColumn("{task.fields[text]}"), BarColumn(), TimeElapsedColumn())
    with interruptible() as stop, Progress(*columns, console=console) as bar:
        task = bar.add_task("train", text=f"{training.model} on {', '.join(map(str, training.shards))}", total=None)

        def report(facts: dict[str, Any]) -> None:
            if stop.is_set() and "loss" in facts:
                raise Stopped(f"stopped at step {facts['step']}; {run} keeps the state, run the same command to go on")
            if "loss" in facts:
                rate = next((f", {v:.1f} {k[:-2]}/s" for k, v in facts.items() if k.endswith("_s")), "")
                place = f"epoch {facts['epoch']}, step {facts['step']}"
                bar.update(task, text=f"{place}: loss {facts['loss']:.4f}{rate}")
            elif "val_map" in facts:
                console.print(f"epoch {facts['epoch']}: val mAP {facts['val_map']:.4f}, AR@5 {facts['val_ar@5']:.4f}")
            else:
                console.print(f"epoch {facts['epoch']}: val AUC {facts['val_auc']:.4f}, ACC {facts['val_acc']:.4f}")

        if gpus is not None and gpus > 1:
            best = train_on_gpus(training, gpus)
        else:
            best = train(training, device=device_of(gpus), report=report)
    log = run / "log.jsonl"
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.is_file() else []
    draw_training(entries, run / "curves.png")
    return best


def refuse_file(flag: str, folder: Path) -> None:
    """Raise UsageError where a file is in the way of a folder, before any work is done."""
    there = next((place for place in (folder, *folder.parents) if place.exists()), None)
    if there is not None and not there.is_dir():
        raise UsageError(f"{flag} {folder}: {there} is a file; give a folder, new or old")


def device_of(gpus: int | None) -> str | None:
    """What torch calls the device; None leaves the choice to it."""
    if gpus is not None and gpus < 0:
        raise UsageError(f"--gpus: must be 0 or more (got {gpus})")
    return None if gpus is None else "cuda" if gpus else "cpu"


def pairs_of(flag: str, given: Sequence[str]) -> dict[str, Any]:
    """``NAME=VALUE`` texts as a mapping, values read as YAML scalars."""
    found = {}
    for text in given:
        name, value = name_and_value(flag, text)
        try:
            found[name] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, RecursionError):
            raise UsageError(f"{flag} {name}: cannot read the value '{value}'") from None
    return found
