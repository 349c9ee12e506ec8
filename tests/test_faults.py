"""What is done to a run on purpose; afterwards its bytes are those of a quiet one, or the loss is accounted for."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from forgeprep.datasets.listing import plain
from forgeprep.errors import StorageError
from forgeprep.media import guard
from forgeprep.pipeline.configure import make_config
from forgeprep.pipeline.executors.ray import request
from forgeprep.pipeline.make_shard import resources_of
from forgeprep.report.page import write_report
from forgeprep.schemas.drops import REASONS
from forgeprep.shards.read import iter_rows, shard_paths
from forgeprep.shards.records import iter_records
from forgeprep.shards.verify import verify
from tests.conftest import UInt8
from tests.fuzz import make_fuzz, most_memory
from tests.runs import SMALL, VAL, busy_workers, checksums, command, run, wait_for
from tests.sabotage import sabotage


def test_clips_that_kill_their_workers_are_drops_and_take_no_other_along(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One crashes its decoder, one hangs it, one takes all memory, in one run."""
    told = {
        "071_054": ("crash", "it kills the decoder (SIGSEGV)"),
        "720_672": ("hang", "no frame for 6 s"),
        "953_974": ("memory", "takes more than 2,048 MB"),
    }
    sabotage(tmp_path / "site", {f"{stem}.mp4": deed for stem, (deed, _) in told.items()}, monkeypatch)
    out = tmp_path / "out"
    flags = ["--root", str(demo), "--out", str(out), "--workers", "2", "--stages", "crop,mask", "--frames", "4"]
    flags += ["--methods", "Deepfakes", "--clip-timeout", "6"]
    done = subprocess.run(
        [sys.executable, "-m", "forgeprep.cli", "run", "ffpp", *flags], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    drops = pq.read_table(out / "drops.parquet").to_pylist()
    assert len(drops) == 4 * len(told)
    assert {drop["clip_id"] for drop in drops} == {f"ffpp/c23/Deepfakes/{stem}" for stem in told}
    for drop in drops:
        assert drop["reason"] == "worker_died"
        assert told[drop["clip_id"][-7:]][1] in drop["detail"]
    rows = [row for path in shard_paths(out) for row in iter_rows(path, ["clip_id"])]
    assert len(rows) == 4 * (6 + 6 - len(told))
    assert verify(out) == []
    assert "worker_died" in REASONS


def test_the_clock_of_a_worker_does_not_stop_what_goes_on(tmp_path: Path) -> None:
    def outcome(pause: float) -> int:
        code = (
            "import time; from forgeprep.media import guard\n"
            "with guard.clock(1.0):\n"
            f"    for _ in range(6): time.sleep({pause}); guard.alive()\n"
            "    with guard.clock(None): time.sleep(1.5)\n"
            "time.sleep(1.5)\n"
        )
        return subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL, check=False).returncode

    assert outcome(0.4) == 0
    assert outcome(3) == 1
    guard.alive()


