"""Small files, written whole or not at all: commit records and tables."""

from __future__ import annotations

import errno
import io
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from forgeprep.errors import StorageError, UsageError
from forgeprep.io.safe_files import LIST_BYTES, read_json
from forgeprep.io.storage import is_remote
from forgeprep.schemas.clips import CLIP_SCHEMA
from forgeprep.schemas.files import RunFile, ShardRecord, problem_of

_REMEDY = {
    errno.ENOSPC: "no space left; free some and run the same command again",
    errno.EDQUOT: "disk quota exceeded; free some space and run the same command again",
    errno.EACCES: "permission denied; give a folder that you may write to with --out",
    errno.EPERM: "not permitted; give a folder that you may write to with --out",
    errno.EROFS: "the file system is read-only; give another --out",
}


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's errors about ``path`` into a :class:`StorageError` that says what to do."""
    try:
        yield
    except OSError as error:
        # Arrow puts the number into its text alone.
        code = error.errno or next((n for n in _REMEDY if f"errno {n}]" in str(error)), None)
        text = " ".join(str(error.strerror or error).split())[:300]
        remedy = _REMEDY.get(code or 0, f"cannot be written ({text})")
        raise StorageError(f"{path}: {remedy}") from error


def temporary_name(path: Path) -> Path:
    """A name beside ``path`` for the file while it is written; unique, since a worker thought dead may still write."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")


def publish(temporary: Path, path: Path) -> None:
    """Give a finished temporary file of this machine its name, durably. The caller has flushed and synced it."""
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def atomic_write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        StorageError: it cannot be written.
    """
    with storage_errors(path):
        if is_remote(path):
            path.write_bytes(data)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_name(path)
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            publish(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def table_bytes(table: pa.Table) -> bytes:
    """A table as the bytes of a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def read_run(out: Path) -> dict[str, Any]:
    """The ``run.json`` of a run's folder.

    Raises:
        UsageError: the folder holds no run, or one whose ``run.json`` is damaged.
    """
    try:
        run = read_json(out / "run.json")
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"{out}: holds no run of forgeprep (no run.json); give the --out folder of a run") from None
    except OSError as error:
        raise UsageError(f"{out}/run.json: cannot be read ({error.strerror})") from None
    except ValueError:
        run = None
    problem = problem_of(RunFile, run)
    if problem is not None:
        raise UsageError(f"{out}/run.json: damaged ({problem}); make the run again with --overwrite")
    return dict(run)


def clip_length_of(run: Mapping[str, Any]) -> int | None:
    """Frames of a sample in a run's clip shards, from its ``run.json``; None where samples are single frames."""
    value: Any = run.get("config")
    for name in ("params", "frames", "clip_length"):
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, int) else None


def record_path(out: Path, shard: str) -> Path:
    """Where the commit record of ``shard`` (``split/number``) lies."""
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
