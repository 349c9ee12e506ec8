"""Fill the matrix of a protocol: train what is not trained, judge what is not judged, keep every cell."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from forgeprep.errors import UsageError, VerifyError
from forgeprep.io.atomic import atomic_write_bytes
from forgeprep.io.json_files import write_json
from forgeprep.io.lock import locked
from forgeprep.io.safe_files import LIST_BYTES, open_regular, read_bytes, read_json
from forgeprep.schemas.files import MatrixFile, problem_of
from forgeprep.schemas.renamed import current_table
from forgeprep.shards.read import shard_paths
from forgeprep.shards.records import table_bytes
from forgeprep.text import counted
from forgeprep.training.checkpoint import read_facts
from forgeprep.training.evaluation.evaluate import as_taken, find_verdicts
from forgeprep.training.evaluation.metrics import metric_packages, metrics, verdict_figures
from forgeprep.training.evaluation.tables import clip_figures
from forgeprep.training.inference.loaded import load_model
from forgeprep.training.protocols.layout import Layout, Plan, Row, slug
from forgeprep.training.run_folder import Training, complete_options, differing, is_finished, settings_of
from forgeprep.training.sample_index import load_index
from forgeprep.training.trainer import TooFewSamples


def figure_names() -> list[str]:
    """The figures of a cell; null in a marked one."""
    names = ["acc", *(metric.name for metric in metrics())]
    return [*names, *(f"clip_{name}" for name in names)]


_COLUMNS = {
    "sample_id": pa.string(), "clip_id": pa.string(), "label": pa.int8(), "method": pa.string(),
    "forgery": pa.string(), "family": pa.string(), "score": pa.float64(),
}  # fmt: skip


def fill(
    layout: Layout,
    fit: Callable[[Training], object],
    *,
    device: str | None = None,
    workers: int | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[Layout, list[dict[str, Any]]]:
    """The cells of all rows, row by row; what the folder holds already is not made again.

    Returns:
        The layout, in which rows that cannot be trained are marked, and the cells.

    Args:
        layout: of :func:`forgeprep.training.protocols.layout.lay_out`.
        fit: trains, or goes on with a training.
        device: where samples are judged; None takes a GPU where there is one.
        workers: threads that decode what is judged.
        tell: gets a line for each thing that is done.

    Raises:
        UsageError: the folder is of another protocol, of other settings or shards, or at work.
        VerifyError: a shard or a checkpoint is damaged.
    """
    to = layout.plan.to
    with locked(to, "--to"):
        _claim(layout)
        rows: list[Row] = []
        cells: list[dict[str, Any]] = []
        for row in layout.rows:
            rows.append(_trained(row, fit, tell))
            if rows[-1].mark:
                tell(f"{row.name}: not trained, {rows[-1].mark}")
                cells += [_marked(row.name, name, "not trained") for name in layout.classes]
            else:
                cells += _row_cells(layout, row, device, workers, tell)
        return replace(layout, rows=tuple(rows)), cells


def _trained(row: Row, fit: Callable[[Training], object], tell: Callable[[str], None]) -> Row:
    """The row, trained, or marked with why it cannot be."""
    if row.mark or is_finished(row.training):
        return row
    tell(f"{row.name}: training in {row.training.run}")
    try:
        fit(row.training)
    except TooFewSamples:
        return replace(row, mark=f"fewer samples than a batch of {row.training.recipe.batch}")
    return row


def trained_facts(training: Training) -> dict[str, Any]:
    """What is known of the state that judges: its step, and its figures on val."""
    facts = read_facts(training.run, "best") or {}
    return {"step": facts.get("step"), "val_auc": (facts.get("best") or {}).get("val_auc")}


def _claim(layout: Layout) -> None:
    """Write ``protocol.json``, or see that the one there is of the same settings; datasets may be added."""
    plan: Plan = layout.plan
    settings = settings_of(plan.base)
    if plan.column is None:
        settings.pop("shards")
    prints = {str(out.resolve()): layout.prints[name] for name, out in layout.sets.items()}
    config = {"protocol": plan.protocol, "split": plan.split, **settings}
    path = plan.to / "protocol.json"
    try:
        old = read_json(path)
        if problem_of(MatrixFile, old) is not None:
            raise ValueError
        before: dict[str, str] = dict(old["fingerprints"])
        old["options"] = complete_options(old["model"], old["options"])
    except FileNotFoundError:
        old, before = config, {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise VerifyError(f"{path}: damaged; remove it, if the folder is this protocol's") from None
    changes = differing(old, config)
    if changes:
        told = "; ".join(f"{name}: {change}" for name, change in changes.items())
        raise UsageError(
            f"{plan.to}: holds another matrix ({told}); give another --to, or the old settings to go on with it"
        )
    changed = [out for out, text in prints.items() if before.get(out, text) != text]
    if changed:
        raise UsageError(
            f"{plan.to}: its trainings are of other shards, {changed[0]} has been made again since; give another --to"
        )
    write_json(path, {**config, "fingerprints": {**before, **prints}})


def _row_cells(
    layout: Layout, row: Row, device: str | None, workers: int | None, tell: Callable[[str], None]
) -> list[dict[str, Any]]:
    checkpoint = checkpoint_sum(row.training.run)
    scores: dict[str, tuple[pa.Table, float]] = {}
    cells = []
    for name in layout.classes:
        sets = layout.sets_of(name)
        packages = metric_packages()
        key = _key(layout, sets, checkpoint) | ({"metrics": packages} if packages else {})
        path = layout.plan.to / "cells" / slug(row.name) / f"{slug(name)}.json"
        cell = _read_cell(path, key)
        if cell is None:
            for part in sets:
                if part not in scores:
                    scores[part] = _scores(layout, row, part, checkpoint, device, workers, tell)
            table = pa.concat_tables([scores[part][0] for part in sets])
            cell = {**_cell(layout, row.name, name, table, scores[sets[0]][1]), "key": key}
            write_json(path, cell)
            cell = read_json(path)
        cells.append(cell)
    return cells


def checkpoint_sum(run: Path) -> str:
    """The checksum of the state that judges."""
    facts = read_facts(run, "best")
    if facts is None:
        raise UsageError(f"{run}: has no state 'best'; remove the folder, and the training is made again")
    try:
        with open_regular(run / facts["tensors"]) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, KeyError):
        raise VerifyError(f"{run}: the checkpoint best is not whole; remove the folder, and it is made again") from None


def _key(layout: Layout, sets: Sequence[str], checkpoint: str) -> dict[str, Any]:
    """What scores and cells are of; those with another key are made again."""
    return {"checkpoint": checkpoint, "split": layout.plan.split, "shards": {s: layout.prints[s] for s in sets}}


def _scores(
    layout: Layout,
    row: Row,
    part: str,
    checkpoint: str,
    device: str | None,
    workers: int | None,
    tell: Callable[[str], None],
) -> tuple[pa.Table, float]:
    """The verdicts of a row's model on the split of a set, and the score above which a sample is a fake."""
    key = _key(layout, [part], checkpoint)
    path = layout.plan.to / "scores" / slug(row.name) / f"{slug(part)}.parquet"
    kept = _read_scores(path, key)
    if kept is not None:
        return kept
    loaded = load_model(row.training.run, device).with_workers(workers)
    threshold = loaded.threshold
    schema = pa.schema(list(_COLUMNS.items()))
    table = schema.empty_table()
    if shard_paths(layout.sets[part], layout.plan.split):
        numbered = loaded.config["methods"]
        own, target = layout.sets[part], loaded.recipe.target
        index = as_taken(load_index([own], layout.plan.split, numbered=numbered, target=target), loaded.model)
        tell(f"{row.name}: judging {counted(len(index), 'sample')} of {part}")
        found = find_verdicts(loaded, index)
        rows = [{**kept, "score": score} for kept, score in zip(found.rows, found.scores.tolist(), strict=True)]
        table = pa.Table.from_pylist(rows, schema=schema)
    table = table.replace_schema_metadata({"forgeprep": json.dumps({"key": key, "threshold": threshold})})
    atomic_write_bytes(path, table_bytes(table))
    return table, threshold


