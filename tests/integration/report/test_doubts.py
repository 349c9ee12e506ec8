"""Masks that are likely wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forgeprep.ops.geometry import matrix_of_box
from forgeprep.report import choose, doubt, measure
from forgeprep.report.pictures import look_at_pictures
from forgeprep.shards.encode import UInt8
from tests.conftest import run_cli
from tests.helpers.html import parsed
from tests.helpers.shards_run import shard_rows, write_shard, write_tables


def test_few_pictures_are_decoded_and_the_worst_are_among_them(
    tmp_path: Path, face_photo: UInt8, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "SAMPLED", 12)
    records = []
    for source in range(8):
        rows = shard_rows(face_photo, "train", [source], 32)
        for row in rows:
            if row["method"] == "FaceSwap" and source == 5 and row["frame_index"] == 12:
                row["mask_confidence"] = 0.1
        records.append(write_shard(tmp_path, f"train/ffpp-train-{source:05d}", rows))
    write_tables(tmp_path, records)
    found = measure.measure(tmp_path)
    assert [sum(pick.even for pick in own) for own in found.picks.values()] == [4, 4, 4]
    pictures = look_at_pictures(found.picks)
    assert len(pictures.looked_at) <= 12 + 2 * 3 * choose.WORST
    # The group with the most doubtful masks comes first, reals last.
    assert [group.name for group in pictures.sheets] == ["FaceSwap (c23)", "Deepfakes (c23)", "real (c23)"]
    sheet = pictures.sheets[choose.Group("FaceSwap", "c23")]
    worst, *_ = sheet
    assert (worst.pick.sample_id, worst.why) == ("ffpp/c23/FaceSwap/005_006/0/000012", "confidence")
    assert {"original", "image", "overlay", "difference", "noise", "similarity"} == worst.panels.keys()
    clips = [shown.pick.clip_id for shown in sheet if shown.why == "confidence"]
    assert len(clips) == len(set(clips)) == 3


def low_confidence(row: dict[str, Any]) -> None:
    if row["sample_id"].endswith("/000012") or "/000_001/" in row["sample_id"]:
        row["mask_confidence"] = 0.4


def jumping(row: dict[str, Any]) -> None:
    if row["frame_index"] == 12:
        row["mask"] = np.zeros_like(row["mask"])
        row["mask"][:20, :20] = 255


def apart(row: dict[str, Any]) -> None:
    row["mask_agreement"] = 0.3


def literal(row: dict[str, Any]) -> None:
    row |= {
        "mask_source": "literal",
        "mask_confidence": None,
        "mask_threshold": None,
        "difference": row["mask"] // 255 * 128,
    }


def partly(row: dict[str, Any], share: float) -> None:
    """So much of a literal mask stands out of the noise: that share is the IoU of both."""
    literal(row)
    forged = row["mask"] > 0
    row["difference"][np.cumsum(forged).reshape(forged.shape) > share * forged.sum()] = 127


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        (lambda row: None, []),
        (literal, []),
        (lambda row: partly(row, 0.55), []),
        (
            lambda row: partly(row, 0.45),
            ["Masks of FaceSwap (c23) are likely wrong: 100 % share an IoU under .5 with what stands out of noise"],
        ),
        (low_confidence, ["Masks of FaceSwap (c23) are likely wrong: 50 % have a confidence under .5"]),
        (
            jumping,
            [
                "Masks of FaceSwap (c23) are likely wrong: they jump from frame to frame (neighbours share an IoU of "
                "0); 33 % are scattered or lie off the face"
            ],
        ),
        (
            apart,
            [
                "Masks of FaceSwap (c23) and the dataset's own disagree: 100 % share an IoU under .5, so one of the "
                "two is wrong or means another region"
            ],
        ),
    ],
)
def test_masks_that_are_likely_wrong_are_told_in_words(
    tmp_path: Path,
    face_photo: UInt8,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[dict[str, Any]], None],
    lines: list[str],
) -> None:
    records = []
    for source in range(4):
        rows = shard_rows(face_photo, "train", [source])
        for row in rows:
            if row["method"] == "FaceSwap":
                change(row)
        records.append(write_shard(tmp_path, f"train/ffpp-train-{source:05d}", rows))
    write_tables(tmp_path, records)
    lines = [f"{line}; look at the contact sheet" for line in lines]
    assert doubt.doubts_of(tmp_path) == lines
    text = parsed(tmp_path).text
    assert all(text.count(line) == 2 for line in lines)
    assert ("likely wrong" in text or "disagree:" in text) == bool(lines)
    assert run_cli("inspect", str(tmp_path)) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.count("warning: Masks of") == len(lines)
    assert all(f"warning: {line}" in printed for line in lines)
    for path in tmp_path.glob("shards/*/*.parquet"):
        path.unlink()
    assert doubt.doubts_of(tmp_path) == lines


def test_masks_are_compared_where_they_lie_on_the_face() -> None:
    mask = np.zeros((130, 130), np.uint8)
    mask[60:110, 30:100] = 255
    still = doubt.on_face(mask, (115, 115, 215, 215), matrix_of_box((100, 100, 230, 230), 130))
    assert still.mean() == pytest.approx(70 * 50 / 200**2, abs=0.005)
    # The face moves by 37 pixels and is 1.6 times as large; the crop is resized, and elsewhere around it.
    box = (152, 115, 312, 275)
    grown = np.zeros((300, 300), np.uint8)
    x, y = (152 - 100) + 1.6 * (30 - 15), (115 - 100) + 1.6 * (60 - 15)
    grown[round(y) : round(y + 80), round(x) : round(x + 112)] = 255
    moved = doubt.on_face(grown, box, matrix_of_box((100, 100, 400, 400), 300))
    assert (still & moved).sum() / (still | moved).sum() > 0.95
    small = grown[::2, ::2]
    assert (still & doubt.on_face(small, box, matrix_of_box((100, 100, 400, 400), 150))).sum() / (
        still | moved
    ).sum() > 0.93


def test_a_mask_is_stray_in_many_pieces_or_off_the_face() -> None:
    face, crop = (15.0, 15.0, 115.0, 115.0), matrix_of_box((0, 0, 130, 130), 130)
    mask = np.zeros((130, 130), np.uint8)
    assert not doubt.is_stray(mask, face, crop)
    for place in ((30, 30), (30, 80), (90, 55)):
        mask[place[0] : place[0] + 15, place[1] : place[1] + 15] = 255
    assert not doubt.is_stray(mask, face, crop)
    mask[5:9, 5:9] = 255
    assert doubt.is_stray(mask, face, crop)
    hair, corner = np.zeros_like(mask), np.zeros_like(mask)
    hair[5:40, 30:100], corner[100:, 100:] = 255, 255
    assert [doubt.is_stray(one, face, crop) for one in (hair, corner)] == [False, True]
