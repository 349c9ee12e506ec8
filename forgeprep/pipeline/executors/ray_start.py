"""Ray's processes on this machine, or the way to a cluster: started while a run is planned, and ended with it.

Imported before all else: nothing heavy may be imported here but where it is used.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from forgeprep.errors import UsageError

LOG_BYTES = 8 << 20
"""A log of Ray's begins anew at this size."""
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
