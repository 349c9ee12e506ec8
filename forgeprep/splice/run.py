"""Splice a whole dataset: a job for each source group, for whichever executor; what is there already is kept."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgeprep.datasets import get_dataset
from forgeprep.datasets.base import ScanOptions
from forgeprep.datasets.find import scan_root
from forgeprep.errors import ForgeprepError, MediaError, UsageError
from forgeprep.faces.detectors import get_detector, make_detector
from forgeprep.io.lock import locked
from forgeprep.io.storage import is_remote
from forgeprep.media import process as media_process
from forgeprep.media.video import read_rate
from forgeprep.pipeline.configure import digest
from forgeprep.pipeline.executors.execution import Execution, run_jobs
from forgeprep.pipeline.executors.job import Attempt, Job, unforeseen
from forgeprep.pipeline.make_shard import files_of, leave_alone
from forgeprep.pipeline.plan import make_plan
from forgeprep.pipeline.progress import Progress
from forgeprep.schemas.clips import Clip
from forgeprep.splice.index import write_index
from forgeprep.splice.make import SpliceRules, splice_group
from forgeprep.splice.records import claim, has_died, identity_of, read_group, write_group
from forgeprep.stages.base import Group, Wanted
from forgeprep.text import counted

GROUPS_A_PLAN = 1 << 40
"""The planner is asked for one shard a split: only its groups are used."""


@dataclass(frozen=True, slots=True)
class Spliced:
    """What was made: an entry a file, and an entry for each fake or copy that gave none; warnings of the scan."""

    clips: list[dict[str, Any]]
    skipped: list[dict[str, Any]]
    warnings: list[str]


@dataclass(frozen=True, slots=True)
class GroupJob:
    """Everything that a worker needs to splice one source group; ``key`` names its content."""

    name: str
    key: str
    group: Group
    root: Path
    out: Path
    rules: SpliceRules


def splice(
    dataset: str,
    root: Path,
    out: Path,
    options: ScanOptions,
    rules: SpliceRules,
    *,
    how: Execution | None = None,
    progress: Callable[[str, int], None] = lambda what, count: None,
) -> Spliced:
    """Make a dataset of clips that are forged in spans, with the originals, all coded alike.

    ``progress`` is told what was counted so far. ``how`` says who does the work; without it, this process.

    Raises:
        UsageError: nothing to splice under ``root``, no clip is long enough, or ``out`` is in use or not empty.
        ConfigMismatch: ``out`` was filled with other rules or versions.
        StorageError: a file cannot be written.
        ForgeprepError: some source groups failed, or not one clip could be made.
    """
    make_detector(rules.detector)
    kind = get_dataset(dataset)
    scan = scan_root(kind, root, options)
    groups = _groups(scan.clips, root, lambda count: progress("headers read", count))
    with media_process.reading():
        _check_lengths(groups, root, rules)
    identity = identity_of(dataset, options, rules)
    claim(out, identity)
    with locked(out):
        claim(out, identity)  # Another command may have taken the folder in the same moment.
        if not is_remote(out):
            for stale in out.glob("**/.*.tmp"):
                stale.unlink(missing_ok=True)
        jobs = [_job(group, identity, root.resolve(), out.resolve(), rules) for group in groups]
        records = _make_all(jobs, how or Execution(), progress)
        clips = sorted((clip for r in records for clip in r["clips"]), key=lambda clip: clip["path"])
        skipped = sorted((s for r in records for s in r["skipped"]), key=lambda s: (s["clip_id"], s["detail"]))
        if not clips:
            told = sorted({skip["reason"] for skip in skipped})
            raise ForgeprepError(f"{root}: no clip could be spliced ({', '.join(told)}); see 'forgeprep run --dry-run'")
        write_index(out, dataset, clips, skipped, with_people=not kind.official_split)
    return Spliced(clips, skipped, scan.warnings)


def make_group(job: GroupJob, attempt: Attempt) -> Progress:
    """Splice one source group and, last of all, write its record.

    Raises:
        StorageError: a file cannot be written.
        GroupFailed: an error that nothing foresaw; the next try may give the group up.
    """
    attempt.begin(0)
    if 0 in attempt.given_up:
        leave_alone(files_of(job.group, job.root, frozenset()), attempt.given_up[0])
    with attempt.limits(), unforeseen(0):
        record = splice_group(job.group, job.root, job.out, job.rules)
    write_group(job.out, job.name, job.key, record)
    return Progress(clips=len(record["clips"]))


def _job(group: Group, identity: dict[str, Any], root: Path, out: Path, rules: SpliceRules) -> GroupJob:
    name = f"{group.split}-{digest(group.source_id)[:24]}"
    # A header that could not be read may be readable the next time.
    members = [[c.clip_id, c.path, c.size_bytes, *([c.error] if c.error else [])] for c in group.members]
    key = digest([identity, group.source_id, members])
    return GroupJob(name, key, group, root, out, rules)


def _make_all(jobs: Sequence[GroupJob], how: Execution, progress: Callable[[str, int], None]) -> list[dict[str, Any]]:
    """The records of all groups, in no order; those that are done are kept."""
    records: dict[str, dict[str, Any]] = {}
    left: dict[str, GroupJob] = {}
    for job in jobs:
        record = read_group(job.out, job.name, job.key)
        if record is None or has_died(record):
            left[job.name] = job
        else:
            records[job.name] = record
    done = sum(len(record["clips"]) for record in records.values())
    failed: list[str] = []
    asked = [
        Job(name, functools.partial(make_group, job), get_detector(job.rules.detector).resources)
        for name, job in left.items()
    ]
    with closing(run_jobs(asked, how, lambda name, told: None)) as outcomes:
        for name, problem in outcomes:
            record = read_group(left[name].out, name, left[name].key) if problem is None else None
            if record is None:
                failed.append(problem or "its files are gone")
                continue
            records[name] = record
            done += len(record["clips"])
            progress("clips", done)
    if failed:
        raise ForgeprepError(
            f"{len(failed):,} of {counted(len(jobs), 'source group')} failed, the others are kept: "
            f"{'; '.join(failed[:3])}"
        )
    return list(records.values())


def _groups(clips: Sequence[Clip], root: Path, progress: Callable[[int], None]) -> list[Group]:
    plan = make_plan(clips, root, lambda count, group: Wanted((0,)), GROUPS_A_PLAN, progress)
    groups = [group for shard in plan.shards() for group in shard.groups]
    return [group for group in groups if any(clip.label == 1 for clip in group.clips)]


def _check_lengths(groups: Sequence[Group], root: Path, rules: SpliceRules) -> None:
    """Refuse rules that no clip is long enough for."""
    longest = 0
    for group in groups:
        original = group.original
        if original is None:
            continue
        try:
            fps = read_rate(root / original.path) if rules.spans.length.seconds or rules.spans.gap.seconds else 0
        except MediaError:
            continue
        # A header may not know.
        if original.frame_count == 0 or rules.spans.fits(original.frame_count, fps):
            return
        longest = max(longest, original.frame_count)
    if longest == 0:
        raise UsageError(f"{root}: no fake with an original to be spliced into")
    raise UsageError(
        f"--length, --spans, --gap: spans longer than the clips: the longest original has {counted(longest, 'frame')}; "
        "give shorter or fewer spans"
    )
