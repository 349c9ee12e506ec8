"""``forgeprep score``."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from forgeprep.commands.flags import ANY, FIGURES, INPUT, LOCAL, OUTPUT, Bootstrap, Debug, Json, parse_local
from forgeprep.commands.groups import single

if TYPE_CHECKING:
    from forgeprep.training.evaluation.score import Policy

EXAMPLES = """
forgeprep score theirs.csv --shards shards --missing worst
forgeprep score ours.parquet theirs.csv --shards shards
forgeprep score clips.csv --shards shards --id-column video --sigmoid
forgeprep score clean.csv --shards shards --perturbed hard.csv=hard
"""


def score(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="CSV or Parquet files of scores; several are compared.", parser=parse_local, metavar="FILES"
        ),
    ],
    shards: Annotated[Path, typer.Option("--shards", help="Folder of a finished run.", rich_help_panel=INPUT, **ANY)],
    split: Annotated[
        str | None,
        typer.Option(
            help="The split that was judged. [default: as the file says, else test]",
            metavar="TEXT",
            rich_help_panel=INPUT,
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(help="Folder to write. [default: FILE-figures, beside it]", rich_help_panel=OUTPUT, **LOCAL),
    ] = None,
    missing: Annotated[
        str,
        typer.Option(
            help="What becomes of samples without a score: error, drop, worst (taken as wrong), or score=NUMBER.",
            metavar="RULE",
            rich_help_panel=FIGURES,
        ),
    ] = "error",
    threshold: Annotated[
        float | None,
        typer.Option(
            help="A score above it means fake. [default: as the file says, else 0.5]",
            metavar="NUMBER",
            rich_help_panel=FIGURES,
        ),
    ] = None,
    val: Annotated[
        list[Path] | None,
        typer.Option(
            help="The forgery detector's scores on val: figures at their best threshold too. Of several files, one for "
            "each, in their order. [default: as the file says]",
            rich_help_panel=FIGURES,
            **LOCAL,
        ),
    ] = None,
    perturbed: Annotated[
        list[str] | None,
        typer.Option(
            help="The forgery detector's scores on perturbed shards. May be repeated. [default: none]",
            metavar="FILE=OUT",
            rich_help_panel=INPUT,
        ),
    ] = None,
    level: Annotated[
        Literal["clips", "frames"],
        typer.Option(help="What is compared, where there are several files.", rich_help_panel=FIGURES),
    ] = "clips",
    sigmoid: Annotated[
        bool, typer.Option("--sigmoid", help="Scores are logits. [default: off]", rich_help_panel=INPUT)
    ] = False,
    invert: Annotated[
        bool, typer.Option("--invert", help="Scores are of the real class. [default: off]", rich_help_panel=INPUT)
    ] = False,
    id_column: Annotated[
        str | None,
        typer.Option(
            help="Column of ids or paths. [default: found by its name]", metavar="NAME", rich_help_panel=INPUT
        ),
    ] = None,
    score_column: Annotated[
        str | None,
        typer.Option(help="Column of scores. [default: found by its name]", metavar="NAME", rich_help_panel=INPUT),
    ] = None,
    frame_column: Annotated[
        str | None,
        typer.Option(
            help="Column of the frame, where the id is a clip. [default: found by its name]",
            metavar="NAME",
            rich_help_panel=INPUT,
        ),
    ] = None,
    draws: Bootstrap = 1000,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make the figures of score files, forgeprep's own or other people's.

    Tables and plots are those of evaluate. Several files are compared by DeLong's test.
    """
    from forgeprep.commands.evaluate import print_parts
    from forgeprep.commands.terminal import console, document
    from forgeprep.commands.training import refuse_file
    from forgeprep.io.safe_files import LIST_BYTES, read_json
    from forgeprep.schemas.splits import split_name

    for name in ("sklearn", "scipy"):
        if importlib.util.find_spec(name) is None:
            from forgeprep.errors import UsageError

            raise UsageError(f"{name} is not installed: pip install 'forgeprep[score]'")
    from forgeprep.training.evaluation.intervals import Bootstrap as Draws
    from forgeprep.training.evaluation.output import free_folder, write_evaluation
    from forgeprep.training.evaluation.score import Rules, Scorer, comparisons, evaluation_of, thresholds_of_val
    from forgeprep.training.evaluation.score_files import Columns

    to = to or files[0].with_name(f"{files[0].stem}-figures")
    refuse_file("--to", to)
    rules = Rules(
        Columns(id_column, score_column, frame_column), _policy(missing), sigmoid, invert, threshold, Draws(draws)
    )
    pairs = _pairs(perturbed or (), files)
    scorer, wanted = Scorer(rules), split_name(split) if split else None
    thresholds = thresholds_of_val(scorer, files, val or (), shards)
    scored = [scorer.score(file, shards, wanted, at) for file, at in zip(files, thresholds, strict=True)]
    hard = {out: scorer.score(file, out, wanted, thresholds[0]) for file, out in pairs}
    evaluations = [evaluation_of(one, shards, rules, hard) for one in scored]
    compared = comparisons(scored, level, rules.bootstrap)
    free_folder(to, evaluations)
    with document(as_json) as told:
        for one in [*scored, *hard.values()]:
            for note in one.notes:
                console.print(note, markup=False)
        parts, written = write_evaluation(evaluations, to, compared)
        print_parts(parts)
        names = sorted(file.name for file in written)
        console.print(f"written to {to}: {', '.join(names)}", markup=False)
        told |= {"to": str(to), "files": names, "evaluations": read_json(to / "evaluation.json", LIST_BYTES)}


app = single(score, examples=EXAMPLES)


def _policy(text: str) -> Policy | float:
    from forgeprep.errors import UsageError

    name, equals, value = text.partition("=")
    if name in ("error", "drop", "worst") and not equals:
        return name  # type: ignore[return-value]
    try:
        number = float(value) if name == "score" else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"--missing {text}: give error, drop, worst, or a score such as score=0.5")
    return number


def _pairs(texts: Sequence[str], files: Sequence[Path]) -> list[tuple[Path, Path]]:
    from forgeprep.commands.flags import parse_path
    from forgeprep.errors import UsageError

    if texts and len(files) > 1:
        raise UsageError("--perturbed goes with a single file: whose scores would they be?")
    pairs = []
    for text in texts:
        file, equals, out = text.rpartition("=")
        if not equals:
            raise UsageError(f"--perturbed must be FILE=OUT, got '{text}'")
        pairs.append((parse_local(file), parse_path(out)))
    return pairs
