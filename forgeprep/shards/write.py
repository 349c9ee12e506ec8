"""Write a shard, as a Parquet file, a WebDataset tar or both, in one stream and all or nothing."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from forgeprep.errors import VerifyError
from forgeprep.io.atomic import publish, storage_errors, temporary_name
from forgeprep.io.storage import is_remote, upload
from forgeprep.schemas.samples import Column, sample_schema

GROUP_BYTES = 16 << 20
GROUP_ROWS = 1000
"""A Parquet row group ends at so many bytes of pictures or so many rows; by content alone, so that bytes repeat."""

EXTENSIONS = {"parquet": "parquet", "webdataset": "tar"}
"""Shard format -> file name extension."""


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

    Args:
        out: the run's folder.
        shard: ``split/number``.
        columns: the shard's columns, in file order.
        formats: ``parquet``, ``webdataset`` or both.
        metadata: goes into the Parquet file's schema; a tar has no place for it.

    Raises:
        StorageError: from any method, if the disk refuses.
        VerifyError: a row does not fit the columns.
    """

    def __init__(
        self, out: Path, shard: str, columns: Sequence[Column], formats: Sequence[str], metadata: dict[str, str]
    ) -> None:
        self.out = out
        self.shard = shard
        self.rows = 0
        self._schema = file_schema(columns)
        self._images = [column.name for column in columns if column.kind != "value"]
        self._required = [column.name for column in columns if not column.nullable]
        self._pending: list[dict[str, Any]] = []
        self._held = 0
        self._sinks: list[tuple[str, Path, _ParquetSink | _TarSink]] = []
        try:
            for name in formats:
                path = out / "shards" / f"{shard}.{EXTENSIONS[name]}"
                with storage_errors(path):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    file = _HashingFile(path)
                    schema = self._schema.with_metadata({**(self._schema.metadata or {}), **metadata})
                    sink = _ParquetSink(file, schema) if name == "parquet" else _TarSink(file, self._images)
                self._sinks.append((name, path, sink))
        except BaseException:
            self._discard()
            raise

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._discard()

    def add(self, row: dict[str, Any]) -> None:
        """Append a row whose pictures are encoded (:func:`forgeprep.shards.encode.encode_row`)."""
        # The file's schema lets pictures be null (see file_schema), so Arrow does not check it.
        empty = [name for name in self._required if row.get(name) is None]
        if empty:
            raise VerifyError(f"{row.get('sample_id')}: '{empty[0]}' is empty, and a sample may not lack it")
        self._pending.append(row)
        self._held += picture_bytes({name: row.get(name) for name in self._images})
        self.rows += 1
        if self._held >= GROUP_BYTES or len(self._pending) >= GROUP_ROWS:
            self._flush()

    def commit(self) -> list[ShardFile]:
        """Finish the files, put them on the disk for good and give them their names."""
        self._flush()
        for _, path, sink in self._sinks:
            with storage_errors(path):
                sink.finish()
                sink.file.close()
        files = []
        for name, path, sink in self._sinks:
            with storage_errors(path):
                sink.file.publish()
            relative = path.relative_to(self.out).as_posix()
            files.append(ShardFile(relative, name, self.rows, sink.file.count, sink.file.hash.hexdigest()))
        self._sinks = []
        return files

    def _flush(self) -> None:
        rows, self._pending, self._held = self._pending, [], 0
        if not rows:
            return
        try:
            # Both formats get their values from here, so that a float32 is the same number in both.
            table = pa.Table.from_pylist(rows, schema=self._schema)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            raise VerifyError(f"shard {self.shard}: a row does not fit its columns ({error})") from error
        # The table holds copies; at the peak every megabyte counts.
        del rows
        for _, path, sink in self._sinks:
            with storage_errors(path):
                sink.write(table)

    def _discard(self) -> None:
        for _, _, sink in self._sinks:
            sink.file.discard()
            # Arrow would finish the file when it is collected, at any time.
            with suppress(OSError, ValueError):
                sink.finish()
        self._sinks = []


