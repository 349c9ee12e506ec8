"""Splice a whole dataset: group by group, in one process or several; what is there already is kept."""

from __future__ import annotations

import json
import multiprocessing
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from forgeprep.datasets import get_dataset
from forgeprep.datasets.base import ScanOptions
from forgeprep.errors import ConfigMismatch, ForgeprepError, MediaError, UsageError
from forgeprep.faces.detectors import make_detector
from forgeprep.io.atomic import atomic_write_bytes
from forgeprep.io.lock import locked
from forgeprep.io.safe_files import read_json
from forgeprep.media import guard
from forgeprep.media import process as media_process
from forgeprep.media.video import read_rate
from forgeprep.pipeline.configure import digest, versions
from forgeprep.pipeline.make_shard import CLIP_TIMEOUT_S
from forgeprep.pipeline.plan import make_plan
from forgeprep.pipeline.run import settings_differences
from forgeprep.schemas.clips import Clip
from forgeprep.schemas.files import SpliceRecord, problem_of
from forgeprep.splice.index import write_index
from forgeprep.splice.make import SpliceRules, splice_group
from forgeprep.splice.pairs import Skip
from forgeprep.stages.base import Group

GROUPS_A_PLAN = 1 << 40
"""The planner is asked for one shard a split: only its groups are used."""


@dataclass(frozen=True, slots=True)
class Spliced:
    """What was made: an entry a file, and an entry for each fake or copy that gave none; warnings of the scan."""

    clips: list[dict[str, Any]]
    skipped: list[dict[str, Any]]
    warnings: list[str]


def splice(
    dataset: str,
    root: Path,
    out: Path,
    options: ScanOptions,
    rules: SpliceRules,
    *,
    workers: int = 0,
    progress: Callable[[str, int], None] = lambda what, count: None,
) -> Spliced:
    """Make a dataset of clips that are forged in spans, with the originals, all coded alike.

    ``progress`` is told what was counted so far. ``workers=0`` works in this process.

    Raises:
        UsageError: nothing to splice under ``root``, no clip is long enough, or ``out`` is in use or not empty.
        ConfigMismatch: ``out`` was filled with other rules or versions.
        StorageError: a file cannot be written.
        ForgeprepError: not one clip could be made.
    """
    make_detector(rules.detector)
    kind = get_dataset(dataset)
    scan = kind.scan(root, options)
    groups = _groups(scan.clips, root, lambda count: progress("headers read", count))
    with media_process.reading():
        _check_lengths(groups, root, rules)
    identity = _identity(dataset, options, rules)
    _claim(out, identity)
    with locked(out):
        for stale in out.glob("**/.*.tmp"):
            stale.unlink(missing_ok=True)
        records: dict[str, dict[str, Any]] = {}
        jobs: dict[str, tuple[Group, str]] = {}
        for group in groups:
            name = f"{group.split}-{digest(group.source_id)[:24]}"
            key = digest([identity, group.source_id, [[c.clip_id, c.path, c.size_bytes] for c in group.members]])
            record = _read(out, name, key)
            if record is None:
                jobs[name] = group, key
            else:
                records[name] = record
        done = sum(len(record["clips"]) for record in records.values())
        with closing(_work(jobs, root.resolve(), out.resolve(), rules, workers)) as made:
            for name, record in made:
                records[name] = record
                text = json.dumps({"key": jobs[name][1], **record}, sort_keys=True).encode()
                atomic_write_bytes(out / "state" / f"{name}.json", text + b"\n")
                done += len(record["clips"])
                progress("clips", done)
        clips = sorted((clip for r in records.values() for clip in r["clips"]), key=lambda clip: clip["path"])
        skipped = sorted((s for r in records.values() for s in r["skipped"]), key=lambda s: (s["clip_id"], s["detail"]))
        if not clips:
            told = sorted({skip["reason"] for skip in skipped})
            raise ForgeprepError(f"{root}: no clip could be spliced ({', '.join(told)}); see 'forgeprep run --dry-run'")
        write_index(out, dataset, clips, skipped, with_people=not kind.official_split)
    return Spliced(clips, skipped, scan.warnings)


