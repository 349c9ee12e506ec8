"""Jobs as Ray tasks: on this machine, or on a cluster.

Imported before all else: what only workers and a run on its way need is imported where it is used.
"""

from __future__ import annotations

import math
import signal
import time
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import astuple, replace
from typing import Any

from forgeprep.errors import ForgeprepError, GroupFailed, OutOfMemory, StorageError
from forgeprep.media import guard
from forgeprep.pipeline.executors.job import Attempt, Job, give_up
from forgeprep.pipeline.executors.limits import Limits, limited
from forgeprep.pipeline.executors.ray_board import Pipe, ask, start_actor, tell
from forgeprep.pipeline.executors.ray_folder import NoWorker, no_worker
from forgeprep.pipeline.executors.ray_start import RayStart as RayStart
from forgeprep.pipeline.executors.ray_start import Started
from forgeprep.pipeline.progress import Progress, Report
from forgeprep.schemas.resources import Resources

START_S = 300.0
"""Seconds in which a worker has to begin on this machine, unless the user sets another limit."""
MAX_DEATHS = 20
"""A job whose worker dies so often, at groups unknown, has failed."""
MAX_GROUP_DEATHS = 5
"""After so many deaths at a group whose files decode well, the group is given up; if that does not help after as many
more, its job has failed."""


def run_on_ray(
    jobs: Sequence[Job], limits: Limits, report: Report, start: RayStart
) -> Generator[tuple[str, str | None], None, None]:
    """Do the jobs on this machine or on a cluster, as Ray was started; all of them need the same resources.

    Yields a job's name and what went wrong, or None, as each ends; closing the generator ends Ray and its workers.

    Raises:
        StorageError: a worker cannot write the output.
        UsageError: no cluster answers at ``address``.
        ForgeprepError: Ray cannot start here; or, as ``NoWorker``, none of its workers has begun in time.
    """
    pool: _Pool | None = None
    keep_logs = False
    try:
        if not jobs:
            return
        pool = _Pool(start.wait(limits.start_s or START_S), limits, jobs[0].resources)
        for job in jobs:
            pool.submit(job)
        while pool.waiting:
            for job, outcome in pool.ended(report):
                again = pool.next_try(job, outcome)
                if again is not None:
                    pool.submit(again)
                elif isinstance(outcome, Progress):
                    report(job.name, outcome)
                    yield job.name, None
                else:
                    yield job.name, str(outcome)
        # The logs may tell what killed a worker, and nothing else.
        keep_logs = bool(pool.deaths.counts)
    except NoWorker:
        keep_logs = True
        raise
    finally:
        # No ray.cancel first where Ray ends: a forced one aborts this process when the task ends in the same moment
        # (Ray 2.60).
        if pool is not None and pool.started.lent:
            pool.withdraw()
        start.end(keep_logs=keep_logs)
        if pool is not None and isinstance(pool.board, Pipe):
            pool.board.close()


