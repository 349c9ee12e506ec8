"""The lock on a run's folder: who works there, and since when."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from forgeprep.errors import StorageError, UsageError

TRIES = 10
"""A taken lock is tried so often, 0.1 s apart: :func:`last_holder` takes it for an instant to see whether it can."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The last run that took a folder: whether it is still there, its process, and when it began (seconds, epoch)."""

    works: bool
    process: str
    began_s: float


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold the folder, so that two runs never mix. The lock goes with the process, however that ends.

    Raises:
        UsageError: another run holds it.
        StorageError: the folder cannot be written.
    """
    try:
        (out / "state").mkdir(parents=True, exist_ok=True)
        # Not "w": the text and the time of the file are the holder's, who may be another.
        handle = _path(out).open("ab", buffering=0)
    except OSError as error:
        raise StorageError(f"{out}: cannot be written ({error.strerror}); give another --out") from None
    with handle:
        for left in reversed(range(TRIES)):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if left == 0:
                    raise UsageError(
                        f"{out}: another run is working in this folder; wait for it or give another --out"
                    ) from None
                time.sleep(0.1)
            except OSError as error:
                raise StorageError(f"{out}: cannot be locked ({error.strerror}); give another --out") from None
        # The note is for people; a disk without room for it is found soon enough.
        with suppress(OSError):
            handle.truncate(0)
            handle.write(f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        yield


def last_holder(out: Path) -> Holder | None:
    """Who works in the folder or worked there last; None if nobody ever did, or the file system does not say."""
    try:
        with _path(out).open(encoding="utf-8", errors="replace") as handle:
            works = False
            try:
                # Shared, so that two that ask do not see each other; closing the file gives it back.
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                works = True
            process = " ".join(handle.read(200).split())
            return Holder(works, process, os.fstat(handle.fileno()).st_mtime)
    except OSError:
        return None


def _path(out: Path) -> Path:
    return out / "state" / ".lock"
