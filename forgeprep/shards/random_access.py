"""Find single samples in shards without reading the rest: an index of places, and a reader that goes there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from forgeprep.errors import VerifyError
from forgeprep.schemas.version import problem_of_shard
from forgeprep.shards.formats import format_of
from forgeprep.shards.formats.base import ShardFormat


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
        yield Place(path, first, second), row


def read_at(place: Place, columns: tuple[str, ...] | None = None) -> dict[str, Any]:
    """The sample at a place, pictures encoded as ``{"bytes", "path"}``; ``columns`` that the shard lacks are left out.

    Raises:
        VerifyError: the file is missing or damaged.
        UsageError: no such format is installed.
    """
    return format_of(place.path).read_at(place.path, (place.first, place.second), columns)


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
