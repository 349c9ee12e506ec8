"""Runs whose dataset and output lie on S3: a real endpoint over HTTP, in a process of its own."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import re
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs
import pytest

from forgeprep.errors import UsageError
from forgeprep.export.run import DONE
from forgeprep.io import storage
from forgeprep.io.lock import last_holder, locked
from forgeprep.io.storage import RemotePath, to_path
from forgeprep.report.compare import compare
from forgeprep.shards.read import iter_rows, shard_paths
from forgeprep.shards.records import iter_records
from forgeprep.shards.verify import verify
from tests.conftest import run_cli
from tests.helpers.runs import SMALL, checksums, command, run, wait_for

SEQUENCES = Path(__file__).parents[1] / "data" / "run-schema-0-sequences"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: answers(port))
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """A new bucket's URI, and the environment that leads to it."""
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    storage._filesystem.cache_clear()
    name = f"bucket{abs(hash(tmp_path)) % 10**9}"
    request = urllib.request.Request(f"{endpoint}/{name}", method="PUT")
    urllib.request.urlopen(request).close()
    yield f"s3://{name}"
    storage._filesystem.cache_clear()


def put_tree(folder: Path, uri: str) -> None:
    target: Any = to_path(uri)
    pafs.copy_files(str(folder), target.key, destination_filesystem=target.filesystem)


def test_paths_behave_like_those_of_this_machine(bucket: str) -> None:
    base = to_path(f"{bucket}/a")
    assert isinstance(base, RemotePath)
    (base / "x" / "one.txt").write_bytes(b"1\r\n2")
    (base / "x" / "two.json").write_bytes(b"{}")
    (base / "y" / "one.txt").write_bytes(b"")
    assert str(base / "x") == f"{bucket}/a/x"
    assert [str(p.relative_to(base)) for p in base.glob("*/one.txt")] == ["x/one.txt", "y/one.txt"]
    assert [p.name for p in base.glob("x/[!.]*.json")] == ["two.json"]
    assert (base / "x/one.txt").read_text() == "1\n2"
    with (base / "x/one.txt").open("rb") as file:
        file.seek(2)
        assert file.read() == b"\n2"
    assert (base / "x/one.txt").stat().st_size == 4
    assert (base.is_dir(), base.is_file(), (base / "z").exists()) == (True, False, False)
    with pytest.raises(FileNotFoundError):
        (base / "z").stat()
    (base / "x/one.txt").unlink()
    assert not (base / "x/one.txt").is_file()


