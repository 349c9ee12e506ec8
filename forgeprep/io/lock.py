"""The lock on a run's folder: who works there, and since when.

Its file lies in the folder itself, beside all that an ``--overwrite`` removes: two processes that hold files of one
name, the first of them removed, would both think that they are alone.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import threading
import time
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from forgeprep.errors import ForgeprepWarning, StorageError, UsageError
from forgeprep.io.safe_files import check_regular, open_regular, read_json
from forgeprep.io.storage import is_remote

LOCK = ".lock"
"""The file's name in the folder."""
BEAT_S = 20.0
"""The holder of a remote folder renews its lock after this many seconds."""
DEAD_S = 90.0
"""A holder that has not renewed its lock for this many seconds counts as dead."""
_CANNOT_LOCK = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)
TRIES = 10
"""How often a taken lock is tried, 0.1 s apart: :func:`last_holder` takes it for a moment to see whether it is free."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The last run that took a folder: whether it is still there, its process, and when it began (seconds, epoch)."""

    works: bool
    process: str
    began_s: float


@contextmanager
def locked(out: Path, flag: str = "--out") -> Iterator[None]:
    """Hold the folder, so that two runs never mix; ``flag`` is the option by which the user gave it.

    Raises:
        UsageError: another run holds it.
        StorageError: the folder cannot be written.
    """
    if is_remote(out):
        with _leased(out, flag):
            yield
        return
    with _taken(out, flag) as handle:
        if handle is not None:
            yield
            return
    with _leased(out, flag):
        yield


@contextmanager
def _taken(out: Path, flag: str) -> Iterator[FileIO | None]:
    """Lock by the operating system, which ends the lock with the process, however that ends.

    Yields None where the file system has no such locks, as some network file systems.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        # Not "w": the file's text and time belong to the present holder, which may be another process.
        handle = _open(_path(out))
    except OSError as error:
        raise StorageError(f"{out}: cannot be written ({error.strerror}); give another {flag}") from None
    with handle:
        for left in reversed(range(TRIES)):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if left == 0:
                    raise UsageError(
                        f"{out}: another run is working in this folder; wait for it or give another {flag}"
                    ) from None
                time.sleep(0.1)
            except OSError as error:
                if error.errno not in _CANNOT_LOCK:
                    raise StorageError(f"{out}: cannot be locked ({error.strerror}); give another {flag}") from None
                warnings.warn(
                    f"{out}: this file system has no locks ({error.strerror}); a note that is renewed every "
                    f"{BEAT_S:.0f} s in {LOCK} keeps other runs out. If a run dies, another may begin after "
                    f"{DEAD_S:.0f} s",
                    ForgeprepWarning,
                    stacklevel=1,
                )
                yield None
                return
        # The note is for people. A full disk is reported when the first shard is written.
        with suppress(OSError):
            handle.truncate(0)
            handle.write(f"{_process()}\n".encode())
        yield handle


def last_holder(out: Path) -> Holder | None:
    """Who works in the folder or worked there last; None if nobody ever did, or the file system does not say."""
    if is_remote(out):
        return _last_lease(out)
    try:
        with open_regular(_path(out)) as handle:
            works = False
            try:
                # A shared lock: two processes that ask do not disturb each other. Closing the file releases it.
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                works = True
            except OSError as error:
                if error.errno in _CANNOT_LOCK:
                    return _last_lease(out)
                raise
            process = " ".join(handle.read(200).decode("utf-8", "replace").split())
            return Holder(works, process, os.fstat(handle.fileno()).st_mtime)
    except OSError:
        return None


@contextmanager
def _leased(out: Path, flag: str) -> Iterator[None]:
    """Lock by a file that its holder keeps rewriting: remote storage and some network file systems have no locks.

    Two runs that start at the same moment both write it; the one that then reads its own name goes on.
    """
    lease = _path(out)
    note = {"process": _process(), "began": time.time(), "token": uuid.uuid4().hex}
    text = json.dumps(note).encode()
    try:
        holder = _last_lease(out)
        if holder is not None and holder.works:
            raise UsageError(
                f"{out}: another run is working in this folder ({holder.process}); wait for it or give another {flag}. "
                f"If it has died, wait {DEAD_S:.0f} s"
            )
        lease.write_bytes(text)
        time.sleep(1.0)
        first = lease.read_bytes() == text
    except OSError as error:
        raise StorageError(f"{out}: cannot be written ({' '.join(str(error).split())[:300]})") from None
    if not first:
        raise UsageError(f"{out}: another run has just begun in this folder; wait for it or give another {flag}")
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(BEAT_S):
            with suppress(OSError):
                lease.write_bytes(text)

    thread = threading.Thread(target=beat, daemon=True, name="forgeprep-hold")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        with suppress(OSError):
            lease.unlink(missing_ok=True)


def _last_lease(out: Path) -> Holder | None:
    lease = _path(out)
    try:
        note = read_json(lease)
        # By the storage's clock: ours may differ from the holder's.
        probe = lease.with_name(f".now-{uuid.uuid4().hex[:8]}")
        probe.write_bytes(b"?")
        silent = probe.stat().st_mtime - lease.stat().st_mtime
        probe.unlink()
        return Holder(silent < DEAD_S, str(note["process"]), float(note["began"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _open(path: Path) -> FileIO:
    """Open for appending; refuse pipes and devices, which would wait for another process."""
    with suppress(FileNotFoundError):
        check_regular(path)
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    return FileIO(handle, "ab")


def _process() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


def _path(out: Path) -> Path:
    return out / LOCK
