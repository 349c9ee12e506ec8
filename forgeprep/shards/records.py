"""The small files of a run: ``run.json``, commit records and tables."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from forgeprep.errors import UsageError
from forgeprep.io.atomic import atomic_write_bytes
from forgeprep.io.safe_files import LIST_BYTES, read_json
from forgeprep.io.storage import is_file, is_remote, visible_entries
from forgeprep.schemas.clips import CLIP_SCHEMA, LATER_CLIP_COLUMNS
from forgeprep.schemas.columns import Column, columns_of_run
from forgeprep.schemas.files import RunFile, ShardRecord, problem_of
from forgeprep.schemas.renamed import CLIP_COLUMNS_RENAMED, current_row
from forgeprep.schemas.samples import SAMPLE_COLUMNS, sequence_columns
from forgeprep.schemas.version import problem_of_run

STAGED = ".new"
"""The hidden folder in which a run that takes the place of this one is made (:mod:`forgeprep.curate.in_place`)."""


def table_bytes(table: pa.Table) -> bytes:
    """A table as the bytes of a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def read_run(out: Path) -> dict[str, Any]:
    """The ``run.json`` of a run's folder.

    Raises:
        UsageError: the folder holds no run, one whose ``run.json`` is damaged, or one of a newer forgeprep.
    """
    try:
        run = read_json(out / "run.json")
    except (FileNotFoundError, NotADirectoryError):
        if (out / STAGED / "run.json").is_file():
            raise UsageError(f"{out}: was being changed and is half-way; give the same command again first") from None
        raise UsageError(f"{out}: holds no run of forgeprep (no run.json); {run_meant(out)}") from None
    except OSError as error:
        raise UsageError(f"{out}/run.json: cannot be read ({error.strerror})") from None
    except ValueError:
        run = None
    newer = problem_of_run(run) if isinstance(run, dict) else None
    if newer is not None:
        raise UsageError(f"{out}/run.json: {newer}")
    problem = problem_of(RunFile, run)
    if problem is not None:
        raise UsageError(f"{out}/run.json: damaged ({problem}); make the run again with --overwrite")
    return dict(run)


def run_around(folder: Path) -> Path | None:
    """The run that a local folder lies in, as its ``shards/train``; None without one."""
    if is_remote(folder):
        return None
    return next((above for above in folder.absolute().parents if is_file(above / "run.json")), None)


def runs_near(folder: Path) -> list[str]:
    """Where a run lies that may have been meant: around the folder, else right in it."""
    try:
        around = run_around(folder)
        if around is not None:
            return [str(around)]
        inside = [] if is_remote(folder) else visible_entries(folder)
        return [str(folder / entry.name) for entry in inside if is_file(folder / entry.name / "run.json")][:5]
    except OSError:
        return []


def run_meant(*folders: Path) -> str:
    """What to say of folders that are no run's: which runs may have been meant."""
    near = [run for folder in folders for run in runs_near(folder)]
    return f"did you mean {' or '.join(near)}?" if near else "give the --out folder of a run"


def sequence_length_of(run: Mapping[str, Any]) -> int | None:
    """Frames of a sample in a run of sequences, from its ``run.json``; None where samples are single frames."""
    value: Any = run.get("config")
    for name in ("params", "frames"):
        value = value.get(name) if isinstance(value, dict) else None
    if not isinstance(value, dict):
        return None
    # Runs of earlier versions have it by its name of then.
    length = value.get("sequence_length", value.get("clip_length"))
    return length if isinstance(length, int) else None


def file_columns_of(run: Mapping[str, Any], known: Iterable[Column] = SAMPLE_COLUMNS) -> tuple[Column, ...]:
    """The columns of a run's shards, from its ``run.json``: of sequences, where samples have several frames."""
    columns = columns_of_run(run, known)
    return columns if sequence_length_of(run) is None else sequence_columns(columns)


def shard_path(out: Path, shard: str, suffix: str) -> Path:
    """Where a file of a shard lies."""
    return out / "shards" / f"{shard}.{suffix}"


def shard_number(shard: str) -> int:
    """The number in a shard's name."""
    found = re.search(r"[0-9]+$", shard)
    return int(found[0]) if found else 0


def record_path(out: Path, shard: str) -> Path:
    """Where the commit record of a shard lies."""
    return out / "state" / f"{shard}.json"


def write_record(out: Path, record: dict[str, Any]) -> None:
    """Write a shard's commit record: from here on the shard exists.

    Raises:
        StorageError: it cannot be written.
    """
    data = json.dumps(record, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    atomic_write_bytes(record_path(out, record["shard"]), data)


def read_record(out: Path, shard: str) -> dict[str, Any] | None:
    """A shard's commit record; None if there is none or it is damaged."""
    try:
        record = read_json(record_path(out, shard), LIST_BYTES)
    except (OSError, ValueError):
        return None
    if problem_of(ShardRecord, record) is not None or record["shard"] != shard:
        return None
    later = dict.fromkeys(LATER_CLIP_COLUMNS)
    record["clips"] = [{**later, **current_row(clip, CLIP_COLUMNS_RENAMED)} for clip in record["clips"]]
    return dict(record) if _clips_fit(record) else None


def iter_records(out: Path) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """All commit records by shard name, sorted; None for a damaged one."""
    for path in sorted(out.glob("state/*/*.json")):
        shard = f"{path.parent.name}/{path.stem}"
        yield shard, read_record(out, shard)


def files_there(out: Path, record: dict[str, Any]) -> bool:
    """Whether a record's files lie where it says, in their size; ``verify`` checks the checksums."""
    for file in record["files"]:
        path = out / file["path"]
        if not path.is_file() or path.stat().st_size != file["bytes"]:
            return False
    return True


def _clips_fit(record: dict[str, Any]) -> bool:
    """Whether a record's clips have all columns of the table that is made of them."""
    names = set(CLIP_SCHEMA.names)
    return all(clip.keys() >= names for clip in record["clips"])