def test_a_run_from_and_to_remote_storage_gives_the_same_bytes(
    bucket: str, demo: Path, tmp_path: Path, quiet: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ["original_sequences/youtube/c23"]
    folders += [f"manipulated_sequences/{m}/{part}" for m in SMALL["methods"].split(",") for part in ("c23", "masks")]
    for folder in folders:
        put_tree(demo / folder, f"{bucket}/ffpp/{folder}")
    out = to_path(f"{bucket}/out")
    process = subprocess.Popen(command(to_path(f"{bucket}/ffpp"), out, "--workers", "2"), stdout=subprocess.DEVNULL)
    # To ask more often would keep the server too busy for the run.
    wait_for(lambda: process.poll() is not None or any(out.glob("state/*/*.json")), every_s=0.4)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert not out.joinpath("meta/clips.pq").exists()
    again = subprocess.run(command(to_path(f"{bucket}/ffpp"), out, "--workers", "2"), capture_output=True, check=False)
    assert again.returncode == 0, again.stderr
    assert checksums(out) == quiet
    assert run_cli("verify", str(out)) == 0
    assert "all shards are whole" in capsys.readouterr().out
    assert run_cli("inspect", str(out)) == 0
    assert len([row for path in shard_paths(out, "val") for row in iter_rows(path)]) > 20
    damaged = next(iter(out.glob("shards/train/*")))
    damaged.write_bytes(damaged.read_bytes()[:-100])
    assert [problem.where for problem in verify(out)]


@pytest.mark.long
def test_runs_are_merged_chosen_from_and_changed_on_remote_storage(
    bucket: str, val_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put_tree(val_run, f"{bucket}/run")
    half, other, both = (f"{bucket}/{name}" for name in ("half", "other", "both"))
    for where, out in (("method is null", half), ("method is not null", str(tmp_path / "fakes"))):
        assert run_cli("select", f"{bucket}/run", "--where", where, "--out", out) == 0
    # From here and there to there; whole shards are copied as they are.
    assert run_cli("merge", half, str(tmp_path / "fakes"), "--out", both) == 0
    assert compare(to_path(both), val_run).same
    assert run_cli("select", both, "--where", "label < 2", "--out", other) == 0
    assert run_cli("reshard", other, "--shard-size", "1000", "--format", "webdataset") == 0
    (tmp_path / "ids").write_text("\n".join(row["sample_id"] for row in iter_rows(shard_paths(val_run)[0])))
    assert run_cli("drop", other, "--samples", str(tmp_path / "ids")) == 0
    assert [path.suffix for path in shard_paths(to_path(other))] == [".tar"]
    assert compare(to_path(other), val_run).only_b == 15
    for out in (half, both, other):
        assert [run_cli(look, out) for look in ("inspect", "status")] == [0, 0]
        assert verify(to_path(out)) == []
        assert not (to_path(out) / ".new").exists()
    # What is said to help is true there, too.
    next(iter(to_path(half).glob("state/*/*.json"))).unlink()
    assert run_cli("status", half) == 0
    assert f"'forgeprep verify {half} --rebuild' makes them again" in capsys.readouterr().out
    assert run_cli("verify", half, "--rebuild") == 0


def test_training_reads_from_remote_storage(bucket: str, demo: Path, tmp_path: Path) -> None:
    run(demo, tmp_path / "out", stages="crop,mask", methods="Deepfakes", frames="4", size=64)
    put_tree(tmp_path / "out", f"{bucket}/out")
    flags = ["--gpus", "0", "--set", "size=64", "--set", "steps=3", "--epochs", "1", "--batch", "4"]
    for number, shards in enumerate((f"{bucket}/out", str(tmp_path / "out"))):
        assert run_cli("train", "fn3-seg", "--shards", shards, "--run", str(tmp_path / f"run{number}"), *flags) == 0
    logs = [(tmp_path / f"run{number}" / "best.json").read_text() for number in range(2)]
    assert logs[0].split('"tensors"')[0] == logs[1].split('"tensors"')[0]
    assert run_cli("evaluate", str(tmp_path / "run0"), "--shards", f"{bucket}/out", "--gpus", "0") == 0


def test_an_export_from_and_to_remote_storage_gives_the_same_bytes(
    bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put_tree(SEQUENCES, f"{bucket}/out")
    assert run_cli("export", "imagefolder", str(SEQUENCES), "--to", str(tmp_path / "to"), "--workers", "1") == 0
    command_line = ("export", "imagefolder", f"{bucket}/out", "--to", f"{bucket}/to", "--workers", "1")
    assert run_cli(*command_line) == 0
    to = to_path(f"{bucket}/to")
    sums = (to / "checksums.sha256").read_bytes()
    assert sums == (tmp_path / "to/checksums.sha256").read_bytes()
    there, here = storage.sizes_below(to), storage.sizes_below(tmp_path / "to")
    # It names the run's shards, which lie elsewhere.
    assert there.pop(DONE) > 0 < here.pop(DONE)
    assert there == here
    for line in sums.decode().splitlines():
        digest, name = line.split("  ", 1)
        assert hashlib.sha256((to / name).read_bytes()).hexdigest() == digest
    capsys.readouterr()
    assert run_cli(*command_line) == 0
    assert "already there and whole" in capsys.readouterr().out


def test_two_runs_never_work_in_one_remote_folder(bucket: str) -> None:
    out = to_path(f"{bucket}/out")
    with locked(out):
        holder = last_holder(out)
        assert holder is not None
        assert holder.works
        with pytest.raises(UsageError, match=r"another run is working in this folder \(process"), locked(out):
            pass
    with locked(out):
        pass
    assert last_holder(out) is None
    assert not (out / ".lock").is_file()


class Flaky(socketserver.BaseRequestHandler):
    """Passes bytes on; every seventh request is cut off, refused or held up."""

    upstream: tuple[str, int]
    requests = itertools.count(1)
    seen = 0

    def handle(self) -> None:
        with socket.create_connection(Flaky.upstream) as server:
            back = threading.Thread(target=self.answer, args=(server,), daemon=True)
            back.start()
            with contextlib.suppress(OSError):
                while data := self.request.recv(1 << 16):
                    if re.match(rb"(GET|PUT|POST|HEAD|DELETE) /", data) and self.fails():
                        break
                    server.sendall(data)
            for end in (server, self.request):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            back.join()

    def answer(self, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(1 << 16):
                self.request.sendall(data)

    def fails(self) -> bool:
        Flaky.seen = next(Flaky.requests)
        kind = Flaky.seen // 7 % 3 if Flaky.seen % 7 == 0 else -1
        if kind == 0:
            time.sleep(0.2)
        elif kind == 1:
            self.request.sendall(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        return kind > 0


@pytest.mark.long
def test_a_store_that_fails_now_and_then_changes_nothing(
    bucket: str, endpoint: str, demo: Path, quiet_val: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Flaky.upstream = ("127.0.0.1", int(endpoint.rpartition(":")[2]))
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Flaky)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
        out = to_path(f"{bucket}/out")
        words = command(demo, out, "--splits", "val", "--workers", "2")
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert Flaky.seen > 70
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        assert checksums(out) == quiet_val
    finally:
        server.shutdown()
        server.server_close()


def test_an_upload_that_breaks_off_leaves_no_shard(bucket: str, endpoint: str, demo: Path) -> None:
    out = to_path(f"{bucket}/out")
    code = (
        "import os, sys\n"
        "from forgeprep.io import storage\n"
        "from forgeprep.shards import write\n"
        "def broken(file, path):\n"
        "    out = path.filesystem.open_output_stream(path.key)\n"
        "    file.seek(0)\n"
        "    out.write(b'x' * (11 << 20))  # two parts of a multipart upload\n"
        "    out.flush()\n"
        "    os.kill(os.getpid(), 9)\n"
        "write.upload = broken\n"
        "from forgeprep.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    given = command(demo, out, "--workers", "0")[3:]
    done = subprocess.run([sys.executable, "-c", code, *given], stdout=subprocess.DEVNULL, check=False)
    assert done.returncode == -signal.SIGKILL
    assert list(out.glob("shards/*/*")) == []
    assert [name for name, _ in iter_records(out)] == []


def test_storage_that_does_not_answer_is_told_in_one_line(
    demo: Path, monkeypatch: pytest.MonkeyPatch, bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli("run", "ffpp", "--root", str(demo), "--out", "s3://nobucket/out", "--workers", "0") == 1
    error = capsys.readouterr().err.strip()
    assert len(error.splitlines()) == 1
    assert "s3://nobucket/out" in error
    assert run_cli("verify", "s3://nobucket/out") in (1, 2)
    assert run_cli("run", "ffpp", "--root", f"{bucket}/empty", "--out", "x", "--workers", "0") == 2
    assert "no such folder" in capsys.readouterr().err
    assert run_cli("verify", "s3://") == 2
    assert run_cli("verify", "s3://bucket/../x") == 2
    monkeypatch.setenv("AWS_ENDPOINT_URL", "garbage")
    storage._filesystem.cache_clear()
    assert run_cli("verify", "s3://bucket/x") == 2
    assert "AWS_ENDPOINT_URL is 'garbage'" in capsys.readouterr().err
    assert os.environ["AWS_REGION"] == "us-east-1"
