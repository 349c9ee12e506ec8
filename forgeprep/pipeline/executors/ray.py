"""Jobs as Ray tasks: on this machine, or on a cluster.

Imported before all else: what only workers and a run on its way need is imported where it is used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import astuple, replace
from typing import Any

from forgeprep.errors import ForgeprepError, GroupFailed, OutOfMemory, StorageError
from forgeprep.media import guard
from forgeprep.pipeline.executors.job import Attempt, Job, give_up
from forgeprep.pipeline.executors.limits import Limits, limited
from forgeprep.pipeline.executors.ray_board import Pipe, ask, start_actor, tell
from forgeprep.pipeline.executors.ray_start import RayStart as RayStart
from forgeprep.pipeline.executors.ray_start import set_environment as set_environment
from forgeprep.pipeline.progress import Progress, Report
from forgeprep.schemas.resources import Resources

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
    """
    deaths = _Deaths()
    board: Any = None
    try:
        if not jobs:
            return
        session = start.wait()
        import ray

        board = start_actor() if session is None else Pipe(session)
        place = board.path if isinstance(board, Pipe) else board
        # Ray itself repeats nothing: a retry has to know at which group the worker before it died.
        there = ray.cluster_resources()  # type: ignore[no-untyped-call]
        asks = request(jobs[0].resources, there, on_cluster=start.address is not None)
        remote: Any = ray.remote
        task = remote(max_retries=0, **asks)(_ray_task)
        waiting = {task.remote(job, limits, place): job for job in jobs}
        pause = 0.1
        while waiting:
            # All that have ended in half a second at once: one by one, thousands of jobs keep the driver busy.
            done, _ = ray.wait(list(waiting), num_returns=len(waiting), timeout=pause)
            for name, progress in ask(board, "snapshot", otherwise={}).items():
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
                    again = deaths.next_try(job, ask(board, "begun", job.name))
                if again is not None:
                    waiting[task.remote(again, limits, place)] = again
                elif isinstance(outcome, Progress):
                    report(job.name, outcome)
                    yield job.name, None
                else:
                    yield job.name, str(outcome)
    finally:
        # No ray.cancel first: a forced one aborts this process when the task ends in the same moment (Ray 2.60). The
        # logs may tell what killed a worker, and nothing else.
        start.end(keep_logs=bool(deaths.counts))
        if isinstance(board, Pipe):
            board.close()


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


def _ray_task(job: Job, limits: Limits, board: Any) -> Progress:
    from forgeprep.io.storage import spare_pandas

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
