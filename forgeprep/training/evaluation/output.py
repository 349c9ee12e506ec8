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
from forgeprep.training.evaluation.detail_tables import comparison_parts
from forgeprep.training.evaluation.document import Part, evaluation_parts, markdown, matrix, short_names
from forgeprep.training.evaluation.plots import draw_confusion, draw_curves, draw_matrix
from forgeprep.training.evaluation.trust_plots import draw_reliability, draw_robustness

_LONGEST = 80


def evaluation_folder(
    runs: Sequence[Path], shards: Sequence[Path], split: str, to: Path | None, asked: Mapping[str, Any] | None = None
) -> tuple[Path, bool]:
    """The folder for an evaluation, and whether it holds the same one, which is made again.

    Without ``to`` it is ``RUN/evaluation/SPLIT-SHARDS`` of the first run, with a number behind where that holds another
    evaluation: of a later state, of other shards of that name, or one that was ``asked`` for with other options.

    Raises:
        UsageError: ``to`` holds another evaluation.
    """
    from forgeprep.training.checkpoint import read_facts  # It needs torch, and `score` does not come here.

    steps = [(read_facts(run, "best") or {}).get("step") for run in runs]
    wanted = [_identity(run, step, split, shards, asked) for run, step in zip(runs, steps, strict=True)]
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


def _identity(
    run: Path | str, step: Any, split: str, shards: Sequence[Path | str], asked: Mapping[str, Any] | None
) -> tuple[Any, ...]:
    options = tuple(sorted((asked or {}).items()))
    return (str(Path(run).resolve()), step, split, tuple(_resolved(out) for out in shards), options)


def _of(told: Mapping[str, Any]) -> tuple[Any, ...]:
    return _identity(told["run"], told["step"], told["split"], list(told["sets"]), told.get("asked"))


def _resolved(out: Path | str) -> str:
    return str(out) if "://" in str(out) else str(Path(str(out)).resolve())


def _held(folder: Path) -> list[tuple[Any, ...]] | None:
    """Which evaluation a folder holds; None for none that is finished."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        found = read_json(folder / "evaluation.json")
        return [_of(one) for one in found]
    return None


def _told(found: Sequence[tuple[Any, ...]]) -> str:
    return "; ".join(
        f"{Path(run).name}{'' if step is None else f' at step {step}'} on {split} of "
        + ", ".join(out.rpartition("/")[2] for out in shards)
        + "".join(f", {name} {value}" for name, value in options)
        for run, step, split, shards, options in found
    )


def free_folder(to: Path, evaluations: Sequence[Mapping[str, Any]]) -> None:
    """Raise UsageError where a folder holds another evaluation than these."""
    found = _held(to)
    if found is not None and found != [_of(one) for one in evaluations]:
        raise UsageError(f"{to}: holds the evaluation of {_told(found)}; give another --to")


def write_evaluation(
    evaluations: Sequence[Mapping[str, Any]], to: Path, compared: Sequence[Mapping[str, Any]] = ()
) -> tuple[list[Part], list[Path]]:
    """Write ``evaluation.json``, ``evaluation.md`` and the plots, and what was ``compared`` as ``comparisons.json``.

    Returns:
        The tables and the files.
    """
    to.mkdir(parents=True, exist_ok=True)
    parts = [*evaluation_parts(evaluations), *(comparison_parts(compared) if compared else ())]
    files = [to / "evaluation.json", to / "evaluation.md"]
    atomic_write_bytes(files[1], markdown(parts).encode())
    # Where there are reals alone, there is no curve.
    if any(found["curve"] for one in evaluations for found in one["sets"].values()):
        files.append(to / "roc.png")
        draw_curves(evaluations, files[-1])
    for evaluation, run in zip(evaluations, short_names([one["run"] for one in evaluations]), strict=True):
        sets = evaluation["sets"]
        for found, name in zip(sets.values(), short_names(list(sets)), strict=True):
            if "n_way" in found:
                files.append(to / f"confusion-{run}-{name}.png")
                draw_confusion(found["n_way"], files[-1])
            for level, figures in found.get("levels", {}).items():
                files.append(to / f"confusion-{level}-{run}-{name}.png")
                draw_confusion(figures, files[-1])
    files += _draw_trust(evaluations, to)
    if len(evaluations) > 1:
        files.append(to / "matrix.png")
        draw_matrix(*matrix(evaluations), files[-1])
    if compared:
        files.append(to / "comparisons.json")
        write_json(files[-1], list(compared))
    # Last: a folder that holds it is whole.
    write_json(files[0], list(evaluations))
    return parts, files


def _draw_trust(evaluations: Sequence[Mapping[str, Any]], to: Path) -> list[Path]:
    """The reliability plots, and that of robustness, as far as there is anything to draw."""
    files: list[Path] = []
    names = short_names([one["run"] for one in evaluations])
    for level in ("frames", "clips"):
        curves = {
            f"{run} on {out}": found["calibration"][level]
            for run, one in zip(names, evaluations, strict=True)
            for out, found in zip(short_names(list(one["sets"])), one["sets"].values(), strict=True)
            if "bins" in found.get("calibration", {}).get(level, {})
        }
        if curves:
            files.append(to / f"reliability-{level}.png")
            draw_reliability(curves, files[-1], level)
    robust = {
        run: one["robustness"]["rows"] for run, one in zip(names, evaluations, strict=True) if "robustness" in one
    }
    if any(robust.values()):
        files.append(to / "robustness.png")
        draw_robustness(robust, files[-1])
    return files
