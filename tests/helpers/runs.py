"""Runs of the main job for the tests, in this process and as commands."""

from __future__ import annotations

import hashlib
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from forgeprep.pipeline.configure import make_config
from forgeprep.pipeline.run import Result, execute, prepare_run

SMALL: dict[str, Any] = {
    "stages": "crop,mask,noise",
    "methods": "Deepfakes,NeuralTextures",
    "frames": "5",
    "shard_size": 15,
}
"""Six shards, each of an original and its two fakes."""
VAL: dict[str, Any] = {**SMALL, "splits": "val"}
"""Two of them."""


def run(root: Path, out: Path, *, workers: int = 0, **given: Any) -> Result:
    prepared = prepare_run(make_config("ffpp", given), root, out)
    return execute(prepared, workers=workers, report=lambda *_: None)


def command(root: Path, out: Path, *more: str) -> list[str]:
    flags = [part for name, value in SMALL.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    return [sys.executable, "-m", "forgeprep.cli", "run", "ffpp", "--root", str(root), "--out", str(out), *flags, *more]


def checksums(out: Path) -> dict[str, str]:
    """Checksums of everything that has to repeat: shards, tables, cards."""
    files = [*out.glob("shards/*/*"), *out.glob("*.parquet"), out / "README.md", out / "croissant.json"]
    return {file.relative_to(out).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def wait_for(condition: Any, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def busy_workers(process: psutil.Process) -> list[psutil.Process]:
    found = []
    for child in process.children(recursive=True):
        try:
            if "_ray_task" in " ".join(child.cmdline()) or child.name().startswith("ray::_ray_task"):
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found
