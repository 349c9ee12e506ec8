"""A run outlives the terminal or the pipe that it prints to."""

from __future__ import annotations

import os
import pty
import shlex
import signal
import subprocess
import termios
from collections.abc import Callable
from fcntl import ioctl
from pathlib import Path

import psutil
import pytest

from tests.helpers.runs import checksums, command, wait_for

Begin = Callable[[list[str], Path], "subprocess.Popen[bytes]"]


def on_a_pipe(words: list[str], out: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    return process


def without_streams(words: list[str], out: Path) -> subprocess.Popen[bytes]:
    # As in a batch job, whose folder for temporary files has a name too long for Ray's sockets.
    temp = out.parent / ("job." + "1234567" * 12)
    temp.mkdir()
    closed = ["sh", "-c", f"exec {shlex.join(words)} <&- >&- 2>&-"]
    return subprocess.Popen(closed, env={**os.environ, "TMPDIR": str(temp)})


def in_a_terminal(words: list[str], out: Path) -> subprocess.Popen[bytes]:
    master, slave = pty.openpty()

    def take_terminal() -> None:
        os.setsid()
        ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, preexec_fn=take_terminal)
    os.close(slave)
    wait_for(lambda: os.read(master, 1 << 16) and list(out.glob("shards/*/.*.tmp")))
    os.close(master)  # The kernel sends SIGHUP to everything that runs there.
    for member in (psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)):
        member.send_signal(signal.SIGHUP)
    return process


@pytest.mark.parametrize(
    ("begin", "workers"),
    [(on_a_pipe, "0"), pytest.param(without_streams, "2", marks=pytest.mark.long), (in_a_terminal, "2")],
)
def test_a_run_goes_on_when_nobody_listens(
    begin: Begin, workers: str, demo: Path, tmp_path: Path, quiet: dict[str, str]
) -> None:
    out = tmp_path / "out"
    process = begin(command(demo, out, "--workers", workers), out)
    assert not (out / "meta/shards.pq").exists(), "the run was over too soon to tell anything"
    assert process.wait(120) == 0
    assert checksums(out) == quiet
    assert not list(out.rglob("*.tmp"))


def test_an_error_that_nobody_hears_keeps_its_exit_code(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    process = subprocess.Popen(command(tmp_path / "none", tmp_path / "out"), stdout=write, stderr=write)
    os.close(write)
    assert process.wait(60) == 2
