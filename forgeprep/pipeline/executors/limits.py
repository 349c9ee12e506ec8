"""What a process that reads media may take of time and memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from forgeprep.media import guard
from forgeprep.media import process as media_process
from forgeprep.pipeline.executors.job import Job

_USUAL_MEMORY = 1 << 30
"""What stages say that they need is reckoned in the limit on a worker's memory where it is more than this."""
_GPU_MEMORY = 8 << 30
"""So much more a worker with a GPU may take: CUDA mirrors the GPU's memory."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a worker may take.

    Attributes:
        seconds: that it may show no progress.
        memory: bytes beyond what it has at its start; what a job says that it needs comes on top.
        start_s: seconds in which one of Ray's workers has to begin; None for the executor's own limit, which a cluster
            does not have.
    """

    seconds: float = guard.TIMEOUT_S
    memory: int = guard.MEMORY
    start_s: float | None = None


@contextmanager
def limited(job: Job, limits: Limits) -> Iterator[None]:
    """Inside, a worker's clock runs and its memory is limited.

    Where workers have died before, media are read in processes of their own. That costs a few per cent, and a clip that
    kills its reader costs nothing else: whatever killed the worker, it is found at the one further try, with all others
    of its kind in the job.
    """
    needs = job.resources
    own = max(0, needs.memory - _USUAL_MEMORY) + (_GPU_MEMORY if needs.gpus else 0)
    guard.limit_memory(limits.memory + own)
    if not job.suspected:
        with guard.clock(limits.seconds):
            yield
        return
    with (
        media_process.reading(memory=limits.memory, seconds=limits.seconds),
        guard.clock(media_process.waiting_time_s(limits.seconds) + 10),
    ):
        yield
