"""What ``forgeprep status`` tells of real runs: none, half-finished, working, finished, damaged."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from forgeprep.commands.status import lines
from forgeprep.errors import UsageError
from forgeprep.io.lock import last_holder, locked
from forgeprep.report.status import gather
from forgeprep.shards.records import iter_records, record_path
from tests.conftest import run_cli
from tests.helpers.runs import SMALL, checksums, command, run, wait_for


@pytest.fixture
def half(demo: Path, tmp_path: Path) -> Path:
    """A run that was killed after its first shard."""
    out = tmp_path / "out"
    process = subprocess.Popen(command(demo, out, "--workers", "0"), stdout=subprocess.DEVNULL)
    wait_for(lambda: list(out.glob("state/*/*.json")))
    process.kill()
    process.wait()
    return out


def asked(out: Path) -> dict[str, Any]:
    """What another process is told."""
    words = [sys.executable, "-m", "forgeprep.cli", "status", str(out), "--json"]
    found: dict[str, Any] = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)
    return found


def test_a_folder_without_a_run_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        assert run_cli("status", str(folder)) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_working_a_killed_and_a_finished_run(
    demo: Path, tmp_path: Path, quiet: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(command(demo, out, "--workers", "0"), stdout=subprocess.DEVNULL)
    wait_for(lambda: list(out.glob("state/*/*.json")))
    os.kill(process.pid, signal.SIGSTOP)
    working = asked(out)
    assert run_cli("verify", str(out)) == 1
    assert f"a command is working here (process {process.pid} on " in capsys.readouterr().err
    process.kill()
    process.wait()
    killed = asked(out)
    run(demo, out, **SMALL)
    finished = asked(out)

    total = {"shards_planned": 6, "clips_planned": 18, "frames_planned": 90, "problems": [], "to_remake": []}
    for status in (working, killed, finished):
        assert {name: status[name] for name in total} == total
    assert (working["state"], killed["state"], finished["state"]) == ("working", "stopped", "finished")
    assert working["process"].startswith(f"process {process.pid} on ")
    assert 1 <= working["shards"] == killed["shards"] < 6
    assert working["clips"] % 3 == 0
    assert working["samples_per_s"] > 0
    assert working["left_s"] >= 0
    assert len(working["in_work"]) <= 1
    assert (killed["in_work"], killed["left_s"]) == ([], None)
    assert finished["shards"] == 6
    assert finished["written"] + finished["dropped"] == 90
    assert finished["clips"] == 18
    assert checksums(out) == quiet


def test_asking_all_the_time_keeps_no_run_from_starting(demo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(demo, out, stages="crop", frames="1", methods="Deepfakes")
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            last_holder(out)

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        for _ in range(200):
            with locked(out):
                pass
    finally:
        done.set()
        asker.join()
    with locked(out), pytest.raises(UsageError, match="another run"), locked(out):
        pass


def test_damage_is_told_and_stops_nothing(half: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = gather(half)
    first = next(name for name, record in iter_records(half) if record)
    record_path(half, first).write_bytes(b"{")
    status = gather(half)
    assert (status.shards, status.to_remake, status.state) == (before.shards - 1, [first], "stopped")
    for name, problem in (("meta/plan.pq", "meta/plan.pq: damaged"), ("run.json", "run.json: damaged")):
        (half / name).write_bytes(b"\xff")
        assert any(problem in line for line in lines(gather(half)))
    assert run_cli("status", str(half)) == 0
    text = capsys.readouterr().out
    assert "of an unknown number" in text
    assert f"to remake  {first}" in text


def test_shards_whose_files_are_gone_do_not_count(half: Path) -> None:
    names = [name for name, record in iter_records(half) if record]
    (half / "shards" / f"{names[0]}.parquet").unlink()
    status = gather(half)
    assert status.to_remake == names[:1]
    assert status.shards == len(names) - 1