class _Pool:
    """Ray's workers, and the jobs that they have not ended yet.

    Attributes:
        waiting: what Ray calls a job -> the job.
        deaths: of workers so far.
    """

    def __init__(self, started: Started, limits: Limits, needs: Resources) -> None:
        import ray

        self.started = started
        self.waiting: dict[Any, Job] = {}
        self.deaths = _Deaths()
        self.board: Any = start_actor() if started.session is None else Pipe(started.session)
        self._limits = limits
        # Ray itself repeats nothing: a retry has to know at which group the worker before it died.
        there = ray.cluster_resources()
        asks = request(needs, there, on_cluster=started.folder is None)
        remote: Any = ray.remote
        self._task = remote(max_retries=0, **asks)(_ray_task)
        self._pause = 0.1
        # On a cluster, work may have to wait for its turn, or for nodes that are still to start.
        self._patience = limits.start_s or (START_S if started.folder else math.inf)
        self._last_sign_s = time.monotonic()

    def submit(self, job: Job) -> None:
        """Let a worker do a job as soon as one is free."""
        place = self.board.path if isinstance(self.board, Pipe) else self.board
        self.waiting[self._task.remote(job, self._limits, place)] = job

    def ended(self, report: Report) -> list[tuple[Job, Progress | Exception]]:
        """The jobs that have ended in the last half second, and how; the progress of the others is reported.

        All at once: one by one, thousands of jobs keep the driver busy.

        Raises:
            StorageError: a worker cannot write the output.
            NoWorker: no worker has begun for too long.
        """
        import ray

        done, _ = ray.wait(list(self.waiting), num_returns=len(self.waiting), timeout=self._pause)
        for name, progress in ask(self.board, "snapshot", otherwise={}).items():
            report(name, progress)
            self._pause = 0.5
        if done or self._patience == math.inf or ask(self.board, "busy", otherwise=False):
            self._last_sign_s = time.monotonic()
        elif time.monotonic() - self._last_sign_s > self._patience:
            raise no_worker(self.started.folder, self._patience)
        found = []
        for reference in done:
            job = self.waiting.pop(reference)
            outcome = _outcome(reference)
            if isinstance(outcome, StorageError):
                raise outcome
            ask(self.board, "leave", job.name)
            found.append((job, outcome))
        return found

    def next_try(self, job: Job, outcome: Progress | Exception) -> Job | None:
        """The job as it is to be tried again after this outcome; None where it has succeeded or failed for good."""
        if isinstance(outcome, OutOfMemory) and not job.suspected:
            return replace(job, suspected=frozenset({outcome.group}))
        if isinstance(outcome, GroupFailed):
            return give_up(job, outcome)
        if isinstance(outcome, _WorkerDied):
            return self.deaths.next_try(job, ask(self.board, "begun", job.name))
        return None

    def withdraw(self) -> None:
        """Take back what a Ray that goes on has not done yet."""
        import ray

        for reference in self.waiting:
            ray.cancel(reference, force=False)
        if self.waiting:
            ray.wait(list(self.waiting), num_returns=len(self.waiting), timeout=30)
        ray.kill(self.board)


class _WorkerDied(Exception):
    """The process or node that did a job is gone."""


def _outcome(reference: Any) -> Progress | Exception:
    """What became of a job; the board's last word on it may never come."""
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
    """How often workers have died, by job and group."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, int | None]] = Counter()

    def next_try(self, job: Job, group: int | None) -> Job | None:
        """The job to try after a death at a group, if that is known; None if it has been tried often enough.

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


def request(needs: Resources, there: Mapping[str, float], *, on_cluster: bool) -> dict[str, float]:
    """What a task asks Ray for: a CPU, and what its job needs of what is ``there``.

    On this machine the user says how many work at a time, so memory is asked for on a cluster alone.
    """
    gpus = needs.gpus if there.get("GPU", 0) else 0.0
    memory = float(needs.memory) if on_cluster else 0.0
    return {"num_cpus": 1.0, **({"num_gpus": gpus} if gpus else {}), **({"memory": memory} if memory else {})}


def _end_plainly() -> None:
    """Let this worker end at once where native code aborts.

    Ray's own handler prints a stack first. Where memory has run out, that aborts too, and is printed in turn, without
    end.
    """
    for number in (signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV):
        signal.signal(number, signal.SIG_DFL)


def _ray_task(job: Job, limits: Limits, board: Any) -> Progress:
    from forgeprep.io.storage import spare_pandas

    _end_plainly()
    spare_pandas()
    tell(board, "begin", job.name, None)
    attempt = Attempt(
        job.given_up,
        lambda progress: tell(board, "post", job.name, astuple(progress)),
        # The board knows each group before its work: the next thing may be this process's end.
        lambda group: tell(board, "begin", job.name, group),
        lambda: limited(job, limits),
    )
    try:
        return job.work(attempt)
    finally:
        guard.release_memory()
