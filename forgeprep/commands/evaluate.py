"""``forgeprep evaluate``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forgeprep.commands.flags import (
    EXECUTION,
    FIGURES,
    LOCAL,
    OUTPUT,
    Bootstrap,
    Debug,
    Gpus,
    Json,
    Shards,
    complete_models,
    completing,
    parse_local,
)
from forgeprep.commands.groups import single

if TYPE_CHECKING:
    from forgeprep.training.evaluation.document import Part
    from forgeprep.training.evaluation.evaluate import Verdicts
    from forgeprep.training.evaluation.tables import Seen
    from forgeprep.training.inference.loaded import LoadedModel

PROTOCOL = "Benchmark protocol"
Trust = tuple[int, str | None, int | None]
"""Draws of the bootstrap, ``--perturb`` and ``--perturb-samples``."""
NAMES = ("cross-method", "cross-generator", "cross-family", "cross-forgery", "cross-dataset")
EXAMPLES = """
forgeprep evaluate runs/two-stream --shards shards
forgeprep evaluate runs/a runs/b --shards ffpp --shards celebdf --to c
forgeprep evaluate --protocol cross-method --model fn3-seg --shards a --to b
"""


def evaluate(
    shards: Shards,
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Folders of trainings; several give a matrix. With --protocol: those to take for its rows.",
            parser=parse_local,
            metavar="RUNS",
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="The split to judge.", metavar="TEXT")] = "test",
    to: Annotated[
        Path | None,
        typer.Option(help="Folder to write. [default: RUN/evaluation/SPLIT-SHARDS]", rich_help_panel=OUTPUT, **LOCAL),
    ] = None,
    figures: Annotated[
        bool,
        typer.Option(
            "--figures",
            help="Draw trainings side by side with Grad-CAM, features by t-SNE, and predicted similarity too. "
            "[default: off]",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    protocol: Annotated[
        str | None,
        typer.Option(
            help=f"Train on each class, test on each: {', '.join(NAMES)}; takes --model and --to. [default: none]",
            metavar="TEXT",
            rich_help_panel=PROTOCOL,
            autocompletion=completing(lambda: NAMES),
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="The forgery model to train.", metavar="TEXT", rich_help_panel=PROTOCOL, autocompletion=complete_models
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="YAML file of settings for the trainings. [default: the recipe's]", rich_help_panel=PROTOCOL, **LOCAL
        ),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="A setting of the trainings. May be repeated. [default: the recipe's]",
            metavar="NAME=VALUE",
            rich_help_panel=PROTOCOL,
        ),
    ] = None,
    model_option: Annotated[
        list[str] | None,
        typer.Option(
            help="An option of the forgery model. May be repeated.", metavar="NAME=VALUE", rich_help_panel=PROTOCOL
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="Pretrained weights of the backbone. [default: none]", rich_help_panel=PROTOCOL, **LOCAL),
    ] = None,
    gpus: Gpus = None,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Threads that decode. [default: as in training]", metavar="INTEGER", rich_help_panel=EXECUTION
        ),
    ] = None,
    draws: Bootstrap = 1000,
    perturb: Annotated[
        str | None,
        typer.Option(
            help="Judge the samples again, perturbed: all, or names such as jpeg,zoom:3. [default: none]",
            metavar="NAMES",
            rich_help_panel=FIGURES,
        ),
    ] = None,
    perturb_samples: Annotated[
        int | None,
        typer.Option(
            help="So many samples for --perturb, evenly spread. [default: all]",
            min=2,
            metavar="INTEGER",
            rich_help_panel=FIGURES,
        ),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Judge a split with forgery detectors.

    Figures by method, compression and dataset, as tables and plots. With --protocol: train a forgery model on each
    class of fakes, or each dataset, and test it on all; the same command goes on after a stop.
    """
    from forgeprep.commands.terminal import document
    from forgeprep.errors import UsageError, unknown_name
    from forgeprep.schemas.splits import SPLITS, split_name

    split = split_name(split)
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    trained: dict[str, Any] = {
        "config": config,
        "settings": setting or [],
        "options": model_option or [],
        "weights": weights,
    }
    if protocol is not None and perturb is not None:
        raise UsageError("--perturb goes with trainings that are there; --protocol has figures of its own")
    with document(as_json) as told:
        if protocol is None:
            trust = (draws, perturb, perturb_samples)
            unused = {"model": model, **trained}
            told |= _evaluate(runs or [], shards, split, to, gpus, workers, trust=trust, figures=figures, unused=unused)
        else:
            told |= _evaluate_protocol(
                protocol, model, shards, to, runs=runs or [], split=split, gpus=gpus, workers=workers, **trained
            )


