"""Make shards as Ray tasks, one a shard. The only module of the pipeline that knows Ray."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Generator
from typing import Any

from forgeprep.errors import ForgeprepError, StorageError, UsageError
from forgeprep.pipeline.work import Job, Progress, make_shard

Report = Callable[[str, Progress], None]
"""``report(shard, progress)``: called as shards advance; a retried shard starts over."""

MAX_RETRIES = 3


def run_on_ray(
    jobs: list[Job], workers: int, address: str | None, report: Report
) -> Generator[tuple[str, str | None], None, None]:
    """Make shards, ``workers`` at a time on this machine or on the cluster at ``address``.

    Yields a shard's name and what went wrong, or None, as each ends; closing the generator ends Ray's workers.

    Raises:
        StorageError: a worker cannot write the output.
        UsageError: no cluster answers at ``address``.
    """
    if not jobs:
        return
    import ray

    _start_ray(workers, address)
    try:
        board: Any = ray.remote(num_cpus=0)(_Board).remote()
        # A worker that dies is replaced; an exception is the same on every try, so it is not repeated.
        task = ray.remote(num_cpus=1, max_retries=MAX_RETRIES, retry_exceptions=False)(_ray_task)
        waiting = {task.remote(job, board): job.name for job in jobs}
        while waiting:
            done, _ = ray.wait(list(waiting), num_returns=1, timeout=0.5)
            for name, progress in ray.get(board.snapshot.remote()).items():
                report(name, progress)
            for reference in done:
                name = waiting.pop(reference)
                failure = _outcome(reference)
                if isinstance(failure, StorageError):
                    raise failure
                yield name, None if failure is None else str(failure)
    finally:
        # No ray.cancel first: a forced one aborts this process when the task ends in the same moment (Ray 2.60).
        ray.shutdown()


def _outcome(reference: Any) -> Exception | None:
    import ray

    try:
        ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        return cause if isinstance(cause, ForgeprepError) else RuntimeError(str(error))
    except ray.exceptions.RayError as error:
        return RuntimeError(f"the worker died {MAX_RETRIES + 1} times ({type(error).__name__}: {error})")
    return None


def _start_ray(workers: int, address: str | None) -> None:
    import logging

    import ray

    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
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
    else:
        # Shards go to files, not through Ray's memory: the smallest store is enough.
        # "local", because a cluster that happens to run on this machine was not asked for.
        ray.init("local", num_cpus=workers, include_dashboard=False, object_store_memory=100 << 20, **quiet)


def _probe(address: str) -> None:
    """Raise OSError if nothing listens at ``host:port``: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


class _Board:
    """A Ray actor that holds the latest progress of each shard."""

    def __init__(self) -> None:
        self.latest: dict[str, Progress] = {}

    def post(self, name: str, progress: Progress) -> None:
        self.latest[name] = progress

    def snapshot(self) -> dict[str, Progress]:
        return self.latest


def _ray_task(job: Job, board: Any) -> None:
    make_shard(job, lambda progress: board.post.remote(job.name, progress))
