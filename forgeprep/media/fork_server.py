"""The fork server of readers: a process that has loaded what they need, so each starts in 10 ms instead of 250.

It splits off readers (``fork``) and tells how they end. Python's own fork server would first run the script of the
user again in each of them, and needs one more process beside it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import NamedTuple

_KILLED = -signal.SIGKILL
_MOST_BYTES = 1 << 16

_lock = threading.Lock()
_running: tuple[subprocess.Popen[bytes], socket.socket, str] | None = None
"""The fork server, the line to it, and where it finds modules."""


class Order(NamedTuple):
    """What a reader gets: two open handles, its working folder, and its limits in bytes and seconds."""

    line: int
    slab: int
    folder: str
    memory: int
    seconds: float


class Child:
    """A reader, seen from the process that asked for it; with the meanings of :class:`subprocess.Popen`."""

    def __init__(self, told: Connection) -> None:
        self.told = told
        self._pid: int | None = None
        self._code: int | None = None

    @property
    def pid(self) -> int:
        """Its process ID; waits until it is there.

        Raises:
            OSError: there is no room for another process, or the fork server was killed before it told.
        """
        if self._pid is None:
            self._hear()
        if self._pid is None:
            raise ChildProcessError("a reader could not be started")
        return self._pid

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        while self._code is None and self.told.poll():
            self._hear()
        return self._code

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        while self._code is None:
            self._hear()
        return self._code

    def kill(self) -> None:
        """End it."""
        with contextlib.suppress(OSError):
            self.poll()
        if self._code is None:
            with contextlib.suppress(OSError):
                os.kill(self.pid, signal.SIGKILL)

    def _hear(self) -> None:
        try:
            told = self.told.recv()
        except (EOFError, OSError):  # The fork server was killed, or the garbage collector has closed the line.
            told = None
        if isinstance(told, OSError):
            raise told
        if told is None:
            self._code = _KILLED
        elif self._pid is None:
            self._pid = int(told)
        else:
            self._code = int(told)
        if self._code is not None:
            with contextlib.suppress(OSError):
                self.told.close()


def start(order: Order) -> Child:
    """Start a reader; the handles stay open here."""
    told, theirs = Pipe(duplex=False)
    message = json.dumps(order[2:]).encode()
    with theirs, _lock:
        handles = [order.line, order.slab, theirs.fileno()]
        try:
            socket.send_fds(_open_line(), [message], handles)
        except ConnectionError:  # It was killed from outside.
            _end()
            socket.send_fds(_open_line(), [message], handles)
    return Child(told)


def end() -> None:
    """End the fork server; readers end by themselves when nobody asks them."""
    with _lock:
        _end()


def _open_line() -> socket.socket:
    """The line to the fork server, which is started when it is first needed."""
    global _running
    # It must find the same modules as this process, and none in the working folder.
    found = os.pathsep.join(filter(None, sys.path))
    if _running is not None and _running[2] != found:
        _end()
    if _running is None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "forgeprep.media.reader", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                # A thread would not be forked.
                env={**os.environ, "PYTHONPATH": found, "OPENBLAS_NUM_THREADS": "1"},
            )
        _running = process, ours, found
    return _running[1]


def _end() -> None:
    global _running
    if _running is not None:
        process, line, _ = _running
        line.close()
        process.kill()
        process.wait()
    _running = None


def serve(handle: int) -> Order | None:
    """Split off readers as ordered, until the process that orders them is gone: None. In a reader, its order."""
    children: dict[int, Connection] = {}
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with socket.socket(fileno=handle) as line:
        while True:
            ready, *_ = select.select([handle, woken], [], [])
            if woken in ready:
                os.read(woken, _MOST_BYTES)
                _tell_ended(children)
            if handle not in ready:
                continue
            message, handles, *_ = socket.recv_fds(line, _MOST_BYTES, 3)
            if not message:
                return None
            told = Connection(handles[2], readable=False)
            pid = _fork(told)
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for other in (told, *children.values()):
                    other.close()
                os.close(woken)
                os.close(wake)
                return Order(handles[0], handles[1], *json.loads(message))
            os.close(handles[0])
            os.close(handles[1])
            if pid is not None:
                children[pid] = told
                _tell(told, pid)


def _fork(told: Connection) -> int | None:
    try:
        return os.fork()
    except OSError as error:
        _tell(told, error)
        told.close()
        return None


def _tell_ended(children: dict[int, Connection]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        told = children.pop(pid)
        _tell(told, os.waitstatus_to_exitcode(status))
        told.close()


def _tell(told: Connection, what: object) -> None:
    # Whoever ordered the reader may be gone, or not care any more.
    with contextlib.suppress(OSError):
        told.send(what)
