"""What differs between two runs: in words, and with what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from forgeprep.datasets.base import Scan
from forgeprep.datasets.boxes import OWN
from forgeprep.errors import ConfigMismatch, VerifyError
from forgeprep.pipeline.plan import open_plan
from forgeprep.pipeline.update import clips_text, compare_clips
from forgeprep.schemas.config import current_names
from forgeprep.shards.names import table_path


def settings_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between the configurations and versions of two ``run.json``: ``frames: 32 -> 270``."""
    parts = []
    for part in ("config", "versions"):
        before, after = (_flat(current_names(run.get(part) or {})) for run in (old, new))
        for key in sorted(before.keys() | after.keys()):
            # That faces are found on the clip itself may go without saying.
            unsaid = key == "boxes_from" and {before.get(key), after.get(key)} == {None, OWN}
            if before.get(key) != after.get(key) and not unsaid:
                parts.append(f"{key}: {_text(before.get(key))} -> {_text(after.get(key))}")
    return parts


def _flat(value: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, item in value.items():
        if key == "params":
            flat |= {name: v for params in item.values() for name, v in params.items()}
        else:
            flat[key] = item
    return flat


def _text(value: Any) -> str:
    if value is None:
        return "not given"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def mismatch(out: Path, old: dict[str, Any], new: dict[str, Any], scan: Scan | None) -> ConfigMismatch:
    """The error for a folder whose ``run.json`` is ``old``, where a run of ``new`` was asked for.

    ``scan`` is given where an update could take these clips in: all that it would look at.
    """
    if old.get("derived"):
        step = old["derived"][-1].get("command", "another command")
        return ConfigMismatch(
            f"{out}: was made by 'forgeprep {step}' from shards, and no run goes on in it; give another --out, and put "
            "both together with 'forgeprep merge'; or --overwrite to throw it away"
        )
    without = ({**run, "versions": None} for run in (old, new))
    differences = settings_differences(old, new)
    if differences and not settings_differences(*without):
        return ConfigMismatch(
            f"{out}: was made with other versions ({'; '.join(differences)}); to go on with it, reinstall the versions "
            "of its run.json; else give another --out, or --overwrite to throw the old run away"
        )
    told = "; ".join(differences) or "the dataset has changed since"
    if scan is None:
        return ConfigMismatch(
            f"{out}: holds another run ({told}); "
            "give another --out, the old options, or --overwrite to throw the old run away"
        )
    with suppress(VerifyError):
        clips = clips_text(*compare_clips(open_plan(table_path(out, "plan")), scan.clips))
        told += f": {clips}" if clips else ""
    return ConfigMismatch(
        f"{out}: holds another run ({told}); --update makes what is new or changed and keeps the other shards; "
        "or give another --out, or --overwrite to throw the old run away"
    )
