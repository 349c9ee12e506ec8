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
from forgeprep.pipeline.configure import fingerprint_of, settings_of, shard_key, versions
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
        settings: of configuration and versions.
        adds_to: settings of the run whose shards get further stages (:mod:`forgeprep.pipeline.add`), else None.
    """

    config: RunConfig
    root: Path
    out: Path
    scan: Scan
    folders: dict[str, int]
    plan: Plan
    fingerprint: str
    settings: str
    adds_to: str | None = None

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
    real_roots: Mapping[str, Path] | None = None,
    overwrite: bool = False,
    retry: bool = False,
    write: bool = True,
    progress: Callable[[str, int], None] = lambda what, count: None,
    planning: Callable[[int], None] = lambda shards: None,
) -> Prepared:
    """Scan the dataset, plan the shards and claim the output folder; ``progress`` is told what was counted so far.

    ``real_roots`` are the folders of other datasets that reals lie in. ``planning`` is called where all is well so far
    and a new plan has to be made, with the least number of shards.

    With ``write=False`` nothing is touched (``--dry-run``). With ``retry``, shards of a run in ``out`` that lost
    samples for a transient reason are planned to be made again, also where their files have changed since.

    Raises:
        UsageError: the dataset is not where ``root`` says; with ``retry``, more has changed than what failed.
        ConfigMismatch: ``out`` holds a run of another configuration, input or version.
        StorageError: ``out`` cannot be written.
    """
    stages = resolve_stages(config.stages)
    for stage in stages:
        stage.check(stage.params(**config.params[stage.name]))
    scan = _scan(config, root, real_roots or {}, progress)
    identity = {
        "config": config.model_dump(mode="json"),
        "inputs": _inputs(scan),
        "versions": versions(stages, config.params),
    }
    fingerprint, settings = fingerprint_of(identity), settings_of(identity)
    old = _old_run(out)
    same = old is not None and old.get("fingerprint") == fingerprint
    mends = retry and old is not None and settings_of(old) == settings
    if old is not None and not same and not mends and write and not overwrite:
        raise mismatch(out, old, identity)
    failed = failed_clips(out) if mends else None
    if not (same or mends):
        planning(len({clip.split for clip in scan.clips}))
    plan = _plan(scan, config, root, out if same or mends else None, failed, progress)
    adds_to = old.get("adds_to") if old is not None and same else None
    prepared = Prepared(
        config, root, out, replace(scan, clips=[]), _folders(scan), plan, fingerprint, settings, adds_to
    )
    if write and failed is not None:
        with locked(out):
            _check_same(out, old)
            forget(out, plan, failed)
            write_run(prepared, identity)
    elif write and not same:
        _claim(prepared, identity, old)
    elif write and old is not None:
        _bring_up_to_date(prepared, identity, old.get("schema_version", 0))
    return prepared


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


def _scan(config: RunConfig, root: Path, others: Mapping[str, Path], progress: Callable[[str, int], None]) -> Scan:
    dataset = get_dataset(config.dataset)
    params, tell = dataset.params(**config.options), functools.partial(progress, "files found")
    asked = ScanOptions(config.compression, config.methods, config.splits, params, tell, others)
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
    progress: Callable[[str, int], None],
) -> Plan:
    """The plan of the run in ``out``, mended where clips ``failed``, or a new one."""
    frames = all_stages()["frames"]
    params = frames.params(**config.params["frames"])
    assert frames.select is not None

    def select(count: int, split: Split, labelled: Sequence[frozenset[int]]) -> tuple[int, ...]:
        return frames.select(count, split, params, labelled)  # type: ignore[misc]

    if out is None or not table_path(out, "plan").is_file():
        dataset = None if out is not None and has_first_names(out) else config.dataset
        tell = functools.partial(progress, "headers read")
        return make_plan(scan.clips, root, select, config.shard_size, tell, dataset, config.shards)
    old = open_plan(table_path(out, "plan"))
    return repaired_plan(old, scan.clips, failed, root, select) if failed is not None else old


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
        _remove_leftovers(prepared.out)
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
            _remove_leftovers(prepared.out)
        if not result.failed:
            write_index(prepared.out, prepared.config, [shard.name for shard in prepared.shards])
    return result


def _jobs_left(prepared: Prepared, result: Result, report: Report) -> list[Job]:
    """A job for each shard that is not there yet; those that are go into the result."""
    jobs = []
    needs = resources_of(prepared.config)
    root, out = prepared.root.resolve(), prepared.out.resolve()
    for number, shard in enumerate(prepared.shards):
        key = shard_key(prepared.settings, shard.name, shard.inputs)
        record = read_record(prepared.out, shard.name)
        there = record if record is not None and files_there(prepared.out, record) else None
        whole = there is not None and there["key"] == key
        if there is not None and whole and there.get("schema_version", 0) not in range(SCHEMA_VERSION):
            result.kept.append(shard.name)
            report(shard.name, Progress(len(there["clips"]), there["rows"], len(there["drops"])))
            continue
        base = shard_key(prepared.adds_to, shard.name, shard.inputs) if prepared.adds_to else None
        grows = there if there is not None and (whole or there["key"] == base) else None
        made = ShardJob(number, shard.name, prepared.config, root, out, key, grows)
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
        "official_split": get_dataset(prepared.config.dataset).official_split,
        **({"adds_to": prepared.adds_to} if prepared.adds_to else {}),
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


def _remove_leftovers(out: Path) -> None:
    for stale in (
        *out.glob("shards/*/.*.tmp*"),
        *out.glob("state/*/.*.tmp*"),
        *out.glob("meta/.*.tmp*"),
        *out.glob(".*.tmp*"),
    ):
        stale.unlink(missing_ok=True)
