"""The folder of a Ray that was started here: made, read for what went wrong, and removed with the processes in it.

Imported before all else: nothing heavy may be imported here but where it is used.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from pathlib import Path

from forgeprep.errors import ForgeprepError

_PREFIX = "fp-ray-"
LONGEST_TEMP = 107 - len(f"/{_PREFIX}12345678/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store")
"""Bytes in the name of the folder for temporary files, so that Ray's sockets fit below it."""


def make_folder() -> str:
    """A new folder for all of Ray's files: nobody else writes there, and its sockets' paths have 107 bytes at most."""
    places = [os.environ.get("RAY_TMPDIR"), "/tmp", "/var/tmp", "/dev/shm"]
    with contextlib.suppress(OSError):  # None of the usual ones can be written.
        places.insert(1, tempfile.gettempdir())
    for place in places:
        if place and len(os.fsencode(place)) <= LONGEST_TEMP:
            with contextlib.suppress(OSError):
                return tempfile.mkdtemp(prefix=_PREFIX, dir=place)
    raise ForgeprepError(
        "Ray finds no folder for its temporary files; set TMPDIR to one that can be written and whose name has at most "
        f"{LONGEST_TEMP} bytes, or give --workers 1"
    )


class NoWorker(ForgeprepError):
    """No worker has begun in time; Ray's logs may tell why."""


def no_worker(folder: str | None, seconds: float) -> NoWorker:
    """The error for workers that do not begin in time; it names the log that most likely tells why."""
    logs = [path for path in Path(folder or "").glob("session_2*/logs/*") if folder and path.is_file()]
    spoken = {path.name: path for path in sorted(logs, key=lambda path: path.stat().st_mtime) if path.stat().st_size}
    # What a worker says before it can open a log of its own stands in raylet's.
    names = [*(name for name in spoken if name.startswith("worker") and name.endswith(".err")), "raylet.err"]
    found = next((str(spoken[name]) for name in names if name in spoken), folder)
    return NoWorker(
        f"no worker of Ray has begun to work within {seconds:.0f} s; {f'see {found}' if found else 'see its logs'}; "
        "give a slow machine more with --start-timeout, or --workers 1, which needs no Ray"
    )


def last_words(folder: Path) -> str | None:
    """The last line of the log of a server that died while Ray started."""
    for name in ("gcs_server.err", "raylet.err"):
        for path in folder.glob(f"session_2*/logs/{name}"):
            lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
            told = [line for line in lines if line.strip() and not line.startswith((" ", "\t", "***", "["))]
            if told:
                return told[-1].strip()[:300]
    return None


def remove(folder: str | None) -> None:
    """End the processes that work in Ray's folder, and remove it: Ray itself never does."""
    if folder is None:
        return
    end_processes(folder)
    for _ in range(20):  # Their own children die a moment later, and may write until then.
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.lexists(folder):
            return
        time.sleep(0.1)


def end_processes(folder: str) -> None:
    """End Ray's processes that work in this folder."""
    import ray  # noqa: F401 -- brings psutil

    # isort: split
    import psutil

    mine = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if any(folder in word for word in process.cmdline()):
                process.kill()
                mine.append(process)
    psutil.wait_procs(mine, timeout=10)
