"""Plan a run and get it done: a job for each shard, for whichever executor."""

from __future__ import annotations

import functools
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from forgeprep.datasets import get_dataset
from forgeprep.datasets.base import Scan, ScanOptions
from forgeprep.datasets.boxes import BEST, OWN, boxes_from_name
from forgeprep.datasets.find import scan_root
from forgeprep.datasets.scan_tables import one_of_each
from forgeprep.errors import UsageError
from forgeprep.io.lock import locked
from forgeprep.media import guard
from forgeprep.pipeline.configure import (
    all_settings,
    content_but_frames,
    digests_of,
    fingerprint_of,
    settings_of,
    shard_keys,
    versions,
)
from forgeprep.pipeline.differences import mismatch
from forgeprep.pipeline.executors.execution import Execution, run_jobs
from forgeprep.pipeline.executors.job import Job
from forgeprep.pipeline.executors.limits import Limits
from forgeprep.pipeline.executors.ray_start import RayStart
from forgeprep.pipeline.index import write_index
from forgeprep.pipeline.make_shard import ShardJob, make_shard, resources_of
from forgeprep.pipeline.plan import Plan, make_plan, open_plan
from forgeprep.pipeline.plan_rows import inputs_of, values_of
from forgeprep.pipeline.plan_table import plan_table
from forgeprep.pipeline.progress import Progress, Report
from forgeprep.pipeline.retry import failed_clips, repaired_plan
from forgeprep.pipeline.run_folder import Prepared, old_run, read_dict, remove_leftovers, take_folder, taken
from forgeprep.pipeline.update import (
    Update,
    plan_update,
    settled_sources,
    widened,
)
from forgeprep.schemas.clip_lines import fact_lines, input_lines, text_of
from forgeprep.schemas.clip_table import ClipTable, folders_of
from forgeprep.schemas.clips import Clip, Split
from forgeprep.schemas.config import RunConfig
from forgeprep.schemas.version import SCHEMA_VERSION
from forgeprep.shards.names import has_first_names, table_path
from forgeprep.shards.records import files_there, read_record
from forgeprep.stages import all_stages, resolve_stages
from forgeprep.stages.base import Group, Stage, Wanted
from forgeprep.stages.frames import FramesParams, asks_otherwise, check_asked


@dataclass(slots=True)
class Result:
    """What a run did: shards made now, shards that were there already, and failures as (shard, message)."""

    made: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)