def test_workers_killed_ten_times_change_nothing(demo: Path, tmp_path: Path, quiet: dict[str, str]) -> None:
    out = tmp_path / "out"
    draw = random.Random(0)
    process = subprocess.Popen(command(demo, out, "--workers", "2"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    killed = 0
    while process.poll() is None and killed < 10:
        for victim in busy_workers(psutil.Process(process.pid))[:1]:
            time.sleep(draw.uniform(0, 0.8))
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()
                killed += 1
        time.sleep(0.05)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    assert killed == 10, "the run ended before ten workers could be killed"
    assert checksums(out) == quiet


@pytest.mark.filterwarnings("ignore")  # of Ray's own parts
def test_a_lost_node_and_a_new_one_change_nothing(demo: Path, tmp_path: Path, quiet: dict[str, str]) -> None:
    from ray.cluster_utils import Cluster

    out = tmp_path / "out"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 100 << 20})
    try:
        doomed = cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
        process = subprocess.Popen(
            command(demo, out, "--address", cluster.address), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        wait_for(lambda: process.poll() is not None or list(out.glob("shards/*/.*.tmp")))
        assert process.poll() is None, process.communicate()
        cluster.remove_node(doomed, allow_graceful=False)
        cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
        _, errors = process.communicate(timeout=200)
        assert process.returncode == 0, errors
        assert checksums(out) == quiet
    finally:
        cluster.shutdown()


KILLED_AT = """
import importlib, os, sys
module, name, turn = sys.argv[1].split(":")
module = importlib.import_module(module)
before, left = getattr(module, name), int(turn)

def killer(*arguments, **more):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), 9)
    return before(*arguments, **more)

setattr(module, name, killer)
from forgeprep.cli import main
main(sys.argv[2:])
"""


@pytest.mark.parametrize(
    "moment",
    [
        "forgeprep.pipeline.run:write_run:1",
        "forgeprep.pipeline.run:atomic_write_bytes:2",  # between plan.parquet and run.json
        "forgeprep.pipeline.run:make_shard:1",
        "forgeprep.shards.write:publish:2",  # the second shard is written, and has no name yet
        "forgeprep.pipeline.make_shard:write_record:2",  # it has its name, and no record
        "forgeprep.pipeline.run:write_index:1",
        "forgeprep.pipeline.index:atomic_write_bytes:2",  # in the middle of the tables
    ],
)
def test_a_driver_killed_at_any_moment_resumes_to_the_same_bytes(
    moment: str, demo: Path, tmp_path: Path, quiet_val: dict[str, str]
) -> None:
    out = tmp_path / "out"
    given = command(demo, out, "--splits", "val", "--workers", "0")[3:]
    done = subprocess.run([sys.executable, "-c", KILLED_AT, moment, *given], stdout=subprocess.DEVNULL, check=False)
    assert done.returncode == -signal.SIGKILL
    run(demo, out, **VAL)
    assert checksums(out) == quiet_val
    assert verify(out) == []
    assert not list(out.rglob("*.tmp"))


def test_a_killed_run_resumes_to_the_same_bytes(demo: Path, tmp_path: Path, quiet: dict[str, str]) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(command(demo, out, "--workers", "0"), stdout=subprocess.DEVNULL)
    wait_for(lambda: list(out.glob("state/*/*.json")))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    finished = {name for name, record in iter_records(out) if record}
    times = {name: (out / "shards" / f"{name}.parquet").stat().st_mtime_ns for name in finished}
    result = run(demo, out, **SMALL)
    assert finished
    assert finished <= set(result.kept)
    assert result.made
    assert {name: (out / "shards" / f"{name}.parquet").stat().st_mtime_ns for name in finished} == times
    assert checksums(out) == quiet
    assert not list(out.rglob("*.tmp"))


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


@pytest.mark.parametrize(("stop", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_run_stopped_while_ray_starts_leaves_nothing_behind(
    stop: signal.Signals, code: int, demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Short, for Ray's sockets lie below it.
    temp = Path(tempfile.mkdtemp(dir="/tmp"))
    monkeypatch.setenv("TMPDIR", str(temp))
    out = tmp_path / "out"
    process = subprocess.Popen(command(demo, out, "--workers", "2"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    started: set[psutil.Process] = set()

    def ray_starts() -> bool:
        started.update(psutil.Process(process.pid).children(recursive=True))
        return any(child.is_running() and child.name() == "gcs_server" for child in started)

    wait_for(ray_starts)
    process.send_signal(stop)
    process.communicate(timeout=60)
    assert process.returncode in (code, 128 + stop)
    assert psutil.wait_procs(started, timeout=10)[1] == []
    assert not list(out.rglob("*.tmp"))
    if stop is signal.SIGINT:
        assert not list(temp.glob("ray/session_2*"))
    shutil.rmtree(temp)


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


def test_tasks_ask_for_what_their_stages_need() -> None:
    configs = (make_config("ffpp", {"stages": "crop", "detector": d}) for d in ("dlib-hog", "face-alignment"))
    plain, learned = map(resources_of, configs)
    assert request(plain, {"GPU": 8}, on_cluster=False) == {"num_cpus": 1}
    assert request(plain, {"GPU": 8}, on_cluster=True) == {"num_cpus": 1, "memory": 1 << 30}
    assert request(learned, {"GPU": 8}, on_cluster=True) == {
        "num_cpus": 1,
        "num_gpus": 0.25,
        "memory": 3 << 30,
    }
    assert request(learned, {"CPU": 8}, on_cluster=False) == {"num_cpus": 1}


def test_hundreds_of_damaged_files_are_all_accounted_for(tmp_path: Path, face_photo: UInt8) -> None:
    made = make_fuzz(tmp_path / "data", 320, face_photo[:300, 100:400], seed=1)
    out = tmp_path / "out"
    flags = ["--root", str(tmp_path / "data"), "--out", str(out), "--stages", "crop,mask", "--frames", "3"]
    with most_memory() as most:
        done = subprocess.run(
            [sys.executable, "-m", "forgeprep.cli", "run", "folder", *flags, "--workers", "2"],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert most[0] < 1 << 30
    assert "\x1b[31m" not in done.stdout
    clips = pq.read_table(out / "clips.parquet").to_pylist()
    names = {plain(path.name) for path in (tmp_path / "data").rglob("*") if not path.is_dir()}
    assert "line\\nbreak\\x1b[31m.mp4" in names
    assert {Path(clip["path"]).name for clip in clips} == names
    unread = {Path(c["path"]).name for c in clips if c["written"] == 0 and c["error"]}
    assert {"line\\nbreak\\x1b[31m.mp4", "pipe.mp4", "self.mp4", "zero.mp4"} <= unread
    assert made >= 320
    assert all(clip["requested"] == clip["written"] + clip["dropped"] for clip in clips)
    drops = pq.read_table(out / "drops.parquet").to_pylist()
    assert len(drops) == sum(clip["dropped"] for clip in clips)
    assert not [drop for drop in drops if "defect" in (drop["detail"] or "")]
    assert sum(clip["written"] for clip in clips) > 100
    assert verify(out) == []
    page = write_report(out).read_text()
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert(1)" not in page
