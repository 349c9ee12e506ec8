"""What the commands of the training module print."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import yaml
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from forgeprep.errors import MediaError, Stopped, UsageError
from forgeprep.io.settings import name_and_value, read_settings_file
from forgeprep.report.terminal import add_cells, console, counting, light_table

if TYPE_CHECKING:
    from forgeprep.training.evaluation.evaluate import Judged
    from forgeprep.training.run_folder import Training


def require_training() -> None:
    """Raise UsageError with the command to give, if the extra ``train`` is not installed."""
    try:
        import safetensors  # noqa: F401
        import sklearn  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise UsageError(f"{error.name} is not installed: pip install 'forgeprep[train]'") from None


def print_models() -> None:
    """``forgeprep models``: every detector; building each takes a moment."""
    require_training()
    from forgeprep.training.models import MODELS, build, parameters

    table = light_table("detectors", ["model", "protocol"], ["parameters", "input"])
    for model in MODELS.values():
        add_cells(table, model.name, model.protocol, f"{parameters(build(model.name)):,}", str(model.size or "clip"))
    console.print(table)
    for protocol, source in {model.protocol: model.source for model in MODELS.values()}.items():
        console.print(f"{protocol}: {source}", markup=False)


def show_model(name: str) -> None:
    """``forgeprep models show``: a detector's options and the recipe of its protocol."""
    require_training()
    from forgeprep.training.models import build, get_model, options_of, parameters
    from forgeprep.training.recipe import Recipe, make_recipe

    model = get_model(name)
    detector = build(name)
    takes = f"{model.size} x {model.size}" if model.takes == "image" else "features of a clip"
    console.print(f"[bold]{model.name}[/bold]: {parameters(detector):,} parameters, input {takes}")
    console.print(f"    {model.source}", markup=False)
    console.print(f"    learns from: {', '.join(('image', 'label', *detector.needs))}")
    for option, (kind, default) in options_of(name).items():
        if option not in ("names", "channels"):
            choices = get_args(kind) if get_origin(kind) is Literal else ()
            one_of = f"one of {', '.join(choices)}; " if choices else ""
            console.print(f"    --model-option {option}=… ({one_of}default {default!r})", markup=False)
    console.print(f"recipe of the protocol {model.protocol}; --config FILE and --set NAME=VALUE change it:")
    for setting, value in make_recipe(name, {}).model_dump().items():
        told = Recipe.model_fields[setting].description
        console.print(f"    {setting:<14} {value!s:<14} {told}", markup=False)


def train_on_console(
    model: str,
    shards: Sequence[Path],
    run: Path,
    *,
    config: Path | None,
    settings: Sequence[str],
    options: Sequence[str],
    given: Mapping[str, Any],
    gpus: int | None,
    weights: Path | None,
    init: Path | None,
) -> None:
    """``forgeprep train``."""
    require_training()
    _refuse_file("--run", run)
    training = _training(model, shards, run, config, settings, options, given, weights, init)
    best = _train_with_bar(training, gpus)
    if best:
        figure = f"mAP {best['val_map']:.4f}" if "val_map" in best else f"AUC {best['val_auc']:.4f}"
        console.print(f"best: val {figure} at step {best['step']}; {run / 'best.json'}", markup=False)


