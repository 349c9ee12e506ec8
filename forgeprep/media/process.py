"""Read media in other processes, so that a file which crashes, hangs or bloats its decoder harms nothing else.

Ray's workers are such processes already. Everywhere else (scanning, ``--workers 1``, ``predict``, …) the functions of
:mod:`forgeprep.media.video` pass the work to a reader (:mod:`forgeprep.media.reader`) inside :func:`reading`. A
reader is split off another process (:mod:`forgeprep.media.fork_server`), serves one file at a time, and is used again.
"""

from __future__ import annotations

import atexit
import contextlib
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from forgeprep.errors import MediaError
from forgeprep.media import fork_server, guard
from forgeprep.media.shared_frames import Slab, new_slab

NO_MEMORY = 3
"""Exit code of a reader that could not get the memory it needs."""
_KEPT, _WAITING = 16, 4
"""Idle readers that are kept while media are read, and between two times: a command may plan, then run."""

_lock = threading.Lock()
_idle: list[_Reader] = []
_settings: tuple[int, float] | None = None


@contextmanager
def reading(*, memory: int | None = None, seconds: float | None = None, ahead: int = 0) -> Iterator[None]:
    """Inside, media are read in other processes.

    Args:
        memory: bytes that each may take.
        seconds: how long it may show no progress.
        ahead: how many are started at once, to be ready when the first file is read.
    """
    global _settings
    before = _settings
    inner = before or (guard.MEMORY, guard.TIMEOUT_S)
    _settings = (memory or inner[0], seconds or inner[1])
    try:
        for _ in range(ahead):
            _give(_Reader(*_settings))
        yield
    finally:
        _settings = before
        if before is None:
            close(but=_WAITING)


def in_use() -> bool:
    """Whether media are read in other processes now."""
    return _settings is not None


def waiting_time_s(seconds: float) -> float:
    """How long to wait for a reader. Its own clock ends it earlier, unless it is stopped or swapped out."""
    return 1.25 * seconds + 10


def ask(what: str, path: Path) -> dict[str, Any]:
    """A file's ``header``, the header's ``rate`` alone or its ``facts``, as a mapping.

    Raises:
        MediaError: the file cannot be read, or it killed its reader.
    """
    reader = _take(path)
    reader.send((what, str(path)))
    kind, value = reader.receive()
    return dict(_finished(reader, kind, value))


def ask_headers(paths: Sequence[Path]) -> list[dict[str, Any] | MediaError]:
    """The ``header`` of each file, or why it cannot be read, at one go: a message for each costs as much as reading.

    Raises:
        MediaError: one of them killed the reader; which, is found by asking for one at a time.
    """
    reader = _take(paths[0])
    reader.send(("headers", [str(path) for path in paths]))
    kind, value = reader.receive()
    return list(_finished(reader, kind, value, refuse=False))


def frames(path: Path, learned: Any = None) -> Iterator[Any]:
    """The frames of a file, one ahead of the caller; fills in ``learned``. Raises MediaError as :func:`ask` does."""
    reader = _take(path)
    whole = False
    try:
        reader.send(("frames" if learned is None else "frames and facts", str(path)))
        while True:
            kind, value = reader.receive()
            if learned is not None and kind in ("learned", "end"):
                for name, fact in value.items():
                    setattr(learned, name, fact)
            if kind == "learned":
                continue
            if kind != "frame":
                whole = True
                _finished(reader, kind, value)
                return
            reader.send("next")
            yield value
    finally:
        if not whole:
            reader.stop()


@atexit.register
def close(but: int = 0) -> None:
    """End the idle readers, except ``but`` of them; and if none is kept, what starts them."""
    with _lock:
        ended, _idle[:] = _idle[but:], _idle[:but]
    for reader in ended:
        reader.end()
    if not but:
        fork_server.end()


def _finished(reader: _Reader, kind: str, value: Any, *, refuse: bool = True) -> Any:
    if kind == "died":
        if refuse:
            guard.refuse({reader.path: value})
        raise MediaError(str(reader.path), value, reason="worker_died")
    _give(reader)
    if kind == "error":
        raise value
    return value


def _take(path: Path) -> _Reader:
    assert _settings is not None
    with _lock:
        # An idle reader may have been killed from outside.
        fit = [reader for reader in _idle if _fits(reader)]
        reader = fit[-1] if fit else None
        if reader is not None:
            _idle.remove(reader)
    if reader is None:
        reader = _Reader(*_settings)
    reader.path = path
    return reader


def _fits(reader: _Reader) -> bool:
    # Paths may be relative, and a reader stays in the folder that it was started in.
    return (reader.settings, reader.folder) == (_settings, _folder()) and reader.process.poll() is None


def _folder() -> str:
    try:
        return str(Path.cwd())
    except OSError:  # It has been removed.
        return ""


def _give(reader: _Reader) -> None:
    with _lock:
        keep = len(_idle) < _KEPT
        if keep:
            _idle.append(reader)
    if not keep:
        reader.end()


class _Reader:
    """A process that reads media, and the connection to it."""

    def __init__(self, memory: int, seconds: float) -> None:
        self.settings, self.folder = (memory, seconds), _folder()
        self.path = Path()
        self.line, theirs = Pipe()
        self.slab = Slab(new_slab())
        with theirs:
            order = fork_server.Order(theirs.fileno(), self.slab.handle, self.folder, memory, seconds)
            self.process = fork_server.start(order)

    def send(self, message: Any) -> None:
        """Send a message; that the reader is gone is noticed when its answer is awaited."""
        with contextlib.suppress(OSError):
            self.line.send(message)

    def receive(self) -> tuple[str, Any]:
        """The answer, or ``("died", why)``."""
        guard.alive()
        try:
            if self.line.poll(waiting_time_s(self.settings[1])):
                kind, value = self.line.recv()
                guard.alive()
                return kind, self.slab.take(*value) if kind == "frame" else value
            self.process.kill()
            return "died", self._end(f"the decoder hangs: no frame for {self.settings[1]:g} s")
        except (EOFError, OSError):
            return "died", self._end(None)
        except BaseException:
            self.end()
            raise

    def stop(self) -> None:
        """Stop a stream before its end; the reader is kept if it answers at once."""
        try:
            if self.process.poll() is None and self.line.poll(1.0):
                if self.line.recv()[0] == "frame":
                    self.line.send("stop")
                _give(self)
                return
        except (EOFError, OSError):
            pass
        self.end()

    def end(self) -> None:
        """End the process."""
        self._close()
        self.process.kill()
        self.process.wait()

    def _close(self) -> None:
        # The garbage collector closes a connection before it ends what still reads from it.
        with contextlib.suppress(OSError):
            self.line.close()
        self.slab.close()

    def _end(self, why: str | None) -> str:
        self._close()
        code = self.process.wait()
        if why is not None:
            return why
        if code < 0:
            return f"it kills the decoder ({signal.Signals(-code).name})"
        if code == NO_MEMORY:
            return f"claims more than it holds (decoding it takes more than {self.settings[0] >> 20:,} MB)"
        return f"the decoder hangs: no frame for {self.settings[1]:g} s"
