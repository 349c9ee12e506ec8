"""Find single samples in shards without reading the rest: an index of places, and a reader that goes there."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from forgeprep.errors import VerifyError
from forgeprep.schemas.splits import with_read_split
from forgeprep.schemas.version import problem_of_shard
from forgeprep.shards.formats import format_of
from forgeprep.shards.formats.base import ShardFormat

TABLE_ROWS = 1 << 14
"""So many rows a table has where the format has no tables of its own."""


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
        path: a shard, of any format that is installed.
        columns: columns without pictures; those that the shard lacks are left out.

    Raises:
        VerifyError: the file is missing or damaged, or a newer forgeprep made it.
        UsageError: no such format is installed.
    """
    for (first, second), row in known_format(path).read_values(path, columns):
        yield Place(path, first, second), with_read_split(row)


def iter_tables(path: Path, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Yield columns without pictures of all samples of a shard, in order: a row group, or :data:`TABLE_ROWS` at a time.

    ``first`` and ``second``, int64, are the place of each sample, see :class:`Place`; else as :func:`iter_values`.

    Raises:
        VerifyError: the file is missing or damaged, or a newer forgeprep made it.
        UsageError: no such format is installed.
    """
    found = known_format(path)
    tables = found.read_tables(path, columns)
    if tables is not None:
        for first, table in tables:
            rows = np.arange(table.num_rows, dtype=np.int64)
            yield _placed(table, np.full(len(rows), first, np.int64), rows)
        return
    values = found.read_values(path, columns)
    while part := list(itertools.islice(values, TABLE_ROWS)):
        try:
            table = pa.Table.from_pylist([row for _, row in part])
        except (TypeError, ValueError, OverflowError, MemoryError, pa.ArrowException) as error:
            raise VerifyError(f"{path}: {' '.join(str(error).split())}") from error
        first, second = np.array([spot for spot, _ in part], np.int64).T
        yield _placed(table, first, second)


def _placed(table: pa.Table, first: Any, second: Any) -> pa.Table:
    return table.append_column("first", pa.array(first)).append_column("second", pa.array(second))


def read_at(place: Place, columns: tuple[str, ...] | None = None) -> dict[str, Any]:
    """The sample at a place, pictures encoded as ``{"bytes", "path"}``; ``columns`` that the shard lacks are left out.

    Raises:
        VerifyError: the file is missing or damaged.
        UsageError: no such format is installed.
    """
    return with_read_split(format_of(place.path).read_at(place.path, (place.first, place.second), columns))


def known_format(path: Path) -> ShardFormat:
    """The format of a shard that this forgeprep can read.

    Raises:
        VerifyError: the file is damaged, or a newer forgeprep made it.
        UsageError: no such format is installed.
    """
    found = format_of(path)
    problem = problem_of_shard(found.metadata(path))
    if problem is not None:
        raise VerifyError(f"{path}: {problem}")
    return found
