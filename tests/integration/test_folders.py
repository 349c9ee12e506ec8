"""Videos as folders of their frames, in every layout that is kept so, through the command line."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from forgeprep.demo.layout import PAIRS
from forgeprep.demo.relayout import name_of
from forgeprep.errors import MediaError, UsageError
from forgeprep.media import guard
from forgeprep.media import process as media_process
from forgeprep.media.video import read_frames
from forgeprep.pipeline.plan import with_headers
from forgeprep.shards.names import table_path
from forgeprep.shards.read import iter_rows, shard_paths
from tests.conftest import LaidOut, read_picture, run_cli
from tests.helpers.sabotage import sabotage
from tests.helpers.trees import explode, put, scan

THERE = (0, 1, 2, 4, 5, 6, 8, 9)
"""The numbers of the originals' pictures: 3 and 7 are gaps."""
FAKED, BROKEN = (0, 1, 2, 3, 4, 6, 8, 9), 8
"""Those of the fakes' pictures, 5 and 7 are gaps; in one of them, 8 cannot be decoded."""


def lay_out(name: str, demo: Path, laid_out: LaidOut, root: Path) -> None:
    """The demo in a layout, one method at c23, its videos replaced by their frames."""
    if name == "ffpp":
        for place in ("original_sequences/youtube/c23", "manipulated_sequences/Deepfakes/c23"):
            shutil.copytree(demo / place, root / place)
    else:
        laid_out(name, to=root)
    voices = {name_of("voice", a, b) for _, a, b in PAIRS}
    labels = {n: e["label"] for file in root.glob("*/metadata.json") for n, e in json.loads(file.read_text()).items()}
    for video in sorted(root.glob("**/*.mp4")):
        place = video.relative_to(root).as_posix()
        others = ("raw/", "c40/", "Face", "Neural", "masks/", "YouTube")
        if video.stem not in voices and not any(part in place for part in others):
            fake = any(part in place for part in ("manipulated", "synthesis", "Deepfakes"))
            fake |= labels.get(video.name) == "FAKE"
            beside = video.parent.name == "videos"
            folder = video.parent.parent / "images" / video.stem if beside else video.with_suffix("")
            explode(video, folder, FAKED if fake else THERE, "{:04d}.png" if fake else "frame_{:05d}.png")
        video.unlink()
    table = root / "manifest.csv"
    if table.is_file():
        lines = [line for line in table.read_text().splitlines() if "Face" not in line and "Neural" not in line]
        table.write_text("\n".join(line.replace(".mp4", "") for line in lines) + "\n")


def rows_of(out: Path) -> list[dict[str, Any]]:
    return [row for path in shard_paths(out) for row in iter_rows(path)]


def table(out: Path, name: str) -> list[dict[str, Any]]:
    return list(pq.read_table(table_path(out, name)).to_pylist())