app = single(evaluate, examples=EXAMPLES)


def _evaluate(
    runs: Sequence[Path],
    shards: Sequence[Path],
    split: str,
    to: Path | None,
    gpus: int | None,
    workers: int | None,
    *,
    trust: Trust,
    figures: bool,
    unused: Mapping[str, Any],
) -> dict[str, Any]:
    """Without ``--protocol``, which alone takes the ``unused`` settings; returns what ``--json`` prints."""
    from forgeprep.errors import UsageError

    if any(unused.values()):
        raise UsageError("--model, --config, --set, --model-option and --weights go with --protocol alone")
    if not runs:
        raise UsageError("give folders of trainings, or --protocol with --model and --to to train what is needed")
    from forgeprep.commands.terminal import console
    from forgeprep.commands.training import device_of, refuse_file, require_training
    from forgeprep.io.safe_files import LIST_BYTES, read_json

    require_training()
    if to is not None:
        refuse_file("--to", to)
    from forgeprep.training.evaluation.output import evaluation_folder
    from forgeprep.training.temporal import spans

    of_spans = [spans.is_of_spans(run) for run in runs]
    if any(of_spans) and not all(of_spans):
        raise UsageError("these trainings localise in time and in pictures; evaluate one kind at a time")
    if any(of_spans) and trust[1] is not None:
        raise UsageError("--perturb is for forgery detectors of pictures; these trainings localise in time")
    asked = {} if any(of_spans) else _asked(trust)
    folder, again = evaluation_folder(runs, shards, split, to, asked)
    if again:
        console.print(f"{folder}: holds this evaluation already; it is made again", markup=False)
    if all(of_spans):
        parts, files = spans.write_evaluation(runs, shards, folder, split=split, device=device_of(gpus))
    else:
        parts, files = _evaluate_images(runs, shards, split, folder, device_of(gpus), workers, trust)
        if figures:
            files += _draw_figures(runs, shards, split, folder, device_of(gpus), workers)
    print_parts(parts)
    names = sorted(file.name for file in files)
    console.print(f"written to {folder}: {', '.join(names)}", markup=False)
    return {"to": str(folder), "files": names, "evaluations": read_json(folder / "evaluation.json", LIST_BYTES)}


def _asked(trust: Trust) -> dict[str, Any]:
    """The options that change what an evaluation holds, as far as they are not the usual ones."""
    values = zip(("bootstrap", "perturb", "perturb_samples"), trust, (1000, None, None), strict=True)
    return {name: value for name, value, usual in values if value != usual}


def _evaluate_images(
    runs: Sequence[Path],
    shards: Sequence[Path],
    split: str,
    folder: Path,
    device: str | None,
    workers: int | None,
    trust: Trust,
) -> tuple[list[Part], list[Path]]:
    """Judge, and write scores, pictures, tables and plots."""
    from forgeprep.commands.terminal import counting
    from forgeprep.training.evaluation.document import short_names
    from forgeprep.training.evaluation.intervals import Bootstrap
    from forgeprep.training.evaluation.output import write_evaluation
    from forgeprep.training.evaluation.perturbed import grid_of
    from forgeprep.training.evaluation.pictures import draw_predictions
    from forgeprep.training.evaluation.tables import evaluate_run, write_scores
    from forgeprep.training.inference.loaded import load_model

    draws, perturb, samples = trust
    grid = grid_of(perturb, samples) if perturb else None
    names = {str(out): name for out, name in zip(shards, short_names(shards), strict=True)}
    evaluations: list[dict[str, Any]] = []
    files: list[Path] = []
    for run, run_name in zip(runs, short_names(runs), strict=True):
        loaded = load_model(run, device).with_workers(workers)
        folder.mkdir(parents=True, exist_ok=True)

        def keep(
            out: Path, verdicts: Verdicts, seen: Seen, run_name: str = run_name, loaded: LoadedModel = loaded
        ) -> None:
            base = folder / f"scores-{run_name}-{names[str(out)]}"
            files.extend(write_scores(verdicts, base, loaded, out, split, seen))

        with counting() as count:
            evaluations.append(
                evaluate_run(
                    loaded, shards, split=split, bootstrap=Bootstrap(draws), grid=grid, watch=keep,
                    tell=lambda done, of: count(f"of {of} perturbations", done),
                )
            )  # fmt: skip
        if asked := _asked(trust):
            evaluations[-1]["asked"] = asked
        for out in shards:
            files.append(folder / f"predictions-{run_name}-{names[str(out)]}.png")
            draw_predictions(loaded, out, files[-1], split=split)
    parts, more = write_evaluation(evaluations, folder)
    return parts, more + files


