"""What a process may use of its machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from forgeprep.commands.execution import force_of
from forgeprep.io import machine
from forgeprep.pipeline.executors.ray_folder import LONGEST_TEMP, make_folder
from forgeprep.pipeline.executors.ray_start import cluster_address
from forgeprep.schemas.resources import Resources

GIB = 1 << 30


def lay_out(top: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(f"{text}\n")


VERSION_2 = {
    "fs/job/cpu.max": "max 100000",
    "fs/job/step/cpu.max": "350000 100000",
    "fs/job/memory.max": str(3 * GIB),
    "fs/job/step/memory.max": "max",
}
VERSION_1 = {
    "fs/cpu,cpuacct/job/cpu.cfs_quota_us": "350000",
    "fs/cpu,cpuacct/job/cpu.cfs_period_us": "100000",
    "fs/cpu,cpuacct/cpu.cfs_quota_us": "-1",
    "fs/cpu,cpuacct/cpu.cfs_period_us": "100000",
    "fs/memory/job/memory.limit_in_bytes": str(3 * GIB),
    "fs/memory/memory.limit_in_bytes": "9223372036854771712",
}
IN_A_CONTAINER = {"fs/cpu.max": "350000 100000", "fs/memory.max": str(3 * GIB)}


@pytest.mark.parametrize(
    ("groups", "files"),
    [
        ("0::/job/step", VERSION_2),
        ("4:memory:/job\n1:cpu,cpuacct:/job\n0::/", VERSION_1),
        # It sees the path that it has outside.
        ("0::/kubepods/pod1/a", IN_A_CONTAINER),
    ],
)
def test_quotas_bound_the_default_number_of_workers(
    groups: str, files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out(tmp_path, {**files, "own": groups})
    monkeypatch.setattr(machine, "CGROUPS", tmp_path / "fs")
    monkeypatch.setattr(machine, "OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(64))
    assert machine.usable_cpus() == 3
    assert machine.usable_memory() == min(3 * GIB, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    force = force_of({})
    assert force.most() == 3
    assert force.most(Resources(memory=2 * GIB)) == 1
    assert force.most(Resources(memory=20 * GIB)) == 1
    assert force_of({"workers": 40}).most() == 40
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(2))
    assert force.most() == 2


def test_a_cgroup_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real one, where it may be made."""
    here = Path("/sys/fs/cgroup/cpu")
    group = here / f"forgeprep-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made here ({error.strerror})")
    own = {line.split(":")[1]: line.split(":")[2] for line in Path("/proc/self/cgroup").read_text().splitlines()}["cpu"]
    try:
        (group / "cpu.cfs_quota_us").write_text("120000")
        (group / "cpu.cfs_period_us").write_text("100000")
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8))
        before = machine.usable_cpus()
        (group / "tasks").write_text(str(os.getpid()))
        assert machine.usable_cpus() == 1 <= before
    finally:
        (here / own.strip("/") / "tasks").write_text(str(os.getpid()))
        group.rmdir()


def test_where_work_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    assert force_of({}).address == force_of({"workers": 8}).address == "ray://head:10001"
    assert force_of({"workers": 1}).address is None
    assert force_of({"address": "local"}).address is None
    assert force_of({"address": "auto", "workers": 1}).address == "auto"
    # That is where "ray job submit" sends jobs to: no cluster can be reached there.
    monkeypatch.setenv("RAY_ADDRESS", "http://head:8265")
    assert cluster_address(None) is None


def test_rays_files_lie_where_its_sockets_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * LONGEST_TEMP)
    long.mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(long))
    folder = Path(make_folder())
    folder.rmdir()
    assert folder.parent != long
    assert len(f"{folder}/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store") <= 107


def test_ray_is_told_to_leave_uv_run_alone(tmp_path: Path) -> None:
    """Under "uv run" Ray's hook would pack the working folder for each worker: it is off before Ray is imported."""
    code = (
        "from forgeprep.pipeline.executors.ray_start import set_environment; set_environment(local=True)\n"
        "from ray._private import ray_constants as ray\n"
        "assert not getattr(ray, 'RAY_ENABLE_UV_RUN_RUNTIME_ENV', False)"
    )
    package = str(Path(machine.__file__).parents[2])
    words = [sys.executable, "-c", code]
    subprocess.run(words, check=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": package})
