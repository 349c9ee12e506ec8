"""Runs of the main job for the tests, in this process and as commands."""

from __future__ import annotations

import hashlib
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from forgeprep.pipeline.configure import make_config, settings_of, shard_keys
from forgeprep.pipeline.plan import open_plan, pack_plan
from forgeprep.pipeline.run import Result, execute, prepare_run
from forgeprep.shards.records import read_record, read_run, record_path, write_record

SMALL: dict[str, Any] = {
    "stages": "crop,mask,noise",
    "methods": "Deepfakes,NeuralTextures",
    "frames": "5",
    "shard_size": 15,
    "boxes_from": "own",
}
"""Six shards, each of an original and its two fakes; each clip stands alone, whatever else is on disk."""
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
    files = [*out.glob("shards/*/*"), *out.glob("meta/*"), out / "README.md", out / "croissant.json"]
    return {file.relative_to(out).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def with_first_names(out: Path) -> None:
    """Give the files of a run the names of schema version 1, as if that had begun it."""
    plan = open_plan(out / "meta/plan.pq")
    settings = settings_of(read_run(out))
    old = [replace(shard, name=f"{shard.split}/{shard.name[-5:]}") for shard in plan.shards()]
    for shard, before, brief in zip(old, plan.briefs, pack_plan(old).briefs, strict=True):
        record = read_record(out, before.name)
        assert record is not None
        files = [{**file, "path": file["path"].replace(before.name, shard.name)} for file in record["files"]]
        for file, moved in zip(record["files"], files, strict=True):
            (out / file["path"]).rename(out / moved["path"])
        record_path(out, before.name).unlink()
        key = shard_keys(settings, shard.name, brief.inputs)[0]
        write_record(out, {**record, "shard": shard.name, "files": files, "key": key})
    shutil.rmtree(out / "meta")
    (out / "plan.parquet").write_bytes(pack_plan(old).data)
    for name in ("README.md", "croissant.json"):
        (out / name).unlink()


def wait_for(condition: Any, seconds: float = 240, every_s: float = 0.05) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(every_s)


def busy_workers(process: psutil.Process) -> list[psutil.Process]:
    found = []
    for child in process.children(recursive=True):
        try:
            if "_ray_task" in " ".join(child.cmdline()) or child.name().startswith("ray::_ray_task"):
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found
