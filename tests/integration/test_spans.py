"""Which frames and which faces of a fake are forged, and how many samples a clip gives."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from forgeprep.ops.masks import binarise
from forgeprep.shards.read import iter_rows, shard_paths
from tests.conftest import UInt8, encode_video, run_cli
from tests.helpers.variants import fake_path, original_path, pictures, place, shards

STEM = "071_054"
FPS = 25


def spliced(couple: Path, method: str, seed: int) -> tuple[list[UInt8], list[tuple[int, int]]]:
    """The original, in which the fake's frames stand in two random spans."""
    frames, forged = pictures(original_path(couple, STEM, "raw")), pictures(fake_path(couple, method, STEM, "raw"))
    rng = np.random.default_rng(seed)
    first, length, gap, last = (int(rng.integers(*limits)) for limits in ((0, 12), (6, 18), (6, 15), (6, 18)))
    spans = [(first, first + length), (first + length + gap, first + length + gap + last)]
    for start, end in spans:
        frames[start:end] = forged[start:end]
    return frames, spans


@pytest.mark.parametrize(
    ("method", "compression", "seed"),
    [
        pytest.param("Deepfakes", "raw", 0, marks=pytest.mark.long),
        pytest.param("Deepfakes", "c23", 1, marks=pytest.mark.long),
        ("Deepfakes", "c40", 0),
        ("NeuralTextures", "c23", 1),
    ],
)
def test_forged_spans_are_found_to_two_frames(
    method: str, compression: str, seed: int, couple: Path, tmp_path: Path
) -> None:
    frames, spans = spliced(couple, method, seed)
    place(couple, tmp_path / "in", STEM, method, frames, compression=compression)
    rows, _, clips = shards(tmp_path / "in", tmp_path / "out", compression=compression, frames="all")
    clip = f"ffpp/{compression}/{method}/{STEM}"
    found = [[round(t * FPS) for t in span] for span in clips[clip]["detected_spans"]]
    assert len(found) == len(spans)
    assert np.abs(np.array(found) - np.array(spans)).max() <= 2
    inside = {i for start, end in spans for i in range(start, end)}
    edges = {i for span in spans for edge in span for i in (edge - 2, edge - 1, edge, edge + 1)}
    samples = [row for row in rows if row["clip_id"] == clip]
    assert len(samples) >= 0.9 * len(frames)
    for row in samples:
        if row["frame_index"] not in edges:
            assert row["label"] == (row["frame_index"] in inside), row["sample_id"]
        assert row["mask"].any() == bool(row["label"])
        assert (row["mask_source"], row["method"], row["forgery"]) == (
            ("difference", method, row["forgery"]) if row["label"] else ("pristine", None, "real")
        )


def test_a_first_span_at_the_end_of_a_run_of_frames_makes_no_fakes_of_those_before(
    couple: Path, tmp_path: Path
) -> None:
    """Frames are read 32 at a time: the last two of the first run alone look like a faint forgery."""
    original, fake = (
        original_path(tmp_path / "in", STEM, "c23"),
        fake_path(tmp_path / "in", "Deepfakes", STEM, "c23"),
    )
    real = pictures(original_path(couple, STEM, "raw"))[:45]
    forged = pictures(fake_path(couple, "Deepfakes", STEM, "raw"))[30:40]
    encode_video(original, real, crf=18, preset="medium")
    encode_video(fake, [*real[:30], *forged, *real[40:]], crf=18, preset="medium")
    rows, drops, _ = shards(tmp_path / "in", tmp_path / "out", frames="all", stages="crop")
    samples = {row["frame_index"]: row["label"] for row in rows if row["original_id"] is not None}
    assert samples == {index: int(30 <= index < 40) for index in range(45)}
    assert drops == []


@pytest.mark.parametrize("compression", ["raw", "c23", "c40"])
def test_a_clip_that_is_forged_throughout_has_no_real_frame(compression: str, demo: Path, tmp_path: Path) -> None:
    """Though strong compression all but drowns a forgery after the first frames."""
    given = {"compression": compression, "frames": "all", "splits": "train", "stages": "crop"}
    rows, drops, clips = shards(demo, tmp_path / "out", **given)
    assert {row["label"] for row in rows if row["original_id"] is not None} == {1}
    assert {clip["visual_change"] for clip in clips.values() if clip["label"]} == {True}
    assert max(len(clip["detected_spans"] or ()) for clip in clips.values()) == 1
    assert sum(drop["reason"] == "no_difference" for drop in drops) < 0.03 * len(rows)


