"""FaceForensics++: every folder that is not what was asked for gets one line that says why; links and double names."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from forgeprep.datasets.base import ScanOptions
from forgeprep.datasets.ffpp import FFPP
from forgeprep.datasets.frame_folders import SequenceParams
from forgeprep.errors import UsageError

REAL = "original_sequences/youtube/{}/videos/071.mp4"
FAKE = "manipulated_sequences/{}/{}/videos/071_054.mp4"
LOOKED = (
    "no FaceForensics++ clips under {root}: looked for original_sequences/youtube/{quality}/videos/AAA.mp4 and "
    "manipulated_sequences/<method>/{quality}/videos/AAA_BBB.mp4, or FaceForensics++_C23/original/AAA.mp4 and so on"
)


def put(root: Path, *paths: str) -> Path:
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return root


def refusal(root: Path, **options: Any) -> str:
    with pytest.raises(UsageError) as caught:
        FFPP.scan(root, ScanOptions(**options))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_root_missing_or_a_file(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none") == f"--root {tmp_path / 'none'}: no such folder"
    file = put(tmp_path, "ffpp.zip") / "ffpp.zip"
    assert refusal(file) == f"--root {file} is a file: give the folder that holds the unpacked dataset"


def test_nothing_found_says_where_it_looked(tmp_path: Path) -> None:
    assert refusal(tmp_path) == LOOKED.format(root=tmp_path, quality="c23")
    assert refusal(tmp_path, compressions=("c0", "c40")) == LOOKED.format(root=tmp_path, quality="{raw,c40}")


@pytest.mark.parametrize(
    "below", ["original_sequences", "original_sequences/youtube/c23/videos", "Manipulated_Sequences"]
)
def test_a_root_too_deep(tmp_path: Path, below: str) -> None:
    put(tmp_path, REAL.format("c23"))
    (tmp_path / below).mkdir(parents=True, exist_ok=True)
    assert refusal(tmp_path / below).endswith(f"; did you mean --root {tmp_path}?")


def test_a_relative_root_too_deep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, REAL.format("c23"))
    monkeypatch.chdir(tmp_path / "original_sequences" / "youtube")
    assert refusal(Path()).endswith(f"; did you mean --root {tmp_path}?")
    assert refusal(Path("..")).endswith(f"; did you mean --root {tmp_path}?")


def test_a_root_one_level_too_high(tmp_path: Path) -> None:
    put(tmp_path, "a_note.txt", "other/x.mp4", "FaceForensics++/" + REAL.format("c23"))
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert refusal(tmp_path) == (
        LOOKED.format(root=tmp_path, quality="c23") + f"; did you mean --root {tmp_path / 'FaceForensics++'}?"
    )


def test_other_compressions_are_named(tmp_path: Path) -> None:
    put(tmp_path, REAL.format("c40"), FAKE.format("FaceSwap", "c0"))
    assert refusal(tmp_path).endswith("; the compressions there are: raw, c40")
    assert refusal(tmp_path, compressions=("c40", "c23")) == (
        f"no c23 clips under {tmp_path}: the compressions there are: raw, c40"
    )


def test_deepfakedetection_is_another_dataset(tmp_path: Path) -> None:
    put(tmp_path, "original_sequences/actors/c23/videos/01__hugging_happy.mp4")
    assert refusal(tmp_path).endswith(
        "; what lies there (original_sequences/actors) is DeepFakeDetection, another dataset that shares these folders"
    )
    put(tmp_path, FAKE.format("DeepFakeDetection", "c23"))
    assert "(original_sequences/actors, manipulated_sequences/DeepFakeDetection)" in refusal(tmp_path)


def test_only_videos_are_asked_for_where_there_are_folders_of_pictures(tmp_path: Path) -> None:
    put(tmp_path, "original_sequences/youtube/c23/images/071/0000.png")
    videos = SequenceParams(frames="videos")
    assert refusal(tmp_path, params=videos).endswith("; there are folders of pictures only: leave out frames=videos")


def test_files_named_otherwise_are_shown(tmp_path: Path) -> None:
    put(tmp_path, "original_sequences/youtube/c23/videos/my_clip.avi")
    assert refusal(tmp_path).endswith(
        "; files there are named otherwise: original_sequences/youtube/c23/videos/my_clip.avi"
    )


def test_a_method_without_clips(tmp_path: Path) -> None:
    put(tmp_path, REAL.format("c23"), FAKE.format("FaceSwap", "c23"), FAKE.format("Face2Face", "c40"))
    assert refusal(tmp_path, methods=("FaceSwap", "Face2Face")) == (
        f"no Face2Face clips at c23 under {tmp_path}: the methods there are: FaceSwap"
    )


def test_no_clip_in_the_splits_asked_for(tmp_path: Path) -> None:
    put(tmp_path, REAL.format("c23"))
    assert refusal(tmp_path, splits=("val", "test")) == (
        f"none of the 1 FaceForensics++ clips under {tmp_path} is in: val, test"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compressions": ("c233",)}, "unknown compression 'c233': did you mean 'c23'?"),
        ({"methods": ("deepfake",)}, "unknown method 'deepfake'"),
    ],
)
def test_unknown_names(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    assert refusal(put(tmp_path, REAL.format("c23")), **options).startswith(message)


@pytest.mark.parametrize("other", [REAL.format("raw").replace(".mp4", ".MP4"), REAL.format("c0")])
def test_two_files_for_one_clip_are_refused(tmp_path: Path, other: str) -> None:
    first, second = sorted([REAL.format("raw"), other], key=lambda path: ("c0" in path, path))
    put(tmp_path, first, second)
    if (tmp_path / first).samefile(tmp_path / second):
        pytest.skip("this file system does not tell cases apart")
    assert refusal(tmp_path, compressions=("raw",)) == (
        f"two files under {tmp_path} stand for one clip: {first} and {second}; keep one of each"
    )


def test_two_masks_for_one_fake_are_refused(tmp_path: Path) -> None:
    put(tmp_path, FAKE.format("FaceSwap", "c23"), FAKE.format("FaceSwap", "masks"), FAKE.format("FaceSwap", "Masks"))
    if len(os.listdir(tmp_path / "manipulated_sequences" / "FaceSwap")) < 3:  # noqa: PTH208
        pytest.skip("this file system does not tell cases apart")
    assert re.search(r"stand for one clip: .*/Masks/.* and .*/masks/", refusal(tmp_path))


@pytest.mark.parametrize("link", ["folder", "file"])
def test_two_names_of_one_file_are_one_clip(tmp_path: Path, link: str) -> None:
    put(tmp_path, REAL.format("raw"))
    youtube = tmp_path / "original_sequences" / "youtube"
    if link == "folder":
        (youtube / "c0").symlink_to(youtube / "raw")
    else:
        (youtube / "c0" / "videos").mkdir(parents=True)
        os.link(youtube / "raw" / "videos" / "071.mp4", youtube / "c0" / "videos" / "071.mp4")
    found = FFPP.scan(tmp_path, ScanOptions(compressions=("raw",)))
    assert [clip.path for clip in found.clips] == [REAL.format("raw")]


def test_linked_folders_and_files_are_followed(tmp_path: Path) -> None:
    store = put(tmp_path / "store", "videos/071.mp4", "fakes/054_071.mp4")
    root = put(tmp_path / "root", FAKE.format("FaceSwap", "c23"))
    (root / "original_sequences" / "youtube").mkdir(parents=True)
    (root / "original_sequences" / "youtube" / "c23").symlink_to(store)
    linked = "manipulated_sequences/FaceSwap/c23/videos/054_071.mp4"
    (root / linked).symlink_to(store / "fakes" / "054_071.mp4")
    found = FFPP.scan(root, ScanOptions())
    assert [clip.path for clip in found.clips] == [linked, FAKE.format("FaceSwap", "c23"), REAL.format("c23")]
