"""The process that reads media for another one.

``python -m forgeprep.media.reader LINE`` starts what readers are split off from (:mod:`forgeprep.media.fork_server`). A
reader gets ``(what, path)`` over a socket and answers with facts, or with frames, whose planes go through a slab. It
ends when the other process does.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import fields
from multiprocessing.connection import Connection
from typing import Any

from forgeprep.errors import MediaError
from forgeprep.io.storage import path_of_name
from forgeprep.media import fork_server, guard, video
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
                # PyAV's pictures refer to themselves, and one of 4K takes 25 MB. All else is frozen, so this is quick.
                gc.collect()
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


def main(handle: int) -> int:
    """Split off readers, and be one in each; ``handle`` is the line to the process that orders them."""
    import av.logging
    import cv2

    # Ctrl-C is handled by the process that asks, which ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    cv2.setNumThreads(0)
    av.logging.set_level(av.logging.PANIC)
    # What a collection touches could not be shared any more.
    gc.collect()
    gc.freeze()
    order = fork_server.serve(handle)
    return 0 if order is None else _read(order)


def _read(order: fork_server.Order) -> int:
    """Be a reader; returns the exit code."""
    # The folder may have been removed.
    with contextlib.suppress(OSError):
        os.chdir(order.folder)
    guard.limit_memory(order.memory)
    with contextlib.suppress(EOFError, ConnectionError):
        try:
            serve(Connection(order.line), Slab(order.slab), order.seconds)
        except MemoryError:
            return NO_MEMORY
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
