"""Videos as folders of their frames, in every layout that is kept so, through the command line."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from forgeprep.demo.layout import PAIRS
from forgeprep.demo.relayout import Source, name_of, relayout
from forgeprep.shards.read import iter_rows, shard_paths
from tests.conftest import run_cli
from tests.trees import explode

THERE = (0, 1, 2, 4, 5, 6, 8, 9)
"""The numbers of the originals' pictures: 3 and 7 are gaps."""
FAKED, BROKEN = (0, 1, 2, 3, 4, 6, 8, 9), 8
"""Those of the fakes' pictures, 5 and 7 are gaps; in one of them, 8 cannot be decoded."""


def lay_out(name: str, demo: Path, root: Path) -> None:
    """The demo in a layout, one method at c23, its videos replaced by their frames."""
    if name == "ffpp":
        for place in ("original_sequences/youtube/c23", "manipulated_sequences/Deepfakes/c23"):
            shutil.copytree(demo / place, root / place)
    else:
        relayout(Source(demo, root, PAIRS[:3]), name)
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
    return list(pq.read_table(out / f"{name}.parquet").to_pylist())


@pytest.mark.parametrize("name", ["ffpp", "dfd", "celebdf-v2", "dfdc", "folder", "manifest"])
def test_a_folder_of_frames_is_a_video(
    name: str, demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    lay_out(name, demo, root)
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
        assert (clip["header_frames"], clip["fps"], clip["segments"] or None) == (8, None, None)
        assert clip["size_bytes"] == sum(file.stat().st_size for file in (root / clip["path"]).iterdir())
        if clip["label"]:
            assert clips[clip["original_id"]]["source_id"] == clip["source_id"]
            assert (clip["offset"], clip["pairing"]) == (0, "guessed" if name == "folder" else "stated")
    assert all(len(found) == 1 for found in splits.values())
    assert len(splits) == 6

    frames = defaultdict(dict)
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
        np.testing.assert_array_equal(row["image"], cv2.imread(str(file))[y0:y1, x0:x1, ::-1])
