"""Files that forgeprep reads back or is given: pipes, devices, deep or absurd JSON, and what the network sends."""

from __future__ import annotations

import bz2
import hashlib
import http.server
import json
import os
import re
import shutil
import threading
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from forgeprep.datasets.lists import read_json_object, read_lines
from forgeprep.errors import ForgeprepError, UsageError, VerifyError
from forgeprep.faces import weights
from forgeprep.io.lock import last_holder, locked
from forgeprep.io.safe_files import open_regular, parse_json, read_bytes
from forgeprep.io.settings import read_settings_file
from forgeprep.pipeline.plan import open_plan
from forgeprep.schemas.files import RunFile, ShardRecord, problem_of
from forgeprep.shards.records import read_record, read_run
from forgeprep.shards.verify import verify
from forgeprep.training.fetched import PRETRAINED, VITS
from tests.conftest import run_cli
from tests.helpers.runs import SMALL, run

DEEP = b'{"a":' * 100_000 + b"1" + b"}" * 100_000


@pytest.fixture(scope="module")
def made(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "out"
    run(demo, out, **{**SMALL, "stages": "crop,mask", "methods": "Deepfakes", "format": "both"})
    return out


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "out")
    return tmp_path / "out"


def pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def zero(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/zero")


def sparse(path: Path) -> None:
    path.unlink(missing_ok=True)
    with path.open("wb") as file:
        os.truncate(file.fileno(), 3 << 30)


SPECIAL = [pipe, zero, sparse]


@pytest.mark.parametrize("make", SPECIAL)
def test_pipes_devices_and_hollow_files_are_refused_wherever_a_file_is_read(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    file = tmp_path / "file"
    make(file)
    tracemalloc.start()
    readers: list[Callable[[], object]] = [
        lambda: read_bytes(file),
        lambda: list(read_lines(file)),
        lambda: read_json_object(file),
        lambda: read_settings_file(file),
        lambda: open_plan(file),
    ]
    for read in readers:
        with pytest.raises((OSError, UsageError, VerifyError), match=r"not a regular file|larger than"):
            read()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20
    with pytest.raises(OSError, match=r"not a regular file|larger than"):
        open_regular(file, 1000)


@pytest.mark.parametrize("make", SPECIAL)
@pytest.mark.parametrize("name", ["run.json", "meta/plan.pq", "meta/clips.pq", ".lock", "record", "shard", "tar"])
def test_special_files_in_a_runs_folder_end_in_one_line(
    name: str, make: Callable[[Path], None], out: Path, demo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = next(out.glob("state/*/*.json"))
    shard = next(out.glob("shards/*/*.parquet"))
    named = {"record": record, "shard": shard, "tar": shard.with_suffix(".tar")}
    make(named.get(name, out / name))
    commands = [["verify", str(out)], ["inspect", str(out)], ["status", str(out)]]
    if name in ("run.json", "meta/plan.pq", ".lock"):
        commands.append(["run", "ffpp", "--root", str(demo), "--out", str(out), "--workers", "0"])
    for command in commands:
        code = run_cli(*command)
        told = capsys.readouterr()
        assert code in (0, 1, 2), command
        assert "defect of forgeprep" not in told.err + told.out
        assert told.err.count("\n") <= 1
    if name == ".lock":
        assert last_holder(out) is None or make is sparse
        if make is not sparse:
            with pytest.raises(ForgeprepError, match="not a regular file"), locked(out):
                pass


@pytest.mark.parametrize("make", SPECIAL)
def test_special_files_as_manifest_metadata_and_configuration(
    make: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data"
    (root / "dfdc_train_part_0").mkdir(parents=True)
    for name in ("manifest.csv", "m.parquet", "dfdc_train_part_0/metadata.json", "settings.yaml"):
        make(root / name)
    for command in (
        ["run", "manifest"],
        ["run", "manifest", "--option", "file=m.parquet"],
        ["run", "dfdc"],
        ["run", "folder", "--config", str(root / "settings.yaml")],
    ):
        assert run_cli(*command, "--root", str(root), "--out", str(tmp_path / "o")) in (1, 2), command
        told = capsys.readouterr().err
        assert told.count("\n") == 1
        assert "defect" not in told


ODD = [b"[]", b"1", b"null", DEEP, b'{"stages": 1}', b'{"stages": [1]}', b'{"stages": [], "config": []}', b"\xff", b"{"]


@pytest.mark.parametrize("data", ODD, ids=range(len(ODD)))
def test_odd_json_in_place_of_run_json_and_records(
    data: bytes, out: Path, demo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = next(out.glob("state/*/*.json"))
    record.write_bytes(data)
    assert read_record(out, f"{record.parent.name}/{record.stem}") is None
    assert any("damaged" in problem.what for problem in verify(out))
    (out / "run.json").write_bytes(data)
    with pytest.raises(UsageError, match=r"run.json: damaged"):
        read_run(out)
    more = ["--root", str(demo), "--out", str(out), "--workers", "0"]
    for command in (["add", str(out), "--stages", "noise"], ["report", str(out)], ["run", "ffpp", *more]):
        assert run_cli(*command) in (1, 2)
        told = capsys.readouterr().err
        assert told.count("\n") == 1
        assert "defect" not in told


def test_paths_in_a_record_stay_in_its_folder(out: Path) -> None:
    path = next(out.glob("state/*/*.json"))
    record = json.loads(path.read_bytes())
    assert problem_of(ShardRecord, record) is None
    for place in ("/etc/passwd", "../other/shards/train/ffpp-train-00000.parquet", "", "a\0b"):
        record["files"][0]["path"] = place
        path.write_text(json.dumps(record))
        assert read_record(out, record["shard"]) is None
    for name, value in (("rows", -1), ("rows", 1e300), ("drops", [[1]]), ("clips", [[]]), ("files", {}), ("key", 1)):
        path.write_text(json.dumps({**record, name: value}))
        assert read_record(out, record["shard"]) is None
    assert problem_of(RunFile, {"stages": ["crop"]}) is None
    assert len(problem_of(RunFile, {"stages": ["x" * 10_000]}) or "") < 200


def test_json_that_is_too_deep_is_no_json() -> None:
    assert parse_json(b"[" * 150 + b"]" * 150)
    for depth in (300, 100_000):
        with pytest.raises(ValueError, match="nested too deeply"):
            parse_json(b"[" * depth + b"]" * depth)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """A web server that answers with given bytes; returns the error that ``fetch`` then gives."""
    answer: dict[str, object] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answer["body"]
            assert isinstance(body, bytes)
            self.send_response(200)
            self.send_header("Content-Type", str(answer["type"]))
            if answer["length"] is not None:
                self.send_header("Content-Length", str(answer["length"]))
            self.end_headers()
            try:
                self.wfile.write(body)
                while answer["endless"]:
                    self.wfile.write(bytes(1 << 20))
            except OSError:
                pass

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("FORGEPREP_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    def fetched(
        body: bytes, kind: str = "application/octet-stream", length: int | None = -1, endless: bool = False
    ) -> str:
        answer.update(body=body, type=kind, length=len(body) if length == -1 else length, endless=endless)
        source = replace(weights.WEIGHTS["dlib-cnn"], url=f"http://127.0.0.1:{server.server_port}/a.dat.bz2")
        source = replace(source, sha256=hashlib.sha256(b"the weights").hexdigest())
        monkeypatch.setitem(weights.WEIGHTS, "dlib-cnn", source)
        try:
            return str(weights.fetch("dlib-cnn"))
        except ForgeprepError as error:
            assert not list(tmp_path.iterdir())
            return str(error)

    yield fetched
    server.shutdown()
    server.server_close()
    thread.join()


def test_downloads_that_are_not_the_file(host: Callable[..., str], tmp_path: Path) -> None:
    good = bz2.compress(b"the weights")
    place = str(tmp_path / "mmod_human_face_detector.dat")
    bomb = bz2.compress(bytes(400 << 20))
    tracemalloc.start()
    for told, answer in (
        ("a page", (b"<html>not found</html>", "text/html")),
        ("a page", (b"\n<!DOCTYPE html><p>login</p>", "application/octet-stream")),
        ("broke off", (good[:20], "application/octet-stream", 5000)),
        ("cut short", (good[:20], "application/octet-stream", None)),
        ("larger than", (b"BZh9", "application/octet-stream", None, True)),
        ("unpacks to more", (bomb,)),
        ("not the expected file", (bz2.compress(b"other weights"),)),
        ("cannot be fetched", (b"PK\3\4 a zip",)),
    ):
        error = host(*answer)
        assert told in error, error
        assert place in error
        assert "\n" not in error
        assert len(error) < 600
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20
    assert host(good) == place
    assert Path(place).read_bytes() == b"the weights"
    # Weights of several files lie in a folder of their own, and go on where they stopped.
    packed = weights.WEIGHTS["dlib-cnn"]
    one = replace(
        packed, file="config.json", url=packed.url.removesuffix(".bz2"), sha256=hashlib.sha256(good).hexdigest()
    )
    net = {"net": replace(one, file="net.bin", url="http://127.0.0.1:9/net.bin", folder="net", also=(one,))}
    with pytest.raises(ForgeprepError, match=r"net\.bin: cannot be fetched"):
        weights.fetch("net", net)
    assert [file.name for file in (tmp_path / "net").iterdir()] == ["config.json"]
    net["net"] = replace(net["net"], url=one.url)
    assert weights.fetch("net", net) == tmp_path / "net"
    assert {file.name for file in (tmp_path / "net").iterdir()} == {"config.json", "net.bin"}


def test_weights_come_over_https() -> None:
    known = [*weights.WEIGHTS.values(), *PRETRAINED.values(), *VITS.values()]
    assert all(file.url.startswith("https://") for source in known for file in (source, *source.also))
    assert all(source.by_hand or re.fullmatch("[0-9a-f]{8,64}", source.sha256) for source in known)


def test_weights_go_into_no_folder_that_is_called_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FORGEPREP_WEIGHTS", raising=False)
    monkeypatch.setenv("HOME", "~")  # What a user without a home and without an entry gets for "~".
    with pytest.raises(ForgeprepError, match="no home folder is known to keep weights in; set FORGEPREP_WEIGHTS to"):
        weights.fetch("dlib-81")
    assert not list(tmp_path.iterdir())


def test_a_zip_that_unpacks_to_gigabytes_is_no_checkpoint(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from forgeprep.training.pretrained import load_weights

    module = torch.nn.Linear(2, 2)
    path = tmp_path / "bomb.pth"
    torch.save(module.state_dict(), path)
    load_weights(module, path)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, bytes(300 << 20) if "/data/" in entry.filename else old.read(entry))
    with pytest.raises(UsageError, match="claims more than it holds"):
        load_weights(module, tmp_path / "b.pth")
    for make in SPECIAL[:2]:
        make(path)
        with pytest.raises(UsageError, match="not a regular file"):
            load_weights(module, path)
