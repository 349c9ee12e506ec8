"""Merge the shards' commit records into the tables and the dataset card that users open."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from forgeprep.datasets import get_dataset
from forgeprep.datasets.splits import leak_text, leaks
from forgeprep.errors import VerifyError
from forgeprep.io.atomic import atomic_write_bytes
from forgeprep.schemas.clips import CLIP_SCHEMA, Clip
from forgeprep.schemas.config import RunConfig
from forgeprep.schemas.drops import DROP_SCHEMA
from forgeprep.schemas.splits import with_stored_split
from forgeprep.schemas.version import SCHEMA_VERSION
from forgeprep.shards.card import dataset_card
from forgeprep.shards.croissant import croissant
from forgeprep.shards.names import all_tables
from forgeprep.shards.records import file_columns_of, read_record, read_run, table_bytes

SHARD_SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("format", pa.string(), nullable=False),
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
    ]
)


_OF_CLIP = [field.name for field in dataclasses.fields(Clip) if field.name in CLIP_SCHEMA.names]


def write_index(out: Path, config: RunConfig, shards: Sequence[str]) -> None:
    """Write the tables of shards, clips and drops, ``README.md`` and ``croissant.json``; equal shards give equal bytes.

    Raises:
        VerifyError: a shard's record is missing or damaged, or somebody stands in two splits that the dataset's
            authors did not make.
    """
    files: list[dict[str, Any]] = []
    clips: list[dict[str, Any]] = []
    drops: list[dict[str, Any]] = []
    for name in shards:
        record = read_record(out, name)
        if record is None:
            raise VerifyError(f"{out}/state/{name}.json: missing or damaged; run the same command again")
        files += [{**file, "split": record["split"]} for file in record["files"]]
        clips += record["clips"]
        drops += [dict(zip(DROP_SCHEMA.names, drop, strict=True)) for drop in record["drops"]]
    run = read_run(out)
    _check_splits(config, run, clips)
    rows = {"shards": (files, SHARD_SCHEMA), "clips": (clips, CLIP_SCHEMA), "drops": (drops, DROP_SCHEMA)}
    tables: dict[str, bytes] = {}
    for name, path in all_tables(out).items():
        content, schema = rows[name]
        table = pa.Table.from_pylist([with_stored_split(row) for row in content], schema=schema)
        tables[path.relative_to(out).as_posix()] = data = table_bytes(table)
        atomic_write_bytes(path, data)
    columns, facts = file_columns_of(run), _facts(run, config)
    card = dataset_card(config, files, clips, columns, facts["license"])
    atomic_write_bytes(out / "README.md", card.encode())
    atomic_write_bytes(out / "croissant.json", croissant(config, columns, tables, facts).encode())


def _facts(run: Mapping[str, Any], config: RunConfig) -> dict[str, str]:
    """What ``croissant.json`` says of the dataset as a whole."""
    # A run that was made of runs of several datasets names them all.
    datasets = [get_dataset(name) for name in config.dataset.split("+")]
    urls = [dataset.url for dataset in datasets if dataset.url]
    return {
        "license": "; ".join(urls) or "the terms of the source data",
        # The layout's version, and after the plus sign what the run was made of.
        "version": f"{SCHEMA_VERSION}.0.0+{str(run.get('fingerprint'))[:12]}",
        **({"datePublished": run["planned_on"]} if run.get("planned_on") else {}),
        **({"url": urls[0]} if len(datasets) == 1 and urls else {}),
        "citeAs": "; ".join(dataset.citation or dataset.title for dataset in datasets),
    }


def _check_splits(config: RunConfig, run: Mapping[str, Any], clips: Sequence[dict[str, Any]]) -> None:
    """What was planned is checked again on what was made, since nothing is worse for a benchmark."""
    official = run.get("official_split")
    if get_dataset(config.dataset).official_split if official is None else official:
        return
    found = leaks(Clip(**{name: row[name] for name in _OF_CLIP}) for row in clips)
    if found:
        raise VerifyError(f"the splits leak: {leak_text(found)}; this is a defect of forgeprep")