@pytest.mark.parametrize(
    "name",
    [
        "ffpp",
        "folder",
        *(pytest.param(name, marks=pytest.mark.long) for name in ("dfdc", "dfd", "celebdf-v2", "manifest")),
    ],
)
def test_a_folder_of_frames_is_a_video(
    name: str, demo: Path, laid_out: LaidOut, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    lay_out(name, demo, laid_out, root)
    broken = sorted(root.glob(f"**/{BROKEN:04d}.png"))[0]
    broken.write_bytes(broken.read_bytes()[:300])
    flags = ["--stages", "crop,mask", "--frames", "all", "--workers", "0"]
    assert run_cli("run", name, "--root", str(root), "--out", str(out), *flags) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "folders of numbered pictures are taken as clips" in printed
    assert run_cli("verify", str(out)) == 0

    clips = {clip["clip_id"]: clip for clip in table(out, "clips")}
    splits = defaultdict(set)
    for clip in clips.values():
        splits[clip["source_id"]].add(clip["split"])
        assert (root / clip["path"]).is_dir()
        assert (clip["header_frames"], clip["fps"], clip["detected_spans"] or None) == (8, None, None)
        assert clip["size_bytes"] == sum(file.stat().st_size for file in (root / clip["path"]).iterdir())
        if clip["label"]:
            assert clips[clip["original_id"]]["source_id"] == clip["source_id"]
            assert (clip["offset"], clip["pairing"]) == (0, "guessed" if name == "folder" else "stated")
    assert all(len(found) == 1 for found in splits.values())
    assert len(splits) == 6

    frames: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
    for row in rows_of(out):
        frames[row["clip_id"]][row["frame_index"]] = row
        assert row["timestamp_s"] is None
    lost = next(name for name, clip in clips.items() if (root / clip["path"]) == broken.parent)
    for clip_id, clip in clips.items():
        if clip["label"] == 0:
            assert set(frames[clip_id]) == set(THERE)
        else:
            assert set(frames[clip_id]) == set(THERE) - {5} - ({BROKEN} if clip_id == lost else set())
            for index, row in frames[clip_id].items():
                same = frames[clip["original_id"]][index]
                assert (row["original_frame"], row["crop_box"]) == (index, same["crop_box"])
                assert row["mask"].any()
                assert_cut_from(root / clip["path"] / f"{index:04d}.png", row)
    drops = {(d["clip_id"], d["frame_index"], d["reason"]) for d in table(out, "drops")}
    fakes = {clip_id for clip_id, clip in clips.items() if clip["label"]}
    assert drops == {(fake, 5, "missing_frame") for fake in fakes} | {(lost, BROKEN, "decode_error")}


def assert_cut_from(file: Path, row: dict[str, Any]) -> None:
    x0, y0, x1, y1 = row["crop_box"]
    if row["padding"] == [0, 0, 0, 0]:
        np.testing.assert_array_equal(row["image"], read_picture(file)[y0:y1, x0:x1, ::-1])


def test_frames_far_apart_resume_and_a_picture_that_is_mended(demo: Path, tmp_path: Path) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    # Every 12th from 3 on: no two are neighbours of a video, and each is a key frame.
    numbers, name = (3, 15, 27), "071_{}.png"
    explode(demo / "original_sequences/youtube/c23/videos/071.mp4", root / "real/071", numbers, name)
    swap = root / "fake/swap/071_054"
    explode(demo / "manipulated_sequences/Deepfakes/c23/videos/071_054.mp4", swap, numbers, name)
    explode(demo / "manipulated_sequences/Deepfakes/masks/videos/071_054.mp4", root / "masks/swap/071_054", numbers)
    whole = (swap / "071_27.png").read_bytes()
    (swap / "071_27.png").write_bytes(whole[:1000])
    command = ["run", "folder", "--root", str(root), "--out", str(out), "--stages", "crop,mask", "--frames", "all"]
    assert run_cli(*command, "--workers", "0") == 0
    assert [(d["frame_index"], d["reason"]) for d in table(out, "drops")] == [(27, "decode_error")]
    assert {(row["frame_index"], row["detection"]) for row in rows_of(out)} == {(n, "detected") for n in numbers}
    before = {clip["label"]: clip["sha256"] for clip in table(out, "clips")}
    # All pictures count as the clip's file.
    (swap / "071_27.png").write_bytes(whole)
    assert run_cli(*command, "--workers", "0") == 2
    assert run_cli(*command, "--workers", "0", "--retry-failed") == 0
    assert run_cli("verify", str(out)) == 0
    rows = [row for row in rows_of(out) if row["label"]]
    assert [row["frame_index"] for row in rows] == list(numbers)
    assert min(row["mask_agreement"] for row in rows) > 0.7
    # Pictures have no times, but numbers that are near.
    assert all(row["mask_stray"] < 0.1 and row["mask_jump"] < 0.15 for row in rows)
    after = {clip["label"]: clip["sha256"] for clip in table(out, "clips")}
    assert (after[0], after[1] == before[1], table(out, "drops")) == (before[0], False, [])


def test_one_picture_that_kills_the_decoder_does_not_cost_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "clip", video=True)
    place = {"module": "forgeprep.media.pictures", "function": "check_there"}
    sabotage(tmp_path / "site", {"00002.png": "crash"}, monkeypatch, **place)
    try:
        with media_process.reading(seconds=5):
            assert [frame.index for frame in read_frames(tmp_path / "clip")] == [0, 1, 3]
            with pytest.raises(MediaError, match="SIGSEGV"):
                next(read_frames(tmp_path / "clip/00002.png"))
    finally:
        media_process.close()
        guard._refused.clear()


def write(root: Path, folder: str, *, video: bool, seed: int = 0) -> None:
    """Four numbered pictures: of one scene that drifts, or of four."""
    random = np.random.default_rng(seed)
    (root / folder).mkdir(parents=True)
    scene = np.zeros((120, 160, 3), np.uint8)
    for number in range(4):
        if not (video and number):
            scene = np.asarray(cv2.resize(random.integers(0, 255, (6, 8, 3)).astype(np.uint8), (160, 120)), np.uint8)
        cv2.imwrite(str(root / folder / f"{number:05d}.png"), np.roll(scene, 2 * number, axis=1))


