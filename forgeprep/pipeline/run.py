"""Plan a run and get it done: a job for each shard, for whichever executor."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from forgeprep.datasets import get_dataset
from forgeprep.datasets.base import Scan, ScanOptions
from forgeprep.datasets.find import scan_root
from forgeprep.errors import StorageError, UsageError
from forgeprep.io.atomic import atomic_write_bytes
from forgeprep.io.lock import LOCK, locked
from forgeprep.io.safe_files import read_json
from forgeprep.io.storage import remove_tree
from forgeprep.media import guard
from forgeprep.params import STAGES
from forgeprep.pipeline.configure import digests_of, fingerprint_of, settings_of, shard_keys, versions
from forgeprep.pipeline.differences import mismatch
from forgeprep.pipeline.executors.execution import Execution, run_jobs
from forgeprep.pipeline.executors.job import Job
from forgeprep.pipeline.executors.limits import Limits
from forgeprep.pipeline.executors.ray_start import RayStart
from forgeprep.pipeline.index import write_index
from forgeprep.pipeline.make_shard import ShardJob, make_shard, prepare, resources_of
from forgeprep.pipeline.plan import Brief, Plan, inputs_of, make_plan, open_plan
from forgeprep.pipeline.progress import Progress, Report
from forgeprep.pipeline.retry import failed_clips, forget, repaired_plan
from forgeprep.pipeline.update import (
    Update,
    plan_update,
    settled_sources,
    widened,
    withdraw,
)
from forgeprep.schemas.clips import Split
from forgeprep.schemas.columns import facts_of
from forgeprep.schemas.config import RunConfig
from forgeprep.schemas.drops import REASONS, TRANSIENT
from forgeprep.schemas.version import SCHEMA_VERSION
from forgeprep.shards.formats import FORMATS
from forgeprep.shards.names import TABLES, final_files, has_first_names, table_path
from forgeprep.shards.records import files_there, read_record
from forgeprep.stages import all_stages, resolve_stages


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that is planned and may start.

    Attributes:
        config: what it does.
        root: the raw dataset.
        out: the folder to fill.
        scan: what was found, but for the clips themselves, which are in the plan.
        folders: folder -> files that are used of it.
        plan: all shards.
        fingerprint: of configuration, versions and all input files.
        settings: digests of configuration and versions (:func:`forgeprep.pipeline.configure.settings_of`).
        adds_to: those of the run whose shards get further stages (:mod:`forgeprep.pipeline.add`), else empty.
        told: of an update, what it makes and what it keeps, in words.
        carried: what ``run.json`` says and no configuration does: of runs that were made of others.
    """

    config: RunConfig
    root: Path
    out: Path
    scan: Scan
    folders: dict[str, int]
    plan: Plan
    fingerprint: str
    settings: tuple[str, ...]
    adds_to: tuple[str, ...] = ()
    told: str | None = None
    carried: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shards(self) -> tuple[Brief, ...]:
        """The shards, in brief."""
        return self.plan.briefs


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
    overwrite: bool = False,
    retry: bool = False,
    update: bool = False,
    keep_removed: bool = False,
    write: bool = True,
    progress: Callable[[str, int], None] = lambda what, count: None,
    planning: Callable[[int], None] = lambda shards: None,
) -> Prepared:
    """Scan the dataset, plan the shards and claim the output folder; ``progress`` is told what was counted so far.

    ``planning`` is called where all is well so far and a new plan has to be made, with the least number of shards.

    With ``write=False`` nothing is touched (``--dry-run``). With ``retry``, shards of a run in ``out`` that lost
    samples for a transient reason are planned to be made again, also where their files have changed since. With
    ``update``, what has come, changed or gone since is planned, and all other shards stay (:mod:`.update`).

    Raises:
        UsageError: the dataset is not where ``root`` says; with ``retry``, more has changed than what failed.
        ConfigMismatch: ``out`` holds a run of another configuration, input or version.
        StorageError: ``out`` cannot be written.
    """
    stages = resolve_stages(config.stages)
    for stage in stages:
        stage.check(stage.params(**config.params[stage.name]))
    old = _old_run(out)
    made_by = versions(stages, config.params)
    alike = old is not None and not overwrite and _content_of(config, made_by) == settings_of(old)[0]
    if update and old is not None and alike:
        config = widened(config, RunConfig.model_validate(old["config"]))
    # What stands in a run keeps its split, however it came there.
    scan = _scan(config, root, progress, settled_sources(out) if alike else {})
    identity = {"config": config.model_dump(mode="json"), "inputs": _inputs(scan), "versions": made_by}
    fingerprint, settings = fingerprint_of(identity), settings_of(identity)
    same = old is not None and old.get("fingerprint") == fingerprint
    mends = retry and old is not None and settings_of(old)[1] == settings[1]
    grows = update and alike
    if old is not None and write and not overwrite and (old.get("derived") or not (same or mends or grows)):
        raise mismatch(out, old, identity, scan if alike else None)
    failed = failed_clips(out) if mends else None
    if not (same or mends):
        planning(len({clip.split for clip in scan.clips}))
    known = out if same or mends or grows else None
    plan, grown = _plan(scan, config, root, known, failed, keep_removed if grows else None, progress)
    told = grown.told() if grown is not None else None
    adds_to = digests_of(old.get("adds_to")) if old is not None and (same or grows) else ()
    prepared = Prepared(
        config, root, out, replace(scan, clips=[]), _folders(scan), plan, fingerprint, settings, adds_to, told
    )
    if write:
        _take(prepared, old, identity, failed, grown)
    return prepared


