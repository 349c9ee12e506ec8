"""Ray's processes on this machine, or the way to a cluster: started while a run is planned, and ended with it.

Imported before all else: nothing heavy may be imported here but where it is used.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import signal
import socket
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgeprep.errors import ForgeprepError, ForgeprepWarning, UsageError
from forgeprep.pipeline.executors.ray_folder import end_processes, last_words, make_folder, no_worker, remove
from forgeprep.pipeline.executors.ray_servers import fewer_processes

LOG_BYTES = 8 << 20
"""A log of Ray's begins again at this size."""
FIRST_TRY = "Ray's first start has failed"


@dataclass(frozen=True, slots=True)
class Started:
    """What is there when Ray is.

    Attributes:
        folder: of all files of a Ray that was started here; None for a cluster, or a Ray that was there already.
        session: the folder in it that Ray made.
        lent: whether Ray was initialised by somebody else, who will end it.
    """

    folder: str | None = None
    session: str | None = None
    lent: bool = False


class NoStart(ForgeprepError):
    """Ray cannot start on this machine; ``told`` is what its servers or its client said."""

    def __init__(self, told: str) -> None:
        self.told = told
        super().__init__(
            f"Ray cannot start on this machine ({told}); 'forgeprep doctor' looks at it, and --workers 1 needs no Ray"
        )


class RayStart:
    """Ray on its way up, in a thread of its own, while a run is planned.

    The thread lives until :meth:`end`: Linux ends Ray's processes with the thread that started them.

    Args:
        workers: tasks at a time on this machine; may be changed until :meth:`begin`.
        address: of a cluster, which is used in its place; ``local`` for this machine whatever ``RAY_ADDRESS`` says.
    """

    def __init__(self, workers: int, address: str | None) -> None:
        self.address = cluster_address(address)
        self.workers = workers
        self._thread = ThreadPoolExecutor(1, "forgeprep-ray")
        self._session: Future[Started] | None = None
        self._folder: str | None = None
        self._keep_logs = self._over = False
        self._thread.submit(_import_ray, local=self.address is None)

    def begin(self) -> None:
        """Start Ray's processes, or reach the cluster; before that, no more than an import is lost with :meth:`end`."""
        if self._session is None:
            self._session = self._thread.submit(self._start)

    def _start(self) -> Started:
        with _own_handlers():
            return start_ray(self.workers, self.address, self._new_folder, lambda: self._keep_logs, lambda: self._over)

    def _new_folder(self) -> str:
        self._folder = make_folder()
        return self._folder

    def wait(self, seconds: float) -> Started:
        """What was started, when Ray is there.

        Raises:
            UsageError: no cluster answers at the address.
            NoStart: Ray cannot start on this machine, tried twice.
            NoWorker: it does not in so many seconds.
        """
        self.begin()
        assert self._session is not None
        try:
            return self._session.result(seconds if self.address is None else None)
        except TimeoutError:  # Ray waits for its first workers, whether they come or not.
            raise no_worker(self._folder, seconds) from None

    def end(self, *, wait: bool = True, keep_logs: bool = False) -> None:
        """End Ray and the thread; again is harmless. Without ``wait``, it happens at the latest as the process ends."""
        self._over = True
        session, self._session = self._session, None
        if session is not None and not session.cancel():
            self._keep_logs = keep_logs
            if keep_logs and not session.done() and self._folder:
                end_processes(self._folder)  # So that the start fails.
            self._thread.submit(_end_ray, session, keep_logs=keep_logs)
        self._thread.shutdown(wait=wait)


def cluster_address(given: str | None) -> str | None:
    """The address of the cluster to use: the one that is given, else that of ``RAY_ADDRESS``; None for this machine."""
    address = given or os.environ.get("RAY_ADDRESS")
    # Addresses with http are for Ray's own command line, to which jobs are submitted.
    if not address or address == "local" or (given is None and address.startswith("http")):
        return None
    return address


def set_environment(*, local: bool) -> None:
    """What Ray reads from the environment when it is imported."""
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Under "uv run" Ray would copy the working folder, data and all, to each worker, and start it by uv; it then
    # refuses folders of more than 512 MB, and workers never start.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    if local:
        # Its servers then use the loopback address, as on macOS and Windows; else they listen on all interfaces.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        # A worker's log grows without end unless this is set; so at most twice as much is kept of each.
        os.environ.setdefault("RAY_ROTATION_MAX_BYTES", str(LOG_BYTES))
        os.environ.setdefault("RAY_ROTATION_BACKUP_COUNT", "1")
        # Else Ray ends spare workers after a second and starts others, each with five logs of its own, all run long.
        os.environ.setdefault("RAY_idle_worker_killing_time_threshold_ms", str(24 * 3600 * 1000))
        # Else this process waits for Ray's first workers in native code, where nothing can stop it if they never come.
        os.environ.setdefault("RAY_enable_worker_prestart", "0")
        os.environ.setdefault("RAY_prestart_worker_first_driver", "0")


def _import_ray(*, local: bool) -> None:
    set_environment(local=local)
    with contextlib.suppress(ImportError):  # It is said where Ray is needed.
        import ray  # noqa: F401