def _training(
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
    from forgeprep.training.recipe import make_recipe
    from forgeprep.training.run_folder import Training

    flags = {name: value for name, value in given.items() if value is not None}
    values = {**(read_settings_file(config) if config else {}), **_pairs("--set", settings), **flags}
    recipe = make_recipe(model, values)
    return Training(model, tuple(shards), run, recipe, _pairs("--model-option", options), weights, init)


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


def _train_with_bar(training: Training, gpus: int | None) -> dict[str, Any]:
    """Train, and draw the curves; returns the facts of the best state."""
    from forgeprep.training.distributed import train_on_many
    from forgeprep.training.evaluation.plots import draw_training
    from forgeprep.training.models import get_model
    from forgeprep.training.temporal.spans import train_spans
    from forgeprep.training.trainer import train

    run = training.run
    columns = (TextColumn("{task.fields[text]}"), BarColumn(), TimeElapsedColumn())
    with interruptible() as stop, Progress(*columns, console=console) as bar:
        task = bar.add_task("train", text=f"{training.model} on {', '.join(map(str, training.shards))}", total=None)

        def report(facts: dict[str, Any]) -> None:
            if stop.is_set() and "loss" in facts:
                raise Stopped(f"stopped at step {facts['step']}; {run} keeps the state, run the same command to go on")
            if "loss" in facts:
                rate = f", {facts['images_s']:.1f} images/s" if "images_s" in facts else ""
                place = f"epoch {facts['epoch']}, step {facts['step']}"
                bar.update(task, text=f"{place}: loss {facts['loss']:.4f}{rate}")
            elif "val_map" in facts:
                console.print(f"epoch {facts['epoch']}: val mAP {facts['val_map']:.4f}, AR@5 {facts['val_ar@5']:.4f}")
            else:
                console.print(f"epoch {facts['epoch']}: val AUC {facts['val_auc']:.4f}, ACC {facts['val_acc']:.4f}")

        if get_model(training.model).takes == "features":
            if gpus is not None and gpus > 1:
                raise UsageError(f"--gpus {gpus}: {training.model} learns on one device")
            best = train_spans(training, device=_device(gpus), report=report)
        elif gpus is not None and gpus > 1:
            best = train_on_many(training, gpus)
        else:
            best = train(training, device=_device(gpus), report=report)
    log = run / "log.jsonl"
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.is_file() else []
    draw_training(entries, run / "curves.png")
    return best


def evaluate_on_console(
    runs: Sequence[Path],
    shards: Sequence[Path],
    split: str,
    to: Path | None,
    gpus: int | None,
    workers: int | None,
    *,
    unused: Mapping[str, Any],
) -> None:
    """``forgeprep evaluate``; ``unused`` are the settings that only a protocol takes."""
    if any(unused.values()):
        raise UsageError("--model, --config, --set, --model-option and --weights go with --protocol alone")
    if not runs:
        raise UsageError("give folders of trainings, or --protocol with --model and --to to train what is needed")
    require_training()
    if to is not None:
        _refuse_file("--to", to)
    from forgeprep.training.evaluation.pictures import draw_predictions
    from forgeprep.training.evaluation.tables import evaluate_run, markdown, set_names, write_evaluation, write_scores
    from forgeprep.training.temporal import spans

    device = _device(gpus)
    of_spans = [spans.is_of_spans(run) for run in runs]
    if any(of_spans):
        if not all(of_spans):
            raise UsageError("these trainings localise in time and in pictures; evaluate one kind at a time")
        text, files = spans.write_evaluation(runs, shards, to or runs[0] / "evaluation", split=split, device=device)
        console.print(text, markup=False)
        for file in files:
            console.print(f"written: {file}", markup=False)
        return
    folder, names = to or runs[0] / "evaluation", set_names(shards)
    evaluations, files = [], []
    for number, run in enumerate(runs):

        def keep(out: Path, judged: Judged, number: int = number) -> None:
            files.append(folder / f"scores-{number}-{names[str(out)]}.parquet")
            write_scores(judged, files[-1])

        evaluations.append(evaluate_run(run, shards, split=split, device=device, workers=workers, watch=keep))
    console.print(markdown(evaluations), markup=False)
    files = write_evaluation(evaluations, folder) + files
    for number, run in enumerate(runs):
        for out in shards:
            files.append(folder / f"predictions-{number}-{names[str(out)]}.png")
            draw_predictions(run, out, files[-1], split=split, device=device)
    for file in files:
        console.print(f"written: {file}", markup=False)


def protocol_on_console(
    protocol: str,
    model: str | None,
    shards: Sequence[Path],
    to: Path | None,
    *,
    runs: Sequence[Path],
    split: str,
    config: Path | None,
    settings: Sequence[str],
    options: Sequence[str],
    weights: Path | None,
    gpus: int | None,
    workers: int | None,
) -> None:
    """``forgeprep evaluate --protocol``."""
    require_training()
    from forgeprep.training.protocols import crosstable
    from forgeprep.training.protocols.cells import fill
    from forgeprep.training.protocols.classes import Plan, get_protocol, lay_out

    get_protocol(protocol)
    for flag, value in (("--model", model), ("--to", to)):
        if value is None:
            raise UsageError(f"--protocol {protocol}: give {flag} too")
    _refuse_file("--to", to or Path())
    base = _training(str(model), shards, to or Path(), config, settings, options, {}, weights)
    with counting() as count:
        layout = lay_out(Plan(protocol, base, split, tuple(runs)), count)
    layout, cells = fill(
        layout,
        lambda training: _train_with_bar(training, gpus),
        device=_device(gpus),
        workers=workers,
        tell=lambda line: console.print(line, markup=False),
    )
    found = crosstable.document(layout, cells)
    for figure in ("auc", "acc", "eer"):
        _print_table(f"{protocol}: {model}, {crosstable.TITLES[figure]}", *crosstable.table_of(found, figure))
    if found["published"]:
        _print_table(crosstable.published_title(found), *crosstable.published_table(found))
    for line in crosstable.notes(found):
        console.print(line, markup=False)
    for file in crosstable.write_matrix(found, layout.plan.to):
        console.print(f"written: {file}", markup=False)


def _print_table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = light_table(title, list(heads[:1]), list(heads[1:]))
    for row in rows:
        add_cells(table, *row)
    console.print(table)


def predict_on_console(
    run: Path, files: Sequence[Path], to: Path, every: int, enlarge: float | None, gpus: int | None
) -> int:
    """``forgeprep predict``: returns the exit code."""
    require_training()
    from forgeprep.pipeline.make_shard import quiet_libraries
    from forgeprep.training.inference.predict import get_ready, predict_all

    _refuse_file("--to", to)
    quiet_libraries()
    ready = get_ready(run, enlarge=enlarge, device=_device(gpus))
    broken = 0
    for file, result in predict_all(files, ready, to, every=every):
        if isinstance(result, MediaError):
            broken += 1
            console.print(f"{result}", markup=False)
        elif result["score"] is None:
            console.print(f"{file}: no face", markup=False)
        else:
            verdict = f"{'fake' if result['fake'] else 'real'} {result['score']:.3f}"
            faces = _counted(len(result["tracks"]), "face")
            frames = _counted(len({face["frame"] for face in result["faces"]}), "frame")
            console.print(f"{file}: {verdict}; {faces}, {frames}; written {result['written']}", markup=False)
    return 1 if broken else 0


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _refuse_file(flag: str, folder: Path) -> None:
    """Raise UsageError where a file is in the way of a folder, before any work is done."""
    there = next((place for place in (folder, *folder.parents) if place.exists()), None)
    if there is not None and not there.is_dir():
        raise UsageError(f"{flag} {folder}: {there} is a file; give a folder, new or old")


def _device(gpus: int | None) -> str | None:
    if gpus is not None and gpus < 0:
        raise UsageError(f"--gpus: must be 0 or more (got {gpus})")
    return None if gpus is None else "cuda" if gpus else "cpu"


def _pairs(flag: str, given: Sequence[str]) -> dict[str, Any]:
    """``NAME=VALUE`` texts as a mapping, values read as YAML scalars."""
    found = {}
    for text in given:
        name, value = name_and_value(flag, text)
        try:
            found[name] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, RecursionError):
            raise UsageError(f"{flag} {name}: cannot read the value '{value}'") from None
    return found
