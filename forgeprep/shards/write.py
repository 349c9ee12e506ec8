"""Write a shard, in one or several formats, in one stream and all or nothing."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from forgeprep.errors import VerifyError
from forgeprep.io.atomic import publish, storage_errors, temporary_name
from forgeprep.io.storage import is_remote, upload
from forgeprep.schemas.columns import Column
from forgeprep.schemas.splits import with_stored_split
from forgeprep.schemas.version import stamp
from forgeprep.shards.formats import FORMATS
from forgeprep.shards.formats.base import Writer, picture_bytes
from forgeprep.shards.formats.parquet import file_schema
from forgeprep.shards.records import shard_path

GROUP_BYTES = 16 << 20
GROUP_ROWS = 1000
"""A Parquet row group ends at so many bytes of pictures or so many rows; by content alone, so that bytes repeat."""


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
        shard: its name, see :func:`forgeprep.shards.names.shard_name`.
        columns: the shard's columns, in file order.
        formats: names of formats, see :mod:`forgeprep.shards.formats`.
        metadata: goes into each file, with the schema version.

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
        self._pictures = [column.name for column in columns if column.is_picture]
        self._required = [column.name for column in columns if not column.nullable]
        self._pending: list[dict[str, Any]] = []
        self._held = 0
        self._sinks: list[tuple[str, Path, _HashingFile, Writer]] = []
        try:
            for name in formats:
                chosen = FORMATS.get(name)
                path = shard_path(out, shard, chosen.suffix)
                with storage_errors(path):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    file = _HashingFile(path)
                    writer = chosen.writer(file, columns, {**metadata, **stamp()})
                self._sinks.append((name, path, file, writer))
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
        self._pending.append(with_stored_split(row))
        self._held += picture_bytes({name: row.get(name) for name in self._pictures})
        self.rows += 1
        if self._held >= GROUP_BYTES or len(self._pending) >= GROUP_ROWS:
            self._flush()

    def commit(self) -> list[ShardFile]:
        """Finish the files, put them on the disk for good and give them their names."""
        self._flush()
        for _, path, file, writer in self._sinks:
            with storage_errors(path):
                writer.finish()
                file.close()
        files = []
        for name, path, file, _ in self._sinks:
            with storage_errors(path):
                file.publish()
            relative = path.relative_to(self.out).as_posix()
            files.append(ShardFile(relative, name, self.rows, file.count, file.hash.hexdigest()))
        self._sinks = []
        return files

    def _flush(self) -> None:
        rows, self._pending, self._held = self._pending, [], 0
        if not rows:
            return
        try:
            # All formats get their values from here, so that a float32 is the same number in all.
            table = pa.Table.from_pylist(rows, schema=self._schema)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            raise VerifyError(f"shard {self.shard}: a row does not fit its columns ({error})") from error
        # The table holds copies; at the peak every megabyte counts.
        del rows
        for _, path, _, writer in self._sinks:
            with storage_errors(path):
                writer.write(table)

    def _discard(self) -> None:
        for _, _, file, writer in self._sinks:
            file.discard()
            # Arrow would finish the file when it is collected, at any time.
            with suppress(OSError, ValueError):
                writer.finish()
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
        # A discarded file swallows what Arrow and other writers still have to say.
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
