"""Make one shard: stream its source groups through the stages and write the samples."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from forgeprep.errors import MediaError, StageError
from forgeprep.media import guard
from forgeprep.media.video import read_facts, read_rate, sha256_of
from forgeprep.pipeline.add_columns import added_rows
from forgeprep.pipeline.derived import close_derived, enter_derived
from forgeprep.pipeline.executors.job import Attempt, unforeseen
from forgeprep.pipeline.plan import ShardPlan, read_shard
from forgeprep.pipeline.progress import Progress
from forgeprep.pipeline.sequences import SequenceBuilder, frame_of_plan
from forgeprep.schemas.clips import CLIP_SCHEMA, Clip
from forgeprep.schemas.config import RunConfig
from forgeprep.schemas.drops import REASONS, Drop
from forgeprep.schemas.resources import Resources
from forgeprep.schemas.samples import Column, columns_of, sequence_columns
from forgeprep.schemas.version import SCHEMA_VERSION
from forgeprep.shards.encode import encode_row
from forgeprep.shards.names import table_path
from forgeprep.shards.records import write_record
from forgeprep.shards.write import ShardWriter
from forgeprep.stages import resolve_stages
from forgeprep.stages.base import ClipLog, Group, GroupLog, Sample, Stage, StageParams, Wanted
from forgeprep.stages.frames import FramesParams, topped_up, wanted_of


@dataclass(frozen=True, slots=True)
class ShardJob:
    """Everything that a worker needs to make one shard of the plan in ``out``.

    ``key`` names its content: inputs, configuration, versions. ``record`` is that of the shard as it is, where only
    stages are added to it, or it is of an earlier schema version.
    """

    number: int
    name: str
    config: RunConfig
    root: Path
    out: Path
    key: str
    record: Mapping[str, Any] | None = None


def make_shard(job: ShardJob, attempt: Attempt | None = None) -> Progress:
    """Make a shard and, last of all, its commit record.

    Raises:
        StorageError: the output cannot be written; nothing half-written stays.
        GroupFailed: an error that nothing foresaw; the next try may give that group up.
    """
    quiet_libraries()
    attempt = attempt or Attempt()
    if job.record is not None:
        return _add_stages(job, job.record, attempt)
    plan = read_shard(table_path(job.out, "plan"), job.number)
    steps = prepare(job.config)
    logs: list[GroupLog] = []
    done = Progress()
    with (
        ShardWriter(job.out, job.name, steps.file_columns, job.config.formats, _metadata(job)) as writer,
        attempt.limits(),
    ):
        for number, group in enumerate(plan.groups):
            attempt.begin(number)
            if number in attempt.given_up:
                leave_alone(files_of(group, job.root, steps.companions), attempt.given_up[number])
            log = GroupLog()
            logs.append(log)
            with unforeseen(number):
                for rows in group_rows(group, job.root, steps, job.config, log):
                    for row in rows:
                        guard.alive()
                        writer.add(row)
                    written = sum(entry.written for entry in log.clips.values())
                    attempt.report(Progress(done.clips, done.rows + written, done.drops + len(log.drops)))
                _close_log(log, job.root)
            guard.release_memory()
            written = sum(entry.written for entry in log.clips.values())
            done = Progress(done.clips + len(group.clips), done.rows + written, done.drops + len(log.drops))
            attempt.report(done)
        files = writer.commit()
    write_record(job.out, _record(job, plan, logs, files))
    return done


def _metadata(job: ShardJob) -> dict[str, str]:
    return {"forgeprep": job.key, **({} if job.config.absent == "null" else {"absent": job.config.absent})}


def _add_stages(job: ShardJob, record: Mapping[str, Any], attempt: Attempt) -> Progress:
    """Make the shard again from itself, with further stages, or with none to have it as it is written today."""
    steps = prepare(job.config)
    new = [(stage, params) for stage, params in steps.samples if stage.name not in record["stages"]]
    clips, drops = len(record["clips"]), len(record["drops"])
    with (
        ShardWriter(job.out, job.name, steps.file_columns, job.config.formats, _metadata(job)) as writer,
        attempt.limits(),
    ):
        for row in added_rows(job.out, record, new, job.config):
            guard.alive()
            writer.add(_with_later_columns(row, steps.file_columns))
            attempt.report(Progress(0, writer.rows, drops))
        files = writer.commit()
    done = {
        "key": job.key,
        "schema_version": SCHEMA_VERSION,
        "stages": list(job.config.stages),
        "files": [asdict(file) for file in files],
    }
    write_record(job.out, {**record, **done})
    return Progress(clips, record["rows"], drops)


def _with_later_columns(row: dict[str, Any], columns: Iterable[Column]) -> dict[str, Any]:
    """The row of an older run with the columns that are newer than it, as null."""
    frames = len(row["frame_labels"]) if "frame_labels" in row else None
    for column in columns:
        if column.name not in row:
            row[column.name] = None if frames is None or column.in_sequence != "each" else [None] * frames
    return row


@dataclass(frozen=True, slots=True)
class Steps:
    """The stages of a run, with their parameters, ready to apply."""

    source: tuple[Stage, StageParams]
    samples: tuple[tuple[Stage, StageParams], ...]
    companions: frozenset[str]
    columns: tuple[Column, ...]
    frames: FramesParams
    reasons: frozenset[str]

    @property
    def file_columns(self) -> tuple[Column, ...]:
        """The columns of the shards: of sequences, where samples have several frames."""
        return self.columns if self.frames.sequence_length is None else sequence_columns(self.columns)


def prepare(config: RunConfig) -> Steps:
    """The stages of ``config`` in working order."""
    stages = resolve_stages(config.stages)
    ready = [(stage, stage.params(**config.params[stage.name])) for stage in stages]
    return Steps(
        source=next((stage, params) for stage, params in ready if stage.source is not None),
        samples=tuple((stage, params) for stage, params in ready if stage.apply or stage.derive),
        companions=frozenset(name for stage, params in ready for name in stage.companions(params)),
        columns=columns_of("key") + tuple(column for stage in stages for column in stage.adds),
        frames=FramesParams(**config.params["frames"]),
        reasons=frozenset(REASONS).union(*(stage.drops for stage in stages)),
    )


def group_rows(
    group: Group, root: Path, steps: Steps, config: RunConfig, log: GroupLog
) -> Iterator[Iterator[dict[str, Any]]]:
    """Yield a group's samples run by run, all stages applied, as rows to be written; drops go to the log."""
    source, params = steps.source
    length = steps.frames.sequence_length
    group = replace(topped_up(group, steps.frames), sequence_length=length, choose=_chooser(steps.frames))
    assert source.source is not None
    if length is not None and len(group.frames) < length and steps.frames.sequence_short == "drop":
        _drop_short(group, length, log)
        return
    sequences = SequenceBuilder(group, log, steps.columns) if length is not None else None
    for run in source.source(group, root, params, steps.companions, log):
        # Taken over: while the source makes the next run, nobody holds the pictures of this one any more.
        samples = list(run)
        run.clear()
        _apply(steps, samples, log)
        rows = _rows(samples, steps, config, log)
        yield rows if sequences is None else (joined for row in rows for joined in sequences.add(row))
    if sequences is not None:
        yield sequences.finish()


