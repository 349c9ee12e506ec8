"""Check a whole run: every shard, and what must hold between them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from forgeprep.errors import VerifyError
from forgeprep.io.machine import usable_cpus
from forgeprep.io.storage import parquet_source
from forgeprep.media import guard
from forgeprep.registry import made_with
from forgeprep.schemas.clips import CLIP_SCHEMA, LATER_CLIP_COLUMNS
from forgeprep.schemas.columns import Column, columns_of_run
from forgeprep.schemas.drops import DROP_SCHEMA, reasons_of_run
from forgeprep.schemas.renamed import CLIP_COLUMNS_RENAMED, current_row
from forgeprep.schemas.samples import SAMPLE_COLUMNS
from forgeprep.schemas.splits import with_read_split
from forgeprep.shards.bounds import check_claims
from forgeprep.shards.check_shard import Checked, Contents, Problem, check_shard
from forgeprep.shards.names import all_tables, table_path
from forgeprep.shards.records import iter_records, read_run, sequence_length_of
from forgeprep.shards.remedies import for_this_run, rebuild, without_record
from forgeprep.text import counted

__all__ = ["Problem", "verify"]

Record = dict[str, Any]

MEMORY = 768 << 20
"""What reading damaged or hostile shards may take, beyond what is usual for each thread."""
THREAD_MEMORY = 192 << 20

_BUILT_IN = {column.stage for column in SAMPLE_COLUMNS} | {"frames"}


def verify(out: Path, *, workers: int | None = None, columns: Iterable[Column] = ()) -> list[Problem]:
    """Check a run completely and say what is wrong; an empty list means that all is as the records say.

    Each thread reads one shard, a few dozen rows at a time; of a sample 8 bytes are kept until the end.

    Args:
        out: the run's folder.
        workers: threads; default: one per core.
        columns: of stages of other packages that are installed, for their own checks
            (:func:`forgeprep.stages.columns_of`); all else about columns stands in ``run.json``.

    Raises:
        UsageError: the folder holds no run.
    """
    run = read_run(out)
    contents = Contents(
        columns=columns_of_run(run, [*SAMPLE_COLUMNS, *(c for c in columns if c.stage not in _BUILT_IN)]),
        length=sequence_length_of(run),
        reasons=reasons_of_run(run).keys(),
        packages=made_with(run, "formats"),
        # Runs of before version 1 do not tell the columns of such stages.
        open_ended=run.get("columns") is None and not set(run["stages"]) <= _BUILT_IN,
    )
    found = list(iter_records(out))
    records = [record for _, record in found if record is not None]
    lost = without_record(out, {file["path"] for record in records for file in record["files"]})
    if any(lost.values()) and not found:
        told = f"the records of all shards are missing, as in a copy without state/; {rebuild(out)}"
        return [Problem("state", told)]
    problems = [
        Problem(f"state/{shard}.json", f"the record is damaged; {_record_again(out, shard, lost)}")
        for shard, record in found
        if record is None
    ]
    problems += _not_made(out, {shard for shard, _ in found}, lost)
    problems += _leftovers(out, records, lost)
    threads = workers or usable_cpus()
    with guard.memory(MEMORY + threads * THREAD_MEMORY), ThreadPoolExecutor(threads) as pool:
        checked = list(pool.map(lambda record: check_shard(out, record, contents), records))
        # Which of those that were read at the same time asked for too much shows when each is read alone.
        for number, record in enumerate(records):
            if checked[number].starved:
                guard.release_memory()
                checked[number] = pool.submit(check_shard, out, record, contents).result()
    for result in checked:
        problems += result.problems
    problems += _duplicates(checked)
    problems += _leaks(records, checked, official=run.get("official_split") is True)
    problems += _index_problems(out, records)
    return [Problem(problem.where, for_this_run(problem.what, run, out)) for problem in problems]


def _record_again(out: Path, shard: str, lost: Mapping[str, bool]) -> str:
    """What brings a shard's record back."""
    files = {path: whole for path, whole in lost.items() if path.startswith(f"shards/{shard}.")}
    cut = [path for path, whole in files.items() if not whole]
    if cut:
        return f"its files are not all as long as {table_path(out, 'shards').name} says; run again to remake it"
    return rebuild(out) if files else "run again to remake it"


def _not_made(out: Path, present: set[str], lost: Mapping[str, bool]) -> Iterator[Problem]:
    """Shards that the plan has and the run has not; ``lost`` are files that have lost their records."""
    plan = table_path(out, "plan")
    rows = _table_rows(plan, ["shard"])
    if isinstance(rows, str):
        yield Problem(plan.relative_to(out).as_posix(), rows)
    else:
        for shard in sorted({str(row.get("shard")) for row in rows} - present):
            is_lost = any(path.startswith(f"shards/{shard}.") for path in lost)
            what = f"the record is missing; {_record_again(out, shard, lost)}"
            what = what if is_lost else "the shard is planned, but has not been made; run again"
            yield Problem(f"state/{shard}.json", what)


