from __future__ import annotations

import hashlib
import json
from pathlib import Path

import av
import numpy as np
import pytest

from forgeprep.demo import load_truth, make_demo
from forgeprep.demo.relayout import PAIRS, Source, relayout
from forgeprep.errors import UsageError
from forgeprep.faces.detectors import make_detector
from forgeprep.media.video import read_frames

METHODS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures")


def checksums(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_layout_is_that_of_faceforensics(demo: Path) -> None:
    names = set(checksums(demo))
    people = ("071", "054", "720", "672", "953", "974")
    fakes = [f"{a}_{b}" for a, b in zip(people, ("054", "071", "672", "720", "974", "953"), strict=True)]
    expected = {f"original_sequences/youtube/{c}/videos/{p}.mp4" for c in ("raw", "c23", "c40") for p in people}
    for method in METHODS:
        folder = f"manipulated_sequences/{method}"
        expected |= {f"{folder}/{c}/videos/{fake}.mp4" for c in ("raw", "c23", "c40", "masks") for fake in fakes} - {
            f"{folder}/masks/videos/"
        }
        expected |= {f"truth/{method}/{fake}.npz" for fake in fakes}
    expected |= {f"splits/{split}.json" for split in ("train", "val", "test")}
    assert names == expected
    assert json.loads((demo / "splits/train.json").read_text()) == [["071", "054"]]


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(tmp_path: Path) -> None:
    for name, seed, workers in (("a", 0, 1), ("b", 0, 2), ("c", 1, 1)):
        make_demo(
            tmp_path / name,
            people=2,
            seconds=0.4,
            size=(160, 120),
            compressions=("c23",),
            methods=("FaceSwap",),
            seed=seed,
            workers=workers,
        )
    first, again, other = (checksums(tmp_path / name) for name in "abc")
    assert first == again
    assert all(first[name] != other[name] for name in first if name.endswith(".mp4"))


@pytest.mark.parametrize("method", METHODS)
def test_a_fake_is_its_original_outside_the_truth_and_differs_inside(demo: Path, method: str) -> None:
    truth = load_truth(demo / f"truth/{method}/071_054.npz")
    original = read_frames(demo / "original_sequences/youtube/raw/videos/071.mp4")
    fake = read_frames(demo / f"manipulated_sequences/{method}/raw/videos/071_054.mp4")
    pairs = list(zip(original, fake, truth, strict=False))
    assert len(pairs) == len(truth)
    for before, after, mask in pairs:
        assert np.array_equal(before.y[~mask], after.y[~mask])
        assert np.mean(before.y[mask] != after.y[mask]) > 0.6
        assert 0.005 < mask.mean() < 0.35


def test_clips_are_real_h264_with_a_face_that_the_detector_finds(demo: Path) -> None:
    detector = make_detector("libfacedetection")
    found = total = 0
    for clip in sorted(demo.glob("original_sequences/youtube/c23/videos/*.mp4")):
        with av.open(str(clip)) as container:
            stream = container.streams.video[0]
            assert (stream.codec_context.name, stream.average_rate) == ("h264", 25)
            assert abs(stream.frames - 30) <= 2
        frames = list(read_frames(clip))[::5]
        total += len(frames)
        found += sum(len(detector.find(frame, 360)) == 1 for frame in frames)
    assert found >= 0.95 * total


@pytest.mark.parametrize("wrong", [{"people": 3}, {"people": 0}, {"seconds": 0.0}, {"size": (481, 360)}])
def test_arguments_out_of_range_are_usage_errors(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="got"):
        make_demo(tmp_path / "demo", **wrong)  # type: ignore[arg-type]


def test_a_layout_has_the_compressions_that_are_asked_for(tmp_path: Path) -> None:
    """``reproduce --quick`` asks for one; the files are empty here, for they are only put into their places."""
    source = Source(tmp_path / "home", tmp_path, PAIRS[:3])
    files = [source.real(person) for _, person in source.people]
    for _, x, y in source.swaps:
        files += [source.fake("Deepfakes", x, y), source.mask("Deepfakes", x, y), source.truth("Deepfakes", x, y)]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    relayout(source, "dfd")
    assert {path.parts[-3] for path in tmp_path.glob("*_sequences/*/*/videos/*.mp4")} == {"c23", "masks"}
