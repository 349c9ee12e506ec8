"""Jobs one after the other in this process: the reference that other executors have to equal."""

from __future__ import annotations

import functools
from collections.abc import Generator, Sequence

from forgeprep.errors import ForgeprepError, GroupFailed, StorageError
from forgeprep.media import process as media_process
from forgeprep.pipeline.executors.job import Attempt, Job, give_up
from forgeprep.pipeline.executors.limits import Limits
from forgeprep.pipeline.progress import Report


def run_here(jobs: Sequence[Job], limits: Limits, report: Report) -> Generator[tuple[str, str | None], None, None]:
    """Do the jobs in this process, but for the reading of media, which has its own.

    Yields a job's name and what went wrong, or None, as each ends.

    Raises:
        StorageError: the output cannot be written.
    """
    with media_process.reading(memory=limits.memory, seconds=limits.seconds):
        for job in jobs:
            yield job.name, _problem(job, report)


def _problem(job: Job, report: Report) -> str | None:
    """Do a job; what went wrong, or None."""
    left: Job | None = job
    told = ""
    while left is not None:
        try:
            left.work(Attempt(left.given_up, functools.partial(report, job.name)))
            return None
        except StorageError:
            raise
        except ForgeprepError as error:
            told = str(error)
            left = give_up(left, error) if isinstance(error, GroupFailed) else None
    return told
