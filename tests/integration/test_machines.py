"""Runs on machines as clusters have them: homes, folders for temporary files and file systems of all kinds."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest

import forgeprep
from forgeprep.commands import terminal
from forgeprep.pipeline.configure import make_config
from forgeprep.pipeline.executors.ray_start import FIRST_TRY
from forgeprep.pipeline.run import execute, prepare_run
from forgeprep.shards.records import iter_records
from tests.conftest import run_cli
from tests.helpers.at_once import outcome
from tests.helpers.runs import checksums, command, run, wait_for

HERE = {"PYTHONPATH": str(Path(forgeprep.__file__).parents[1])}
ONE_SHARD = ["--splits", "val", "--stages", "crop", "--methods", "Deepfakes", "--frames", "1"]


@pytest.fixture
def temp() -> Iterator[Path]:
    """A short name, for Ray's sockets lie below it."""
    with tempfile.TemporaryDirectory(prefix="fp") as folder:
        yield Path(folder)


def told(words: list[str], environment: Mapping[str, str], *before: str) -> subprocess.CompletedProcess[str]:
    given = {**os.environ, **HERE, **environment}
    return subprocess.run(
        [*before, *words], capture_output=True, text=True, errors="replace", check=False, env=given, timeout=120
    )


def test_ray_needs_no_home_no_name_and_no_folder_of_anybody(demo: Path, tmp_path: Path, temp: Path) -> None:
    """A user without an entry, a home that cannot be written; Ray's usual folder is somebody else's."""
    home = tmp_path / "home"
    home.mkdir(mode=0o555)
    (temp / "ray").mkdir(mode=0o555)
    before: list[str] = []
    if subprocess.run(["unshare", "-U", "--map-user=54321", "true"], check=False, stderr=-3).returncode == 0:
        before = ["unshare", "-U", "--map-user=54321", "--map-group=54321"]
    done = told(
        command(demo, tmp_path / "out", *ONE_SHARD, "--workers", "2"), {"HOME": str(home), "TMPDIR": str(temp)}, *before
    )
    assert done.returncode == 0, done.stderr
    assert list(home.iterdir()) == []
    assert [path.name for path in temp.iterdir()] == ["ray"]
    assert list((temp / "ray").iterdir()) == []


HANG = """
import sys, time
if "default_worker" in " ".join(sys.orig_argv):
    print("waits for a file server", file=sys.stderr, flush=True)
    time.sleep(1000)
"""