def _leftovers(out: Path, records: Sequence[Record], lost: Collection[str]) -> Iterator[Problem]:
    """Temporary files, and shards that no record speaks of."""
    known = {file["path"] for record in records for file in record["files"]}
    for path in sorted(
        {*out.glob("shards/*/*"), *out.glob("state/*/*.tmp"), *out.glob("meta/.*.tmp"), *out.glob(".*.tmp")}
    ):
        name = path.relative_to(out).as_posix()
        if path.name.endswith(".tmp"):
            yield Problem(name, "left over from an interrupted write; delete it, or run again")
        elif name not in known and name not in lost:
            yield Problem(name, "no record speaks of this file, so it is no part of the run; delete it, or run again")


def _duplicates(checked: Sequence[Checked]) -> Iterator[Problem]:
    """Rows whose sample_id occurs earlier in the run."""
    hashes = np.frombuffer(b"".join(result.hashes for result in checked), np.uint64)
    order = np.argsort(hashes, kind="stable")
    again = np.flatnonzero(hashes[order][1:] == hashes[order][:-1]) + 1
    ends = np.cumsum([len(result.hashes) // 8 for result in checked])

    def place(position: int) -> tuple[str, int]:
        shard = int(np.searchsorted(ends, position, side="right"))
        return checked[shard].file, position - (int(ends[shard - 1]) if shard else 0)

    for at in again:
        file, row = place(int(order[at]))
        other_file, other_row = place(int(order[at - 1]))
        yield Problem(f"{file}: row {row}", f"its sample_id is also that of row {other_row} of {other_file}")


def _leaks(records: Sequence[Record], checked: Sequence[Checked], *, official: bool) -> Iterator[Problem]:
    """Clips, source groups and people that lie in more than one split: a test on them would be worth nothing.

    In a split that the dataset's authors made, source groups and people may.
    """
    splits: dict[tuple[str, str], dict[str, str]] = {}
    for record, result in zip(records, checked, strict=True):
        for source_id, clip_id in result.clips:
            for thing in (("source group", source_id), ("clip", clip_id)):
                splits.setdefault(thing, {}).setdefault(record["split"], result.file)
        for clip in record["clips"]:
            for person in clip.get("identities") or ():
                splits.setdefault(("person", str(person)), {}).setdefault(record["split"], result.file)
    for (kind, name), places in sorted(splits.items()):
        if len(places) > 1 and (kind == "clip" or not official):
            yield Problem(", ".join(places.values()), f"the {kind} {name} is in the splits {', '.join(places)}")


def _index_problems(out: Path, records: Sequence[Record]) -> Iterator[Problem]:
    """Tables that are missing, or do not say what the records say."""
    tables = {
        "shards": [{**file, "split": record["split"]} for record in records for file in record["files"]],
        "clips": [clip for record in records for clip in record["clips"]],
        "drops": [dict(zip(DROP_SCHEMA.names, drop, strict=True)) for record in records for drop in record["drops"]],
    }
    schemas = {"clips": CLIP_SCHEMA, "drops": DROP_SCHEMA}
    for table, path in all_tables(out).items():
        name, expected, rows = path.relative_to(out).as_posix(), tables[table], _table_rows(path)
        if isinstance(rows, str):
            yield Problem(name, rows)
            continue
        if table == "clips":
            rows = [{**dict.fromkeys(LATER_CLIP_COLUMNS), **row} for row in rows]
        if table in schemas:
            # The records are JSON; the table's types are those that count.
            try:
                expected = pa.Table.from_pylist(expected, schema=schemas[table]).to_pylist()
            except (pa.ArrowException, OverflowError) as error:
                yield Problem(name, f"cannot be compared: the records' values do not fit it ({error})")
                continue
        rows = [with_read_split(row) for row in rows]
        if sorted(map(_canonical, rows)) != sorted(map(_canonical, expected)):
            yield Problem(
                name, f"does not agree with the records ({counted(len(rows), 'row')} here, {len(expected):,} there)"
            )


def _canonical(row: dict[str, Any]) -> str:
    return json.dumps(row, sort_keys=True, default=str)


def _table_rows(path: Path, columns: list[str] | None = None) -> list[dict[str, Any]] | str:
    """A table's rows, or what is wrong with it."""
    try:
        with pq.ParquetFile(parquet_source(path)) as file:
            check_claims(path, file)
            with guard.memory(max(guard.MEMORY, 64 * path.stat().st_size)):
                rows: list[dict[str, Any]] = file.read(columns).to_pylist()
            return [current_row(row, CLIP_COLUMNS_RENAMED) for row in rows]
    except FileNotFoundError:
        return "the file is missing; run again to remake it"
    except MemoryError:
        return "claims more than it holds: reading it takes too much memory; run again to remake it"
    except (OSError, ValueError, pa.ArrowException, VerifyError) as error:
        return f"damaged ({' '.join(str(error).split())}); run again to remake it"
