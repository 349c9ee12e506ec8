"""A piece of work that an executor gets done, and what it learns from attempts that failed."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

from forgeprep.errors import ForgeprepError, GroupFailed, OutOfMemory
from forgeprep.pipeline.progress import Progress
from forgeprep.registry import whose
from forgeprep.schemas.resources import Resources


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt at a piece of work, as the executor hands it to the work.

    Attributes:
        given_up: groups that are to be left out, by number, with the reason in words.
        report: is told how far the work is.
        begin: is told the number of each group before its work.
        limits: to be entered as soon as all is loaded that the work needs: inside, time and memory are limited.
    """

    given_up: Mapping[int, str] = field(default_factory=dict)
    report: Callable[[Progress], None] = lambda _: None
    begin: Callable[[int], None] = lambda _: None
    limits: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext


Work = Callable[[Attempt], Progress]
"""What a job does: it can be pickled, and done again it gives the same files.

It raises StorageError where the output cannot be written, and GroupFailed where something failed that nothing foresaw:
the next attempt may give that group up.
"""


@dataclass(frozen=True, slots=True)
class Job:
    """A piece of work with a name.

    Attributes:
        name: told with its progress and its outcome.
        work: what is to be done.
        resources: what a worker needs for it.
        suspected: groups, by number, at which workers have died. Media are then read in processes of their own, which
            die in the worker's place.
        given_up: as in :class:`Attempt`.
    """

    name: str
    work: Work
    resources: Resources = field(default_factory=Resources)
    suspected: frozenset[int] = frozenset()
    given_up: Mapping[int, str] = field(default_factory=dict)


def give_up(job: Job, failure: GroupFailed) -> Job | None:
    """The job without the group that failed; None if it had been given up before, which did not help."""
    if failure.group in job.given_up:
        return None
    told = "" if isinstance(failure, OutOfMemory) else "a defect of forgeprep, please report it: "
    if failure.owner:
        told = f"{failure.owner} failed: "
    return replace(job, given_up={**job.given_up, failure.group: f"{told}{failure.problem}"})


@contextlib.contextmanager
def unforeseen(group: int) -> Iterator[None]:
    """Turn whatever nobody foresaw at a group into :class:`~forgeprep.errors.GroupFailed`."""
    try:
        yield
    except ForgeprepError:
        raise
    except MemoryError as error:
        raise OutOfMemory(group, "claims more than it holds, or takes more than --worker-memory") from error
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        text = " ".join(f"{type(error).__name__}: {str(error)[:2000]}".split())[:400]
        told = f"{text} ({Path(place.filename).name}:{place.lineno})"
        raise GroupFailed(group, told, whose(error) or "") from error
