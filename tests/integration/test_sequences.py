"""Samples of several frames: which frames, one box for all of them, how they are stored and read."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from forgeprep.errors import UsageError
from forgeprep.media.regions import crop_rgb
from forgeprep.media.video import read_frames
from forgeprep.shards.check_sample import sequence_problems
from forgeprep.shards.read import iter_rows, iter_sequences, shard_paths
from forgeprep.shards.verify import verify
from forgeprep.training.data import Samples
from forgeprep.training.sample_index import frames_alone, load_index
from tests.conftest import UInt8, encode_video, run_cli
from tests.helpers.runs import checksums, run
from tests.helpers.variants import fake_path, original_path, pictures

STEM = "071_054"

ORIGINAL, FAKE = "ffpp/raw/youtube/071", f"ffpp/raw/Deepfakes/{STEM}"

FORGED = range(10, 30)

CLIPS: dict[str, Any] = {
    "stages": "crop,mask,noise,similarity",
    "compression": "raw",
    "frames": "all",
    "sequence_length": 6,
    "sequence_stride": 2,
    "format": "both",
}


def small(source: Path, frames: int) -> list[UInt8]:
    halves = (cv2.resize(rgb, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for rgb in pictures(source)[:frames])
    return [np.asarray(rgb, np.uint8) for rgb in halves]


@pytest.fixture(scope="module")
def footage(couple: Path) -> tuple[list[UInt8], list[UInt8]]:
    """An original, and a fake of it that is forged in a span."""
    real = small(original_path(couple, STEM, "raw"), 48)
    fake = small(fake_path(couple, "Deepfakes", STEM, "raw"), 48)
    return real, [fake[i] if i in FORGED else frame for i, frame in enumerate(real)]


def place(root: Path, real: list[UInt8], fake: list[UInt8]) -> Path:
    encode_video(original_path(root, STEM, "raw"), real)
    encode_video(fake_path(root, "Deepfakes", STEM, "raw"), fake)
    return root


@pytest.fixture(scope="module")
def made(footage: tuple[list[UInt8], list[UInt8]], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("clips")
    root = place(folder / "in", *footage)
    run(root, folder / "out", **CLIPS)
    return root, folder / "out"


def test_a_clip_sample_is_a_face_in_one_box(made: tuple[Path, Path]) -> None:
    root, out = made
    assert verify(out) == []
    [path] = shard_paths(out)
    rows = {row["sample_id"]: row for row in iter_rows(path)}
    # Of 48 frames, 4 times 11; evenly spread, the first and the last frame included.
    starts = (0, 12, 24, 37)
    assert set(rows) == {f"{clip}/0/{start:06d}" for clip in (ORIGINAL, FAKE) for start in starts}
    videos = {
        ORIGINAL: list(read_frames(original_path(root, STEM, "raw"))),
        FAKE: list(read_frames(fake_path(root, "Deepfakes", STEM, "raw"))),
    }
    for name, row in rows.items():
        clip, start = row["clip_id"], int(name[-6:])
        assert row["frame_index"] == list(range(start, start + 11, 2))
        x0, y0, x1, y1 = row["crop_box"]
        for place_, index in enumerate(row["frame_index"]):
            assert np.array_equal(row["image"][place_], crop_rgb(videos[clip][index], (x0, y0, x1, y1)))
            a, b, c, d = row["face_box"][place_]
            assert x0 < a < c < x1
            assert y0 < b < d < y1
            if clip == FAKE and min(abs(index - edge) for edge in (FORGED[0], FORGED[-1])) > 2:
                assert row["frame_labels"][place_] == (index in FORGED), name
        faces = np.array(row["face_box"])
        widest = max(faces[:, 2].max() - faces[:, 0].min(), faces[:, 3].max() - faces[:, 1].min())
        assert (x1 - x0) / widest == pytest.approx(1.3, abs=0.01)
        assert [int(mask.any()) for mask in row["mask"]] == row["frame_labels"]
        assert row["label"] == max(row["frame_labels"])
        assert row["method"] == ("Deepfakes" if row["label"] else None)
        assert row["padded"] == 0
        assert row["crop_box"] == rows[f"{ORIGINAL}/0/{start:06d}"]["crop_box"]
    assert Counter(row["label"] for row in rows.values()) == {0: 5, 1: 3}


@pytest.mark.long
def test_the_bytes_do_not_depend_on_the_workers(made: tuple[Path, Path], tmp_path: Path) -> None:
    root, out = made
    run(root, tmp_path / "two", workers=2, **CLIPS)
    assert checksums(tmp_path / "two") == checksums(out)


# webdataset leaves its file open; mlcroissant and rdflib use what is deprecated.
@pytest.mark.filterwarnings(
    "ignore:unclosed file",
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore::DeprecationWarning",
)
def test_clip_shards_open_in_other_libraries(made: tuple[Path, Path], tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    webdataset = pytest.importorskip("webdataset")
    out = made[1]
    [path] = shard_paths(out)
    rows = list(iter_rows(path))
    assert list(iter_rows(path.with_suffix(".tar"), decode=False)) == list(iter_rows(path, decode=False))
    loaded = datasets.load_dataset("parquet", data_files=str(path), split="train", cache_dir=str(tmp_path))
    for row, other in zip(rows, loaded, strict=True):
        for name in ("image", "mask"):
            assert len(other[name]) == 6
            assert all(np.array_equal(np.asarray(a), b) for a, b in zip(other[name], row[name], strict=True))
        assert (other["frame_labels"], other["face_box"]) == (row["frame_labels"], row["face_box"])
    samples = list(webdataset.WebDataset([str(path.with_suffix(".tar"))], shardshuffle=False).decode("rgb8"))
    for row, sample in zip(rows, samples, strict=True):
        assert np.array_equal(sample["003.png"], row["image"][3])
        assert np.array_equal(sample["005.mask.png"][..., 0], row["mask"][5])
        assert sample["json"]["frame_index"] == row["frame_index"]
    for row, (values, arrays) in zip(rows, iter_sequences(path), strict=True):
        assert np.array_equal(arrays.images, np.stack(row["image"]))
        assert np.array_equal(arrays.masks, np.stack(row["mask"]))
        assert (list(arrays.labels), arrays.real_frames, arrays.has_mask.all()) == (row["frame_labels"], 6, True)
        assert "image" not in values
    import mlcroissant  # takes seconds

    described = mlcroissant.Dataset(jsonld=str(out / "croissant.json"))
    for row, record in zip(rows, described.records("samples"), strict=True):
        assert record["samples/frame_index"] == row["frame_index"]
        assert np.array_equal(np.asarray(record["samples/image"][3]), row["image"][3])


def test_what_reads_runs_reads_clip_shards(made: tuple[Path, Path], tmp_path: Path, couple: Path) -> None:
    out = made[1]
    assert run_cli("inspect", str(out), "--sheet", str(tmp_path / "sheet.png")) == 0
    assert cv2.imread(str(tmp_path / "sheet.png")).shape[0] > 500
    assert run_cli("report", str(out), "--to", str(tmp_path / "page.html")) == 0
    page = (tmp_path / "page.html").read_text()
    assert f"{FAKE}/0/000012" in page
    assert run_cli("compare", str(out), str(out)) == 0
    assert run_cli("status", str(out)) == 0
    index = load_index([out], "train")
    with pytest.raises(UsageError, match="its samples are sequences"):
        frames_alone(index)
    (_, arrays), (row,) = next(iter_sequences(shard_paths(out)[0])), Samples(replace(index, frames=3)).read([0])
    for frame, at in zip(row["frames"], (0, 2, 5), strict=True):
        assert np.array_equal(frame["image"], arrays.images[at])
        assert (frame["label"], row["label"]) == (arrays.labels[at], arrays.labels.max())
    run(couple, tmp_path / "frames", stages="crop", frames="1", methods="Deepfakes")
    rows = iter_sequences(shard_paths(tmp_path / "frames")[0])
    with pytest.raises(UsageError, match="single frames"):
        next(rows)


@pytest.mark.parametrize("short", ["pad", "drop"])
def test_short_clips_are_padded_or_dropped(
    short: str, footage: tuple[list[UInt8], list[UInt8]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = place(tmp_path / "in", footage[0][12:20], footage[1][12:20])
    flags = ["--stages", "crop,mask", "--compression", "raw", "--sequence-length", "6", "--sequence-stride", "2"]
    command = ["run", "ffpp", "--root", str(root), "--out", str(tmp_path / "out"), *flags, "--sequence-short", short]
    assert run_cli(*command, "--dry-run") == 0
    assert run_cli(*command, "--workers", "0") == 0
    assert verify(tmp_path / "out") == []
    rows = [row for path in shard_paths(tmp_path / "out") for row in iter_rows(path)]
    drops = pq.read_table(tmp_path / "out/meta/drops.pq").to_pylist()
    if short == "drop":
        assert rows == []
        assert [(d["clip_id"], d["reason"]) for d in drops] == [(FAKE, "short_clip"), (ORIGINAL, "short_clip")]
        return
    assert drops == []
    assert [(row["label"], row["frame_index"], row["padded"]) for row in rows] == [
        (0, [0, 2, 4, 6, 6, 6], 2),
        (1, [0, 2, 4, 6, 6, 6], 2),
    ]
    assert all(np.array_equal(row["image"][5], row["image"][3]) for row in rows)
    assert {arrays.real_frames for path in shard_paths(tmp_path / "out") for _, arrays in iter_sequences(path)} == {4}


def test_windows_without_the_face_are_accounted_for(footage: tuple[list[UInt8], list[UInt8]], tmp_path: Path) -> None:
    """The face is away in the last part, and the fake ends early."""
    real, fake = footage
    away = [np.asarray(cv2.GaussianBlur(frame, (0, 0), 25), np.uint8) for frame in real[30:]]
    root = place(tmp_path / "in", [*real[:30], *away], fake[:20])
    given: dict[str, Any] = {
        "stages": "crop,mask",
        "compression": "raw",
        "frames": "all",
        "sequence_length": 8,
        "workers": 0,
    }
    run(root, tmp_path / "out", **given)
    assert verify(tmp_path / "out") == []
    rows = [row for path in shard_paths(tmp_path / "out") for row in iter_rows(path, decode=False)]
    drops = pq.read_table(tmp_path / "out/meta/drops.pq").to_pylist()
    windows = [0, 8, 16, 24, 32, 40]
    got = {(row["clip_id"], row["frame_index"][0]): "made" for row in rows}
    got |= {(drop["clip_id"], drop["frame_index"]): drop["reason"] for drop in drops}
    assert len(got) == len(rows) + len(drops) == 2 * len(windows)
    assert [got[ORIGINAL, start] for start in windows] == ["made"] * 3 + ["tube_broken"] + ["no_face"] * 2
    assert [got[FAKE, start] for start in windows[:3]] == ["made", "made", "past_end"]
    clips = {clip["clip_id"]: clip for clip in pq.read_table(tmp_path / "out/meta/clips.pq").to_pylist()}
    assert [(clips[c]["written"], clips[c]["dropped"]) for c in (ORIGINAL, FAKE)] == [(3, 3), (2, 4)]


def test_every_defect_of_a_clip_sample_is_found(made: tuple[Path, Path]) -> None:
    [path] = shard_paths(made[1])
    good = next(row for row in iter_rows(path, decode=False) if row["label"])
    assert list(sequence_problems(good, 6)) == []
    defects: list[tuple[str, Any, str]] = [
        ("frame_index", good["frame_index"][:5], "frame_index is no list of 6 values"),
        ("frame_index", good["frame_index"][::-1], "not in order"),
        ("sample_id", "other", "sample_id should be"),
        ("label", 0, "label is 0, but the frames' labels"),
        ("padded", 2, "what pads it is not its last frame"),
        ("padded", 9, "padded is 9"),
        ("frame_labels", [1 - label for label in good["frame_labels"]], "mask of a"),
        ("mask", [good["noise"][0], *good["mask"][1:]], "frame 0: mask holds"),
    ]
    for name, value, told in defects:
        bad = copy.deepcopy(good) | {name: value}
        assert any(told in problem for problem in sequence_problems(bad, 6)), name