def _apply(steps: Steps, samples: list[Sample], log: GroupLog) -> None:
    """Let all stages work on a run; what they derive of it is added."""
    for stage, params in steps.samples:
        alive = [sample for sample in samples if sample.reason is None]
        if stage.derive is not None:
            further = stage.derive(alive, params)
            enter_derived(further, log)
            samples += further
        elif stage.apply is not None:
            stage.apply(alive, params)


def _chooser(params: FramesParams) -> Callable[[int, Group], Wanted]:
    return lambda frame_count, group: wanted_of(frame_count, group, params)


def _drop_short(group: Group, length: int, log: GroupLog) -> None:
    """Account for clips that have too few frames for one sample."""
    for clip in group.clips:
        frames = group.frames_of(clip.clip_id)
        log.clips[clip.clip_id] = ClipLog(clip, requested=len(frames))
        place = group.split, group.source_id, clip.clip_id, frames[0], None
        room = f"room for {len(frames)} of {length} frames"
        log.drops.append(Drop(*place, *(("unreadable", clip.error) if clip.error else ("short_clip", room))))


def leave_alone(files: Sequence[Path], why: str) -> None:
    """Let this worker not touch the files of a group that is given up."""
    guard.refuse(dict.fromkeys(files, why))


def files_of(group: Group, root: Path, companions: frozenset[str]) -> list[Path]:
    """All files that are read for a group; ``companions`` are the kinds that its stages want."""
    files = [root / clip.path for clip in group.members]
    beside = [(name, path) for clip in group.members for name, path in sorted(clip.companions.items())]
    return files + [root / path for name, path in beside if name in companions]


