"""Find single samples in shards without reading the rest: an index of places, and a reader that goes there."""

from __future__ import annotations

import functools
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from forgeprep.errors import VerifyError
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
    yield from _index_tar(path) if path.suffix == ".tar" else _index_parquet(path)


def read_at(place: Place) -> dict[str, Any]:
    """The sample at a place, pictures encoded as ``{"bytes", "path"}``.

    Raises:
        VerifyError: the file is missing or damaged.
    """
    if place.path.suffix == ".tar":
        return next(tar_rows(place.path, None, part=(place.first, place.second)))
    row: dict[str, Any] = _row_group(place.path, place.first).slice(place.second, 1).to_pylist()[0]
    return row


def _index_parquet(path: Path) -> Iterator[tuple[str, Place]]:
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            for group in range(file.num_row_groups):
                ids = file.read_row_group(group, ["sample_id"])["sample_id"].to_pylist()
                yield from ((sample_id, Place(path, group, row)) for row, sample_id in enumerate(ids))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise VerifyError(f"{path}: {' '.join(str(error).split())}") from error


@functools.lru_cache(maxsize=4)
def _row_group(path: Path, group: int) -> pa.Table:
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            return file.read_row_group(group)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise VerifyError(f"{path}: {' '.join(str(error).split())}") from error


def _index_tar(path: Path) -> Iterator[tuple[str, Place]]:
    """A sample's pictures come before its JSON, so its place ends there."""
    try:
        with tarfile.open(path) as tar:
            start = 0
            for member in tar:
                if member.name.endswith(".json"):
                    end = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                    place = Place(path, start, end - start)
                    yield read_at(place)["sample_id"], place
                    start = end
    except (OSError, tarfile.TarError, ValueError, KeyError) as error:
        raise VerifyError(f"{path}: {' '.join(str(error).split())}") from error