def _draw_figures(
    runs: Sequence[Path], shards: Sequence[Path], split: str, folder: Path, device: str | None, workers: int | None
) -> list[Path]:
    """``--figures``: what the trainings look at."""
    from forgeprep.training.evaluation.document import short_names
    from forgeprep.training.evaluation.explain import draw_features, draw_side_by_side, draw_similarity
    from forgeprep.training.inference.loaded import load_model

    loaded = [load_model(run, device).with_workers(workers) for run in runs]
    files = []
    for out, name in zip(shards, short_names(shards), strict=True):
        images = [one for one in loaded if not one.model.sequence_frames]
        if images:
            files.append(folder / f"side-by-side-{name}.png")
            draw_side_by_side(images, out, files[-1], split=split)
        for one, run_name in zip(loaded, short_names(runs), strict=True):
            files.append(folder / f"features-{run_name}-{name}.png")
            draw_features(one, out, files[-1], split=split)
            file = folder / f"similarity-{run_name}-{name}.png"
            if draw_similarity(one, out, file, split=split):
                files.append(file)
    return files


def print_parts(parts: Sequence[Part]) -> None:
    """Print the tables, headings and lines of an evaluation."""
    from rich.text import Text

    from forgeprep.commands.terminal import console

    for part in parts:
        if not isinstance(part, str):
            _print_table("", *_fitting(part.heads, part.rows, console.width))
        elif part.startswith("#"):
            console.print(Text(part.lstrip("# "), style="bold"))
        else:
            console.print(part, markup=False)


def _fitting(
    heads: Sequence[str], rows: Sequence[Sequence[str]], width: int
) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """A table, turned over where it is too wide for the terminal and would be narrower so."""
    lines = [heads, *rows]
    wide = sum(1 + max(map(len, column)) for column in zip(*lines, strict=True))
    if wide <= width or len(rows) >= len(heads):
        return heads, rows
    first, *others = zip(*lines, strict=True)
    return first, others


def _evaluate_protocol(
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
) -> dict[str, Any]:
    """With ``--protocol``; returns what ``--json`` prints."""
    from forgeprep.commands.terminal import console, counting
    from forgeprep.commands.training import device_of, refuse_file, require_training, train_with_bar, training_of
    from forgeprep.errors import UsageError

    require_training()
    from forgeprep.training.protocols import crosstable
    from forgeprep.training.protocols.fill import fill
    from forgeprep.training.protocols.layout import Plan, get_protocol, lay_out

    get_protocol(protocol)
    for flag, value in (("--model", model), ("--to", to)):
        if value is None:
            raise UsageError(f"--protocol {protocol}: give {flag} too")
    refuse_file("--to", to or Path())
    base = training_of(str(model), shards, to or Path(), config, settings, options, {}, weights)
    with counting() as count:
        layout = lay_out(Plan(protocol, base, split, tuple(runs)), count)
    layout, cells = fill(
        layout,
        lambda training: train_with_bar(training, gpus),
        device=device_of(gpus),
        workers=workers,
        tell=lambda line: console.print(line, markup=False),
    )
    found = crosstable.document(layout, cells)
    for figure, title in crosstable.titles().items():
        if figure != "clip_auc":
            _print_table(f"{protocol}: {model}, {title}", *crosstable.table_of(found, figure))
    if found["published"]:
        _print_table(crosstable.published_title(found), *crosstable.published_table(found))
    for line in crosstable.notes(found):
        console.print(line, markup=False)
    files = crosstable.write_matrix(found, layout.plan.to)
    for file in files:
        console.print(f"written: {file}", markup=False)
    return {"to": str(to), "files": [file.name for file in files], **found}


def _print_table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from forgeprep.commands.terminal import add_cells, light_table, print_table

    table = light_table(title, list(heads[:1]), list(heads[1:]))
    for row in rows:
        add_cells(table, *row)
    print_table(table)
