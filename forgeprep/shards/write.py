"""Write a shard, as a Parquet file, a WebDataset tar or both, in one stream and all or nothing."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from forgeprep.schemas.samples import Column, sample_schema
from forgeprep.shards.records import publish, storage_errors, temporary_name

GROUP_BYTES = 32 << 20
GROUP_ROWS = 1000
"""A Parquet row group ends at so many bytes of pictures or so many rows; by content alone, so that bytes repeat."""

EXTENSIONS = {"parquet": "parquet", "webdataset": "tar"}


@dataclass(frozen=True, slots=True)
class ShardFile:
    """A finished file of a shard; ``path`` is POSIX and relative to the run's folder."""

    path: str
    format: str
    rows: int
    bytes: int
    sha256: str


class ShardWriter:
    """Collect a shard's rows; nothing has its name until :meth:`commit`.

    Use it as a context manager: leaving it without a commit removes what was written.

    Raises:
        StorageError: from any method, if the disk refuses.
    """

    def __init__(
        self, out: Path, shard: str, columns: Sequence[Column], formats: Sequence[str], metadata: dict[str, str]
    ) -> None:
        self.out = out
        self.sinks: list[tuple[str, Path, Path, _ParquetSink | _TarSink]] = []
        sink: _ParquetSink | _TarSink
        for name in formats:
            path = out / "shards" / f"{shard}.{EXTENSIONS[name]}"
            temporary = temporary_name(path)
            with storage_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                sink = _ParquetSink(temporary, columns, metadata) if name == "parquet" else _TarSink(temporary, columns)
            self.sinks.append((name, path, temporary, sink))
        self.rows = 0

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *_: object) -> None:
        for _name, _path, temporary, sink in self.sinks:
            # On the way out of a failure the disk may refuse again; the first error is the one to show.
            with suppress(OSError, ValueError):
                sink.close()
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def add(self, row: dict[str, Any]) -> None:
        """Append a row whose pictures are encoded (:func:`forgeprep.shards.encode.encode_row`)."""
        for _, path, _, sink in self.sinks:
            with storage_errors(path):
                sink.add(row)
        self.rows += 1

    def commit(self) -> list[ShardFile]:
        """Finish the files, put them on the disk for good and give them their names."""
        files = []
        for _, path, _, sink in self.sinks:
            with storage_errors(path):
                sink.close()
        for name, path, temporary, sink in self.sinks:
            with storage_errors(path):
                publish(temporary, path)
            relative = path.relative_to(self.out).as_posix()
            files.append(ShardFile(relative, name, self.rows, sink.file.count, sink.file.hash.hexdigest()))
        self.sinks = []
        return files


class _HashingFile(io.RawIOBase):
    """A file that is hashed as it is written, so that its checksum never comes from reading back a bad disk."""

    def __init__(self, path: Path) -> None:
        self.raw: BinaryIO = path.open("wb", buffering=1 << 20)
        self.hash = hashlib.sha256()
        self.count = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.count

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self.raw.write(view)
        self.hash.update(view)
        self.count += view.nbytes
        return view.nbytes

    def flush(self) -> None:
        if not self.raw.closed:
            self.raw.flush()

    def close(self) -> None:
        if self.raw.closed:
            return
        try:
            self.raw.flush()
            os.fsync(self.raw.fileno())
        finally:
            self.raw.close()
            super().close()


class _ParquetSink:
    def __init__(self, path: Path, columns: Sequence[Column], metadata: dict[str, str]) -> None:
        self.file = _HashingFile(path)
        features = {"info": {"features": {c.name: _feature(c) for c in columns}}}
        self.schema = sample_schema(columns).with_metadata({"huggingface": json.dumps(features), **metadata})
        self.images = [column.name for column in columns if column.kind == "image"]
        self.writer = pq.ParquetWriter(
            pa.PythonFile(self.file, mode="w"),
            self.schema,
            # Pictures are compressed already.
            compression={
                leaf: "none" if leaf.split(".")[0] in self.images else "zstd" for leaf in _leaves(self.schema)
            },
            use_dictionary=[name for name in _leaves(self.schema) if name.split(".")[0] not in self.images],
            write_statistics=[name for name in _leaves(self.schema) if name.split(".")[0] not in self.images],
        )
        self.pending: list[dict[str, Any]] = []
        self.held = 0

    def add(self, row: dict[str, Any]) -> None:
        self.pending.append(row)
        self.held += sum(len(row[name]["bytes"]) for name in self.images if row[name] is not None)
        if self.held >= GROUP_BYTES or len(self.pending) >= GROUP_ROWS:
            self._flush()

    def close(self) -> None:
        if self.writer is not None:
            writer, self.writer = self.writer, None
            try:
                if self.pending:
                    writer.write_table(pa.Table.from_pylist(self.pending, schema=self.schema))
            finally:
                self.pending = []
                writer.close()
        self.file.close()

    def _flush(self) -> None:
        self.writer.write_table(pa.Table.from_pylist(self.pending, schema=self.schema))
        self.pending, self.held = [], 0


class _TarSink:
    """A WebDataset tar by the standard library: no time stamp and no owner, so that equal samples give equal bytes."""

    def __init__(self, path: Path, columns: Sequence[Column]) -> None:
        self.file = _HashingFile(path)
        self.columns = columns
        self.tar = tarfile.open(fileobj=self.file, mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115

    def add(self, row: dict[str, Any]) -> None:
        # The reader cuts a member's name at its first dot: the key must have none.
        key = row["sample_id"].replace(".", "_")
        values: dict[str, Any] = {}
        for column in self.columns:
            value = row[column.name]
            if column.kind == "image":
                if value is not None:
                    extension = value["path"].rsplit(".", 1)[1]
                    part = extension if column.name == "image" else f"{column.name}.{extension}"
                    self._member(f"{key}.{part}", value["bytes"])
            else:
                values[column.name] = value.hex() if isinstance(value, bytes) else value
        self._member(f"{key}.json", json.dumps(values, sort_keys=True, ensure_ascii=False).encode())

    def close(self) -> None:
        self.tar.close()
        self.file.close()

    def _member(self, name: str, data: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        self.tar.addfile(info, io.BytesIO(data))


def _leaves(schema: pa.Schema) -> list[str]:
    """The dotted names of a schema's Parquet columns."""
    names = []
    for field in schema:
        if pa.types.is_struct(field.type):
            names += [f"{field.name}.{child.name}" for child in field.type]
        elif pa.types.is_list(field.type) or pa.types.is_fixed_size_list(field.type):
            names.append(f"{field.name}.list.element")
        else:
            names.append(field.name)
    return names


def _feature(column: Column) -> dict[str, Any]:
    """The column's entry in the metadata that Hugging Face ``datasets`` reads."""
    if column.kind == "image":
        return {"_type": "Image"}
    kind = column.type
    if pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind):
        length = kind.list_size if pa.types.is_fixed_size_list(kind) else -1
        return {"feature": {"dtype": _dtype(kind.value_type), "_type": "Value"}, "length": length, "_type": "List"}
    return {"dtype": _dtype(kind), "_type": "Value"}


def _dtype(kind: pa.DataType) -> str:
    return {"float": "float32", "double": "float64"}.get(str(kind), str(kind))