def _read_scores(path: Path, key: Mapping[str, Any]) -> tuple[pa.Table, float] | None:
    """Scores that were kept; None if there are none, or of another checkpoint, or damaged: they can be made again."""
    try:
        table = current_table(pq.read_table(pa.BufferReader(read_bytes(path, LIST_BYTES))))
        facts = json.loads((table.schema.metadata or {})[b"forgeprep"])
        return (table, float(facts["threshold"])) if facts["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return None


def _read_cell(path: Path, key: Mapping[str, Any]) -> dict[str, Any] | None:
    try:
        cell: dict[str, Any] = read_json(path)
    except (OSError, ValueError):
        return None
    return cell if isinstance(cell, dict) and cell.get("key") == key else None


def _cell(layout: Layout, row: str, name: str, table: pa.Table, threshold: float) -> dict[str, Any]:
    """Figures on the fakes of a class and all reals."""
    column = layout.plan.column
    methods = layout.plan.base.recipe.methods if column is not None else layout.methods.get(name)
    label = np.array(table["label"].to_pylist(), np.int64)
    chosen = label == 1
    if column is not None:
        chosen &= np.array([value == name for value in table[column].to_pylist()], bool)
    if methods is not None:
        chosen &= np.array([value in methods for value in table["method"].to_pylist()], bool)
    fakes, reals = int(np.count_nonzero(chosen)), int(np.count_nonzero(label == 0))
    if fakes == 0 or reals == 0:
        return {**_marked(row, name, "no reals" if fakes else "no fakes"), "fakes": fakes, "reals": reals}
    judged = chosen | (label == 0)
    scores = np.array(table["score"].to_pylist(), np.float64)
    clips = clip_figures(table.select(["clip_id", "label"]).to_pylist(), scores, judged, threshold)
    return {
        "row": row,
        "column": name,
        "mark": None,
        "fakes": fakes,
        "reals": reals,
        "clips": clips.pop("clips"),
        "threshold": threshold,
        **verdict_figures(label[judged], scores[judged], threshold),
        **{f"clip_{figure}": value for figure, value in clips.items()},
    }


def _marked(row: str, name: str, mark: str) -> dict[str, Any]:
    return {"row": row, "column": name, "mark": mark, "fakes": None, "reals": None, **dict.fromkeys(figure_names())}
