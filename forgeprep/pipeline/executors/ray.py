"""Make shards as Ray tasks, one a shard. The only module of the pipeline that knows Ray.

It is imported before all else, and by the process of the board where that is an actor: what only workers and a run on
its way need is imported where it is used.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import tempfile
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import astuple, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgeprep.errors import ForgeprepError, GroupFailed, OutOfMemory, StorageError, UsageError
from forgeprep.media import guard
from forgeprep.pipeline.progress import Progress, Report

if TYPE_CHECKING:
    from forgeprep.pipeline.make_shard import Job
    from forgeprep.schemas.config import RunConfig

MAX_DEATHS = 20
"""A shard whose worker dies so often, at groups unknown, has failed."""
LOG_BYTES = 8 << 20
"""A log of Ray's begins anew at this size."""
MAX_GROUP_DEATHS = 5
"""After so many deaths at a group whose files decode well, the group is given up; if that does not help after as many
more, its shard has failed."""

LONGEST_TEMP = 107 - len("/ray/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store")
"""Bytes in the name of the folder for temporary files, so that Ray's sockets fit below it."""


class RayStart:
    """Ray on its way up, in a thread of its own, while a run is planned.

    The thread lives until :meth:`end`: Linux ends Ray's processes with the thread that started them.

    Args:
        workers: tasks at a time on this machine.
        address: of a cluster, which is used in its place.
    """

    def __init__(self, workers: int, address: str | None) -> None:
        self.address = address
        self._workers = workers
        self._thread = ThreadPoolExecutor(1, "forgeprep-ray")
        self._session: Future[str | None] | None = None
        self._thread.submit(_import_ray, local=address is None)

    def begin(self) -> None:
        """Start Ray's processes, or reach the cluster; before that, no more than an import is lost with :meth:`end`."""
        if self._session is None:
            self._session = self._thread.submit(_start_ray, self._workers, self.address)

    def wait(self) -> str | None:
        """When Ray is there: the folder of what was started here.

        Raises:
            UsageError: no cluster answers at the address.
        """
        self.begin()
        assert self._session is not None
        return self._session.result()

    def end(self, *, wait: bool = True, keep_logs: bool = False) -> None:
        """End Ray and the thread; again is harmless. Without ``wait``, it happens at the latest as the process ends."""
        session, self._session = self._session, None
        if session is not None and not session.cancel():
            self._thread.submit(_end_ray, session, keep_logs=keep_logs)
        self._thread.shutdown(wait=wait)


def run_on_ray(jobs: list[Job], start: RayStart, report: Report) -> Generator[tuple[str, str | None], None, None]:
    """Make shards on this machine or on a cluster, as Ray was started.

    Yields a shard's name and what went wrong, or None, as each ends; closing the generator ends Ray and its workers.

    Raises:
        StorageError: a worker cannot write the output.
        UsageError: no cluster answers at ``address``.
    """
    deaths = _Deaths()
    board: Any = None
    try:
        if not jobs:
            return
        session = start.wait()
        import ray

        from forgeprep.pipeline.make_shard import give_up

        board = _actor() if session is None else _Pipe(session)
        place = board.path if isinstance(board, _Pipe) else board
        # Ray itself repeats nothing: a retry has to know at which group the worker before it died.
        there = ray.cluster_resources()  # type: ignore[no-untyped-call]
        asks = request(jobs[0].config, there, on_cluster=start.address is not None)
        remote: Any = ray.remote
        task = remote(max_retries=0, **asks)(_ray_task)
        waiting = {task.remote(job, place): job for job in jobs}
        pause = 0.1
        while waiting:
            # All that have ended in half a second at once: one by one, thousands of shards keep the driver busy.
            done, _ = ray.wait(list(waiting), num_returns=len(waiting), timeout=pause)
            for name, progress in _ask(board, "snapshot", otherwise={}).items():
                report(name, progress)
                pause = 0.5
            for reference in done:
                job = waiting.pop(reference)
                outcome = _outcome(reference)
                again = None
                if isinstance(outcome, StorageError):
                    raise outcome
                if isinstance(outcome, OutOfMemory) and not job.suspected:
                    again = replace(job, suspected=frozenset({outcome.group}))
                elif isinstance(outcome, GroupFailed):
                    again = give_up(job, outcome)
                if isinstance(outcome, _WorkerDied):
                    again = deaths.next_try(job, _ask(board, "begun", job.name))
                if again is not None:
                    waiting[task.remote(again, place)] = again
                elif isinstance(outcome, Progress):
                    report(job.name, outcome)
                    yield job.name, None
                else:
                    yield job.name, str(outcome)
    finally:
        # No ray.cancel first: a forced one aborts this process when the task ends in the same moment (Ray 2.60). The
        # logs may tell what killed a worker, and nothing else.
        start.end(keep_logs=bool(deaths.counts))
        if isinstance(board, _Pipe):
            board.close()


