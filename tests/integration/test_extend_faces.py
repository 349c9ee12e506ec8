"""The example packages of a face detector and of a dataset, installed, and used through the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from forgeprep.ops.geometry import iou
from forgeprep.shards.read import iter_rows, shard_paths
from tests.helpers.extend_tools import EXAMPLES, LINES, forgeprep, install

SMALL = ("--frames", 2, "--stages", "crop,mask", "--workers", 1)


@pytest.mark.parametrize("module", ["face-detector/lbp_faces.py", "landmarker/dark_eyes.py", "dataset/studio_takes.py"])
def test_an_example_is_short(module: str) -> None:
    assert len((EXAMPLES / module).read_text().splitlines()) < LINES


def test_a_detector_of_another_package_cuts_faces(demo: Path, tmp_path: Path) -> None:
    package = install(EXAMPLES / "face-detector", tmp_path / "site")
    runs = {}
    for name in ("lbp", "dlib-hog"):
        out = tmp_path / name
        where = ("--root", demo, "--out", out, "--methods", "Deepfakes", "--splits", "val")
        forgeprep("run", "ffpp", *where, *SMALL, "--detector", name, installed=[package])
        forgeprep("verify", out, installed=[package])
        runs[name] = {row["sample_id"]: row for path in shard_paths(out) for row in iter_rows(path)}
    forgeprep("report", tmp_path / "lbp", installed=[package])
    assert (tmp_path / "lbp/report/index.html").is_file()
    assert {row["detector"] for row in runs["lbp"].values()} == {"lbp"}
    # The same faces in the same place, since both bring their boxes to one convention.
    both = runs["lbp"].keys() & runs["dlib-hog"].keys()
    assert len(both) >= 4
    assert all(iou(runs["lbp"][name]["face_box"], runs["dlib-hog"][name]["face_box"]) > 0.6 for name in both)

    versions = json.loads((tmp_path / "lbp/run.json").read_text())["versions"]
    assert versions["face detector lbp"] == "lbp-faces 1.0"
    # Another version of the package is another run; the shards of the other detector do not depend on it.
    info = next(package.glob("*.dist-info"))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lbp-faces\nVersion: 1.1\n")
    shards = ("--root", demo, "--methods", "Deepfakes", "--splits", "val")
    refused = forgeprep(
        "run", "ffpp", *shards, *SMALL, "--out", tmp_path / "lbp", "--detector", "lbp", installed=[package], expect=2
    )
    assert "face detector lbp: lbp-faces 1.0 -> lbp-faces 1.1" in refused.stderr
    forgeprep(
        "run", "ffpp", *shards, *SMALL, "--out", tmp_path / "dlib-hog", "--detector", "dlib-hog", installed=[package]
    )

    told = forgeprep(
        "run", "ffpp", *shards, "--out", tmp_path / "x", "--detector", "lpb", installed=[package], expect=2
    )
    assert "unknown face detector 'lpb': did you mean 'lbp'?" in told.stderr


def test_a_landmarker_of_another_package_finds_eyes(demo: Path, tmp_path: Path) -> None:
    package = install(EXAMPLES / "landmarker", tmp_path / "site")
    out = tmp_path / "out"
    command = ("run", "ffpp", "--root", demo, "--out", out, "--methods", "Deepfakes", "--splits", "val", *SMALL)
    forgeprep(*command, "--landmarks", "dark-eyes", installed=[package])
    forgeprep("verify", out, installed=[package])
    rows = [row for path in shard_paths(out) for row in iter_rows(path)]
    seen = [row for row in rows if row["landmarks"] is not None]
    assert len(seen) >= 4
    for row in seen:
        x0, y0, x1, y1 = row["face_box"]
        (right, high), (left, other) = ((row["landmarks"][at] - x0, row["landmarks"][at + 1] - y0) for at in (0, 2))
        assert 0.15 < right / (x1 - x0) < 0.45
        assert 0.55 < left / (x1 - x0) < 0.85
        assert max(high, other) < 0.5 * (y1 - y0)
        assert row["landmark_scheme"] == "eyes"
    assert json.loads((out / "run.json").read_text())["versions"]["landmarker dark-eyes"] == "dark-eyes 1.0"
    flags = ("--landmarks", "dark-eyes", "--align", "mean-face", "--overwrite")
    told = forgeprep(*command, *flags, installed=[package], expect=2)
    assert "--align mean-face: --landmarks dark-eyes has no nose" in told.stderr


@pytest.fixture
def studio(demo: Path, tmp_path: Path) -> Path:
    """The demo's people as the example dataset has them."""
    takes = tmp_path / "studio" / "takes"
    takes.mkdir(parents=True)
    for video in (demo / "original_sequences/youtube/c23/videos").glob("*.mp4"):
        shutil.copy(video, takes)
    for method, name in (("Deepfakes", "{}-as-{}"), ("Face2Face", "{}-relit")):
        for video in (demo / "manipulated_sequences" / method / "c23/videos").glob("*.mp4"):
            shutil.copy(video, takes / f"{name.format(*video.stem.split('_'))}.mp4")
    return takes.parent


def test_a_dataset_of_another_package_is_run(studio: Path, tmp_path: Path) -> None:
    package = install(EXAMPLES / "dataset", tmp_path / "site")
    assert "studio" in forgeprep("datasets", installed=[package]).stdout
    shown = forgeprep("datasets", "show", "studio", "--root", studio, installed=[package]).stdout
    assert "identity_replaced" in shown
    assert "graphics" in shown
    assert "ratios" in shown
    out = tmp_path / "out"
    flags = ("--root", studio, "--out", out, "--option", "ratios=0.5,0.25,0.25", *SMALL)
    forgeprep("run", "studio", *flags, installed=[package])
    forgeprep("verify", out, installed=[package])
    forgeprep("report", out, installed=[package])
    rows = [row for path in shard_paths(out) for row in iter_rows(path)]
    assert {(row["method"], row["forgery"], row["family"]) for row in rows} == {
        (None, "real", None),
        ("swap", "identity_replaced", "gan"),
        ("relit", "attribute_edit", "graphics"),
    }
    assert {row["split"] for row in rows} == {"train", "val", "test"}
    assert all(row["mask"].any() for row in rows if row["method"] == "swap")
    told = forgeprep(
        "run", "studio", "--root", studio, "--out", out, "--option", "ratio=1", installed=[package], expect=2
    )
    assert "did you mean 'ratios'?" in told.stderr
