"""Where Ray's workers write how far they are, and at which group: read by the driver, also after a worker's death."""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any

from forgeprep.pipeline.progress import Progress


class Board:
    """Holds the latest progress of each job, and the group that it is at."""

    def __init__(self) -> None:
        self.latest: dict[str, Progress] = {}
        self.groups: dict[str, int] = {}
        self.taken: set[str] = set()

    def post(self, name: str, counts: tuple[int, ...]) -> None:
        """Take note of how far a job is."""
        self.latest[name] = Progress(*counts)

    def begin(self, name: str, group: int | None) -> None:
        """Take note of the group that a job is at; None before the first."""
        self.taken.add(name)
        self.groups.pop(name, None)
        if group is not None:
            self.groups[name] = group

    def leave(self, name: str) -> None:
        """Take note that a job has ended, however."""
        self.taken.discard(name)

    def busy(self) -> bool:
        """Whether a worker has begun a job that has not ended."""
        return bool(self.taken)

    def begun(self, name: str) -> int | None:
        """The group that a job is at; None where it is at none, or nothing is known."""
        return self.groups.get(name)

    def snapshot(self) -> dict[str, Progress]:
        """What has changed since it was asked for last."""
        latest, self.latest = self.latest, {}
        return latest


class Pipe(Board):
    """The board of a run on this machine: workers write to it through a named pipe in Ray's folder.

    An actor would be one more process, which starts just when the first samples are made.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.path = f"{folder}/board"
        os.mkfifo(self.path, 0o600)
        self._handle = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._rest = b""

    def drain(self) -> None:
        """Take in all that was written."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._handle, 1 << 16):
                *lines, self._rest = (self._rest + data).split(b"\n")
                for what, name, value in map(json.loads, lines):
                    getattr(self, what)(name, value)

    def close(self) -> None:
        """Read no more."""
        os.close(self._handle)


def tell(board: Any, what: str, name: str, value: Any) -> None:
    """Tell the board, an actor or a pipe's path; a ``begin`` has reached it when this returns."""
    if not isinstance(board, str):
        reference = getattr(board, what).remote(name, value)
        if what == "begin":
            _asked(reference, None)
        return
    with contextlib.suppress(OSError):  # Nobody reads any more.
        handle = os.open(board, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.set_blocking(handle, True)
            # So short that it is written whole or not at all.
            os.write(handle, json.dumps([what, name, value]).encode() + b"\n")
        finally:
            os.close(handle)


def _asked(reference: Any, otherwise: Any) -> Any:
    """What the board answers; it may be on its way to another node."""
    import ray

    try:
        # Not ray.get: a task that waits in it gives up its CPU meanwhile, for which Ray starts one more worker.
        return reference.future().result(timeout=10)
    except (ray.exceptions.RayError, TimeoutError):
        return otherwise


def ask(board: Any, what: str, *arguments: Any, otherwise: Any = None) -> Any:
    """What the board says."""
    if not isinstance(board, Pipe):
        return _asked(getattr(board, what).remote(*arguments), otherwise)
    board.drain()
    return getattr(board, what)(*arguments)


def start_actor() -> Any:
    """The board of a cluster, where possible on this node, which lives as long as the run."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    return ray.remote(num_cpus=0, max_restarts=-1, scheduling_strategy=here)(Board).remote()
