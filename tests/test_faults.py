"""What is done to a run on purpose; afterwards its bytes are those of a quiet one, or the loss is accounted for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from forgeprep.ops import guard
from forgeprep.schemas.drops import REASONS
from forgeprep.shards.read import iter_rows, shard_paths
from forgeprep.shards.verify import verify

SABOTAGE = '''
"""Loaded by every Python process of the run: opening a file named VICTIM does what a defect of a decoder would."""
import os, signal, sys
from importlib.machinery import PathFinder

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name != "forgeprep.ops.video":
            return None
        spec = PathFinder.find_spec(name, path)
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            there = module._check_there

            def sabotaged(path):
                there(path)
                if path.name == os.environ["VICTIM"] and os.environ["DEED"] == "crash":
                    os.kill(os.getpid(), signal.SIGSEGV)
                if path.name == os.environ["VICTIM"] and os.environ["DEED"] == "hang":
                    import ctypes
                    ctypes.PyDLL(None).sleep(1000)  # holds the lock of the interpreter
                if path.name == os.environ["VICTIM"] and os.environ["DEED"] == "memory":
                    import numpy
                    held = [numpy.empty(1 << 28, "u1") for _ in range(40)]
                    os.kill(os.getpid(), signal.SIGKILL)

            if "_ray_task" in " ".join(sys.orig_argv) or "default_worker" in " ".join(sys.orig_argv) or (
                "forgeprep.pipeline.isolate" in sys.orig_argv
            ):
                module._check_there = sabotaged

        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Finder())
'''


@pytest.fixture
def saboteur(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "sabotage"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SABOTAGE)
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{Path(__file__).parents[1]}")
    return folder


@pytest.mark.parametrize(
    ("deed", "told"),
    [("crash", "it kills the decoder (SIGSEGV)"), ("hang", "no frame for 6 s"), ("memory", "takes more than 4 GB")],
)
def test_a_clip_that_kills_its_worker_is_a_drop_and_takes_no_other_along(
    deed: str, told: str, demo: Path, tmp_path: Path, saboteur: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEED", deed)
    monkeypatch.setenv("VICTIM", "071_054.mp4")
    out = tmp_path / "out"
    flags = ["--root", str(demo), "--out", str(out), "--workers", "2", "--stages", "crop,mask", "--frames", "4"]
    flags += ["--methods", "Deepfakes", "--clip-timeout", "6"]
    done = subprocess.run(
        [sys.executable, "-m", "forgeprep.cli", "run", "ffpp", *flags], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    drops = pq.read_table(out / "drops.parquet").to_pylist()
    assert {drop["clip_id"] for drop in drops} == {"ffpp/c23/Deepfakes/071_054"}
    assert [drop["reason"] for drop in drops] == ["worker_died"] * 4
    assert {told in drop["detail"] for drop in drops} == {True}, drops[0]["detail"]
    rows = [row for path in shard_paths(out) for row in iter_rows(path, ["clip_id"])]
    assert len(rows) == 4 * (6 + 6 - 1)
    assert verify(out) == []
    assert "worker_died" in REASONS


def test_the_clock_of_a_worker_does_not_stop_what_goes_on(tmp_path: Path) -> None:
    def outcome(pause: float) -> int:
        code = (
            "import time; from forgeprep.ops import guard\n"
            "with guard.clock(1.0):\n"
            f"    for _ in range(6): time.sleep({pause}); guard.alive()\n"
            "    with guard.clock(None): time.sleep(1.5)\n"
            "time.sleep(1.5)\n"
        )
        return subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL, check=False).returncode

    assert outcome(0.4) == 0
    assert outcome(3) == 1
    guard.alive()
