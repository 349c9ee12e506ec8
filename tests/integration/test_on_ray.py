"""A run by Ray's workers on this machine: its bytes, its doors, and what it leaves behind."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.helpers.runs import SMALL, busy_workers, checksums, command, run, wait_for


@dataclass(frozen=True)
class RayRun:
    """A finished run, its processes, the addresses that they listened at, and the files that they left in TMPDIR."""

    out: Path
    commands: list[str]
    listening: list[str]
    left: list[Path]


@pytest.fixture(scope="module")
def on_ray(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayRun]:
    out = tmp_path_factory.mktemp("ray") / "out"
    # Short: Ray puts sockets there, whose paths have 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="fp") as temp:
        words = command(demo, out, "--workers", "2")
        process = subprocess.Popen(
            words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ, "TMPDIR": temp}
        )
        wait_for(lambda: process.poll() is not None or busy_workers(psutil.Process(process.pid)))
        listening, commands = [], []
        for member in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                commands.append(" ".join(member.cmdline()))
                listening += [c.laddr.ip for c in member.net_connections("inet") if c.status == psutil.CONN_LISTEN]
        _, errors = process.communicate(timeout=200)
        assert process.returncode == 0, errors
        yield RayRun(out, commands, listening, [path for path in Path(temp).rglob("*") if path.is_file()])


def test_ray_gives_the_same_bytes_and_a_second_run_does_nothing(
    on_ray: RayRun, demo: Path, quiet: dict[str, str]
) -> None:
    assert checksums(on_ray.out) == quiet
    before = {file: file.stat().st_mtime_ns for file in on_ray.out.glob("shards/*/*")}
    result = run(demo, on_ray.out, **SMALL)
    assert result.made == []
    assert {file: file.stat().st_mtime_ns for file in on_ray.out.glob("shards/*/*")} == before


def test_nothing_listens_beyond_this_machine(on_ray: RayRun) -> None:
    assert len(on_ray.listening) > 3
    assert set(on_ray.listening) <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def test_ray_starts_what_a_run_needs_and_no_more(on_ray: RayRun) -> None:
    from ray import _raylet

    others = ["/dashboard/dashboard.py ", "/_private/monitor.py ", "/_private/log_monitor.py "]
    if hasattr(_raylet, "persist_port"):  # Older releases cannot do without.
        others += ["ray::DashboardAgent", "ray::RuntimeEnvAgent", "/dashboard/agent.py ", "/runtime_env/agent/main.py "]
    # A node's own command names those of others.
    told = [command for command in on_ray.commands if "/raylet/raylet " not in command]
    assert any("gcs_server" in command for command in told)
    assert not [command for command in told if any(other in command for other in others)]


def test_ray_leaves_no_session(on_ray: RayRun) -> None:
    assert on_ray.left == []