def resources_of(config: RunConfig) -> Resources:
    """What a worker needs for the stages of a run."""
    stages = resolve_stages(config.stages)
    needs = [stage.resources(stage.params(**config.params[stage.name])) for stage in stages]
    return Resources(max(need.memory for need in needs), max(need.gpus for need in needs))


def quiet_libraries() -> None:
    """One thread a worker, and no chatter from decoders: the workers are the parallelism."""
    import av.logging
    import cv2

    cv2.setNumThreads(0)
    _one_thread_of_blas()
    av.logging.set_level(av.logging.PANIC)


@functools.cache
def _one_thread_of_blas() -> None:
    """Products as small as these take many times as long where threads of BLAS wait for each other.

    Once in a process: to find the libraries takes 20 ms.
    """
    from threadpoolctl import threadpool_limits

    threadpool_limits(1, user_api="blas")


def _rows(samples: list[Sample], steps: Steps, config: RunConfig, log: GroupLog) -> Iterator[dict[str, Any]]:
    samples.reverse()
    while samples:
        sample = samples.pop()
        if sample.reason is None:
            # Samples of several frames are counted when they are whole.
            log.clips[sample.clip_id].written += steps.frames.sequence_length is None
            yield encode_row(sample.row(), steps.columns, config.image_format, config.image_quality)
        else:
            if sample.reason not in steps.reasons:
                name = ", ".join(stage.name for stage, _ in steps.samples)
                raise StageError(
                    f"{sample.sample_id}: dropped for the reason '{sample.reason}', which none of the stages ({name}) "
                    "declares; it has to stand in Stage.drops"
                )
            # Sequences are made of the original's frames.
            of_plan = frame_of_plan(sample.frame_index, sample.original_frame)
            index = sample.frame_index if steps.frames.sequence_length is None else of_plan
            place = sample.split, sample.source_id, sample.clip_id, index, sample.track_id
            log.drops.append(Drop(*place, sample.reason, sample.detail))


def _close_log(log: GroupLog, root: Path) -> None:
    for entry in [entry for entry in log.clips.values() if entry.made_of is None]:
        path = root / entry.clip.path
        entry.sha256 = entry.sha256 or sha256_of(path)
        with contextlib.suppress(MediaError):
            fps = read_rate(path) if entry.fps is None else entry.fps
            entry.fps = fps if entry.clip.frames is None else None
            entry.facts = entry.facts or read_facts(path)
    close_derived(log)
    for drop in log.drops:
        log.clips[drop.clip_id].dropped += 1
    log.drops.sort(key=lambda d: (d.clip_id, d.frame_index, -1 if d.track_id is None else d.track_id))


def _planned_pairing(clip: Clip) -> str | None:
    """What is said of a clip whose pairing was never put to the test."""
    if clip.label == 0:
        return None
    return "none" if clip.original_id is None else "guessed" if clip.guessed else "stated"


def _pairing_of(entry: ClipLog) -> dict[str, Any]:
    guesses = [{"original_id": name, "verdict": verdict} for name, verdict in entry.guesses]
    return {"pairing": entry.pairing or _planned_pairing(entry.clip), "guesses": guesses}


def _record(job: ShardJob, plan: ShardPlan, logs: list[GroupLog], files: list[Any]) -> dict[str, Any]:
    entries = [entry for log in logs for entry in log.clips.values()]
    drops = [drop for log in logs for drop in log.drops]
    rows = sum(entry.written for entry in entries)
    return {
        "key": job.key,
        "schema_version": SCHEMA_VERSION,
        "split": plan.split,
        "shard": plan.name,
        "stages": list(job.config.stages),
        "files": [asdict(file) for file in files],
        "rows": rows,
        "planned": rows + len(drops),
        "requested": sum(group.requested for group in plan.groups),
        "drops": [list(asdict(drop).values()) for drop in drops],
        "clips": [_clip_row(entry) for entry in entries],
    }


def _clip_row(entry: ClipLog) -> dict[str, Any]:
    # Not asdict, which copies every list of frames.
    values = {one.name: getattr(owner, one.name) for owner in (entry.clip, entry) for one in fields(owner)}
    values |= _pairing_of(entry)
    values["header_frames"] = entry.clip.frame_count
    values["visual_label"] = entry.clip.visual_label
    values["listed_frames"] = entry.clip.listed_frames or None
    values["error"] = entry.error or entry.clip.error
    values |= asdict(entry.facts) if entry.facts else {}
    return {name: values.get(name) for name in CLIP_SCHEMA.names}
