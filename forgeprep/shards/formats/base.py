"""What a shard format is: how it is called, and functions that write and read it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from forgeprep.schemas.columns import Column
from forgeprep.schemas.renamed import current_row, current_table, stored_names, with_older_names

Row = dict[str, Any]
Spot = tuple[int, int]
"""Where a sample lies in its file; what the two numbers mean is the format's own affair."""


class WriteOnly(Protocol):
    """A file that is being written: it only grows, and cannot be read back or wound back."""

    def write(self, data: Any, /) -> int:
        """Append bytes."""

    def tell(self) -> int:
        """How many bytes have been written."""

    def flush(self) -> None:
        """Nothing has to be done."""


class Writer(Protocol):
    """Writes the samples of one shard."""

    def write(self, table: pa.Table) -> None:
        """Append samples: a row each, with the shard's columns; pictures are structs of ``bytes`` and ``path``."""

    def finish(self) -> None:
        """Write what stands at the end of the file; the file is closed by the caller."""


def _spots(rows: Callable[[Path, Sequence[str] | None], Iterator[Row]]) -> Callable[..., Iterator[tuple[Spot, Row]]]:
    """Values by reading all rows: for formats without a quicker way."""

    def values(path: Path, columns: Sequence[str]) -> Iterator[tuple[Spot, Row]]:
        for number, row in enumerate(rows(path, None)):
            yield (number, 0), {name: row[name] for name in columns if name in row}

    return values


@dataclass(frozen=True, slots=True)
class ShardFormat:
    """A shard format. Equal tables must give equal bytes: no time stamps, no names of machines.

    The functions know the names of columns that stand in the file; the methods, by which shards are read, those of
    today (:mod:`forgeprep.schemas.renamed`).

    Attributes:
        name: what users write after ``--format``.
        suffix: the end of its files' names, without the dot.
        mime: the media type, for ``croissant.json``.
        writer: ``(file, columns, metadata)`` to a :class:`Writer`. ``metadata`` are texts that the file should keep.
        rows: ``(path, columns)`` to the rows in order, with the columns of those names, or all for None: column to
            value, pictures as ``{"bytes", "path"}``. Raises UsageError for an unknown column, VerifyError for damage.
        metadata: the texts that were given to ``writer``. Raises VerifyError for damage.
        schema: column -> Arrow type, or None where the file does not tell it; by default the names of the first row.
        values: ``(path, columns)`` to (spot, values of these columns, as far as there are) of every sample, in order,
            without reading pictures; by default all rows are read.
        row_at: ``(path, spot, columns)`` to a row with these columns as far as there are, or all for None; by default
            rows are counted from the start, which is slow to train from.
        tables: as ``values``, but many samples at a time: (first number of their spots, table), where the second number
            is the row in it; by default made of ``values``, which is slow for millions of samples.
    """

    name: str
    suffix: str
    mime: str
    writer: Callable[[WriteOnly, Sequence[Column], Mapping[str, str]], Writer]
    rows: Callable[[Path, Sequence[str] | None], Iterator[Row]]
    metadata: Callable[[Path], dict[str, str]] = lambda _path: {}
    schema: Callable[[Path], dict[str, pa.DataType | None] | None] | None = None
    values: Callable[[Path, Sequence[str]], Iterator[tuple[Spot, Row]]] | None = None
    row_at: Callable[[Path, Spot, Sequence[str] | None], Row] | None = None
    tables: Callable[[Path, Sequence[str]], Iterator[tuple[int, pa.Table]]] | None = None

    def read_schema(self, path: Path) -> dict[str, pa.DataType | None] | None:
        """Column -> Arrow type or None; None for a shard without rows whose format tells nothing."""
        found = self._stored_schema(path)
        return None if found is None else current_row(found)

    def _stored_schema(self, path: Path) -> dict[str, pa.DataType | None] | None:
        if self.schema is not None:
            return self.schema(path)
        first = next(self.rows(path, None), None)
        return None if first is None else dict.fromkeys(first)

    def read_rows(self, path: Path, columns: Sequence[str] | None) -> Iterator[Row]:
        """As ``rows``."""
        if columns is not None and with_older_names(columns) != list(columns):
            columns = stored_names(columns, self._stored_schema(path) or {})
        return map(current_row, self.rows(path, columns))

    def read_values(self, path: Path, columns: Sequence[str]) -> Iterator[tuple[Spot, Row]]:
        """As ``values``."""
        read = self.values or _spots(self.rows)
        return ((spot, current_row(row)) for spot, row in read(path, with_older_names(columns)))

    def read_tables(self, path: Path, columns: Sequence[str]) -> Iterator[tuple[int, pa.Table]] | None:
        """As ``tables``; None where the format has none."""
        if self.tables is None:
            return None
        return ((first, current_table(table)) for first, table in self.tables(path, with_older_names(columns)))

    def read_at(self, path: Path, spot: Spot, columns: Sequence[str] | None) -> Row:
        """As ``row_at``."""
        if self.row_at is not None:
            # Names that a Parquet file lacks are left out where it is read.
            return current_row(self.row_at(path, spot, None if columns is None else with_older_names(columns)))
        row = current_row(next(itertools.islice(self.rows(path, None), spot[0], None)))
        return row if columns is None else {name: row[name] for name in columns if name in row}


def pictures_of(value: Any) -> list[dict[str, Any] | None]:
    """The pictures in a column's value: one or none, or those of a sequence's frames."""
    values = value if isinstance(value, list) else [value]
    return values if all(v is None or (isinstance(v, dict) and "bytes" in v) for v in values) else []


def picture_bytes(row: Mapping[str, Any]) -> int:
    """How many bytes of encoded pictures a row holds."""
    return sum(len(picture["bytes"]) for value in row.values() for picture in pictures_of(value) if picture is not None)


def reason_of(error: Exception) -> str:
    """An error's text on one line; a missing file in plain words."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, MemoryError):
        return "claims more than it holds: reading it takes too much memory"
    return " ".join(str(error).split()) or type(error).__name__