class _WorkerDied(Exception):
    """The process or node that made a shard is gone."""


def _outcome(reference: Any) -> Progress | Exception:
    """What became of a shard; the board's last word on it may never come."""
    import ray

    try:
        done: Progress = ray.get(reference)
        return done
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        return cause if isinstance(cause, ForgeprepError) else RuntimeError(str(error))
    except ray.exceptions.RayError as error:
        return _WorkerDied(f"the worker died again and again ({type(error).__name__}: {error})")


class _Deaths:
    """How often workers have died, by shard and group."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, int | None]] = Counter()

    def next_try(self, job: Job, group: int | None) -> Job | None:
        """The job to try after a death at a group, if that is known; None if the shard has been tried often enough.

        At that one, media are read in processes of their own (:mod:`forgeprep.media.process`), which die in its
        place.
        """
        self.counts[job.name, group] += 1
        count = self.counts[job.name, group]
        if group is None:
            return job if count < MAX_DEATHS else None
        if count >= 2 * MAX_GROUP_DEATHS:
            return None
        if count >= MAX_GROUP_DEATHS:
            why = f"{count} workers died at this clip or those that belong to it, and each file decodes well alone"
            return replace(job, given_up={**job.given_up, group: why})
        return replace(job, suspected=job.suspected | {group})


def _asked(reference: Any, otherwise: Any) -> Any:
    """What the board answers; it may be on its way to another node."""
    import ray

    try:
        # Not ray.get: a task that waits in it gives up its CPU meanwhile, for which Ray starts one more worker.
        return reference.future().result(timeout=10)
    except (ray.exceptions.RayError, TimeoutError):
        return otherwise


def _ask(board: Any, what: str, *arguments: Any, otherwise: Any = None) -> Any:
    """What the board says."""
    if not isinstance(board, _Pipe):
        return _asked(getattr(board, what).remote(*arguments), otherwise)
    board.drain()
    return getattr(board, what)(*arguments)


def _actor() -> Any:
    """The board of a cluster, where possible on this node, which lives as long as the run."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    return ray.remote(num_cpus=0, max_restarts=-1, scheduling_strategy=here)(_Board).remote()  # type: ignore[call-overload]


def request(config: RunConfig, there: Mapping[str, float], *, on_cluster: bool) -> dict[str, float]:
    """What a shard's task asks Ray for: a CPU, and what its stages need.

    On this machine the user says how many work at a time, so memory is asked for on a cluster alone.
    """
    from forgeprep.stages import resolve_stages

    stages = resolve_stages(config.stages)
    needs = [stage.resources(stage.params(**config.params[stage.name])) for stage in stages]
    gpus = max(need.gpus for need in needs) if there.get("GPU", 0) else 0.0
    memory = float(max(need.memory for need in needs)) if on_cluster else 0.0
    return {"num_cpus": 1.0, **({"num_gpus": gpus} if gpus else {}), **({"memory": memory} if memory else {})}