def _reach(address: str, quiet: Mapping[str, Any]) -> None:
    import ray

    try:
        _probe(address)
        ray.init(address=address, **quiet)
    except Exception as error:
        # What Ray raises here differs by address and release: ConnectionError, RuntimeError, ValueError, …
        raise UsageError(
            f"--address {address}: no Ray cluster answers there ({_first_line(error)}); "
            "start one, or leave --address and RAY_ADDRESS out"
        ) from error


def start_ray(
    workers: int | None,
    address: str | None,
    folder: Callable[[], str] = make_folder,
    keep_logs: Callable[[], bool] = lambda: False,
    over: Callable[[], bool] = lambda: False,
    *,
    agents: bool = False,
) -> Started:
    """Start Ray here, or reach the cluster, or take the Ray that this process has initialised.

    Args:
        workers: tasks at a time on this machine; None for as many as there are CPUs.
        address: of a cluster, or None.
        folder: makes one for all files of a Ray that is started here.
        keep_logs: asked where it cannot start; by default nothing is left of it.
        over: asked then whether it is still wanted. If so, it is tried once more, and a line tells it: Ray's servers
            die now and then on a machine that is busy, and come up the next time.
        agents: whether Ray's agents start too: Ray Train gives its workers environments, which one of them makes.

    Raises:
        UsageError: no cluster answers at the address.
        NoStart: Ray cannot start on this machine.
    """
    import logging

    import ray

    if ray.is_initialized():
        return Started(lent=True)
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False, "configure_logging": True}
    if address is not None:
        _reach(address, quiet)
        return Started()
    try:
        return _start_here(workers, folder(), keep_logs, quiet, agents=agents)
    except NoStart as error:
        if over():
            raise
        told = error.told
    warnings.warn(f"{FIRST_TRY} ({told}); it is started once more", ForgeprepWarning, stacklevel=1)
    # With all that Ray has: a release that needs its agents starts at the second try.
    return _start_here(workers, folder(), keep_logs, quiet, agents=True)


def _start_here(
    workers: int | None, folder: str, keep_logs: Callable[[], bool], quiet: Mapping[str, Any], *, agents: bool
) -> Started:
    import ray

    try:
        # Shards go to files, not through Ray's memory: the smallest store is enough.
        # "local", because a cluster that happens to run on this machine was not asked for.
        size = 100 << 20
        with _own_token(), fewer_processes(agents=agents):
            context: Any = ray.init(
                "local",
                num_cpus=workers,
                include_dashboard=False,
                object_store_memory=size,
                _temp_dir=folder,
                **quiet,
            )
        _start_workers(workers or 0)
        return Started(folder, str(context.address_info["session_dir"]))
    except Exception as error:
        told = last_words(Path(folder)) or _first_line(error)
        ray.shutdown()
        _forget_token()
        if not keep_logs():
            remove(folder)
        raise NoStart(told) from error


def _start_workers(count: int) -> None:
    """Let workers start now, not with the first job."""
    import ray

    task: Any = ray.remote(num_cpus=1, max_retries=0)(_nothing)
    for _ in range(count):
        task.remote()


def _nothing() -> None:
    """The first work of a worker, for which it has to start."""


def _first_line(error: BaseException) -> str:
    return next((line.strip()[:300] for line in str(error).splitlines() if line.strip()), type(error).__name__)


@contextlib.contextmanager
def _own_token() -> Iterator[None]:
    """Inside, Ray asks whoever connects for a token that only this process and its children know.

    Ray itself would write one into the home folder, which may be read-only or not exist. The variables are taken back:
    this process may want to reach a cluster with another token later.
    """
    names = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")
    before = {name: os.environ.get(name) for name in names}
    if before["RAY_AUTH_TOKEN"] is None and "RAY_AUTH_TOKEN_PATH" not in os.environ:
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)


@contextlib.contextmanager
def _own_handlers() -> Iterator[None]:
    """Inside and behind, a request to terminate is answered as before.

    Ray's C++ part takes the signal away from Python: it prints its own stack and ends the process, so that nothing
    is cleaned up. Only Python's main thread may set handlers by Python's means, and it is at work.
    """
    libc, kept, over = ctypes.CDLL(None), ctypes.create_string_buffer(256), threading.Event()
    libc.sigaction(int(signal.SIGTERM), None, kept)

    def put_back() -> None:
        libc.sigaction(int(signal.SIGTERM), kept, None)

    def watch() -> None:
        while not over.wait(0.005):
            put_back()

    watcher = threading.Thread(target=watch, daemon=True, name="forgeprep-signals")
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        put_back()


def _end_ray(session: Future[Started], *, keep_logs: bool) -> None:
    if session.exception() is not None:
        return
    with _own_handlers():
        end_ray(session.result(), keep_logs=keep_logs)


def end_ray(started: Started, *, keep_logs: bool = False) -> None:
    """End what was started, and remove its files unless its logs may tell something; a lent Ray goes on."""
    import ray

    if started.lent:
        return
    ray.shutdown()
    if started.folder:
        _forget_token()
    if not keep_logs:
        remove(started.folder)


def _forget_token() -> None:
    """Let Ray read the environment again where it asks for a token next: it remembers the one of before."""
    with contextlib.suppress(ImportError, AttributeError):  # Older releases know none.
        from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

        AuthenticationTokenLoader.instance().reset_cache()
        Config.initialize("")


def _probe(address: str) -> None:
    """Raise OSError if nothing listens at ``host:port``: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
