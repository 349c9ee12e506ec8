"""What the report shows in numbers: value columns of all samples, and figures of the pictures of some."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from forgeprep.errors import VerifyError
from forgeprep.shards.lookup import index_shard, read_at
from forgeprep.shards.read import decode_row, iter_rows, shard_paths

MEASURED = 480
"""Samples whose pictures are looked at, spread over the run: as many as make a stable mean, few enough for minutes."""

COLUMNS = (
    "sample_id",
    "clip_id",
    "method",
    "compression",
    "label",
    "face_box",
    "crop_box",
    "detection",
    "mask_fraction",
    "mask_confidence",
    "mask_agreement",
    "mask_source",
)
Values = npt.NDArray[np.float64]


def value_table(out: Path) -> pa.Table:
    """The columns of :data:`COLUMNS` that a run has, of all its samples, and ``shard``, the file that holds each.

    Raises:
        VerifyError: a shard is missing or damaged.
    """
    tables = []
    for path in shard_paths(out):
        table = _parquet_values(path) if path.suffix == ".parquet" else _tar_values(path)
        tables.append(table.append_column("shard", pa.array([str(path)] * len(table), pa.string())))
    return pa.concat_tables(tables, promote_options="permissive") if tables else pa.table({})


def group_names(table: pa.Table) -> list[str]:
    """``method · compression`` of each sample, ``real`` for reals."""
    if not len(table):
        return []
    columns = (table[name].to_pylist() for name in ("method", "compression"))
    return [" · ".join(part for part in (m or "real", c) if part) for m, c in zip(*columns, strict=True)]


def by_group(table: pa.Table, column: str, *, fakes_only: bool = False) -> dict[str, Values]:
    """Group -> the values of a column that are there."""
    if column not in table.column_names:
        return {}
    found: dict[str, list[float]] = defaultdict(list)
    rows = zip(group_names(table), table[column].to_pylist(), table["label"].to_pylist(), strict=True)
    for group, value, label in rows:
        if value is not None and (label == 1 or not fakes_only):
            found[group].append(value)
    return {group: np.asarray(found[group], np.float64) for group in sorted(found)}


def box_sides(table: pa.Table) -> dict[str, Values]:
    """Group -> side of the face box in pixels."""
    found: dict[str, list[float]] = defaultdict(list)
    if "face_box" in table.column_names:
        for group, (x0, _, x1, _) in zip(group_names(table), table["face_box"].to_pylist(), strict=True):
            found[group].append(x1 - x0)
    return {group: np.asarray(found[group]) for group in sorted(found)}


def measured(out: Path, table: pa.Table, limit: int = MEASURED) -> list[dict[str, Any]]:
    """Figures of the pictures of some samples, spread evenly over the run.

    Returns:
        Of each: ``sample_id``, ``group``; ``noise_mean`` and ``noise_variance`` of the residual in its own
        units, where there is one; ``stray``, the share of the crop above the mask's threshold but outside the mask,
        where a mask was cut.
    """
    total = len(table)
    chosen = sorted({int((turn + 0.5) * total / limit) for turn in range(limit)}) if total > limit else range(total)
    names, ids = group_names(table), table["sample_id"].to_pylist() if total else []
    wanted = {ids[number]: names[number] for number in chosen}
    shards = dict.fromkeys(table["shard"].to_pylist()) if total else {}
    found = []
    for path in map(Path, shards):
        for sample_id, place in index_shard(path):
            if sample_id in wanted:
                row = decode_row(read_at(place), path)
                found.append(
                    {"sample_id": sample_id, "group": wanted[sample_id], "label": row["label"], **_figures(row)}
                )
    return found


def _figures(row: dict[str, Any]) -> dict[str, float]:
    figures: dict[str, float] = {}
    if row.get("noise") is not None:
        residual = (row["noise"].astype(np.float32) - 128) / 5
        figures |= {"noise_mean": float(residual.mean()), "noise_variance": float(residual.var())}
    if row.get("mask_threshold") is not None and row.get("difference") is not None:
        above = row["difference"] > row["mask_threshold"]
        figures["stray"] = float(np.mean(above & (row["mask"] == 0)))
    return figures


def _parquet_values(path: Path) -> pa.Table:
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            return file.read([name for name in COLUMNS if name in file.schema_arrow.names])
    except (OSError, ValueError, pa.ArrowException) as error:
        raise VerifyError(f"{path}: {' '.join(str(error).split())}") from error


def _tar_values(path: Path) -> pa.Table:
    rows = [{name: row[name] for name in COLUMNS if name in row} for row in iter_rows(path, decode=False)]
    return pa.Table.from_pylist(rows)
