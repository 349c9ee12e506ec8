"""Where an evaluation is written, so that it never takes the place of another one."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from forgeprep.errors import UsageError
from forgeprep.io.atomic import atomic_write_bytes
from forgeprep.io.json_files import write_json
from forgeprep.io.safe_files import read_json
from forgeprep.training.checkpoint import read_facts
from forgeprep.training.evaluation.document import Part, evaluation_parts, markdown, matrix, short_names
from forgeprep.training.evaluation.plots import draw_confusion, draw_curves, draw_matrix

_LONGEST = 80


def evaluation_folder(runs: Sequence[Path], shards: Sequence[Path], split: str, to: Path | None) -> tuple[Path, bool]:
    """The folder for an evaluation, and whether it holds the same one, which is made again.

    Without ``to`` it is ``RUN/evaluation/SPLIT-SHARDS`` of the first run, with a number behind where that holds another
    evaluation: of a later state, or of other shards of that name.

    Raises:
        UsageError: ``to`` holds another evaluation.
    """
    wanted = [_identity(run, (read_facts(run, "best") or {}).get("step"), split, shards) for run in runs]
    if to is not None:
        found = _held(to)
        if found is not None and found != wanted:
            raise UsageError(f"{to}: holds the evaluation of {_told(found)}; give another --to")
        return to, found is not None
    others = [f"with-{'-'.join(short_names(runs[1:]))}"] if len(runs) > 1 else []
    name = "-".join([split, *short_names(shards), *others])[:_LONGEST]
    base = runs[0] / "evaluation"
    for number in itertools.count(1):
        folder = base / (name if number == 1 else f"{name}-{number}")
        found = _held(folder)
        if found is None or found == wanted:
            return folder, found is not None
    raise AssertionError


def _identity(run: Path | str, step: Any, split: str, shards: Sequence[Path | str]) -> tuple[Any, ...]:
    return (str(Path(run).resolve()), step, split, tuple(_resolved(out) for out in shards))


def _resolved(out: Path | str) -> str:
    return str(out) if "://" in str(out) else str(Path(str(out)).resolve())


def _held(folder: Path) -> list[tuple[Any, ...]] | None:
    """Which evaluation a folder holds; None for none that is finished."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        found = read_json(folder / "evaluation.json")
        return [_identity(one["run"], one["step"], one["split"], list(one["sets"])) for one in found]
    return None


def _told(found: Sequence[tuple[Any, ...]]) -> str:
    return "; ".join(
        f"{Path(run).name} at step {step} on {split} of {', '.join(out.rpartition('/')[2] for out in shards)}"
        for run, step, split, shards in found
    )


def write_evaluation(evaluations: Sequence[Mapping[str, Any]], to: Path) -> tuple[list[Part], list[Path]]:
    """Write ``evaluation.json``, ``evaluation.md`` and the plots; returns the tables and the files."""
    to.mkdir(parents=True, exist_ok=True)
    parts = evaluation_parts(evaluations)
    files = [to / "evaluation.json", to / "evaluation.md", to / "roc.png"]
    atomic_write_bytes(files[1], markdown(parts).encode())
    draw_curves(evaluations, files[2])
    for evaluation, run in zip(evaluations, short_names([one["run"] for one in evaluations]), strict=True):
        sets = evaluation["sets"]
        for found, name in zip(sets.values(), short_names(list(sets)), strict=True):
            if "n_way" in found:
                files.append(to / f"confusion-{run}-{name}.png")
                draw_confusion(found["n_way"], files[-1])
            for level, figures in found.get("levels", {}).items():
                files.append(to / f"confusion-{level}-{run}-{name}.png")
                draw_confusion(figures, files[-1])
    if len(evaluations) > 1:
        files.append(to / "matrix.png")
        draw_matrix(*matrix(evaluations), files[-1])
    # Last: a folder that holds it is whole.
    write_json(files[0], list(evaluations))
    return parts, files
