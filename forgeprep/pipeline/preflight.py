"""What a run will cost, from a sample of it that is really made: nothing is written."""

from __future__ import annotations

import heapq
import math
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from forgeprep.io.storage import is_remote
from forgeprep.media import process as media_process
from forgeprep.pipeline.make_shard import Steps, group_rows, prepare, quiet_libraries
from forgeprep.pipeline.run_folder import Prepared
from forgeprep.shards.formats.base import picture_bytes
from forgeprep.stages.base import Group, GroupLog

SECONDS = 6.0
"""A source group is timed for about so long; what is left of it is estimated from what was made."""
GROUPS = 2

OVERHEAD = 1.01
"""A shard's bytes over those of its pictures, about."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run will take, extrapolated from ``timed`` samples.

    Attributes:
        timed: samples that were made and thrown away.
        samples: samples to expect.
        seconds: of one worker.
        bytes: of the shards.
        free: bytes free where ``out`` is to lie; None on remote storage.
    """

    timed: int
    samples: int
    seconds: float
    bytes: int
    free: int | None


@dataclass(slots=True)
class _Timed:
    frames: int = 0
    samples: int = 0
    seconds: float = 0.0
    bytes: int = 0


def estimate(prepared: Prepared) -> Estimate | None:
    """Make some samples of a plan and reckon up; None where no sample could be made.

    The groups are taken from the middle of the plan; those of clips that cannot be read are passed over.
    """
    quiet_libraries()
    with media_process.reading():
        return _estimate(prepared)


def _estimate(prepared: Prepared) -> Estimate | None:
    steps = prepare(prepared.config)
    total = sum(shard.groups for shard in prepared.shards)
    timed = _Timed()
    count = min(GROUPS, total)
    for turn in range(count):
        group = _whole_group(prepared, (2 * turn + 1) * total // (2 * count))
        if group is not None:
            _time_group(group, prepared, steps, timed)
    if not timed.samples:
        return None
    wanted = sum(shard.requested for shard in prepared.shards)
    share = wanted / timed.frames
    return Estimate(
        timed=timed.samples,
        samples=round(timed.samples * share),
        seconds=timed.seconds * share,
        bytes=math.ceil(timed.bytes * share * OVERHEAD * len(prepared.config.formats)),
        free=_free_bytes(prepared.out),
    )


def _whole_group(prepared: Prepared, place: int) -> Group | None:
    """The source group at a place of the plan, or another one of its shard if some of its clips cannot be read."""
    for number, shard in enumerate(prepared.shards):
        if place < shard.groups:
            groups = prepared.plan.shard(number).groups
            whole = [group for group in (*groups[place:], *groups[:place]) if all(c.error is None for c in group.clips)]
            return whole[0] if whole else None
        place -= shard.groups
    return None


def _time_group(group: Group, prepared: Prepared, steps: Steps, timed: _Timed) -> None:
    """Work on a group; what it takes until the first run comes out, faces for the most part, is counted once."""
    started = time.perf_counter()
    log = GroupLog()
    ready = None
    wanted = group.requested
    samples = size = done = 0
    for rows in group_rows(group, prepared.root, steps, prepared.config, log):
        ready = ready or time.perf_counter()
        for row in rows:
            samples += 1
            size += picture_bytes(row)
        done = samples * (steps.frames.sequence_length or 1) + len(log.drops)
        if time.perf_counter() - started > SECONDS and samples:
            break
    spent = time.perf_counter() - started
    if not samples or ready is None:
        return
    before = ready - started
    # Stopped half-way: the rest of the group costs what this part did, its start not counted again.
    part = min(1.0, done / wanted)
    timed.frames += round(wanted * part) if part < 1 else wanted
    timed.samples += samples
    timed.bytes += size
    timed.seconds += before * part + (spent - before)


def makespan(loads: list[int], workers: int) -> float:
    """The share of all work that the busiest worker does, each shard going to the first that is free.

    >>> makespan([4, 2, 2], 2)
    0.5
    """
    busy = [0] * workers
    for load in loads:
        heapq.heapreplace(busy, busy[0] + load)
    return max(busy) / max(1, sum(loads))


def _free_bytes(out: Path) -> int | None:
    """Room for the output; None on remote storage, which does not say."""
    if is_remote(out):
        return None
    place = out.resolve()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free
