"""Shards, trainings, trees and messages that are made to be too much: what comes of them is bounded."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forgeprep.datasets.listing import MAX_DEPTH, walk_files
from forgeprep.errors import MediaError, UsageError, VerifyError
from forgeprep.shards.encode import decode_image, encode_image
from forgeprep.shards.read import iter_rows
from tests.conftest import UInt8, encode_video, run_cli
from tests.helpers.bombs import png
from tests.helpers.memory import most_held


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, face_photo: UInt8) -> Path:
    root = tmp_path_factory.mktemp("made")
    encode_video(root / "data" / "real" / "a.mp4", [face_photo[:300, 100:400]] * 4, crf=20)
    words = [
        "--root",
        str(root / "data"),
        "--out",
        str(root / "out"),
        "--workers",
        "0",
        "--stages",
        "crop",
        "--frames",
        "2",
    ]
    assert run_cli("run", "folder", *words, "--format", "both") == 0
    return root / "out"


def watched(*words: str) -> tuple[int, str, int]:
    """Run forgeprep: exit code, output, and the most bytes that it held."""
    process = subprocess.Popen(
        [sys.executable, "-m", "forgeprep.cli", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    most = most_held(process)
    told, _ = process.communicate()
    return process.returncode, told, max(most.values())


def sparse_tar(path: Path) -> None:
    """A tar whose first member claims 12 GB, which are there as a hole."""
    head = tarfile.TarInfo("a/b/0/000000.png")
    head.size = 12 << 30
    with path.open("wb") as file:
        file.write(head.tobuf(tarfile.GNU_FORMAT))
        os.truncate(file.fileno(), (12 << 30) + 2048)


def long_names(path: Path) -> None:
    """A tar with a name of 3 GB."""
    head = tarfile.TarInfo("././@LongLink")
    head.size, head.type = 3 << 30, tarfile.GNUTYPE_LONGNAME
    with path.open("wb") as file:
        file.write(head.tobuf(tarfile.GNU_FORMAT))
        os.truncate(file.fileno(), (3 << 30) + 2048)


def parquet_bomb(path: Path) -> None:
    """The shard with a hundred thousand rows whose pictures are 60 kB of zeros each, all the same: a few kilobytes."""
    old = pq.read_table(path)
    row = old.slice(0, 1).to_pylist()[0]
    row["image"]["bytes"] = bytes(60_000)
    table = pa.Table.from_pylist([row] * 100, schema=old.schema)
    with pq.ParquetWriter(path, old.schema, compression="zstd", use_dictionary=False) as writer:
        big = pa.concat_tables([table] * 1000)
        writer.write_table(big, row_group_size=len(big))


@pytest.mark.parametrize(("bomb", "kind"), [(sparse_tar, "tar"), (long_names, "tar"), (parquet_bomb, "parquet")])
def test_verify_is_bounded_whatever_a_shard_claims(bomb, kind, made: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    shutil.copytree(made, tmp_path / "out")
    shard = next((tmp_path / "out").glob(f"shards/*/*.{kind}"))
    bomb(shard)
    started = time.monotonic()
    code, told, most = watched("verify", str(tmp_path / "out"))
    assert code == 1
    assert shard.name in told
    assert "claims more than" in told.replace("\n", " ") or kind == "parquet"
    assert "defect" not in told
    assert most < 1.2 * (1 << 30), most >> 20
    assert time.monotonic() - started < 100
    if kind == "tar":
        with pytest.raises(VerifyError, match=r"claims? more than a sample holds"):
            list(iter_rows(shard))


def test_a_picture_in_a_shard_that_claims_too_much_is_damaged(face_photo: UInt8) -> None:
    webp = bytearray(encode_image(face_photo, "webp"))
    jpeg = bytearray(encode_image(face_photo, "jpeg"))
    at = jpeg.find(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = b"\xff\xdc\xff\xdc"
    bombs = [png(30_000, 30_000), bytes(jpeg), png(8000, 8000), png(9000, 9000, data=bytes(9000 * 27001))]
    for bomb in bombs:
        with pytest.raises(VerifyError, match=r"claims more than it holds|damaged|does not decode"):
            decode_image(bomb)
    assert decode_image(bytes(webp)).shape == face_photo.shape


ODD = ["[]", "{}", '{"model": 1}', "[" * 100_000 + "]" * 100_000, '{"model": "fn3-seg", "options": [], "recipe": {}}']


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
def test_an_odd_configuration_of_a_training_is_told_in_one_line(
    text: str, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    (tmp_path / "config.json").write_text(text)
    for words in (["evaluate", str(tmp_path), "--shards", str(made)], ["predict", str(tmp_path), str(made)]):
        run_cli(*words)
        told = capsys.readouterr().err
        assert "defect" not in told
        assert told.strip()


def test_a_checkpoint_names_no_file_of_another_folder(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from forgeprep.training.checkpoint import load_state, read_facts, save_state

    module = torch.nn.Linear(2, 2)
    save_state(tmp_path / "a", "best", module, None, {"step": 3, "epoch": 1})
    facts = read_facts(tmp_path / "a", "best")
    assert facts is not None
    assert load_state(tmp_path / "a", "best", module) == facts
    (tmp_path / "b").mkdir()
    changes: tuple[dict[str, Any], ...] = (
        {"tensors": f"../a/{facts['tensors']}"}, {"tensors": str(tmp_path / "a" / facts["tensors"])}, {"tensors": 1},
        {"step": "3"}, {"step": -1}, {"epoch": []}, {"step": 10**400},
    )  # fmt: skip
    for change in changes:
        (tmp_path / "b" / "best.json").write_text(json.dumps({**facts, **change}))
        assert read_facts(tmp_path / "b", "best") is None
        with pytest.raises(VerifyError, match=r"best.json: damaged checkpoint"):
            load_state(tmp_path / "b", "best", module)
    (tmp_path / "b" / "best.json").write_text(json.dumps({**facts, "tensors": "pipe.safetensors"}))
    os.mkfifo(tmp_path / "b" / "pipe.safetensors")
    with pytest.raises(VerifyError, match="not a regular file"):
        load_state(tmp_path / "b", "best", module)


def test_a_tree_of_thousands_of_folders_is_bounded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    real = tmp_path / "data" / "real"
    real.mkdir(parents=True)
    (real / "near.mp4").write_bytes(b"x")
    here = os.open(real, os.O_RDONLY)
    for _ in range(5000):
        os.mkdir("deep", dir_fd=here)
        below = os.open("deep", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    strangers: list[str] = []
    assert [path for path, _ in walk_files(tmp_path / "data", "real", {".mp4"}, strangers)] == ["real/near.mp4"]
    assert len(strangers) == 1
    assert strangers[0].count("/") == MAX_DEPTH
    words = ["run", "folder", "--root", str(tmp_path / "data"), "--out", str(tmp_path / "o"), "--workers", "0"]
    assert run_cli(*words) == 0
    told = capsys.readouterr()
    assert "defect" not in told.err + told.out
    assert len(told.out) < 20_000
    subprocess.run(["rm", "-rf", str(real)], check=True)


def test_messages_are_of_bounded_length(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "manifest.csv").write_text("path,label\n" + "a" * 100_000 + ",2\n")
    assert run_cli("run", "manifest", "--root", str(tmp_path), "--out", str(tmp_path.with_name("o"))) == 2
    assert len(capsys.readouterr().err) < 3000
    assert len(str(MediaError("a.mp4", "x" * 100_000))) < 1000
    (tmp_path / "settings.yaml").write_text("x" * 100_000 + ": 1\n")
    assert run_cli("run", "folder", "--config", str(tmp_path / "settings.yaml")) == 2
    assert len(capsys.readouterr().err) < 3000


def test_a_line_without_end_is_no_list(tmp_path: Path) -> None:
    from forgeprep.datasets.lists import read_lines

    (tmp_path / "list.txt").write_bytes(b"a\n" + b"b" * (3 << 20))
    with pytest.raises(UsageError, match=r"list.txt:2: is longer than 1 MB"):
        list(read_lines(tmp_path / "list.txt"))