@pytest.mark.parametrize(
    ("frames", "wanted"),
    [
        ("all", {"Deepfakes": range(20), "NeuralTextures": range(10, 22)}),
        ("5", {"Deepfakes": [10, 12, 14, 16, 19], "NeuralTextures": [10, 12, 14, 16, 19]}),
    ],
)
def test_each_fake_gives_the_frames_that_the_dataset_labels_in_it(
    frames: str, wanted: dict[str, Any], couple: Path, tmp_path: Path
) -> None:
    """Of a number of frames, those that are labelled in all fakes; of all frames, those of each, the rest as drops."""
    root = tmp_path / "in"
    root.mkdir()
    shutil.copy(original_path(couple, STEM, "raw"), root / "original.mp4")
    for method in wanted:
        shutil.copy(fake_path(couple, method, STEM, "raw"), root / f"{method}.mp4")
    (root / "manifest.csv").write_text(
        "path,original,label,split,method,spans\noriginal.mp4,,0,train,,\n"
        "Deepfakes.mp4,original.mp4,1,train,Deepfakes,0 20 1\n"
        "NeuralTextures.mp4,original.mp4,1,train,NeuralTextures,10 12 1\n"
    )
    flags = ("--stages", "crop", "--frames", frames, "--size", "64", "--workers", "0")
    assert run_cli("run", "manifest", "--root", str(root), "--out", str(tmp_path / "out"), *flags) == 0
    rows = [row for path in shard_paths(tmp_path / "out") for row in iter_rows(path)]
    for method, indices in wanted.items():
        assert [row["frame_index"] for row in rows if row["method"] == method] == list(indices)
    drops = pq.read_table(tmp_path / "out/meta/drops.pq").to_pylist()
    assert {drop["reason"] for drop in drops} == ({"unlabelled"} if frames == "all" else set())
    assert len(rows) + len(drops) == (3 * 22 if frames == "all" else 15)


def side_by_side(left: list[UInt8], right: list[UInt8]) -> list[UInt8]:
    return [np.hstack([a, b]) for a, b in zip(left, right, strict=False)]


@pytest.mark.parametrize("bystanders", ["skip", "real"])
def test_of_two_people_only_the_forged_one_is_a_fake(bystanders: str, couple: Path, tmp_path: Path) -> None:
    one, other = (pictures(original_path(couple, stem, "raw"))[:30] for stem in ("071", "054"))
    forged = pictures(fake_path(couple, "NeuralTextures", STEM, "raw"))[:30]
    root = tmp_path / "in"
    encode_video(original_path(root, STEM, "c23"), side_by_side(other, one), crf=23)
    encode_video(fake_path(root, "NeuralTextures", STEM, "c23"), side_by_side(other, forged), crf=23)
    rows, drops, clips = shards(root, tmp_path / "out", frames="10", bystanders=bystanders)
    clip = f"ffpp/c23/NeuralTextures/{STEM}"
    samples = [row for row in rows if row["clip_id"] == clip]
    by_side: dict[bool, list[dict[str, Any]]] = {side: [] for side in (False, True)}
    for row in samples:
        by_side[row["face_box"][0] > 480].append(row)
    assert len(by_side[True]) == 10
    assert {row["label"] for row in by_side[True]} == {1}
    if bystanders == "real":
        assert len(by_side[False]) == 10
        assert {(r["label"], r["method"], r["mask"].max()) for r in by_side[False]} == {(0, None, 0)}
        assert drops == []
    else:
        assert by_side[False] == []
        assert Counter(drop["reason"] for drop in drops) == {"bystander": 10}
    assert clips[clip]["tracks"] == 2


