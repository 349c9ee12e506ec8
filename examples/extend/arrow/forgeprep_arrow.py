"""A shard format of forgeprep: Arrow IPC files, a record batch for each table that is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from forgeprep.errors import VerifyError, unknown_name
from forgeprep.io.safe_files import open_regular
from forgeprep.schemas.columns import Column
from forgeprep.schemas.samples import sample_schema
from forgeprep.shards.formats.base import Row, ShardFormat, Spot, WriteOnly


class ArrowWriter:
    """Writes each table as one record batch."""

    def __init__(self, file: WriteOnly, columns: Sequence[Column], metadata: Mapping[str, str]) -> None:
        fields = [field.with_nullable(True) for field in sample_schema(columns)]
        self._schema = pa.schema(fields, metadata=dict(metadata))
        self._writer = pa.ipc.new_file(pa.PythonFile(file, mode="w"), self._schema)

    def write(self, table: pa.Table) -> None:
        """Append a batch."""
        (batch,) = pa.Table.from_arrays(table.columns, schema=self._schema).combine_chunks().to_batches() or [None]
        if batch is not None:
            self._writer.write_batch(batch)

    def finish(self) -> None:
        """Write the footer."""
        self._writer.close()


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with open_regular(path) as file, pa.ipc.open_file(pa.PythonFile(file, mode="r")) as reader:
            yield reader
    except (OSError, ValueError, pa.ArrowException) as error:
        raise VerifyError(f"{path}: {' '.join(str(error).split())}") from error


def rows(path: Path, columns: Sequence[str] | None) -> Iterator[Row]:
    """The rows in order; a batch is in memory at a time."""
    with _opened(path) as reader:
        names = reader.schema.names
        for name in columns or ():
            if name not in names:
                raise unknown_name("column", name, names)
        for number in range(reader.num_record_batches):
            yield from reader.get_batch(number).select(columns or names).to_pylist()


def metadata(path: Path) -> dict[str, str]:
    """The texts that were given to the writer."""
    with _opened(path) as reader:
        return {name.decode(): text.decode() for name, text in (reader.schema.metadata or {}).items()}


def schema(path: Path) -> dict[str, pa.DataType | None]:
    """Column -> type."""
    with _opened(path) as reader:
        return {field.name: field.type for field in reader.schema}


def values(path: Path, columns: Sequence[str]) -> Iterator[tuple[Spot, Row]]:
    """Spots are (batch, row in it)."""
    with _opened(path) as reader:
        present = [name for name in columns if name in reader.schema.names]
        for batch in range(reader.num_record_batches):
            found = reader.get_batch(batch).select(present).to_pylist()
            yield from (((batch, number), row) for number, row in enumerate(found))


def row_at(path: Path, spot: Spot, columns: Sequence[str] | None) -> Row:
    """One row."""
    with _opened(path) as reader:
        present = [name for name in columns or reader.schema.names if name in reader.schema.names]
        row: Row = reader.get_batch(spot[0]).select(present).slice(spot[1], 1).to_pylist()[0]
        return row


ARROW = ShardFormat(
    name="arrow", suffix="arrow", mime="application/vnd.apache.arrow.file", writer=ArrowWriter, rows=rows,
    metadata=metadata, schema=schema, values=values, row_at=row_at,
)  # fmt: skip
