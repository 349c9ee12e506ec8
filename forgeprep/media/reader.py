"""The process that reads media for another one: ``python -m forgeprep.media.reader LINE SLAB BYTES SECONDS``.

It gets ``(what, path)`` over the socket and answers with facts, or with frames, whose planes go through a slab. It
ends when the other process does.
"""

from __future__ import annotations

import contextlib
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import fields
from multiprocessing.connection import Connection
from typing import Any

from forgeprep.errors import MediaError
from forgeprep.io.storage import path_of_name
from forgeprep.media import guard, video
from forgeprep.media.process import NO_MEMORY
from forgeprep.media.shared_frames import Slab

_ANSWERS: dict[str, Callable[[Any], Any]] = {
    "header": video.read_header,
    "rate": lambda path: video.read_header(path, count=False),
    "facts": video.read_facts,
    "times": video.read_times,
}


def serve(line: Connection, slab: Slab, seconds: float) -> None:
    """Answer requests until the other side is gone."""
    while True:
        what, name = line.recv()
        if what == "headers":
            line.send(("end", [_header(path_of_name(one), seconds) for one in name]))
            continue
        path = path_of_name(name)
        try:
            if what in ("frames", "frames and facts"):
                _stream(line, slab, path, seconds, video.Learned() if what != "frames" else None)
            else:
                with guard.clock(seconds):
                    found = _ANSWERS[what](path)
                line.send(("end", _values(found)))
        except MediaError as error:
            guard.release_memory()
            line.send(("error", error))


def _header(path: Any, seconds: float) -> dict[str, Any] | MediaError:
    try:
        with guard.clock(seconds):
            return _values(video.read_header(path))
    except MediaError as error:
        guard.release_memory()
        return error


def _stream(line: Connection, slab: Slab, path: Any, seconds: float, learned: video.Learned | None) -> None:
    """Send frames one by one on request; the clock stops while the other side is busy."""
    told = learned is None
    with guard.clock(seconds):
        for frame in video.read_frames(path, learned):
            if not told:
                line.send(("learned", _values(learned)))
                told = True
            line.send(("frame", slab.put(frame)))
            if line.poll(min(1.0, seconds / 4)):
                answer = line.recv()
            else:
                with guard.clock(None):
                    answer = line.recv()
            if answer == "stop":
                return
        line.send(("end", _values(learned) if learned is not None else {}))


def _values(found: Any) -> dict[str, Any]:
    return {field.name: getattr(found, field.name) for field in fields(found)}


def main(line: int, slab: int, memory: int, seconds: float) -> int:
    """Serve over an open socket and a slab; returns the exit code."""
    import av.logging
    import cv2

    # Ctrl-C is handled by the process that asks, which ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    cv2.setNumThreads(0)
    av.logging.set_level(av.logging.PANIC)
    guard.limit_memory(memory)
    with contextlib.suppress(EOFError, ConnectionError):
        try:
            serve(Connection(line), Slab(slab), seconds)
        except MemoryError:
            return NO_MEMORY
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
