"""A pair that was guessed by name and does not fit costs nothing: a candidate, a provided mask, or an absent one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from forgeprep.demo import make_demo
from forgeprep.shards.read import iter_rows, shard_paths
from forgeprep.shards.verify import verify
from tests.conftest import run_cli


@pytest.fixture(scope="module")
def layouts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for name in ("forgerynet", "genface"):
        made[name] = tmp_path_factory.mktemp(name)
        make_demo(made[name], people=6, seconds=0.5, layout=name)
    return made


def run(root: Path, dataset: str, out: Path, *flags: str) -> tuple[list[dict[str, Any]], dict[str, Any], list[Any]]:
    command = ("run", dataset, "--root", str(root), "--out", str(out), "--stages", "crop,mask", "--frames", "2")
    assert run_cli(*command, "--workers", "0", *flags) == 0
    assert verify(out) == []
    rows = [row for path in shard_paths(out) for row in iter_rows(path)]
    clips = {clip["clip_id"]: clip for clip in pq.read_table(out / "clips.parquet").to_pylist()}
    return rows, clips, pq.read_table(out / "drops.parquet").to_pylist()


def test_fakes_and_reals_that_were_perturbed_apart_keep_their_provided_masks(
    layouts: dict[str, Path], tmp_path: Path
) -> None:
    """As in ForgeryNet's perturbed pictures: fakes mirrored and recompressed, reals cropped."""
    root = tmp_path / "root"
    shutil.copytree(layouts["forgerynet"], root)
    for picture in (root / "Training").rglob("*.jpg"):
        image = cv2.imread(str(picture))
        if "/16/" in picture.as_posix():
            height, width = image.shape[:2]
            changed = cv2.resize(image[height // 12 :, width // 9 :], (width, height))
        else:
            changed = np.ascontiguousarray(image[:, ::-1])
        cv2.imwrite(str(picture), changed, [cv2.IMWRITE_JPEG_QUALITY, 60])
    fakes = [p for p in (root / "Training").rglob("*_release/*/*/*/*.jpg") if "spatial" not in p.as_posix()]
    rows, clips, drops = run(root, "forgerynet", tmp_path / "out", "--option", "kind=images", "--splits", "train")
    kept = [row for row in rows if row["label"] == 1]
    assert len(kept) == len(fakes) >= 8
    assert drops == []
    assert {row["mask_source"] for row in kept} == {"provided"}
    assert {row["original_id"] for row in kept} == {None}
    for row in kept:
        clip = clips[row["clip_id"]]
        assert clip["pairing"] == "refused"
        assert clip["original_id"] is None
        assert clip["original_guess"] in clips


def test_a_candidate_of_the_same_name_is_taken_where_the_guess_does_not_fit(
    layouts: dict[str, Path], tmp_path: Path
) -> None:
    """Two folders of reals count alike, as FFHQ and CelebA do: each fake finds the one that it was made from."""
    root = tmp_path / "root"
    shutil.copytree(layouts["genface"], root)
    _, before, _ = run(layouts["genface"], "genface", tmp_path / "before", "--splits", "train")
    for real in sorted((root / "train" / "real").rglob("*.*")):
        # Another person of the same number, in a folder that is listed first.
        other = root / "train" / "real" / "AAA" / real.name
        other.parent.mkdir(exist_ok=True)
        picture = cv2.imread(str(real))
        cv2.imwrite(str(other), cv2.GaussianBlur(picture[:, ::-1], (0, 0), 2))
    rows, clips, _ = run(root, "genface", tmp_path / "out", "--splits", "train")
    paired = [clip for clip in clips.values() if clip["label"] == 1 and before[clip["clip_id"]]["pairing"] == "guessed"]
    assert paired
    assert {clip["pairing"] for clip in paired} == {"candidate"}
    for clip in paired:
        assert clip["original_id"] == before[clip["clip_id"]]["original_id"]
        assert "/AAA/" in clip["original_guess"]
    sources = {row["mask_source"] for row in rows if clips[row["clip_id"]]["pairing"] == "candidate"}
    assert sources == {"difference"}


def test_fakes_without_their_original_are_kept_where_that_is_asked_for(demo: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(demo, root)
    shutil.rmtree(root / "original_sequences")
    flags = ("--methods", "Deepfakes", "--splits", "train")
    rows, _, drops = run(root, "ffpp", tmp_path / "drop", *flags)
    assert rows == []
    assert {drop["reason"] for drop in drops} == {"no_original"}
    rows, clips, drops = run(root, "ffpp", tmp_path / "absent", *flags, "--missing-original", "absent")
    assert drops == []
    assert {(row["label"], row["mask_source"]) for row in rows} <= {(1, "absent"), (1, "provided")}
    assert {clip["pairing"] for clip in clips.values()} == {"stated"}