def test_neighbours_stand_in_for_frames_without_a_face(couple: Path, tmp_path: Path) -> None:
    """Of 75 frames, 30 show no face: 10 wanted ones are made up for where there are enough, and recorded where not."""
    root = tmp_path / "in"
    for source, target in (
        (original_path(couple, STEM, "raw"), original_path(root, STEM, "c23")),
        (fake_path(couple, "Deepfakes", STEM, "raw"), fake_path(root, "Deepfakes", STEM, "c23")),
    ):
        frames = pictures(source)[:75]
        small = [cv2.resize(f, None, fx=1 / 16, fy=1 / 16, interpolation=cv2.INTER_AREA) for f in frames[20:50]]
        wide = [cv2.resize(cv2.GaussianBlur(f, (0, 0), 5), frames[0].shape[1::-1]) for f in small]
        away = [np.asarray(f, np.uint8) for f in wide]
        encode_video(target, [*frames[:20], *away, *frames[50:]], crf=23)
    total = len(pictures(original_path(root, STEM, "c23")))
    rows, drops, clips = shards(root, tmp_path / "few", frames="10")
    assert drops == []
    for clip in clips.values():
        assert (clip["requested"], clip["written"]) == (10, 10)
        assert clip["detected"] == 10 - clip["topped_up"]
        assert 3 <= clip["topped_up"] <= 5
    taken = {label: [row["frame_index"] for row in rows if row["label"] == label] for label in (0, 1)}
    assert taken[0] == taken[1]
    assert len(set(taken[0])) == 10
    assert not set(taken[0]) & set(range(22, 48))
    assert all(row["timestamp_s"] == pytest.approx(row["frame_index"] / FPS) for row in rows)
    # More than there are faces: the shortfall is recorded.
    rows, drops, clips = shards(root, tmp_path / "many", frames="70")
    real = next(clip for clip in clips.values() if clip["label"] == 0)
    assert real["requested"] == 70
    assert real["written"] + real["dropped"] == 70
    assert {drop["reason"] for drop in drops} == {"no_face"}
    assert total - 30 - 4 <= real["written"] <= total - 30 + 4


def test_masks_can_be_cut_again_from_what_is_stored(couple: Path, tmp_path: Path) -> None:
    rows, _, _ = shards(couple, tmp_path / "out", frames="6", enlarge=2.0, size=200, splits="train,val,test")
    fakes = [row for row in rows if row["label"] == 1]
    assert len(fakes) == 24
    for row in fakes:
        again = binarise(row["difference"], row["mask_threshold"], enlarge=row["enlarge"])
        assert np.array_equal(again, row["mask"]), row["sample_id"]
        narrower = binarise(row["difference"], row["mask_threshold"] + 15, enlarge=row["enlarge"])
        assert np.count_nonzero(narrower) < np.count_nonzero(row["mask"])
        assert row["mask_agreement"] > 0.7
    for row in rows:
        if row["label"] == 0:
            assert (row["mask"].max(), row["difference"].max(), row["mask_threshold"]) == (0, 0, None)


@pytest.mark.parametrize("crf", [40, pytest.param(46, marks=pytest.mark.long), 51])
def test_what_is_forged_is_judged_once_whatever_frames_are_wanted(crf: int, couple: Path, tmp_path: Path) -> None:
    """From a faint forgery to one that coding has drowned: labels, spans and masks say the same."""
    source, fake = (
        original_path(tmp_path / "in", STEM, "c40"),
        fake_path(tmp_path / "in", "NeuralTextures", STEM, "c40"),
    )
    encode_video(source, pictures(original_path(couple, STEM, "raw")), crf=crf, preset="medium", pix_fmt="yuv444p")
    forged = pictures(fake_path(couple, "NeuralTextures", STEM, "raw"))
    encode_video(fake, forged, crf=crf, preset="medium", pix_fmt="yuv444p")
    verdicts = set()
    for frames in ("1", "4", "24"):
        rows, drops, clips = shards(tmp_path / "in", tmp_path / frames, compression="c40", frames=frames)
        clip = clips[f"ffpp/c40/NeuralTextures/{STEM}"]
        kept = [row for row in rows if row["clip_id"] == clip["clip_id"]]
        assert len(kept) == (int(frames) if clip["visual_change"] else 0)
        assert all(row["mask"].any() for row in kept)
        assert {drop["reason"] for drop in drops} <= {"no_visual_change"}
        verdicts.add((clip["visual_change"], str(clip["detected_spans"])))
    assert len(verdicts) == 1
