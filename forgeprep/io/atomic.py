"""Files that are written whole or not at all, and what to do when they cannot be."""

from __future__ import annotations

import errno
import os
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forgeprep.errors import ForgeprepWarning, StorageError
from forgeprep.io.storage import is_remote

_REMEDY = {
    errno.ENOSPC: "no space left; free some and run the same command again",
    errno.EDQUOT: "disk quota exceeded; free some space and run the same command again",
    # Many commands write, each with a flag of its own for the place.
    errno.EACCES: "permission denied; give a place that you may write to",
    errno.EPERM: "not permitted; give a place that you may write to",
    errno.EROFS: "the file system is read-only; give a place that you may write to",
}
_CANNOT_SYNC = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF, errno.EACCES, errno.EPERM)


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's errors about ``path`` into a :class:`StorageError` that says what to do."""
    try:
        yield
    except OSError as error:
        # Arrow has the error's number only in its text.
        code = error.errno or next((n for n in _REMEDY if f"errno {n}]" in str(error)), None)
        text = " ".join(str(error.strerror or error).split())[:300]
        remedy = _REMEDY.get(code or 0, f"cannot be written ({text})")
        raise StorageError(f"{path}: {remedy}") from error


def temporary_name(path: Path) -> Path:
    """A unique name beside ``path`` for the file while it is written: a worker thought dead may still be writing."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")


def publish(temporary: Path, path: Path) -> None:
    """Rename a finished local temporary file to ``path``, durably. The caller has flushed and synced it."""
    temporary.replace(path)
    try:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise
        warnings.warn(
            f"this file system cannot write folders through to the disk ({error.strerror}): after a power cut, "
            "files that were finished last may be gone, and are made again",
            ForgeprepWarning,
            stacklevel=1,
        )


def atomic_write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Write a file whole or not at all.

    Raises:
        StorageError: it cannot be written.
    """
    with storage_errors(path):
        if is_remote(path):
            path.write_bytes(data)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_name(path)
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            publish(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