class _HashingFile:
    """A file that is hashed as it is written, so that its checksum never comes from reading back a bad disk.

    Until it is published it lies beside its name, or for remote storage in a file that has none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._temporary = None if is_remote(path) else temporary_name(path)
        self.hash = hashlib.sha256()
        self.count = 0
        self.closed = False
        if self._temporary is None:
            self._raw: IO[bytes] = tempfile.TemporaryFile(prefix="forgeprep-")  # noqa: SIM115
        else:
            self._raw = self._temporary.open("wb", buffering=1 << 20)

    def tell(self) -> int:
        return self.count

    def write(self, data: Any) -> int:
        view = memoryview(data)
        # A discarded file swallows what Arrow and tarfile still have to say.
        if not self._raw.closed:
            self._raw.write(view)
            self.hash.update(view)
            self.count += view.nbytes
        return view.nbytes

    def flush(self) -> None:
        """Nothing: the buffer is written when it is full, and in :meth:`close`."""

    def close(self) -> None:
        """Bring the bytes to the disk for good."""
        if self._temporary is not None and not self._raw.closed:
            with self._raw:
                self._raw.flush()
                os.fsync(self._raw.fileno())

    def publish(self) -> None:
        """Give the file its name, after :meth:`close`."""
        if self._temporary is not None:
            publish(self._temporary, self.path)
        else:
            upload(self._raw, self.path)
            self._raw.close()

    def discard(self) -> None:
        """Remove the file if it has not been published."""
        # A full disk refuses the rest of the buffer again; the first error is the one to show.
        with suppress(OSError):
            self._raw.close()
        if self._temporary is not None:
            with suppress(OSError):
                self._temporary.unlink(missing_ok=True)


class _ParquetSink:
    def __init__(self, file: _HashingFile, schema: pa.Schema) -> None:
        self.file = file
        values = [leaf for leaf in _leaves(schema) if not leaf.endswith((".bytes", ".path"))]
        paths = [leaf for leaf in _leaves(schema) if leaf.endswith(".path")]
        self._writer = pq.ParquetWriter(
            pa.PythonFile(file, mode="w"),
            schema,
            # Pictures are compressed already, and no two are equal.
            compression=dict.fromkeys(values + paths, "zstd"),
            use_dictionary=values,
            write_statistics=values,
        )

    def write(self, table: pa.Table) -> None:
        self._writer.write_table(table, row_group_size=len(table))

    def finish(self) -> None:
        self._writer.close()


class _TarSink:
    """A WebDataset tar by the standard library: no time stamp and no owner, so that equal samples give equal bytes."""

    def __init__(self, file: _HashingFile, images: Sequence[str]) -> None:
        self.file = file
        self._images = images
        self._tar = tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT)  # type: ignore[call-overload]  # noqa: SIM115

    def write(self, table: pa.Table) -> None:
        for row in table.to_pylist():
            key = tar_key(row["sample_id"])
            for name in self._images:
                pictures = [picture for picture in pictures_of(row[name]) if picture is not None]
                for picture in pictures:
                    self._member(key + picture["path"].removeprefix(row["sample_id"]), picture["bytes"])
                if pictures:
                    del row[name]
            self._member(f"{key}.json", _json_bytes(row))

    def finish(self) -> None:
        self._tar.close()

    def _member(self, name: str, data: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        self._tar.addfile(info, io.BytesIO(data))


def pictures_of(value: Any) -> list[dict[str, Any] | None]:
    """The pictures in a column's value: one or none, or those of a clip sample's frames."""
    values = value if isinstance(value, list) else [value]
    return values if all(v is None or (isinstance(v, dict) and "bytes" in v) for v in values) else []


def picture_bytes(row: dict[str, Any]) -> int:
    """How many bytes of encoded pictures a row holds."""
    return sum(len(picture["bytes"]) for value in row.values() for picture in pictures_of(value) if picture is not None)


def tar_key(sample_id: str) -> str:
    """A sample's WebDataset key. Readers cut a name at its first dot, so dots become ``%2E`` (and ``%``, ``%25``).

    >>> tar_key("dfdc/real/clip.v2/0/000001")
    'dfdc/real/clip%2Ev2/0/000001'
    """
    return sample_id.replace("%", "%25").replace(".", "%2E")


def file_schema(columns: Sequence[Column]) -> pa.Schema:
    """The schema of a Parquet shard, with the metadata by which Hugging Face ``datasets`` knows pictures.

    Picture columns may be null as far as the file says: ``datasets`` takes a column for a picture only if its field,
    nullability included, equals its own.
    """
    features = {"info": {"features": {column.name: _feature(column) for column in columns}}}
    schema = sample_schema(columns)
    for index, column in enumerate(columns):
        if column.kind != "value":
            schema = schema.set(index, schema.field(index).with_nullable(True))
    return schema.with_metadata({"huggingface": json.dumps(features)})


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
    if pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind):
        length = {"length": kind.list_size} if pa.types.is_fixed_size_list(kind) else {}
        # Newer versions call it List, and still read this name.
        return {"feature": _feature_of(kind.value_type), **length, "_type": "Sequence"}
    return {"dtype": _dtype(kind), "_type": "Value"}


def _dtype(kind: pa.DataType) -> str:
    return {"float": "float32", "double": "float64"}.get(str(kind), str(kind))


def _hex(value: Any) -> Any:
    if isinstance(value, list):
        return [_hex(item) for item in value]
    return value.hex() if isinstance(value, bytes) else value


def _json_bytes(row: dict[str, Any]) -> bytes:
    """A row without its pictures as JSON; binary values as hex, a picture that is missing as null."""
    values = {name: _hex(value) for name, value in row.items()}
    try:
        return json.dumps(values, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        raise VerifyError(f"{row['sample_id']}: a value is not finite, which JSON cannot hold") from None
