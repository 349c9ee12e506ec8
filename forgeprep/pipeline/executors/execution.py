"""Choose the executor: this process for one worker, else Ray."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

from forgeprep.pipeline.executors.job import Job
from forgeprep.pipeline.executors.limits import Limits
from forgeprep.pipeline.executors.local import run_here
from forgeprep.pipeline.executors.ray import run_on_ray
from forgeprep.pipeline.executors.ray_start import RayStart
from forgeprep.pipeline.progress import Report


@dataclass(frozen=True, slots=True)
class Execution:
    """Who does the work.

    Attributes:
        workers: jobs at a time; with 0 or 1, and no ``address``, they are done in this process.
        address: of a Ray cluster, which is used in place of this machine; ``local`` for this machine. Without one, it
            is the Ray that this process has initialised, else the cluster of ``RAY_ADDRESS``, else this machine.
        limits: on what a process that reads media may take.
    """

    workers: int = 1
    address: str | None = None
    limits: Limits = field(default_factory=Limits)

    @property
    def is_here(self) -> bool:
        """Whether this process does the work."""
        return self.workers <= 1 and self.address in (None, "local")


def run_jobs(
    jobs: Sequence[Job], how: Execution, report: Report, ray: RayStart | None = None
) -> Generator[tuple[str, str | None], None, None]:
    """Get jobs done; yields a job's name and what went wrong, or None, as each ends.

    One job's failure does not stop the others. Closing the generator ends the workers. ``ray`` may have been begun
    before; it is ended here.

    Raises:
        StorageError: the output cannot be written.
        UsageError: no cluster answers at the address.
        ForgeprepError: Ray cannot start here, or none of its workers has begun in time.
    """
    if how.is_here:
        if ray is not None:
            ray.end(wait=False)
        return run_here(jobs, how.limits, report)
    return run_on_ray(jobs, how.limits, report, ray or RayStart(how.workers, how.address))
