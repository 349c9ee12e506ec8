"""Read shards row by row; files of the same samples give the same rows in every format."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from forgeprep.errors import UsageError, VerifyError
from forgeprep.schemas.renamed import current_name
from forgeprep.schemas.splits import with_read_split
from forgeprep.shards.encode import decode_image
from forgeprep.shards.formats import format_of, suffixes
from forgeprep.shards.formats.webdataset import tar_rows
from forgeprep.shards.random_access import iter_values, known_format, read_at
from forgeprep.shards.sequences import SequenceArrays, is_sequence, sequence_arrays

__all__ = [
    "decode_row",
    "find_rows",
    "iter_rows",
    "iter_sequences",
    "known_format",
    "shard_paths",
    "tar_rows",
]


def iter_rows(path: Path, columns: Sequence[str] | None = None, decode: bool = True) -> Iterator[dict[str, Any]]:
    """Yield a shard's rows in order, a few dozen in memory at a time.

    Args:
        path: a shard, of any format that is installed.
        columns: the columns to read; default: all. Pictures that are not asked for are not read from a Parquet file.
            A name of an earlier version is taken, and a ``FutureWarning`` gives that of today.
        decode: give pictures as uint8 arrays, (H, W, 3) RGB or (H, W) gray; else as ``{"bytes", "path"}``.

    Yields:
        column -> value; a picture that a sample lacks is None. ``split`` is ``val`` where the file says ``validation``.

    Raises:
        VerifyError: the file, or a picture in it, is missing or damaged, or a newer forgeprep made it.
        UsageError: there is no such column, or no such format is installed.
    """
    names = {name: current_name(name) for name in columns or ()}
    for name, new in names.items():
        if name != new:
            warnings.warn(f"the column {name!r} is now {new!r}; give this name", FutureWarning, stacklevel=2)
    asked = None if columns is None else list(dict.fromkeys(names.values()))
    for number, row in enumerate(known_format(path).read_rows(path, asked)):
        found = row if columns is None else {name: row[new] for name, new in names.items()}
        found = with_read_split(found)
        yield decode_row(found, path, f"row {number}") if decode else found


def find_rows(path: Path, sample_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Some rows of a shard by sample_id, pictures decoded; ids that it lacks are left out.

    Raises:
        VerifyError: the file, or a picture in it, is missing or damaged.
    """
    missing = set(sample_ids)
    places = {}
    for place, row in iter_values(path, ["sample_id"]) if missing else ():
        if row["sample_id"] in missing:
            missing.remove(row["sample_id"])
            places[row["sample_id"]] = place
        if not missing:
            break
    return {sample_id: decode_row(read_at(place), path) for sample_id, place in places.items()}


def shard_paths(out: Path, split: str | None = None) -> list[Path]:
    """A run's shards in order, one file each: the Parquet file where there are several.

    Raises:
        UsageError: a shard lies only in a format that is not installed.
    """
    found: dict[Path, Path] = {}
    there = [path for path in out.glob(f"shards/{split or '*'}/[!.]*.*") if not path.name.endswith(".tmp")]
    order = [f".{suffix}" for suffix in suffixes()]
    for path in sorted(there, key=lambda p: order.index(p.suffix) if p.suffix in order else len(order), reverse=True):
        found[path.with_suffix("")] = path
    for path in found.values():
        format_of(path)
    return [found[key] for key in sorted(found)]


def decode_row(row: dict[str, Any], path: Path, name: str = "") -> dict[str, Any]:
    """The row with its pictures decoded; ``path`` and ``name`` say in an error where it lies."""
    for column, value in row.items():
        try:
            if _is_picture(value):
                row[column] = decode_image(value["bytes"] or b"")
            elif isinstance(value, list) and any(map(_is_picture, value)):
                row[column] = [None if v is None else decode_image(v["bytes"] or b"") for v in value]
        except VerifyError as error:
            raise VerifyError(f"{path}: {row.get('sample_id', name)}: {column}: {error}") from None
    return row


def iter_sequences(path: Path) -> Iterator[tuple[dict[str, Any], SequenceArrays]]:
    """Yield the samples of a shard of sequences in order: the row without its pictures, and its frames.

    Raises:
        UsageError: the samples are single frames.
        VerifyError: the file, or a picture in it, is missing or damaged.
    """
    for row in iter_rows(path):
        if not is_sequence(row):
            raise UsageError(f"{path}: its samples are single frames; make sequences with --sequence-length")
        yield {name: value for name, value in row.items() if not _is_decoded(value)}, sequence_arrays(row)


def _is_picture(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"bytes", "path"}


def _is_decoded(value: Any) -> bool:
    return isinstance(value, np.ndarray) or (isinstance(value, list) and any(isinstance(v, np.ndarray) for v in value))
