"""Exports hold what the shards hold, whole or not at all, in the shape that their readers expect."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import pytest

from forgeprep.errors import ForgeprepError, UsageError, VerifyError
from forgeprep.export.base import Files
from forgeprep.export.run import Exported, ask, export
from forgeprep.export.select import Selection
from forgeprep.shards.encode import UInt8
from forgeprep.shards.read import iter_rows, shard_paths
from tests.conftest import run_cli
from tests.helpers.shards_run import make_run, shard_rows, write_shard, write_tables

SEQUENCES = Path(__file__).parents[1] / "data" / "run-schema-0-sequences"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, face_photo: UInt8) -> Path:
    return make_run(tmp_path_factory.mktemp("run") / "out", face_photo, size=48)


def exported(
    out: Path, to: Path, name: str, options: Sequence[str] = (), *, links: bool = False, **selection: Any
) -> Exported:
    return export(out, to, ask(out, name, options, Selection(**selection), links=links))


def rows_of(out: Path) -> list[dict[str, Any]]:
    return [row for path in shard_paths(out) for row in iter_rows(path, decode=False)]


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_pictures_are_the_bytes_of_the_shards_with_their_labels(out: Path, tmp_path: Path) -> None:
    to = tmp_path / "to"
    assert run_cli("export", "pictures", str(out), "--to", str(to), "--workers", "1") == 0
    rows = {row["sample_id"]: row for row in rows_of(out)}
    with (to / "labels.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert {line["sample_id"] for line in lines} == rows.keys()
    for line in lines:
        row = rows[line["sample_id"]]
        split, kind, *_ = line["path"].split("/")
        assert (split, kind, int(line["label"])) == (row["split"], ("real", "fake")[row["label"]], row["label"])
        assert (to / line["path"]).read_bytes() == row["image"]["bytes"]
        assert (to / line["mask"]).read_bytes() == row["mask"]["bytes"]
        assert line["method"] == (row["method"] or "")
    assert len(files_of(to)) == 2 * len(rows) + 3
    # As ImageFolder finds classes: the folders in the split's.
    assert {path.name for path in (to / "train").iterdir()} == {"fake", "real"}


def test_classes_may_be_the_methods_and_frames_fewer(out: Path, tmp_path: Path) -> None:
    made = exported(out, tmp_path / "to", "pictures", ["classes=method"], frames=2)
    assert {path.name for path in (tmp_path / "to/train").iterdir()} == {"Deepfakes", "FaceSwap", "real"}
    clips = {(row["clip_id"], row["track_id"]) for row in rows_of(out)}
    assert made.entries == 2 * len(clips)
    assert made.unpaired == 0
    assert sorted(path.stem for path in (tmp_path / "to/train/real").rglob("*.png")) == ["0-000000", "0-000024"]


def test_frames_of_a_fake_are_those_of_its_original(face_photo: UInt8, tmp_path: Path) -> None:
    """One fake lacks the first frame: both others are taken of all, and each fake lies beside its original."""
    rows = shard_rows(face_photo, "train", [0], 48)
    lost = next(row for row in rows if row["method"] == "FaceSwap" and row["frame_index"] == 0)
    record = write_shard(tmp_path / "out", "train/ffpp-train-00000", [row for row in rows if row is not lost])
    write_tables(tmp_path / "out", [record])
    made = exported(tmp_path / "out", tmp_path / "to", "pictures", frames=2)
    assert (made.entries, made.unpaired) == (6, 0)
    assert {path.stem for path in (tmp_path / "to/train").rglob("*.png")} == {"0-000012", "0-000024"}
    # With three frames there are not so many that all share.
    made = exported(tmp_path / "out", tmp_path / "all", "pictures", frames=3)
    assert (made.entries, made.unpaired) == (8, 0)
    # A frame of a fake that was not forged is a face of its own, of which there are not so many either.
    lost |= {"label": 0, "method": None}
    write_tables(tmp_path / "part", [write_shard(tmp_path / "part", "train/ffpp-train-00000", rows)])
    made = exported(tmp_path / "part", tmp_path / "parts", "pictures", frames=2)
    assert (made.entries, made.unpaired) == (7, 0)


def test_the_checksums_are_those_of_the_files(out: Path, tmp_path: Path) -> None:
    exported(out, tmp_path / "to", "deepfakebench")
    lines = (tmp_path / "to/checksums.sha256").read_text().splitlines()
    told = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    assert told.keys() == files_of(tmp_path / "to") - {"checksums.sha256", ".forgeprep-exported"}
    for name, digest in told.items():
        assert hashlib.sha256((tmp_path / "to" / name).read_bytes()).hexdigest() == digest


def with_dataset(out: Path, dataset: str, to: Path) -> Path:
    for name in files_of(out):
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        (to / name).write_bytes((out / name).read_bytes())
    run = json.loads((to / "run.json").read_bytes())
    (to / "run.json").write_text(json.dumps({**run, "config": {"dataset": dataset}}))
    return to


def test_another_name_has_labels_to_be_added(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exported(out, tmp_path / "to", "deepfakebench", ["name=Mine"]).notes == []
    listed = json.loads((tmp_path / "to/preprocessing/dataset_json/Mine.json").read_bytes())
    assert listed["Mine"].keys() == {"Mine_Real", "Mine_Fake"}
    assert all(listed["Mine"]["Mine_Real"]["train"].values())
    assert (tmp_path / "to/label_dict.yaml").read_text() == "label_dict:\n  Mine_Fake: 1\n  Mine_Real: 0\n"
    # A split that its loader asks for, and that is empty.
    part = "--to", str(tmp_path / "part"), "--splits", "train", "--option", "name=Mine", "--workers", "1"
    assert run_cli("export", "deepfakebench", str(out), *part) == 0
    told = "note: no videos of Mine_Fake, Mine_Real in test: DeepfakeBench has none to test with"
    assert told in " ".join(capsys.readouterr().out.split())


def test_sequences_are_exported_frame_by_frame(tmp_path: Path) -> None:
    made = exported(SEQUENCES, tmp_path / "to", "deepfakebench")
    (sequences,) = ([*iter_rows(path, decode=False)] for path in shard_paths(SEQUENCES))
    assert made.entries == sum(2 - row["padded"] for row in sequences)
    frame = next((tmp_path / "to").rglob("frames/*/*.png"))
    picture = cv2.imread(str(frame))
    assert picture is not None
    assert picture.shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["picture"], "unknown export format 'picture': did you mean 'pictures'?"),
        (["pictures", "class=method"], "did you mean 'classes'?"),
        (["pictures", "classes=none"], "--option classes: must be 'label' or 'method'"),
        (["pictures", "frames=8"], "(known: classes)"),
        (["deepfakebench", "name=my frames"], "not the words frames, masks or landmarks"),
    ],
)
def test_a_wrong_option_is_one_line_and_leaves_nothing(
    out: Path, tmp_path: Path, arguments: list[str], problem: str
) -> None:
    with pytest.raises(UsageError) as raised:
        exported(out, tmp_path / "to", arguments[0], arguments[1:])
    assert problem in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_empty_is_left_alone(out: Path, tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    (tmp_path / "to/mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="not an empty folder; give a new one with --to"):
        exported(out, tmp_path / "to", "pictures")
    assert files_of(tmp_path) == {"to/mine.txt"}
    (tmp_path / "to/mine.txt").unlink()
    exported(out, tmp_path / "to", "pictures")
    assert (tmp_path / "to/labels.csv").is_file()


@pytest.mark.parametrize("spoilt", [False, True])
def test_an_export_that_failed_goes_on_where_it_was(out: Path, tmp_path: Path, spoilt: bool) -> None:
    run = with_dataset(out, "ffpp", tmp_path / "run")
    shard = run / "shards/test/ffpp-test-00000.parquet"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-2000] + bytes(2000))
    with pytest.raises(ForgeprepError, match=r"ffpp-test-00000.parquet"):
        exported(run, tmp_path / "to", "pictures")
    assert not (tmp_path / "to").exists()
    done = min((tmp_path / ".to.tmp/train").rglob("*.png"))
    before = done.stat().st_mtime_ns
    shard.write_bytes(whole)
    if spoilt:
        done.write_bytes(done.read_bytes()[:-1] + b"?")
    exported(run, tmp_path / "to", "pictures")
    done = tmp_path / "to" / done.relative_to(tmp_path / ".to.tmp")
    assert (done.stat().st_mtime_ns == before) != spoilt
    assert {path.name for path in tmp_path.iterdir()} == {"run", "to"}
    exported(out, tmp_path / "at once", "pictures")
    assert done.read_bytes() == (tmp_path / "at once" / done.relative_to(tmp_path / "to")).read_bytes()
    assert (tmp_path / "to/checksums.sha256").read_bytes() == (tmp_path / "at once/checksums.sha256").read_bytes()


def test_a_finished_export_is_told_whole_or_what_differs(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("export", "pictures", str(out), "--to", str(tmp_path / "to"), "--workers", "1")
    assert run_cli(*command) == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "to").rglob("*")}
    capsys.readouterr()
    assert run_cli(*command) == 0
    assert "already there and whole" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "to").rglob("*")} == before
    with pytest.raises(UsageError, match="holds another export \\(other options, selection of samples\\)"):
        exported(out, tmp_path / "to", "pictures", ["classes=method"], frames=1)
    picture = next((tmp_path / "to").rglob("*.png"))
    picture.write_bytes(picture.read_bytes()[:-1] + b"?")
    with pytest.raises(VerifyError, match=f"{picture.name}: its bytes have changed"):
        exported(out, tmp_path / "to", "pictures")


def test_shards_that_are_lost_or_changed_are_not_exported(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = with_dataset(out, "ffpp", tmp_path / "run")
    command = ("export", "pictures", str(run), "--to", str(tmp_path / "to"), "--workers", "1")
    shard = run / "shards/test/ffpp-test-00000.parquet"
    whole = bytearray(shard.read_bytes())
    # In a picture: the file as such is readable.
    whole[len(whole) // 3] ^= 1
    shard.write_bytes(whole)
    assert run_cli(*command) == 1
    assert "ffpp-test-00000.parquet: its bytes have changed" in capsys.readouterr().err
    shard.unlink()
    shard.with_suffix(".tar").unlink()
    assert run_cli(*command) == 1
    assert "1 shard of the run is missing, such as test/ffpp-test-00000" in capsys.readouterr().err
    assert not (tmp_path / "to").exists()
    assert run_cli(*command, "--splits", "train,val") == 0


def test_an_export_that_was_killed_is_no_obstacle(out: Path, tmp_path: Path) -> None:
    (tmp_path / ".to.tmp/train").mkdir(parents=True)
    (tmp_path / ".to.tmp/train/half.png").write_bytes(b"half")
    exported(out, tmp_path / "to", "pictures")
    assert {path.name for path in tmp_path.iterdir()} == {"to"}
    assert not list((tmp_path / "to").rglob("half.png"))


def test_an_unfinished_run_is_refused(out: Path, tmp_path: Path) -> None:
    run = with_dataset(out, "ffpp", tmp_path / "run")
    (run / "meta/shards.pq").unlink()
    with pytest.raises(UsageError, match="the run is not finished"):
        exported(run, tmp_path / "to", "pictures")


@pytest.mark.parametrize("name", ["../out.png", "/etc/x", "a/../../b", "", "a\0b"])
def test_names_cannot_lead_out_of_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(VerifyError, match="leads out of the folder"):
        Files(tmp_path).add(name, b"")
    files = Files(tmp_path)
    files.add("a/b.png", b"1")
    with pytest.raises(VerifyError, match="two samples have this name"):
        files.add("a/b.png", b"2")
    assert (tmp_path / "a/b.png").read_bytes() == b"1"