def _content_of(config: RunConfig, made_by: Mapping[str, str]) -> str:
    return settings_of({"config": config.model_dump(mode="json"), "versions": made_by})[0]


def _take(
    prepared: Prepared,
    old: dict[str, Any] | None,
    identity: dict[str, Any],
    failed: set[str] | None,
    grown: Update | None,
) -> None:
    """Make the output folder that of this run: change the run that is there as far as it has to be, or claim it."""
    same = old is not None and old.get("fingerprint") == prepared.fingerprint
    if grown is not None and not (same and grown.nothing):
        with locked(prepared.out):
            _check_same(prepared.out, old)
            withdraw(prepared.out, grown)
            remove_tree(prepared.out / "report")
            write_run(prepared, identity)
    elif failed is not None:
        with locked(prepared.out):
            _check_same(prepared.out, old)
            forget(prepared.out, prepared.plan, failed)
            write_run(prepared, identity)
    elif not same:
        _claim(prepared, identity, old)
    elif old is not None:
        _bring_up_to_date(prepared, identity, old.get("schema_version", 0))


def _bring_up_to_date(prepared: Prepared, identity: dict[str, Any], found: Any) -> None:
    """Have a run of an earlier schema version go on as one of today, and write its plan again where it is lost.

    Shards of an earlier version are made again from themselves.
    """
    if found in range(SCHEMA_VERSION):
        prepared.scan.warnings.append(
            f"{prepared.out}: is of schema version {found}; its shards are brought to {SCHEMA_VERSION}, from themselves"
        )
        with locked(prepared.out):
            write_run(prepared, identity)
    elif not table_path(prepared.out, "plan").is_file():
        with locked(prepared.out):
            atomic_write_bytes(table_path(prepared.out, "plan"), prepared.plan.data)


def _scan(config: RunConfig, root: Path, progress: Callable[[str, int], None], settled: Mapping[str, Split]) -> Scan:
    dataset = get_dataset(config.dataset)
    asked = ScanOptions(
        config.compression,
        config.methods,
        config.splits,
        dataset.params(**config.options),
        lambda files: progress("files found", files),
        settled,
    )
    return scan_root(dataset, root, asked)


def _inputs(scan: Scan) -> str:
    """SHA-256 over all clips that were found, as hex."""
    inputs = hashlib.sha256()
    for clip in scan.clips:
        inputs.update(json.dumps(inputs_of(clip)).encode())
    return inputs.hexdigest()


def _old_run(out: Path) -> dict[str, Any] | None:
    """The ``run.json`` in a folder, None without one; raises UsageError where the folder holds something else."""
    old = _read_json(out / "run.json")
    if out.is_dir() and any(out.iterdir()) and old is None and not _only_leftovers(out):
        raise UsageError(f"{out}: not empty, and no run of forgeprep; give an empty or new folder with --out")
    return old


def _plan(
    scan: Scan,
    config: RunConfig,
    root: Path,
    out: Path | None,
    failed: set[str] | None,
    keep_removed: bool | None,
    progress: Callable[[str, int], None],
) -> tuple[Plan, Update | None]:
    """The plan of the run in ``out``, mended where clips ``failed``, or a new one.

    Where ``keep_removed`` is no None, the run is to grow: the plan and what becomes of its shards.
    """
    frames = all_stages()["frames"]
    params = frames.params(**config.params["frames"])
    assert frames.select is not None

    def select(count: int, split: Split, labelled: Sequence[frozenset[int]]) -> tuple[int, ...]:
        return frames.select(count, split, params, labelled)  # type: ignore[misc]

    if out is None or not table_path(out, "plan").is_file():
        dataset = None if out is not None and has_first_names(out) else config.dataset
        read = functools.partial(progress, "headers read")
        return make_plan(scan.clips, root, select, config.shard_size, read, dataset, config.shards), None
    old = open_plan(table_path(out, "plan"))
    if keep_removed is not None and failed is None:
        read = functools.partial(progress, "headers read")
        grown = plan_update(old, scan.clips, root, select, config, out, keep_removed=keep_removed, progress=read)
        return grown.plan, grown
    return (repaired_plan(old, scan.clips, failed, root, select) if failed is not None else old), None


