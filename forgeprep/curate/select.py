"""Choose samples of a run: by a condition in SQL, or by a list of those that shall go."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from forgeprep.curate.source import KEYS, Source, all_samples
from forgeprep.curate.targets import Target, filtered
from forgeprep.curate.write import Derived
from forgeprep.errors import UsageError, nearest
from forgeprep.io.safe_files import LIST_BYTES, read_text
from forgeprep.pipeline.configure import digest

_NO_COLUMN = re.compile(r'Referenced column "(?P<name>[^"]+)" (was )?not found')
Mask = npt.NDArray[np.bool_]


def selected(source: Source, where: str) -> Derived:
    """The run of the samples for which the condition holds.

    Raises:
        UsageError: DuckDB is not installed, the condition is wrong, or no sample fulfils it.
        VerifyError: a shard is damaged.
    """
    duckdb = _duckdb()
    # Only columns that the condition names are read: a million samples have a gigabyte of others.
    names = [column.name for column in source.columns if not column.is_picture and not column.is_binary]
    asked = [name for name in names if re.search(rf"\b{name}\b", where, re.IGNORECASE)]
    tables = dict(all_samples(source, asked))
    every = pa.concat_tables(tables.values(), promote_options="permissive") if tables else None
    if every is None:
        raise UsageError(f"{source.out}: holds no sample")
    kept = _matching(duckdb, every.select([*dict.fromkeys([*KEYS, *asked])]), where, names)
    if not kept.any():
        raise UsageError(f"--where: none of the {len(kept):,} samples of {source.out} fulfils it")
    step = {"command": "select", "where": where}
    return _chosen(source, tables, kept, step, keep_empty=False)


def without(source: Source, sample_ids: Sequence[str]) -> tuple[Derived, list[str]]:
    """The run without these samples, and those of them that it does not hold.

    Raises:
        UsageError: it holds none of them, or no other.
        VerifyError: a shard is damaged.
    """
    tables = dict(all_samples(source))
    wanted = pa.array(sorted(set(sample_ids)), pa.string())
    there = [table["sample_id"].cast(pa.string()) for table in tables.values()]
    every = pa.chunked_array([chunk for column in there for chunk in column.chunks], pa.string())
    gone = pc.is_in(every, value_set=wanted).to_numpy(zero_copy_only=False)
    strangers = pc.filter(wanted, pc.invert(pc.is_in(wanted, value_set=every.combine_chunks()))).to_pylist()
    if not gone.any():
        raise UsageError(f"{source.out}: holds none of the {len(wanted):,} samples of --samples")
    if gone.all():
        raise UsageError(f"{source.out}: all of its samples are in --samples; nothing would be left")
    return _chosen(source, tables, ~gone, drop_step(sample_ids), keep_empty=True), strangers


def drop_step(sample_ids: Sequence[str]) -> dict[str, Any]:
    """What ``run.json`` says of samples that were taken out."""
    return {"command": "drop", "asked": len(set(sample_ids)), "digest": digest(sorted(set(sample_ids)))}


def read_ids(file: Path) -> list[str]:
    """The sample_ids in a text file, one a line, or in the column ``sample_id`` of a CSV file.

    Raises:
        UsageError: it cannot be read, or holds none.
    """
    try:
        lines = read_text(file, LIST_BYTES).splitlines()
    except OSError as error:
        raise UsageError(f"--samples {file}: cannot be read ({error.strerror or error})") from None
    except ValueError:
        raise UsageError(f"--samples {file}: is no text; give one sample_id a line, or a CSV file") from None
    header = next(csv.reader(lines[:1]), [])
    if "sample_id" in header:
        ids = [row["sample_id"] for row in csv.DictReader(lines) if row.get("sample_id")]
    else:
        ids = [line.strip() for line in lines if line.strip()]
    if not ids:
        raise UsageError(f"--samples {file}: names no sample; give one sample_id a line, or a CSV file with sample_id")
    return ids


def _chosen(
    source: Source, tables: dict[int, pa.Table], kept: Mask, step: dict[str, Any], *, keep_empty: bool
) -> Derived:
    targets: list[Target] = []
    at = 0
    for number, record in enumerate(source.records):
        table = tables.get(number)
        mine = None
        if table is not None:
            mine = table.filter(pa.array(kept[at : at + table.num_rows]))
            at += table.num_rows
        target = filtered(record["shard"], 0, number, record, mine, keep_empty=keep_empty)
        if target is not None:
            targets.append(target)
    return Derived((source,), tuple(targets), source.config, step, source.official)


def _duckdb() -> Any:
    try:
        import duckdb
    except ImportError:
        raise UsageError("select needs DuckDB, which is not installed: pip install 'forgeprep[select]'") from None
    return duckdb


def _refusal(text: str, where: str, names: Sequence[str]) -> str:
    """Why DuckDB refuses a condition, in our words where it is one of the usual faults.

    >>> _refusal('Binder Error: Referenced column "Deepfakes" not found', "method = Deepfakes", ["method"])
    "there is no column 'Deepfakes'; a text needs single quotes: 'Deepfakes' (columns: method)"
    """
    found = _NO_COLUMN.search(text)
    if found is None:
        line = text.strip().splitlines()[0]
        return f"{line.partition(' Error: ')[2] or line} (in: {where})"
    near = nearest(found["name"], names, 0.75)
    if near:
        return f"there is no column '{found['name']}'; did you mean {near}?"
    hint = f"a text needs single quotes: '{found['name']}'"
    return f"there is no column '{found['name']}'; {hint} (columns: {', '.join(names)})"


def _matching(duckdb: Any, samples: pa.Table, where: str, names: Sequence[str]) -> Mask:
    """Which rows fulfil a condition; where it is null, they do not."""
    numbered = samples.append_column("forgeprep_row", pa.array(np.arange(samples.num_rows)))
    with duckdb.connect(":memory:") as database:
        # A condition reads the samples and nothing else: no file, no network.
        database.execute("SET enable_external_access = false")
        database.register("samples", numbered)
        try:
            # In lines of its own, so that a comment ends with it.
            found = database.execute(f"SELECT forgeprep_row FROM samples WHERE (\n{where}\n)").fetchnumpy()
        except duckdb.Error as error:
            raise UsageError(f"--where: {_refusal(str(error), where, names)}") from None
    kept = np.zeros(samples.num_rows, np.bool_)
    kept[found["forgeprep_row"]] = True
    return kept