def prepare_run(
    config: RunConfig,
    root: Path,
    out: Path,
    *,
    real_roots: Mapping[str, Path] | None = None,
    overwrite: bool = False,
    retry: bool = False,
    update: bool = False,
    keep_removed: bool = False,
    write: bool = True,
    progress: Callable[[str, int], None] = lambda what, count: None,
    planning: Callable[[int], None] = lambda shards: None,
) -> Prepared:
    """Scan the dataset, plan the shards and claim the output folder; ``progress`` is told what was counted so far.

    ``real_roots`` are the folders of other datasets that reals lie in. ``planning`` is called where all is well so far
    and a new plan has to be made, with the least number of shards.

    With ``write=False`` nothing is touched (``--dry-run``). With ``retry``, shards of a run in ``out`` that lost
    samples for a transient reason are planned to be made again, also where their files have changed since. With
    ``update``, what has come, changed or gone since is planned, and all other shards stay (:mod:`.update`).

    Raises:
        UsageError: the dataset is not where ``root`` says; with ``retry``, more has changed than what failed.
        ConfigMismatch: ``out`` holds a run of another configuration, input or version.
        StorageError: ``out`` cannot be written.
    """
    made_by = versions(_checked_stages(config), config.params)
    old = old_run(out)
    # Other frames of the same are alike, too: what they change is in the plan.
    alike = old is not None and not overwrite and _but_frames(config, made_by) == content_but_frames(old)
    before = RunConfig.model_validate(old["config"]) if old is not None and alike else None
    config = _with_boxes_from(config, None if overwrite else old)
    config = widened(config, before) if update and before is not None else config
    # What stands in a run keeps its split, however it came there.
    scan = _scan(config, root, real_roots or {}, settled_sources(out) if alike else {}, progress)
    check_asked(FramesParams(**config.params["frames"]), get_dataset(config.dataset).methods, _of_kinds(scan.clips))
    identity = _identity(config, scan, made_by, old)
    fingerprint, settings = fingerprint_of(identity), settings_of(identity)
    same = old is not None and old.get("fingerprint") == fingerprint
    mends = retry and old is not None and settings_of(old)[1] == settings[1]
    grows = update and alike
    if old is not None and write and not overwrite and (old.get("derived") or not (same or mends or grows)):
        could = None if old.get("derived") else before
        raise mismatch(out, old, identity, _scan_wider(scan, config, could, root, real_roots or {}, out, progress))
    failed, known = failed_clips(out) if mends else None, out if same or mends or grows else None
    if not (same or mends):
        planning(_count_splits(scan.clips))
    plan, grown = _plan(scan, config, root, known, failed, keep_removed if grows else None, before, progress)
    adds_to = digests_of(old.get("adds_to")) if old is not None and (same or grows) else ()
    earlier = _earlier_settings(old, settings) if old is not None and known is not None else ()
    prepared = Prepared(
        config, root, out, replace(scan, clips=[]), _folders(scan), plan, fingerprint, (*settings, *earlier), adds_to,
        earlier, grown.told() if grown is not None else None,
    )  # fmt: skip
    if write:
        take_folder(prepared, old, identity, failed, grown)
    return prepared


def _checked_stages(config: RunConfig) -> tuple[Stage, ...]:
    stages = resolve_stages(config.stages)
    for stage in stages:
        stage.check(stage.params(**config.params[stage.name]))
        stage.check_run(config.params)
    return stages


def _but_frames(config: RunConfig, made_by: Mapping[str, str]) -> str:
    return content_but_frames({"config": config.model_dump(mode="json"), "versions": made_by})


def _earlier_settings(old: Mapping[str, Any], settings: tuple[str, ...]) -> tuple[str, ...]:
    """The digests of settings by which shards of the run ``old`` may have been made that stay in this one."""
    return tuple(one for one in dict.fromkeys(all_settings(old)) if one not in settings)


def _with_boxes_from(config: RunConfig, old: Mapping[str, Any] | None) -> RunConfig:
    """The configuration with the compression that faces are found on, where that is left open.

    A run goes on as it began; runs of earlier versions found faces on each clip itself.

    Raises:
        UsageError: no such compression is known.
    """
    dataset = get_dataset(config.dataset)
    if config.boxes_from is not None:
        return config.model_copy(update={"boxes_from": boxes_from_name(dataset, config.boxes_from)})
    if old is not None and isinstance(old.get("config"), dict):
        return config.model_copy(update={"boxes_from": old["config"].get("boxes_from") or OWN})
    return config.model_copy(update={"boxes_from": BEST if dataset.compressions else None})


def _scan(
    config: RunConfig,
    root: Path,
    others: Mapping[str, Path],
    settled: Mapping[str, Split],
    progress: Callable[[str, int], None],
) -> Scan:
    dataset = get_dataset(config.dataset)
    params, tell = dataset.params(**config.options), functools.partial(progress, "files found")
    chosen = config.compression, config.methods, config.splits
    asked = ScanOptions(*chosen, params, tell, settled, others, boxes_from=config.boxes_from or OWN)
    return scan_root(dataset, root, asked)


