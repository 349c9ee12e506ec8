"""Workers, nodes and drivers that are killed; afterwards the bytes of a run are those of a quiet one."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from forgeprep.shards.records import iter_records
from forgeprep.shards.verify import verify
from tests.helpers.runs import SMALL, VAL, busy_workers, checksums, command, run, wait_for


@pytest.mark.long
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
    head = {"num_cpus": 0, "object_store_memory": 100 << 20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
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
        pytest.param("forgeprep.pipeline.run_folder:write_run:1", marks=pytest.mark.long),
        "forgeprep.pipeline.run_folder:atomic_write_bytes:2",  # between meta/plan.pq and run.json
        pytest.param("forgeprep.pipeline.run:make_shard:1", marks=pytest.mark.long),
        "forgeprep.shards.write:publish:2",  # the second shard is written, and has no name yet
        "forgeprep.pipeline.make_shard:write_record:2",  # it has its name, and no record
        pytest.param("forgeprep.pipeline.run:write_index:1", marks=pytest.mark.long),
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
