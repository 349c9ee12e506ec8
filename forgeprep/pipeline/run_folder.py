"""The output folder of a run: who has it, what is in it, and ``run.json``."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from forgeprep.datasets import get_dataset
from forgeprep.datasets.base import Scan
from forgeprep.errors import StorageError, UsageError
from forgeprep.io.atomic import atomic_write_bytes
from forgeprep.io.lock import LOCK, locked
from forgeprep.io.safe_files import read_json
from forgeprep.io.storage import remove_tree
from forgeprep.params import STAGES
from forgeprep.pipeline.make_shard import prepare
from forgeprep.pipeline.plan import Brief, Plan
from forgeprep.pipeline.retry import forget
from forgeprep.pipeline.update import (
    Update,
    withdraw,
)
from forgeprep.schemas.columns import facts_of
from forgeprep.schemas.config import RunConfig
from forgeprep.schemas.drops import REASONS, TRANSIENT
from forgeprep.schemas.version import SCHEMA_VERSION
from forgeprep.shards.formats import FORMATS
from forgeprep.shards.names import TABLES, final_files, table_path
from forgeprep.shards.records import run_meant, runs_near
from forgeprep.stages import resolve_stages


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
        before: of those, the ones from before the run wanted other frames (:mod:`forgeprep.pipeline.update`).
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
    before: tuple[str, ...] = ()
    told: str | None = None
    carried: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shards(self) -> tuple[Brief, ...]:
        """The shards, in brief."""
        return self.plan.briefs


def old_run(out: Path) -> dict[str, Any] | None:
    """The ``run.json`` in a folder, None without one; raises UsageError where the folder holds something else."""
    old = read_dict(out / "run.json")
    if out.is_dir() and any(out.iterdir()) and old is None and not _only_leftovers(out):
        meant = run_meant(out) if runs_near(out) else "give an empty or new folder with --out"
        raise UsageError(f"{out}: not empty, and no run of forgeprep; {meant}")
    return old


def take_folder(
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


def _claim(prepared: Prepared, identity: dict[str, Any], old: dict[str, Any] | None) -> None:
    """Empty the folder of the ``old`` run and write the new plan; ``run.json`` comes last and makes it valid.

    Raises:
        UsageError: since the folder was looked at, another run has begun there.
    """
    out = prepared.out
    try:
        out.mkdir(parents=True, exist_ok=True)
        with locked(out):
            if (read_dict(out / "run.json") or {}).get("fingerprint") == prepared.fingerprint:
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
    if read_dict(out / "run.json") != old:
        raise taken(out)


def taken(out: Path) -> UsageError:
    """The error for a folder in which another run has begun meanwhile."""
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
        "planned_on": (read_dict(prepared.out / "run.json") or {}).get("planned_on") or _today(),
        **identity,
        "stages": list(prepared.config.stages),
        "formats": list(prepared.config.formats),
        "shards": len(prepared.shards),
        "requested": sum(shard.requested for shard in prepared.shards),
        "root": str(prepared.root),
        **(prepared.carried or {"official_split": _keeps_split(prepared.config)}),
        **({"adds_to": list(prepared.adds_to)} if prepared.adds_to else {}),
        **({"settings_before": list(prepared.before)} if prepared.before else {}),
        "packages": _packages(prepared.config),
        "columns": [facts_of(column) for column in prepare(prepared.config).columns],
        "drop_reasons": {
            **{name: {"meaning": meaning, "transient": name in TRANSIENT} for name, meaning in REASONS.items()},
            **{name: asdict(reason) for stage in stages for name, reason in stage.drops.items()},
        },
    }
    atomic_write_bytes(prepared.out / "run.json", json.dumps(document, indent=2).encode() + b"\n")


def _keeps_split(config: RunConfig) -> bool:
    dataset = get_dataset(config.dataset)
    return dataset.official_split or dataset.params.model_validate(config.options).keeps_split


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


def read_dict(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None where there is none that can be read."""
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
