"""Runs that are stopped, by a person or by a full disk."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import psutil
import pytest

from forgeprep.commands.events import events
from forgeprep.commands.stopping import stoppable
from forgeprep.errors import Stopped, StorageError
from forgeprep.shards.records import iter_records
from tests.helpers.runs import SMALL, VAL, checksums, command, run, wait_for


def test_ctrl_c_stops_cleanly(demo: Path, tmp_path: Path, quiet: dict[str, str]) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(
        command(demo, out, "--workers", "2"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: list(out.glob("state/*/*.json")))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.strip().splitlines()[-1].startswith("forgeprep: error: stopped; finished shards stay in")
    assert not list(out.rglob("*.tmp"))
    run(demo, out, **SMALL)
    assert checksums(out) == quiet


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_run_stopped_while_ray_starts_leaves_nothing_behind(
    stop: signal.Signals, demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Short, for Ray's sockets lie below it.
    temp = Path(tempfile.mkdtemp(dir="/tmp"))
    monkeypatch.setenv("TMPDIR", str(temp))
    out = tmp_path / "out"
    process = subprocess.Popen(
        command(demo, out, "--workers", "2"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    started: set[psutil.Process] = set()

    def ray_starts() -> bool:
        started.update(psutil.Process(process.pid).children(recursive=True))
        return any(child.is_running() and child.name() == "gcs_server" for child in started)

    wait_for(ray_starts)
    process.send_signal(stop)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + stop
    # Ray's own answer to a request to terminate is its stack.
    assert errors.startswith("forgeprep: error: stopped")
    assert errors.count("\n") == 1
    assert psutil.wait_procs(started, timeout=10)[1] == []
    assert not list(out.rglob("*.tmp"))
    assert not list(temp.glob("fp-ray-*"))
    shutil.rmtree(temp)


def test_an_interrupt_that_is_dropped_is_raised_again() -> None:
    def drop() -> None:
        with stoppable() as check:
            check()
            with suppress(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
            with pytest.raises(KeyboardInterrupt):
                check()

    with pytest.raises(Stopped):
        drop()


def test_an_interrupt_waits_for_the_end_of_an_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of one it may leave all imports locked, also those of the thread in which Ray starts."""
    (tmp_path / "stopped_here.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\nwhole = True\n")
    monkeypatch.syspath_prepend(tmp_path)

    def work() -> None:
        with stoppable(), stoppable(Path("out")):
            import_module("stopped_here")
            time.sleep(20)

    with pytest.raises(Stopped) as stopped:
        work()
    assert sys.modules.pop("stopped_here").whole
    assert stopped.value.exit_code == 143
    assert "finished shards stay in out" in str(stopped.value)


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_both_ways_to_stop_tell_how_to_go_on(asked: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Stopped, match="run the same command to go on") as stopped, events(True), stoppable(Path("out")):
        os.kill(os.getpid(), asked)
    assert stopped.value.exit_code == 128 + asked
    finished = json.loads(capsys.readouterr().out)
    assert (finished["exit_code"], finished["error"]) == (128 + asked, str(stopped.value))


def test_one_worker_needs_no_ray(demo: Path, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom forgeprep.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as end: sys.exit(end.code or 'ray' in sys.modules)"
    )
    words = command(demo, tmp_path / "out", "--workers", "1", "--splits", "val")[3:]
    assert subprocess.run([sys.executable, "-c", code, *words], check=False).returncode == 0


def test_a_full_disk_stops_with_one_line_and_resumes(demo: Path, tmp_path: Path, quiet_val: dict[str, str]) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], check=False, stderr=-3)
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system is not permitted here")
    try:
        with pytest.raises(StorageError, match="no space left"):
            run(demo, small / "out", **VAL)
        assert not list(small.rglob("*.tmp"))
        names = {path.stem for path in small.rglob("*.parquet") if path.parent.parent.name == "shards"}
        assert names <= {name.split("/")[1] for name, record in iter_records(small / "out") if record}
        subprocess.run(["mount", "-o", "remount,size=600m", str(small)], check=True)
        run(demo, small / "out", **VAL)
        assert checksums(small / "out") == quiet_val
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)