def set_environment(*, local: bool) -> None:
    """What Ray reads from the environment when it is imported."""
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if local:
        # Its servers then use the loopback address, as on macOS and Windows; else they listen on all interfaces.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        # A worker's log grows without end unless this is set; so at most twice as much is kept of each.
        os.environ.setdefault("RAY_ROTATION_MAX_BYTES", str(LOG_BYTES))
        os.environ.setdefault("RAY_ROTATION_BACKUP_COUNT", "1")
        # Else Ray ends spare workers after a second and starts others, each with five logs of its own, all run long.
        os.environ.setdefault("RAY_idle_worker_killing_time_threshold_ms", str(24 * 3600 * 1000))
        # Workers start with Ray's servers, not when those are up.
        os.environ.setdefault("RAY_enable_worker_prestart", "1")
        # Its sockets lie in the folder for temporary files, and a socket's path has 107 bytes at most.
        if len(os.fsencode(tempfile.gettempdir())) > LONGEST_TEMP and Path("/tmp").is_dir():
            os.environ.setdefault("RAY_TMPDIR", "/tmp")


def _import_ray(*, local: bool) -> None:
    set_environment(local=local)
    with contextlib.suppress(ImportError):  # It is said where Ray is needed.
        import ray  # noqa: F401


def _start_ray(workers: int, address: str | None) -> str | None:
    """Start Ray here, or reach the cluster; returns the folder of what was started here."""
    import logging

    import ray

    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False, "configure_logging": True}
    if address is not None:
        try:
            _probe(address)
            ray.init(address=address, **quiet)
        except Exception as error:
            # What Ray raises here differs by address and release: ConnectionError, RuntimeError, ValueError, …
            first = str(error).strip().splitlines()[:1] or [type(error).__name__]
            raise UsageError(
                f"--address {address}: no Ray cluster answers there ({first[0]}); start one, or leave --address out"
            ) from error
        return None
    # Shards go to files, not through Ray's memory: the smallest store is enough.
    # "local", because a cluster that happens to run on this machine was not asked for.
    size = 100 << 20
    with _fewer_processes():
        context: Any = ray.init("local", num_cpus=workers, include_dashboard=False, object_store_memory=size, **quiet)
    return str(context.address_info["session_dir"])


@contextlib.contextmanager
def _fewer_processes() -> Iterator[None]:
    """Inside, Ray starts here without its dashboard, its autoscaler and what passes logs on: no run asks them anything.

    Each is an interpreter that takes a CPU second as it starts and 80 MB all along, and no setting of Ray's leaves it
    out. Where another release calls one otherwise, it is started as ever.
    """
    from ray._private.node import Node

    names = ("start_api_server", "start_monitor", "start_log_monitor")
    before = {name: getattr(Node, name) for name in names if hasattr(Node, name)}
    for name in before:
        setattr(Node, name, lambda *_, **__: None)
    try:
        yield
    finally:
        for name, method in before.items():
            setattr(Node, name, method)


def _end_ray(session: Future[str | None], *, keep_logs: bool) -> None:
    import ray

    ray.shutdown()
    if session.exception() is None and (folder := session.result()) and not keep_logs:
        # Ray itself never removes one.
        shutil.rmtree(folder, ignore_errors=True)


def _probe(address: str) -> None:
    """Raise OSError if nothing listens at ``host:port``: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


class _Board:
    """Holds the latest progress of each shard, and the group that it is at."""

    def __init__(self) -> None:
        self.latest: dict[str, Progress] = {}
        self.groups: dict[str, int] = {}

    def post(self, name: str, counts: tuple[int, ...]) -> None:
        self.latest[name] = Progress(*counts)

    def begin(self, name: str, group: int | None) -> None:
        self.groups.pop(name, None)
        if group is not None:
            self.groups[name] = group

    def begun(self, name: str) -> int | None:
        return self.groups.get(name)

    def snapshot(self) -> dict[str, Progress]:
        latest, self.latest = self.latest, {}
        return latest


class _Pipe(_Board):
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
        os.close(self._handle)


def _tell(board: Any, what: str, name: str, value: Any) -> None:
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


def _ray_task(job: Job, board: Any) -> Progress:
    from forgeprep.io.storage import spare_pandas
    from forgeprep.pipeline.make_shard import make_shard

    spare_pandas()

    _tell(board, "begin", job.name, None)
    try:
        # The board knows each group before its work: the next thing may be this process's end.
        return make_shard(
            job,
            lambda progress: _tell(board, "post", job.name, astuple(progress)),
            lambda group: _tell(board, "begin", job.name, group),
        )
    finally:
        guard.release_memory()
