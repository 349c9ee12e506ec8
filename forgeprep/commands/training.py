"""What the commands of the training have in common."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import yaml

from forgeprep.commands.groups import tell_renamed
from forgeprep.commands.terminal import console
from forgeprep.commands.training_progress import board, interruptible
from forgeprep.errors import Stopped, UsageError
from forgeprep.io.settings import name_and_value, read_settings_file
from forgeprep.io.storage import to_path

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
    old: Mapping[str, Any] = MappingProxyType({}),
    *,
    also: Sequence[str] = (),
    log: str | None = None,
) -> Training:
    """A training from flags: ``given`` and ``settings`` (``--set``) win over the file ``config``.

    What no flag says is as in ``old``, the ``config.json`` of a training that goes on.
    """
    from forgeprep.training.models import FILLED
    from forgeprep.training.recipe import make_recipe
    from forgeprep.training.run_folder import Training, current_options

    flags = {name: value for name, value in given.items() if value is not None}
    by_set = pairs_of("--set", settings)
    for name, value in flags.items():
        told = by_set.get(name, value)
        if value != (",".join(map(str, told)) if isinstance(told, list) else told):
            raise UsageError(f"--{name} {value} and --set {name}={told}: two values for one setting; give one of them")
    values = {**(read_settings_file(config) if config else {}), **by_set, **flags}
    chosen = pairs_of("--model-option", options)
    known = current_options(model, chosen)
    for name in chosen:
        if known[name] != chosen[name]:
            tell_renamed(f"{name}={chosen[name]}", f"{name}={known[name]}", "--model-option ")
    try:
        recipe = make_recipe(model, {**old.get("recipe", {}), **values})
    except UsageError as error:
        name = str(error).partition(":")[0]
        flag = f"--{name}" if name in flags else f"--set {name}" if name in by_set else ""
        raise UsageError(str(error).replace(name, flag, 1) if flag else str(error)) from None
    sets = _sets_of(also)
    if not old:
        return Training(model, tuple(shards), run, recipe, known, weights, init, also=sets, log=log or "tensorboard")
    known = {name: value for name, value in old["options"].items() if name not in FILLED} | known
    weights, init = weights or _path(old.get("weights")), init or _path(old.get("init"))
    kind = old.get("kind")
    return Training(
        model, tuple(shards), run, recipe, known, weights, init,
        kind=(kind[0], kind[1]) if kind else None,
        also=sets or {name: to_path(text) for name, text in (old.get("also") or {}).items()},
        log=log or old.get("log") or "tensorboard",
    )  # fmt: skip


def _sets_of(given: Sequence[str]) -> dict[str, Path]:
    """``NAME=DIR`` texts as a mapping.

    Raises:
        UsageError: a name that stands twice, or has other signs than letters, digits, ``-``, ``_`` and ``.``.
    """
    sets: dict[str, Path] = {}
    for text in given:
        name, out = name_and_value("--also", text)
        if not re.fullmatch(r"[\w.-]+", name) or name in sets:
            raise UsageError(f"--also {text}: give each set a name of its own, of letters and digits")
        sets[name] = to_path(out)
    return sets


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def old_training(run: Path) -> dict[str, Any] | None:
    """The ``config.json`` of a training that is there; None where the folder holds none."""
    from forgeprep.training.run_folder import read_config

    return read_config(run) if (run / "config.json").is_file() else None


def train_with_bar(
    training: Training, gpus: int | None, again: str = "run the same command to go on"
) -> dict[str, Any]:
    """Train, and draw the curves; returns the facts of the best state. ``again`` says how to go on after a stop."""
    from forgeprep.training.distributed import train_on_gpus
    from forgeprep.training.evaluation.plots import draw_training
    from forgeprep.training.run_folder import STOP, crop_warnings, val_warnings
    from forgeprep.training.trainer import train

    run = training.run
    for line in (*crop_warnings(training.shards), *val_warnings(training.shards)):
        console.print(line, markup=False)
    several = gpus is not None and gpus > 1

    def ask() -> None:
        run.mkdir(parents=True, exist_ok=True)  # It may come before the first process has made it.
        (run / STOP).touch()

    with interruptible(ask if several else None) as stop, board(training.recipe.epochs) as tell:

        def report(facts: dict[str, Any]) -> None:
            tell(facts)
            if stop.is_set() and ("loss" in facts or "judged" in facts):
                raise Stopped(f"stopped at step {facts['step']}")

        try:
            if several:
                best = train_on_gpus(training, gpus or 0, report=tell)
            else:
                best = train(training, device=device_of(gpus), report=report)
        except Stopped as stopped:
            raise Stopped(f"{stopped}; {run} keeps the state, {again}") from None
    log = run / "log.jsonl"
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.is_file() else []
    draw_training(entries, run / "curves.png")
    return best


_PARTS = ("shards", "meta", "state")
"""Folders of a run's own."""


def refuse_file(flag: str, folder: Path) -> None:
    """Raise UsageError where a file, or a run's shards, are in the way of a folder, before any work is done."""
    if (folder / "run.json").is_file() or (folder.name in _PARTS and (folder.parent / "run.json").is_file()):
        raise UsageError(f"{flag} {folder}: holds the shards of a run; give another folder, new or old")
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