def _folders(scan: Scan) -> dict[str, int]:
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
        if (_read_json(prepared.out / "run.json") or {}).get("fingerprint") != prepared.fingerprint:
            raise _taken(prepared.out)
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


def _claim(prepared: Prepared, identity: dict[str, Any], old: dict[str, Any] | None) -> None:
    """Empty the folder of the ``old`` run and write the new plan; ``run.json`` comes last and makes it valid.

    Raises:
        UsageError: since the folder was looked at, another run has begun there.
    """
    out = prepared.out
    try:
        out.mkdir(parents=True, exist_ok=True)
        with locked(out):
            if (_read_json(out / "run.json") or {}).get("fingerprint") == prepared.fingerprint:
                return  # The same command, begun in the same moment, was faster.
            _check_same(out, old)
            (out / "run.json").unlink(missing_ok=True)
            for folder in ("shards", "state", "meta", "report"):
                remove_tree(out / folder)
            first = (out / f"{name}.parquet" for name in (*TABLES, "plan"))
            for stale in (*final_files(out), *first):
                stale.unlink(missing_ok=True)
            write_run(prepared, identity)
    except OSError as error:
        raise StorageError(f"{out}: cannot be written ({error.strerror}); give another --out") from None


def _check_same(out: Path, old: dict[str, Any] | None) -> None:
    """Raise UsageError if the folder holds another run than it did when this one was planned."""
    if _read_json(out / "run.json") != old:
        raise _taken(out)


def _taken(out: Path) -> UsageError:
    return UsageError(f"{out}: another run has just begun in this folder; wait for it or give another --out")


def write_run(prepared: Prepared, identity: dict[str, Any]) -> None:
    """Write the plan and, last of all, ``run.json``, which makes both valid.

    Raises:
        StorageError: they cannot be written.
    """
    atomic_write_bytes(table_path(prepared.out, "plan"), prepared.plan.data)
    stages = resolve_stages(prepared.config.stages)
    document = {
        "schema_version": SCHEMA_VERSION,
        "fingerprint": prepared.fingerprint,
        "planned_on": (_read_json(prepared.out / "run.json") or {}).get("planned_on") or _today(),
        **identity,
        "stages": list(prepared.config.stages),
        "formats": list(prepared.config.formats),
        "shards": len(prepared.shards),
        "requested": sum(shard.requested for shard in prepared.shards),
        "root": str(prepared.root),
        **(prepared.carried or {"official_split": get_dataset(prepared.config.dataset).official_split}),
        **({"adds_to": list(prepared.adds_to)} if prepared.adds_to else {}),
        "packages": _packages(prepared.config),
        "columns": [facts_of(column) for column in prepare(prepared.config).columns],
        "drop_reasons": {
            **{name: {"meaning": meaning, "transient": name in TRANSIENT} for name, meaning in REASONS.items()},
            **{name: asdict(reason) for stage in stages for name, reason in stage.drops.items()},
        },
    }
    atomic_write_bytes(prepared.out / "run.json", json.dumps(document, indent=2).encode() + b"\n")


def _today() -> str:
    """The day in UTC, or that of ``SOURCE_DATE_EPOCH`` (reproducible-builds.org), which makes equal runs equal."""
    seconds = os.environ.get("SOURCE_DATE_EPOCH", "")
    now = datetime.fromtimestamp(int(seconds), UTC) if seconds.isdecimal() else datetime.now(UTC)
    return now.date().isoformat()


def _packages(config: RunConfig) -> dict[str, Any]:
    """Package -> its version and the stages and shard formats of the run that it adds; forgeprep itself is left out."""
    found: dict[str, Any] = {}
    parts = {"stages": STAGES.packages(config.stages), "formats": FORMATS.packages(config.formats)}
    for part, packages in parts.items():
        for name, package in packages.items():
            title, version = package.rsplit(" ", 1)
            found.setdefault(title, {"version": version}).setdefault(part, []).append(name)
    return found


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        value = read_json(path)
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _only_leftovers(out: Path) -> bool:
    """Whether the folder holds nothing but what a run that died while planning leaves."""
    return {entry.name for entry in out.iterdir()} <= {"meta", "plan.parquet", "state", LOCK}


def remove_leftovers(out: Path) -> None:
    """Remove what a killed process was writing."""
    for stale in (
        *out.glob("shards/*/.*.tmp*"),
        *out.glob("state/*/.*.tmp*"),
        *out.glob("meta/.*.tmp*"),
        *out.glob(".*.tmp*"),
    ):
        stale.unlink(missing_ok=True)
