"""Find single samples in shards without reading the rest: an index of places, and a reader that goes there."""

from __future__ import annotations

import functools
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from forgeprep.errors import VerifyError
from forgeprep.io.safe_files import open_regular, parse_json
from forgeprep.io.storage import parquet_source
from forgeprep.shards.bounds import BoundedInfo, check_claims, read_member
from forgeprep.shards.read import tar_rows


class Place(NamedTuple):
    """Where a sample lies: row group and row of a Parquet file, first byte and length in a tar."""

    path: Path
    first: int
    second: int


def index_shard(path: Path) -> Iterator[tuple[str, Place]]:
    """Yield (sample_id, place) for all samples of a shard, in order; reads no pictures.

    Raises:
        VerifyError: the file is missing or damaged.
    """
    return ((values["sample_id"], place) for place, values in iter_values(path, ["sample_id"]))


def iter_values(path: Path, columns: Sequence[str]) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Yield place and values of all samples of a shard, in order; reads no pictures.

    Args:
        path: a ``.parquet`` or ``.tar`` shard.
        columns: value columns; those that the shard lacks are left out. Bytes come from a tar as hexadecimal.

    Raises:
        VerifyError: the file is missing or damaged.
    """
    return _tar_values(path, columns) if path.suffix == ".tar" else _parquet_values(path, columns)


def read_at(place: Place, columns: tuple[str, ...] | None = None) -> dict[str, Any]:
    """The sample at a place, pictures encoded as ``{"bytes", "path"}``; ``columns`` that the shard lacks are left out.

    Raises:
        VerifyError: the file is missing or damaged.
    """
    if place.path.suffix == ".tar":
        found = next(tar_rows(place.path, None, part=(place.first, place.second)))
        return found if columns is None else {name: found[name] for name in columns if name in found}
    # A shard may be made anew within the life of a process.
    try:
        stamp = place.path.stat().st_mtime_ns
    except OSError as error:
        raise VerifyError(f"{place.path}: {error.strerror}") from error
    row: dict[str, Any] = _row_group(place.path, place.first, columns, stamp).slice(place.second, 1).to_pylist()[0]
    return row


def _parquet_values(path: Path, columns: Sequence[str]) -> Iterator[tuple[Place, dict[str, Any]]]:
    try:
        with pq.ParquetFile(parquet_source(path), pre_buffer=False) as file:
            present = [name for name in columns if name in file.schema_arrow.names]
            check_claims(path, file)
            for group in range(file.num_row_groups):
                rows = file.read_row_group(group, present).to_pylist()
                yield from ((Place(path, group, number), row) for number, row in enumerate(rows))
    except (OSError, ValueError, MemoryError, pa.ArrowException) as error:
        raise VerifyError(f"{path}: {' '.join(str(error).split())}") from error


@functools.lru_cache(maxsize=4)
def _row_group(path: Path, group: int, columns: tuple[str, ...] | None, stamp: float) -> pa.Table:
    try:
        with pq.ParquetFile(parquet_source(path), pre_buffer=False) as file:
            return file.read_row_group(group, None if columns is None else list(columns))
    except (OSError, ValueError, MemoryError, pa.ArrowException) as error:
        raise VerifyError(f"{path}: {' '.join(str(error).split())}") from error


def _tar_values(path: Path, columns: Sequence[str]) -> Iterator[tuple[Place, dict[str, Any]]]:
    """A sample's pictures come before its JSON, so its place ends there."""
    try:
        with open_regular(path) as stream, tarfile.open(fileobj=stream, tarinfo=BoundedInfo) as tar:
            start = 0
            while (member := tar.next()) is not None:
                if member.name.endswith(".json") and (content := tar.extractfile(member)) is not None:
                    values = parse_json(read_member(content, member))
                    end = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                    yield Place(path, start, end - start), {n: values[n] for n in columns if n in values}
                    start = end
                # tarfile remembers every member, which adds up over a large shard.
                tar.members = []  # type: ignore[attr-defined]
    except (OSError, tarfile.TarError, ValueError, KeyError, TypeError, OverflowError, MemoryError) as error:
        raise VerifyError(f"{path}: {' '.join(str(error).split())}") from error