def _scan_wider(
    scan: Scan,
    config: RunConfig,
    before: RunConfig | None,
    root: Path,
    others: Mapping[str, Path],
    out: Path,
    progress: Callable[[str, int], None],
) -> Scan | None:
    """What an update of the run in ``out`` would look at: ``scan``, and what the run asked for ``before``.

    None where no update is possible: the run is of other settings, or the dataset lacks what it was made of.
    """
    if before is None:
        return None
    wider = widened(config, before)
    if wider == config:
        return scan
    with suppress(UsageError):
        return _scan(wider, root, others, settled_sources(out), progress)
    return None


def _identity(
    config: RunConfig, scan: Scan, made_by: Mapping[str, str], old: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What makes a run this one. Those begun before ``facts`` were written down go on without."""
    identity = {"config": config.model_dump(mode="json"), "inputs": _inputs(scan), "versions": made_by}
    if old is not None and old.get("fingerprint") == fingerprint_of(identity):
        return identity
    return {**identity, "facts": _facts(scan)}


def _facts(scan: Scan) -> str:
    """SHA-256 over what the dataset says of its clips (labels, methods, splits, originals, spans), as hex."""
    facts = hashlib.sha256()
    if isinstance(scan.clips, ClipTable):
        for lines in fact_lines(scan.clips):
            facts.update(text_of(lines))
        return facts.hexdigest()
    for clip in scan.clips:
        facts.update(json.dumps(values_of(clip)).encode())
    return facts.hexdigest()


def _inputs(scan: Scan) -> str:
    """SHA-256 over all clips that were found, as hex."""
    inputs = hashlib.sha256()
    if isinstance(scan.clips, ClipTable):
        for row, lines in input_lines(scan.clips):
            inputs.update(json.dumps(inputs_of(scan.clips[row])).encode() if lines is None else text_of(lines))
        return inputs.hexdigest()
    for clip in scan.clips:
        inputs.update(json.dumps(inputs_of(clip)).encode())
    return inputs.hexdigest()


def _count_splits(clips: Sequence[Clip]) -> int:
    return len({clip.split for clip in _of_kinds(clips)})


def _of_kinds(clips: Sequence[Clip]) -> Sequence[Clip]:
    """The clips, or of a table one of each kind."""
    return one_of_each(clips) if isinstance(clips, ClipTable) else clips


def _plan(
    scan: Scan,
    config: RunConfig,
    root: Path,
    out: Path | None,
    failed: set[str] | None,
    keep_removed: bool | None,
    before: RunConfig | None,
    progress: Callable[[str, int], None],
) -> tuple[Plan, Update | None]:
    """The plan of the run in ``out``, mended where clips ``failed``, or a new one.

    Where ``keep_removed`` is no None, the run is to grow: the plan and what becomes of its shards, where
    ``before`` is how it was.
    """
    frames = all_stages()["frames"]
    params = FramesParams(**config.params["frames"])
    assert frames.select is not None

    def select(count: int, group: Group) -> Wanted:
        return frames.select(count, group, params)  # type: ignore[misc]

    if out is None or not table_path(out, "plan").is_file():
        dataset = None if out is not None and has_first_names(out) else config.dataset
        read = functools.partial(progress, "headers read")
        how = root, select, config.shard_size, read, dataset, config.shards
        clips = scan.clips
        return (plan_table(clips, *how) if isinstance(clips, ClipTable) else make_plan(clips, *how)), None
    old = open_plan(table_path(out, "plan"))
    if keep_removed is not None and failed is None:
        read = functools.partial(progress, "headers read")
        refit = _refit(FramesParams(**before.params["frames"]), params) if before is not None else None
        grown = plan_update(
            old, scan.clips, root, select, config, out, keep_removed=keep_removed, refit=refit, progress=read
        )
        return grown.plan, grown
    return (repaired_plan(old, scan.clips, failed, root, select) if failed is not None else old), None


def _refit(before: FramesParams, now: FramesParams) -> Callable[[Group], bool] | None:
    return None if before == now else functools.partial(asks_otherwise, before=before, now=now)


def _folders(scan: Scan) -> dict[str, int]:
    if isinstance(scan.clips, ClipTable):
        return dict(sorted((folder or ".", count) for folder, count in folders_of(scan.clips).items()))
    found: Counter[str] = Counter()
    for clip in scan.clips:
        for path in (clip.path, *clip.companions.values()):
            found[path.rpartition("/")[0] or "."] += 1
    return dict(sorted(found.items()))


def execute(
    prepared: Prepared,
    *,
    workers: int,
    address: str | None = None,
    report: Report,
    ended: Callable[[str, str, str | None], None] = lambda shard, state, failure: None,
    ray: RayStart | None = None,
    clip_timeout_s: float = guard.TIMEOUT_S,
    worker_memory: int = guard.MEMORY,
    start_timeout_s: float | None = None,
) -> Result:
    """Make all shards that are not there yet, then write the indexes.

    ``workers=1`` (or 0) works in this process, but for the reading of media, which has its own; else Ray runs that many
    tasks at a time, on this machine; or as many as there is room for, on the cluster at ``address``, in the Ray that
    this process has initialised, or on the cluster that ``RAY_ADDRESS`` names. ``ray`` may have been begun for them
    before; it is ended here. One shard's failure does not stop the others; a full or unwritable disk stops the run. A
    worker that shows no progress for ``clip_timeout_s`` is replaced; a clip that kills or hangs its worker each time is
    dropped. ``worker_memory`` is how many bytes a process that reads media may take beyond what it has at its start.
    ``ended`` is told of each shard whether it was ``made``, ``kept`` or has ``failed``, and why.
    ``start_timeout_s`` is how long Ray's workers may take to begin: without it 300 s here, and any time on a cluster.

    Raises:
        StorageError: the output cannot be written.
        ForgeprepError: Ray cannot start here, or none of its workers has begun in time.
        KeyboardInterrupt: stopped by the user; finished shards stay.
    """
    result = Result()
    how = Execution(workers, address, Limits(clip_timeout_s, worker_memory, start_timeout_s))
    with locked(prepared.out):
        if (read_dict(prepared.out / "run.json") or {}).get("fingerprint") != prepared.fingerprint:
            raise taken(prepared.out)
        jobs = _jobs_left(prepared, result, report)
        for name in result.kept:
            ended(name, "kept", None)
        remove_leftovers(prepared.out)
        outcomes = run_jobs(jobs, how, report, ray)
        try:
            for name, failure in outcomes:
                if failure is None:
                    result.made.append(name)
                else:
                    result.failed.append((name, failure))
                ended(name, "made" if failure is None else "failed", failure)
        finally:
            # Ends Ray's workers first, so that none of them writes on.
            outcomes.close()
            remove_leftovers(prepared.out)
        if not result.failed:
            write_index(prepared.out, prepared.config, [shard.name for shard in prepared.shards])
    return result


def _jobs_left(prepared: Prepared, result: Result, report: Report) -> list[Job]:
    """A job for each shard that is not there yet; those that are go into the result."""
    jobs = []
    needs = resources_of(prepared.config)
    root, out = prepared.root.resolve(), prepared.out.resolve()
    for number, shard in enumerate(prepared.shards):
        keys = shard_keys(prepared.settings, shard.name, shard.inputs)
        record = read_record(prepared.out, shard.name)
        there = record if record is not None and files_there(prepared.out, record) else None
        whole = there is not None and there["key"] in keys
        if there is not None and whole and there.get("schema_version", 0) not in range(SCHEMA_VERSION):
            result.kept.append(shard.name)
            report(shard.name, Progress(len(there["clips"]), there["rows"], len(there["drops"])))
            continue
        base = shard_keys(prepared.adds_to, shard.name, shard.inputs)
        grows = there if there is not None and (whole or there["key"] in base) else None
        made = ShardJob(number, shard.name, prepared.config, root, out, keys[0], grows)
        jobs.append(Job(shard.name, functools.partial(make_shard, made), needs))
    return jobs
