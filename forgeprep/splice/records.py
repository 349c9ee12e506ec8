"""What a spliced dataset remembers: its settings, and a record for each source group that is done."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from forgeprep.datasets.base import ScanOptions
from forgeprep.errors import ConfigMismatch, UsageError
from forgeprep.io.atomic import atomic_write_bytes
from forgeprep.io.safe_files import read_json
from forgeprep.pipeline.configure import versions
from forgeprep.pipeline.differences import settings_differences
from forgeprep.schemas.files import SpliceRecord, problem_of
from forgeprep.splice.make import SpliceRules
from forgeprep.stages import resolve_stages


def identity_of(dataset: str, options: ScanOptions, rules: SpliceRules) -> dict[str, Any]:
    """Settings and versions, JSON-ready: what all files of a spliced dataset depend on besides their sources."""
    # Of a run, the crop stage alone takes part.
    stages = [stage for stage in resolve_stages(["crop"]) if stage.source is not None]
    depends = versions(stages, {stage.name: {"detector": rules.detector} for stage in stages})
    config = {
        "dataset": dataset,
        "compression": options.compressions,
        "methods": options.methods,
        "splits": options.splits,
        "options": options.params.model_dump(mode="json") if options.params else {},
        **asdict(rules),
    }
    identity: dict[str, Any] = json.loads(json.dumps({"config": config, "versions": depends}))
    return identity


def claim(out: Path, identity: dict[str, Any]) -> None:
    """Take a folder for a dataset of these settings.

    Raises:
        UsageError: it is not empty, and holds no spliced dataset.
        ConfigMismatch: it was filled with other settings or versions.
        StorageError: it cannot be written.
    """
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


def read_group(out: Path, name: str, key: str) -> dict[str, Any] | None:
    """The record of a source group whose files are all there, with ``clips`` and ``skipped``; None without one.

    Args:
        out: the spliced dataset.
        name: the group's.
        key: of settings and sources; a record of another one does not count.
    """
    try:
        record = read_json(_path(out, name))
        if problem_of(SpliceRecord, record) is not None or record["key"] != key:
            return None
        there = all((out / clip["path"]).stat().st_size == clip["bytes"] for clip in record["clips"])
        return {"clips": record["clips"], "skipped": record["skipped"]} if there else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_group(out: Path, name: str, key: str, record: Mapping[str, Any]) -> None:
    """Write the record of a source group, after all its files: from here on it is done.

    Raises:
        StorageError: it cannot be written.
    """
    atomic_write_bytes(_path(out, name), json.dumps({"key": key, **record}, sort_keys=True).encode() + b"\n")


def has_died(record: Mapping[str, Any]) -> bool:
    """Whether some of it killed its worker: that is tried again."""
    return any(skip["reason"] == "worker_died" for skip in record["skipped"])


def _path(out: Path, name: str) -> Path:
    return out / "state" / f"{name}.json"
