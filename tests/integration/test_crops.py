"""Crops that other trainers use come back as a run: what an export wrote is read again, pixel by pixel."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from forgeprep.shards.read import iter_rows, shard_paths
from tests.conftest import SHARED, run_cli

COLUMNS = ("split", "label", "forgery", "method", "family", "compression")
STAGES = ("--stages", "crop,mask,noise", "--workers", "0")


def rows_of(out: Path) -> dict[tuple[str, str, int], dict[str, Any]]:
    """Method, video and frame -> row."""
    rows = [row for path in shard_paths(out) for row in iter_rows(path)]
    return {(row["method"] or "real", row["clip_id"].rpartition("/")[2], row["frame_index"]): row for row in rows}


@pytest.mark.parametrize("form", ["deepfakebench", "imagefolder"])
def test_what_was_exported_comes_back(form: str, val_run: Path, tmp_path: Path) -> None:
    crops, out = tmp_path / "crops", tmp_path / "out"
    assert run_cli("export", form, str(val_run), "--to", str(crops)) == 0
    if form == "deepfakebench":
        for file in crops.rglob("frames/*/*.png"):
            points = Path(str(file.with_suffix(".npy")).replace("frames", "landmarks"))
            points.parent.mkdir(parents=True, exist_ok=True)
            np.save(points, np.arange(162, dtype=np.int32).reshape(81, 2))
    assert run_cli("run", "crops", "--root", str(crops), "--out", str(out), *STAGES) == 0
    assert run_cli("verify", str(out)) == 0
    before, after = rows_of(val_run), rows_of(out)
    assert after.keys() == before.keys()
    for key, row in after.items():
        assert [row[name] for name in COLUMNS] == [before[key][name] for name in COLUMNS]
        np.testing.assert_array_equal(row["image"], before[key]["image"])
        np.testing.assert_array_equal(row["mask"], before[key]["mask"])
        assert row["mask_source"] == ("provided" if row["label"] else "pristine")
        assert row["padding"] == [0, 0, 0, 0]
        if form == "deepfakebench":
            assert row["landmark_scheme"] == "dlib-81"
            # Written for a crop of 256 pixels, whatever the picture's side.
            scale = row["frame_size"][0] / 256
            np.testing.assert_allclose(row["landmarks"][:2], [0.5 * scale - 0.5, 1.5 * scale - 0.5], atol=1e-3)
        else:
            assert row["landmarks"] is None
    if form == "imagefolder":
        both = tmp_path / "both"
        assert run_cli("merge", str(val_run), str(out), "--out", str(both)) == 0
        assert run_cli("verify", str(both)) == 0


@pytest.mark.real_data
def test_portraits_in_class_folders_and_a_broken_one(tmp_path: Path) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    for folder in ("train/0_real", "train/1_fake", "masks/train/1_fake"):
        (root / folder).mkdir(parents=True)
    shutil.copy(SHARED / "obama.jpg", root / "train/0_real")
    picture = np.asarray(cv2.imread(str(SHARED / "obama.jpg")), np.uint8)
    height, width = picture.shape[:2]
    place = slice(height // 4, height // 2), slice(width // 3, 2 * width // 3)
    picture[place] = picture[place][:, ::-1]
    mask = np.zeros((height, width, 3), np.uint8)
    mask[place] = 255
    cv2.imwrite(str(root / "train/1_fake/obama.png"), picture)
    # Masks of half the size, with a codec's noise, in three channels.
    cv2.imwrite(str(root / "masks/train/1_fake/obama.png"), cv2.resize(mask, (width // 2, height // 2)))
    (root / "train/1_fake/broken.png").write_bytes((root / "train/1_fake/obama.png").read_bytes()[:2000])
    # A mask of another shape.
    cv2.imwrite(str(root / "train/1_fake/other.png"), picture)
    cv2.imwrite(str(root / "masks/train/1_fake/other.png"), mask[: height // 2])
    assert run_cli("run", "crops", "--root", str(root), "--out", str(out), *STAGES) == 0
    (real, fake) = sorted((r for p in shard_paths(out) for r in iter_rows(p)), key=lambda row: row["label"])
    left = -real["crop_box"][0]
    np.testing.assert_array_equal(fake["image"][:height, left : left + width], picture[..., ::-1])
    assert (fake["original_id"], fake["mask_source"]) == (real["clip_id"], "provided")
    share = (fake["mask"][:height, left : left + width] > 0)[place].mean()
    assert share > 0.98
    assert fake["mask_fraction"] == pytest.approx(mask[..., 0].mean() / 255 * width / height, rel=0.03)
    drops = pq.read_table(out / "meta/drops.pq").to_pylist()
    reasons = {drop["clip_id"].rpartition("/")[2]: drop["reason"] for drop in drops}
    assert reasons == {"broken": "unreadable", "other": "no_mask"}