def _groups(clips: list[Clip], root: Path, progress: Callable[[int], None]) -> list[Group]:
    plan = make_plan(clips, root, lambda count, split, labelled: (0,), GROUPS_A_PLAN, progress)
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
        f"--length, --spans, --gap: spans longer than the clips: the longest original has {longest:,} frames; "
        "give shorter or fewer spans"
    )


def _identity(dataset: str, options: ScanOptions, rules: SpliceRules) -> dict[str, Any]:
    config = {
        "dataset": dataset,
        "compression": options.compressions,
        "methods": options.methods,
        "splits": options.splits,
        "options": options.params.model_dump(mode="json") if options.params else {},
        **asdict(rules),
    }
    identity: dict[str, Any] = json.loads(json.dumps({"config": config, "versions": versions()}))
    return identity


def _claim(out: Path, identity: dict[str, Any]) -> None:
    file = out / "splice.json"
    try:
        old = read_json(file)
    except FileNotFoundError:
        old = None
    except (OSError, ValueError):
        old = {}
    if old is not None:
        if not isinstance(old, dict) or old != identity:
            differences = settings_differences(old, identity) if isinstance(old, dict) else []
            raise ConfigMismatch(
                f"{out}: was made with other settings ({'; '.join(differences) or 'splice.json is damaged'}); "
                "give another --out, or the old settings"
            )
        return
    if out.is_dir() and any(out.iterdir()):
        raise UsageError(f"{out}: not empty, and no dataset made by 'forgeprep splice'; give an empty or new folder")
    atomic_write_bytes(file, json.dumps(identity, indent=2).encode() + b"\n")


def _read(out: Path, name: str, key: str) -> dict[str, Any] | None:
    """The record of a group whose files are all there; None if it has to be made."""
    try:
        record = read_json(out / "state" / f"{name}.json")
        if problem_of(SpliceRecord, record) is not None:
            return None
        there = all((out / clip["path"]).stat().st_size == clip["bytes"] for clip in record["clips"])
        # What killed its worker is tried again.
        died = any(skip["reason"] == "worker_died" for skip in record["skipped"])
        good = there and not died and record["key"] == key
        return {"clips": record["clips"], "skipped": record["skipped"]} if good else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _work(
    jobs: dict[str, tuple[Group, str]], root: Path, out: Path, rules: SpliceRules, workers: int
) -> Generator[tuple[str, dict[str, Any]], None, None]:
    """The records of groups as they are done."""
    if workers == 0:
        with media_process.reading():
            for name, (group, _) in jobs.items():
                yield name, splice_group(group, root, out, rules)
        return
    left = dict(jobs)
    try:
        with _pool(workers) as pool:
            running = {pool.submit(_in_worker, group, root, out, rules): name for name, (group, _) in left.items()}
            for name, record in _results(running):
                del left[name]
                yield name, record
    except BrokenProcessPool:
        pass
    # Some clip kills the process that reads it: the rest goes one by one, to find out which.
    for name, (group, _) in left.items():
        try:
            with _pool(1) as pool:
                yield name, pool.submit(_in_worker, group, root, out, rules).result()
        except BrokenProcessPool:
            fakes = [clip for clip in group.clips if clip.label == 1]
            yield name, {"clips": [], "skipped": [asdict(Skip(c.clip_id, c.split, "worker_died")) for c in fakes]}


def _in_worker(group: Group, root: Path, out: Path, rules: SpliceRules) -> dict[str, Any]:
    """In a process of its own, which ends if a clip makes it hang."""
    guard.limit_memory(guard.MEMORY)
    with guard.clock(CLIP_TIMEOUT_S):
        return splice_group(group, root, out, rules)


def _results(running: dict[Future[dict[str, Any]], str]) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        for future in as_completed(list(running)):
            # Records are small, but there may be many.
            yield running.pop(future), future.result()
    finally:
        for future in running:
            future.cancel()


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that end with the block; at once, where it ends with an error or is interrupted."""
    # Not by fork: the parent has threads. A terminal interrupts the whole process group, and a worker that is
    # interrupted while it holds the queue's lock leaves the others waiting for ever.
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), signal.signal, (signal.SIGINT, signal.SIG_IGN)
    )
    try:
        yield pool
    except BaseException:
        for child in multiprocessing.active_children():
            child.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
