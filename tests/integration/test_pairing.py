"""Fakes that are not frame for frame and pixel on pixel: what is found, corrected, or refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from forgeprep.demo import load_truth
from forgeprep.media.video import read_frames
from forgeprep.ops import pairing
from tests.conftest import UInt8, encode_video
from tests.helpers.variants import fake_path, letterboxed, original_path, pictures, place, shards

STEM = "071_054"
CLOSE = 100
"""Half of a close-up's side, of faces that are 155 and 186 pixels wide."""
MIDDLE, MIDDLE_OF_OTHER = (227, 158), (232, 170)

N = 70

SAME = letterboxed((480, 360), 0, 0)

FOUND: dict[str, tuple[list[int], int, Callable[[UInt8], UInt8], dict[str, Any]]] = {
    "as it should be": (list(range(N)), 25, SAME, {"offset": 0, "rate": 1.0, "scale": 1.0, "shift": [0, 0]}),
    "begins late": (list(range(17, N)), 25, SAME, {"offset": -17}),
    "begins early": (list(range(5, N)), 25, SAME, {"offset": -5}),
    "lost frames": ([i for i in range(N) if i not in (20, 21, 44)], 25, SAME, {"rate": 1.0}),
    "doubled frames": ([i for i in range(N) for _ in range(1 + (i in (15, 40)))], 25, SAME, {"rate": 1.0}),
    "another frame rate": ([int(k * 25 / 30) for k in range(80)], 30, SAME, {"rate": 1.2}),
    "half the size": (list(range(N)), 25, letterboxed((240, 180), 0, 0), {"scale": 0.5, "offset": 0}),
    "letterbox": (list(range(N)), 25, letterboxed((480, 360), 60, 0), {"scale": 1.0, "shift": [0, 60]}),
    "pillarbox": (
        list(range(N)),
        25,
        letterboxed((320, 240), 0, 54),
        {"scale": pytest.approx(2 / 3), "shift": [54, 0]},
    ),
}


def iou(row: dict[str, Any], truth: UInt8, clip: dict[str, Any]) -> float:
    x0, y0, x1, y1 = row["crop_box"]
    scale, (dx, dy) = clip["scale"], clip["shift"]
    onto = np.array([[scale, 0, dx - x0 + (scale - 1) / 2], [0, scale, dy - y0 + (scale - 1) / 2]])
    true = cv2.warpAffine(truth, onto, (x1 - x0, y1 - y0), flags=cv2.INTER_NEAREST) > 0
    return float(np.mean(true & (row["mask"] > 0)) / np.mean(true | (row["mask"] > 0)))


@pytest.mark.parametrize("name", FOUND)
def test_what_was_done_to_a_fake_is_found_and_undone(name: str, couple: Path, tmp_path: Path) -> None:
    order, fps, change, expected = FOUND[name]
    frames = pictures(fake_path(couple, "Deepfakes", STEM, "raw"))
    place(couple, tmp_path / "in", STEM, "Deepfakes", [frames[i] for i in order], fps=fps, change=change)
    rows, drops, clips = shards(tmp_path / "in", tmp_path / "out", frames="every:3")
    clip = clips[f"ffpp/c23/Deepfakes/{STEM}"]
    assert {key: clip[key] for key in expected} == expected
    assert clip["visual_change"] is True
    assert clip["pair_similarity"] > 0.99
    fakes = [row for row in rows if row["label"] == 1]
    assert [row["frame_index"] for row in fakes if order[row["frame_index"]] != row["original_frame"]] == []
    truth = load_truth(couple / f"truth/Deepfakes/{STEM}.npz").astype(np.uint8)
    assert min(iou(row, truth[row["original_frame"]], clip) for row in fakes) > 0.8
    # What the fake does not show is dropped, and nothing else is.
    reals = {row["frame_index"] for row in rows if row["label"] == 0}
    assert {row["original_frame"] for row in fakes} | {drop["frame_index"] for drop in drops} == reals
    assert {drop["frame_index"] for drop in drops if drop["reason"] != "past_end"}.isdisjoint(order)


def test_a_head_drawn_anew_and_a_banner_are_no_other_take(couple: Path, tmp_path: Path) -> None:
    own, stranger = (pictures(original_path(couple, stem, "raw")) for stem in (STEM, "054_071"))
    truth = load_truth(couple / f"truth/Deepfakes/{STEM}.npz").astype(np.uint8)
    wide = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (71, 71))
    heads = [cv2.dilate(face, wide) for face in truth]
    made = [np.where(head[..., None] > 0, b, a) for head, a, b in zip(heads, own, stranger, strict=False)]
    for picture in made:
        picture[-30:-10] = 20
    place(couple, tmp_path / "in", STEM, "Deepfakes", made)
    rows, drops, clips = shards(tmp_path / "in", tmp_path / "out", frames="every:3")
    clip = clips[f"ffpp/c23/Deepfakes/{STEM}"]
    assert {drop["reason"] for drop in drops} == {"past_end"}
    assert clip["offset"] == 0
    found = [iou(row, heads[row["original_frame"]], clip) for row in rows if row["label"] == 1]
    assert len(found) > 20
    assert min(found) > 0.8


