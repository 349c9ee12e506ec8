"""One run at a time works in a folder."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from forgeprep.errors import StorageError, UsageError
from forgeprep.storage import is_remote

BEAT_S = 20.0
"""So often the holder of a remote folder says that it is alive."""
DEAD_S = 90.0
"""After so long without a word it is taken for dead."""


@contextmanager
def held(out: Path) -> Iterator[None]:
    """Hold the folder, so that two runs never mix.

    Raises:
        UsageError: another run holds it.
        StorageError: it cannot be written.
    """
    with _leased(out) if is_remote(out) else _locked(out):
        yield


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """By the operating system's lock, which goes with the process, however that ends."""
    try:
        (out / "state").mkdir(parents=True, exist_ok=True)
        handle = (out / "state" / ".lock").open("w")
    except OSError as error:
        raise StorageError(f"{out}: cannot be written ({error.strerror}); give another --out") from None
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(
                f"{out}: another run is working in this folder; wait for it or give another --out"
            ) from None
        yield


@contextmanager
def _leased(out: Path) -> Iterator[None]:
    """By an object that its holder writes anew all the time: remote storage has no locks.

    Two runs that start within the same moment both write; the one that reads its own name afterwards goes on.
    """
    place = out / "state" / ".lock"
    name = f"{socket.gethostname()}, process {os.getpid()}, {uuid.uuid4().hex[:8]}"
    text = json.dumps({"holder": name}).encode()
    try:
        _refuse_if_held(out, place)
        place.write_bytes(text)
        time.sleep(1.0)
        first = place.read_bytes() == text
    except OSError as error:
        raise StorageError(f"{out}: cannot be written ({' '.join(str(error).split())[:300]})") from None
    if not first:
        raise UsageError(f"{out}: another run has just begun in this folder; wait for it or give another --out")
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(BEAT_S):
            with suppress(OSError):
                place.write_bytes(text)

    thread = threading.Thread(target=beat, daemon=True, name="forgeprep-hold")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        with suppress(OSError):
            place.unlink(missing_ok=True)


def _refuse_if_held(out: Path, place: Path) -> None:
    if not place.is_file():
        return
    # The storage's clock is asked, not ours.
    probe = place.with_name(f".now-{uuid.uuid4().hex[:8]}")
    probe.write_bytes(b"?")
    silent = probe.stat().st_mtime - place.stat().st_mtime
    probe.unlink()
    if silent < DEAD_S:
        try:
            holder = json.loads(place.read_bytes())["holder"]
        except (ValueError, KeyError, TypeError):
            holder = "unknown"
        raise UsageError(
            f"{out}: another run is working in this folder ({holder}); wait for it or give another --out. "
            f"If it has died, wait {DEAD_S - silent:.0f} s"
        )