def test_workers_that_never_start_end_in_one_line_with_the_log(demo: Path, tmp_path: Path, temp: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(HANG)
    places = {"PYTHONPATH": f"{tmp_path}:{HERE['PYTHONPATH']}", "TMPDIR": str(temp)}
    words = command(demo, tmp_path / "out", *ONE_SHARD, "--workers", "2", "--start-timeout", "8")
    done = told(words, places)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "no worker of Ray has begun to work within 8 s; see " in last
    log = Path(last.split("see ")[1].split(";")[0])
    assert log.exists()
    # A machine that is busy may take all the time for Ray's own servers.
    assert log.is_dir() or "waits for a file server" in log.read_text()
    assert not [p for p in psutil.process_iter(["cmdline"]) if any(str(temp) in w for w in p.info["cmdline"] or ())]


def test_a_ray_that_cannot_start_is_told_in_one_line_and_leaves_nothing(demo: Path, tmp_path: Path, temp: Path) -> None:
    # A server that is told nonsense by the environment dies at once; Ray waits for it all the same.
    done = told(
        command(demo, tmp_path / "out", *ONE_SHARD, "--workers", "2"),
        {"TMPDIR": str(temp), "RAY_gcs_storage": "nonsense", "RAY_gcs_server_port_wait_time_s": "3"},
    )
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("forgeprep: error: Ray cannot start on this machine (")
    assert list(temp.iterdir()) == []


@pytest.mark.long
def test_a_server_of_ray_that_dies_as_it_starts_is_started_anew(demo: Path, tmp_path: Path, temp: Path) -> None:
    words = command(demo, tmp_path / "out", *ONE_SHARD, "--workers", "2")
    places = HERE | {"TMPDIR": str(temp), "RAY_gcs_server_port_wait_time_s": "3"}
    process = subprocess.Popen(words, env=os.environ | places, stderr=subprocess.PIPE, text=True)

    def servers() -> list[psutil.Process]:
        return [p for p in psutil.Process(process.pid).children(recursive=True) if "gcs_server" in p.name()]

    try:
        wait_for(servers)
        servers()[0].kill()
        told = process.communicate(timeout=120)[1]
    finally:
        process.kill()
    assert process.returncode == 0, told
    assert told.count(f"forgeprep: warning: {FIRST_TRY} (") == 1
    assert list(temp.iterdir()) == []


LENT = """
import sys
from pathlib import Path
import ray
ray.init(num_cpus=2, include_dashboard=False, object_store_memory=100 << 20, _temp_dir=sys.argv[3])
from tests.helpers.runs import VAL, run
run(Path(sys.argv[1]), Path(sys.argv[2]), workers=2, **VAL)
assert ray.is_initialized()
assert ray.get(ray.remote(int).remote(3)) == 3
"""


def test_a_ray_that_is_there_is_used_and_goes_on(
    demo: Path, tmp_path: Path, temp: Path, quiet_val: dict[str, str]
) -> None:
    code = LENT.replace("ray.remote(int)", "ray.remote(lambda: 3)").replace(".remote(3)) == 3", ".remote()) == 3")
    done = told(
        [sys.executable, "-c", code, str(demo), str(tmp_path / "out"), str(temp)], {"RAY_AUTH_MODE": "disabled"}
    )
    assert done.returncode == 0, done.stderr
    assert checksums(tmp_path / "out") == quiet_val
    assert len(list(temp.glob("session_2*"))) == 1


def test_lines_and_events_where_nobody_watches(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal, "LINES_S", 0.05)
    words = ["run", "ffpp", "--root", str(demo), "--out", str(tmp_path / "out"), *ONE_SHARD, "--workers", "0", "--json"]
    for state in ("made", "kept"):
        assert run_cli(*words) == 0
        seen = capsys.readouterr()
        found = [json.loads(line) for line in seen.out.splitlines()]
        kinds = [event["event"] for event in found if event["event"] != "progress"]
        assert kinds == ["planned", "shard", "drops", "finished"]
        planned, shard, drops, finished = (event for event in found if event["event"] != "progress")
        assert planned["clips"] == planned["frames"] == shard["clips"] == 4
        assert shard["state"] == state
        assert shard["samples"] + shard["drops"] == 4
        assert drops["total"] == shard["drops"]
        assert (finished["exit_code"], finished["shards"][state]) == (0, 1)
        if state == "made":
            assert any(event["event"] == "progress" for event in found)
            assert " of 4 clips, " in seen.err
    assert run_cli(*words, "--enlarge", "1.5") == 2
    *_, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert (last["event"], last["exit_code"]) == ("finished", 2)
    assert "enlarge: 1.3 -> 1.5" in last["error"]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_any_encoding_of_the_terminal_will_do(encoding: str, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "forgeprep", "status", str(tmp_path / "ü 顔")]
    done = told(words, {"PYTHONIOENCODING": encoding, "LC_ALL": "C"})
    assert done.returncode == 2
    assert "\\u9854: holds no run" in done.stderr


def test_two_commands_in_the_same_instant(demo: Path, tmp_path: Path) -> None:
    words = ["run", "ffpp", "--root", str(demo), "--out", "OUT", *ONE_SHARD, "--workers", "0"]
    codes, made = outcome(words, tmp_path)
    assert made == 1
    assert codes in ((0, 2), (0, 0))


def test_another_run_takes_the_folder_meanwhile(demo: Path, tmp_path: Path) -> None:
    """What was planned for a folder is not made in it once another command has planned something else there."""
    out = tmp_path / "out"
    given = {"stages": "crop", "methods": "Deepfakes", "splits": "val", "frames": "1"}
    first = prepare_run(make_config("ffpp", given), demo, out)
    second = prepare_run(make_config("ffpp", {**given, "frames": "2"}), demo, out, overwrite=True)
    with pytest.raises(forgeprep.errors.UsageError, match="another run has just begun in this folder"):
        execute(first, workers=0, report=lambda *_: None)
    assert execute(second, workers=0, report=lambda *_: None).failed == []


NO_LOCKS = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sys/stat.h>
int flock(int fd, int how) { errno = ENOLCK; return -1; }
int fsync(int fd) {
    struct stat about;
    if (fstat(fd, &about) == 0 && S_ISDIR(about.st_mode)) { errno = EINVAL; return -1; }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}
"""


def test_a_file_system_without_locks_and_without_sync_of_folders(
    demo: Path, tmp_path: Path, quiet_val: dict[str, str]
) -> None:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler to make such a file system of this one")
    (tmp_path / "no.c").write_text(NO_LOCKS)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "no.so", tmp_path / "no.c", "-ldl"], check=True)
    lacking = {"LD_PRELOAD": str(tmp_path / "no.so")}
    words = command(demo, tmp_path / "out", "--splits", "val", "--workers", "0")
    process = subprocess.Popen(
        words, env={**os.environ, **HERE, **lacking}, stderr=subprocess.PIPE, stdout=-3, text=True
    )
    wait_for(lambda: list((tmp_path / "out").glob("shards/*/.*.tmp")))
    process.send_signal(signal.SIGSTOP)
    second = told(words, lacking)
    assert second.returncode == 2
    assert "another run is working in this folder (process " in second.stderr
    status = json.loads(told([*words[:3], "status", str(tmp_path / "out"), "--json"], lacking).stdout)
    assert status["state"] == "working"
    process.send_signal(signal.SIGCONT)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 0
    lines = errors.strip().splitlines()
    assert all(line.startswith("forgeprep: warning: ") for line in lines)
    assert any("this file system has no locks" in line for line in lines)
    assert sum("cannot write folders through to the disk" in line for line in lines) == 1
    assert checksums(tmp_path / "out") == quiet_val


def test_a_copy_without_its_records_gets_them_back(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    broken = next(tree.rglob("054_071.mp4"))
    broken.write_bytes(broken.read_bytes()[:2000])
    run(tree, out, stages="crop,mask", frames="2", format="both")
    assert run_cli("add", str(out), "--stages", "similarity", "--workers", "0") == 0
    before = dict(iter_records(out))
    assert sum(len(record["drops"]) for record in before.values() if record) > 0
    capsys.readouterr()
    shutil.rmtree(out / "state")
    assert run_cli("verify", str(out)) == 1
    seen = capsys.readouterr().out
    assert "--rebuild" in seen
    assert "delete" not in seen
    for name in ("status", "inspect"):
        assert run_cli(name, str(out)) == 0
        seen = " ".join(capsys.readouterr().out.split())
        assert f"'forgeprep verify {out} --rebuild'" in seen
        assert "forgeprep run" not in seen
    assert run_cli("verify", str(out), "--rebuild") == 0
    assert dict(iter_records(out)) == before
    shard = next(out.glob("shards/*/*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    (out / "state" / f"{next(iter(before))}.json").unlink()
    assert run_cli("verify", str(out)) == 1
    assert "delete" not in capsys.readouterr().out
    assert run_cli("verify", str(out), "--rebuild") == 1
    assert "SHA-256 is not the record's" in capsys.readouterr().out
    # Of a shard that is cut short no record can be made: only a run helps.
    shard.write_bytes(shard.read_bytes()[:-9])
    assert run_cli("verify", str(out)) == 1
    assert "bytes, but the record says" in (seen := capsys.readouterr().out)
    # It was made by 'run', and by 'add'.
    assert "give 'forgeprep run' again with --stages crop,mask,similarity to remake it" in seen
    (out / "state" / f"{shard.parent.name}/{shard.stem}.json").unlink()
    assert run_cli("verify", str(out), "--rebuild") == 1
    seen = capsys.readouterr().out
    assert "not all as long as shards.pq says; give 'forgeprep run' again" in seen
    assert "--rebuild" not in seen


def test_messages_name_the_command_the_flag_and_the_remedy_that_are_right(
    demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    run(demo, out, stages="crop,mask", methods="Deepfakes", splits="val,test", frames="1")
    # As after a stop: one of two shards has the new stage.
    old = {name: (out / "state" / f"{name}.json").read_bytes() for name, _ in iter_records(out)}
    assert run_cli("add", str(out), "--stages", "noise", "--workers", "0") == 0
    capsys.readouterr()
    name = next(iter(old))
    (out / "state" / f"{name}.json").write_bytes(old[name])
    shutil.copy(out / "shards" / f"{name}.parquet", tmp_path / "new")
    document = json.loads(old[name])
    document["files"][0] |= {"bytes": (tmp_path / "new").stat().st_size}
    (out / "state" / f"{name}.json").write_text(json.dumps(document))
    assert run_cli("status", str(out)) == 0
    seen = capsys.readouterr().out
    assert f"to extend  {name}" in seen
    assert "to remake" not in seen
    assert "give the same 'forgeprep add' command again" in seen

    words = ["run", "ffpp", "--root", str(demo), "--out", str(tmp_path / "none"), "--workers", "0"]
    for flag in ("--clip-length", "--sequence-length"):
        assert run_cli(*words, flag, "none") == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert flag in error
        assert ("--sequence-length" in error) == (flag == "--sequence-length")

    facts = json.loads((out / "run.json").read_text())
    facts["versions"]["opencv"] = facts["versions"]["dlib"] = "0.1"
    facts["fingerprint"] = "other"
    (out / "run.json").write_text(json.dumps(facts))
    same = ["--stages", "crop,mask,noise", "--methods", "Deepfakes", "--splits", "val,test", "--frames", "1"]
    assert run_cli(*words[:5], str(out), *same) == 2
    error = capsys.readouterr().err
    assert "reinstall the versions of its run.json" in error
    assert "the old options" not in error