def test_what_strong_coding_leaves_at_the_edge_of_a_close_up_refuses_no_fake(couple: Path, tmp_path: Path) -> None:
    """Where the frame shows hardly more than the face; a stranger in the same place mostly is not taken."""

    def close(clip: Path, middle: tuple[int, int]) -> list[UInt8]:
        columns, rows = (slice(at - CLOSE, at + CLOSE) for at in middle)
        return [np.ascontiguousarray(frame[rows, columns]) for frame in pictures(clip)]

    originals = close(original_path(couple, STEM, "raw"), MIDDLE)
    fakes = close(fake_path(couple, "Deepfakes", STEM, "raw"), MIDDLE)
    strangers = close(original_path(couple, "054_071", "raw"), MIDDLE_OF_OTHER)
    for name, frames, kept in (("fake", fakes, range(24, 25)), ("stranger", strangers, range(8))):
        root = tmp_path / name
        encode_video(original_path(root, STEM, "c40"), originals, crf=40)
        encode_video(fake_path(root, "Deepfakes", STEM, "c40"), frames, crf=40)
        rows, _, _ = shards(root, tmp_path / f"{name}-out", compression="c40", frames="24")
        labels = Counter(row["label"] for row in rows)
        assert labels[0] == 24
        assert labels[1] in kept, name


def test_a_squeezed_picture_and_another_take_are_refused(couple: Path, tmp_path: Path) -> None:
    frames = pictures(fake_path(couple, "Deepfakes", STEM, "raw"))
    moved = [np.roll(picture, (2, 2), (0, 1)) for picture in frames]
    place(couple, tmp_path / "moved", STEM, "Deepfakes", moved)
    squeezed = letterboxed((480, 240), 0, 0)
    place(couple, tmp_path / "squeezed", STEM, "Deepfakes", frames, change=squeezed)
    stranger = pictures(fake_path(couple, "Deepfakes", "054_071", "raw"))
    place(couple, tmp_path / "stranger", STEM, "Deepfakes", stranger)
    for name, reason in (("squeezed", "size_mismatch"), ("moved", "size_mismatch"), ("stranger", "unaligned")):
        rows, drops, clips = shards(tmp_path / name, tmp_path / f"{name}-out")
        assert {row["label"] for row in rows} == {0}
        assert {drop["reason"] for drop in drops} == {reason}
        assert clips[f"ffpp/c23/Deepfakes/{STEM}"]["visual_change"] is None


def test_a_re_encoded_original_is_no_fake(couple: Path, tmp_path: Path) -> None:
    """As an audio-only fake: nothing visible differs, whatever each was compressed with."""
    frames = pictures(original_path(couple, STEM, "raw"))
    for own, original in (("c23", "c23"), ("c23", "c40"), ("c40", "c23"), ("raw", "c23")):
        name = f"{own}-{original}"
        place(couple, tmp_path / name, STEM, "Deepfakes", frames, compression=own, original_compression=original)
        rows, drops, clips = shards(tmp_path / name, tmp_path / f"{name}-out", compression=own)
        clip = clips[f"ffpp/{own}/Deepfakes/{STEM}"]
        assert (clip["visual_change"], clip["detected_spans"], clip["written"]) == (False, [], 0), name
        assert {row["label"] for row in rows} == {0}, name
        assert {drop["reason"] for drop in drops} == {"no_visual_change"}, name


@pytest.mark.parametrize(("method", "least"), [("Deepfakes", 0.8), ("NeuralTextures", 0.4)])
def test_a_fake_is_told_from_a_much_harder_compressed_original(
    method: str, least: float, couple: Path, tmp_path: Path
) -> None:
    frames = pictures(fake_path(couple, method, STEM, "raw"))
    place(couple, tmp_path / "in", STEM, method, frames, compression="c23", original_compression="c40")
    rows, _, clips = shards(tmp_path / "in", tmp_path / "out", frames="32")
    clip = clips[f"ffpp/c23/{method}/{STEM}"]
    assert clip["visual_change"] is True
    truth = load_truth(couple / f"truth/{method}/{STEM}.npz").astype(np.uint8)
    fakes = [row for row in rows if row["label"] == 1]
    assert len(fakes) >= 30
    found = {row["sample_id"]: iou(row, truth[row["original_frame"]], clip) for row in fakes}
    assert np.mean(list(found.values())) > least
    # The confidence tells how well a mask fits.
    assert np.mean([abs(row["mask_confidence"] - found[row["sample_id"]]) for row in fakes]) < 0.2


@pytest.mark.parametrize(("shift", "compression"), [(0, "c23"), (-30, "c23"), (13, "c40"), (30, "c40")])
def test_align_finds_any_shift_up_to_thirty_frames(shift: int, compression: str, couple: Path, tmp_path: Path) -> None:
    path = original_path(couple, STEM, compression)
    fake = fake_path(couple, "NeuralTextures", STEM, compression)

    def shifted(clip: Path, start: int) -> Any:
        frames = list(read_frames(clip))[start:]
        for number, frame in enumerate(frames):
            object.__setattr__(frame, "index", number)
        return lambda: iter(frames)

    found = pairing.align(shifted(path, max(0, shift)), shifted(fake, max(0, -shift)), (25.0, 25.0))
    assert found is not None
    assert (found.offset, found.rate, found.placement) == (shift, 1.0, pairing.Placement())
    assert all(own - index == shift for index, own in found.partner.items())
