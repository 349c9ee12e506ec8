"""Parquet shards: a file that pyarrow, DuckDB and Hugging Face ``datasets`` read as they are."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from forgeprep.errors import VerifyError, unknown_name
from forgeprep.io.storage import parquet_source
from forgeprep.schemas.columns import Column
from forgeprep.schemas.samples import sample_schema
from forgeprep.shards.bounds import check_claims
from forgeprep.shards.formats.base import Row, ShardFormat, Spot, WriteOnly, reason_of

_BATCH_ROWS = 32
_PAGE_ROWS = 8
"""After so many rows Arrow looks whether a page is full; else a row group's pictures are all copied to a single one."""
_DAMAGE = (OSError, ValueError, MemoryError, pa.ArrowException)


class ParquetWriter:
    """Writes each table as one row group."""

    def __init__(self, file: WriteOnly, columns: Sequence[Column], metadata: Mapping[str, str]) -> None:
        schema = file_schema(columns)
        schema = schema.with_metadata({**(schema.metadata or {}), **metadata})
        values = [leaf for leaf in _leaves(schema) if not leaf.endswith((".bytes", ".path"))]
        paths = [leaf for leaf in _leaves(schema) if leaf.endswith(".path")]
        self._writer = pq.ParquetWriter(
            pa.PythonFile(file, mode="w"),
            schema,
            # Pictures are compressed already, and no two are equal.
            compression=dict.fromkeys(values + paths, "zstd"),
            use_dictionary=values,
            write_statistics=values,
            write_page_index=True,
            write_batch_size=_PAGE_ROWS,
        )

    def write(self, table: pa.Table) -> None:
        """Append a row group."""
        self._writer.write_table(table, row_group_size=len(table))

    def finish(self) -> None:
        """Write the footer."""
        self._writer.close()


def file_schema(columns: Sequence[Column]) -> pa.Schema:
    """The schema of a Parquet shard, with the metadata by which Hugging Face ``datasets`` knows pictures.

    Picture columns may be null as far as the file says: ``datasets`` takes a column for a picture only if its field,
    nullability included, equals its own.
    """
    features = {"info": {"features": {column.name: _feature(column) for column in columns}}}
    schema = sample_schema(columns)
    for index, column in enumerate(columns):
        if column.is_picture:
            schema = schema.set(index, schema.field(index).with_nullable(True))
    return schema.with_metadata({"huggingface": json.dumps(features)})


def rows(path: Path, columns: Sequence[str] | None) -> Iterator[Row]:
    """The rows, a few dozen in memory at a time."""
    try:
        # With pre_buffer, its default, Arrow holds all that it has read until the end.
        with pq.ParquetFile(parquet_source(path), pre_buffer=False) as file:
            check_claims(path, file)
            names = file.schema_arrow.names
            for name in columns or ():
                if name not in names:
                    raise unknown_name("column", name, names)
            for batch in file.iter_batches(_BATCH_ROWS, columns=columns):
                yield from batch.to_pylist()
    except _DAMAGE as error:
        raise VerifyError(f"{path}: {reason_of(error)}") from error


def metadata(path: Path) -> dict[str, str]:
    """The texts in the schema's metadata."""
    try:
        found = pq.read_schema(parquet_source(path)).metadata or {}
        return {name.decode(): value.decode() for name, value in found.items() if name != b"huggingface"}
    except _DAMAGE as error:
        raise VerifyError(f"{path}: {reason_of(error)}") from error


def schema(path: Path) -> dict[str, pa.DataType | None]:
    """Column -> type."""
    try:
        return {field.name: field.type for field in pq.read_schema(parquet_source(path))}
    except _DAMAGE as error:
        raise VerifyError(f"{path}: {reason_of(error)}") from error


def values(path: Path, columns: Sequence[str]) -> Iterator[tuple[Spot, Row]]:
    """Spots are (row group, row in it)."""
    for group, table in tables(path, columns):
        yield from (((group, number), row) for number, row in enumerate(table.to_pylist()))


def tables(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, pa.Table]]:
    """Row groups and their numbers."""
    try:
        with pq.ParquetFile(parquet_source(path), pre_buffer=False) as file:
            present = [name for name in columns if name in file.schema_arrow.names]
            check_claims(path, file)
            for group in range(file.num_row_groups):
                yield group, file.read_row_group(group, present)
    except _DAMAGE as error:
        raise VerifyError(f"{path}: {reason_of(error)}") from error


def row_at(path: Path, spot: Spot, columns: Sequence[str] | None) -> Row:
    """A row; the last few row groups are kept."""
    # A shard may be made again within the life of a process.
    try:
        stamp = path.stat().st_mtime_ns
    except OSError as error:
        raise VerifyError(f"{path}: {error.strerror}") from error
    group = _row_group(path, spot[0], None if columns is None else tuple(columns), stamp)
    row: Row = group.slice(spot[1], 1).to_pylist()[0]
    return row


@functools.lru_cache(maxsize=4)
def _row_group(path: Path, group: int, columns: tuple[str, ...] | None, stamp: float) -> pa.Table:
    try:
        with pq.ParquetFile(parquet_source(path), pre_buffer=False) as file:
            return file.read_row_group(group, None if columns is None else list(columns))
    except _DAMAGE as error:
        raise VerifyError(f"{path}: {reason_of(error)}") from error


def _leaves(schema: pa.Schema) -> list[str]:
    """The dotted names of a schema's Parquet columns."""
    return [leaf for field in schema for leaf in _leaves_of(field.name, field.type)]


def _leaves_of(name: str, kind: pa.DataType) -> list[str]:
    if pa.types.is_struct(kind):
        return [leaf for child in kind for leaf in _leaves_of(f"{name}.{child.name}", child.type)]
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        return _leaves_of(f"{name}.list.element", kind.value_type)
    return [name]


def _feature(column: Column) -> dict[str, Any]:
    """The column's entry in the metadata that Hugging Face ``datasets`` reads."""
    if column.kind == "image":
        return {"_type": "Image"}
    if column.kind == "images":
        return {"feature": {"_type": "Image"}, "_type": "Sequence"}
    return _feature_of(column.type)


def _feature_of(kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_struct(kind):
        return {field.name: _feature_of(field.type) for field in kind}
    if pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind):
        length = {"length": kind.list_size} if pa.types.is_fixed_size_list(kind) else {}
        # Newer versions call it List, and still read this name.
        return {"feature": _feature_of(kind.value_type), **length, "_type": "Sequence"}
    return {"dtype": hugging_face_dtype(kind), "_type": "Value"}


def hugging_face_dtype(kind: pa.DataType) -> str:
    """What Hugging Face ``datasets`` calls a type that is neither a list nor a struct."""
    return {"float": "float32", "double": "float64"}.get(str(kind), str(kind))


PARQUET = ShardFormat(
    name="parquet",
    suffix="parquet",
    mime="application/x-parquet",
    writer=ParquetWriter,
    rows=rows,
    metadata=metadata,
    schema=schema,
    values=values,
    row_at=row_at,
    tables=tables,
)