def test_stills_and_videos_are_told_apart_by_what_they_show(tmp_path: Path) -> None:
    for number, place in enumerate(("real", "fake/gan", "real/celebs/faces")):
        write(tmp_path, place, video=False, seed=number)
    for number, place in enumerate(("real/clips/ann", "real/clips/bob", "fake/swap/clips/ann_bob"), 10):
        write(tmp_path, place, video=True, seed=number)
    write(tmp_path, "real/clips/one", video=True, seed=20)
    for number in (1, 2, 3):
        (tmp_path / f"real/clips/one/{number:05d}.png").unlink()
    found = scan("folder", tmp_path, pattern=r".*/(?P<original>clips/ann)_bob|(?P<method>gan)/.*")
    clips = {clip.path: clip for clip in found.clips}
    folders = {"real/clips/ann", "real/clips/bob", "real/clips/one", "fake/swap/clips/ann_bob"}
    assert {path for path, clip in clips.items() if clip.frames is not None} == folders
    assert len(clips) == len(folders) + 3 * 4
    assert clips["fake/swap/clips/ann_bob"].source_id == "folder/real/clips/ann"
    assert clips["real/clips/ann"].frames == [[0, 4, 1]]
    assert any(
        line.startswith("4 folders of numbered pictures are taken as clips, 13 frames") for line in found.warnings
    )
    stills = next(line for line in found.warnings if "taken as stills" in line)
    assert "2 folders" in stills
    assert "fake/gan/, real/celebs/faces/; --option frames=folders" in stills
    every = {choice: len(scan("folder", tmp_path, frames=choice).clips) for choice in ("folders", "pictures")}
    assert every == {"folders": 4 + 2 + len(folders), "pictures": 6 * 4 + 1}


def test_rows_of_a_manifest_that_are_frames_of_one_video_are_one_clip(tmp_path: Path) -> None:
    write(tmp_path, "v/ann", video=True)
    write(tmp_path, "v/ann_bob", video=True, seed=1)
    rows = ["path,label,original,identity", "v/none/0.png,0,,"]
    for number in (0, 1, 3):
        rows += [f"v/ann/{number:05d}.png,0,,Ann", f"v/ann_bob/{number:05d}.png,1,v/ann/{number:05d}.png,Ann;Bob"]
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    found = scan("manifest", tmp_path)
    assert [(c.clip_id, c.original_id, c.frames, c.frame_count) for c in found.clips] == [
        ("manifest/v/ann", None, [[0, 2, 1], [3, 1, 1]], 3),
        ("manifest/v/ann_bob", "manifest/v/ann", [[0, 2, 1], [3, 1, 1]], 3),
    ]
    assert "1 file is listed but not there: v/none/0.png" in found.warnings
    assert len(scan("manifest", tmp_path, frames="pictures").clips) == 6
    (tmp_path / "manifest.csv").write_text("\n".join([*rows[:-1], rows[-1].replace("Bob", "Cleo")]))
    assert len([clip for clip in scan("manifest", tmp_path).clips if clip.label]) == 3
    with pytest.raises(
        UsageError, match=r"csv:8: is of one folder with line 4, v/ann_bob, and its identity is another"
    ):
        scan("manifest", tmp_path, frames="folders")


def test_videos_come_before_their_frames_unless_asked_and_odd_folders_are_drops(tmp_path: Path) -> None:
    home = "original_sequences/youtube/c23"
    put(tmp_path, f"{home}/videos/071.mp4", f"{home}/images/071/0000.png", f"{home}/images/054/0000.png")
    put(tmp_path, f"{home}/images/720/front.png", f"{home}/images/720/side.png")
    (tmp_path / home / "images/672").mkdir()
    found = scan("ffpp", tmp_path)
    assert [clip.path for clip in found.clips] == [f"{home}/videos/071.mp4"]
    assert any(
        f"3 folders of pictures are left out, the videos are used: {home}/images/054" in w for w in found.warnings
    )
    found = scan("ffpp", tmp_path, frames="folders")
    assert [(clip.path[-3:], clip.frames) for clip in found.clips] == [
        ("054", [[0, 1, 1]]), ("071", [[0, 1, 1]]), ("672", []), ("720", []),
    ]  # fmt: skip
    errors = {clip.path[-3:]: clip.error for clip in with_headers(found.clips, tmp_path)}
    assert errors["054"] is None
    assert "the folder holds no pictures" in str(errors["672"])
    assert "must have one name with different numbers at its end" in str(errors["720"])


def test_relative_paths_mean_the_folder_that_one_is_in(
    tmp_path: Path, make_video: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = [np.full((48, 64, 3), level, np.uint8) for level in (0, 120, 240)]
    for folder, count in (("one", 1), ("three", 3)):
        make_video(tmp_path / folder / "a.mp4", pictures[:count])
    with media_process.reading():
        for folder, count in (("one", 1), ("three", 3), ("one", 1)):
            monkeypatch.chdir(tmp_path / folder)
            assert len(list(media_process.frames(Path("a.mp4")))) == count
