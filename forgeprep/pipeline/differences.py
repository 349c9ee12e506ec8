"""What differs between two runs: in words, and with what to do about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from forgeprep.errors import ConfigMismatch
from forgeprep.schemas.config import current_names


def mismatch(out: Path, old: dict[str, Any], new: dict[str, Any]) -> ConfigMismatch:
    """The error for a folder whose ``run.json`` is ``old``, where a run of ``new`` was asked for."""
    without = ({**run, "versions": None} for run in (old, new))
    differences = settings_differences(old, new)
    if differences and not settings_differences(*without):
        return ConfigMismatch(
            f"{out}: was made with other versions ({'; '.join(differences)}); to go on with it, reinstall the versions "
            "of its run.json; else give another --out, or --overwrite to throw the old run away"
        )
    return ConfigMismatch(
        f"{out}: holds another run ({'; '.join(differences) or 'the files of the dataset have changed since'}); "
        "give another --out, the old options, or --overwrite to throw the old run away"
    )


def settings_differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What differs between the configurations and versions of two ``run.json``: ``frames: 32 -> 270``."""
    parts = []
    for part in ("config", "versions"):
        before, after = (_flat(current_names(run.get(part) or {})) for run in (old, new))
        for key in sorted(before.keys() | after.keys()):
            if before.get(key) != after.get(key):
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
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
