"""Defects that other tools have had without an error or a warning; each has a test that would catch it here.

 1 a missing mask takes the masks of later videos with it: test_errors, provided masks are used and missing ones dropped
 2 a missing mask is read as zeros, a fake as unforged: the same; test_spans, forged spans
 3 "evenly spread" takes the first frames: test_tracks, frames are spread over the whole clip
 4 two folders share a key, splits overlap: test_datasets_ffpp, raw and c0 with different clips, splits apart
 5 a header that counts too much, a lost frame that shifts the rest: here; test_ops_video, a lost frame leaves a gap
 6 after a resume "frame 20" holds frame 18: here; test_run, a killed run resumes to the same bytes
 7 methods overwrite each other: test_datasets_ffpp, methods with equal file names
 8 the original of another compression: here; test_datasets_ffpp, a fake is paired within its own compression
 9 the face farthest from the centre is taken: here
10 all frames share one record: here
11 names with backslashes, numbers of another width: here
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forgeprep.shards.read import iter_rows, shard_paths
from tests.conftest import UInt8, encode_video, run_cli
from tests.helpers.variants import fake_path, original_path, pictures, shards

Row = dict[str, Any]


@pytest.fixture(scope="module")
def out(couple: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stopped after the first shard and taken up again, at both compressions."""
    folder = tmp_path_factory.mktemp("defects") / "out"
    common = ("--compression", "c23,c40", "--frames", "4", "--shard-size", "12", "--stages", "crop", "--workers", "0")
    arguments = ("run", "ffpp", "--root", str(couple), "--out", str(folder), *common)
    assert run_cli(*arguments) == 0
    records = sorted(folder.glob("state/*/*.json"))
    assert len(records) == 2
    for record in records[1:]:
        record.unlink()
    assert run_cli(*arguments) == 0
    return folder


@pytest.fixture(scope="module")
def rows(out: Path) -> list[Row]:
    return [row for path in shard_paths(out) for row in iter_rows(path)]


def decoded(path: Path) -> list[UInt8]:
    """All frames by PyAV's own conversion, a way that has nothing of ours."""
    with av.open(str(path)) as container:
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in container.decode(video=0)]


def test_6_and_8_a_sample_shows_the_frame_and_the_clip_that_it_names(rows: list[Row], couple: Path) -> None:
    frames: dict[str, list[UInt8]] = {}
    for row in rows:
        stem = row["clip_id"].rsplit("/", 1)[1]
        name = (stem, row["method"], row["compression"])
        path = (
            original_path(couple, stem, row["compression"])
            if row["method"] is None
            else fake_path(couple, row["method"], stem, row["compression"])
        )
        if str(path) not in frames:
            frames[str(path)] = decoded(path)
        (x0, y0, x1, y1), (left, top, right, bottom) = row["crop_box"], row["padding"]
        inside = np.ascontiguousarray(row["image"][top : y1 - y0 - bottom, left : x1 - x0 - right])
        places = [frame[y0 + top : y1 - bottom, x0 + left : x1 - right] for frame in frames[str(path)]]
        shown = [cv2.norm(np.ascontiguousarray(place), inside, cv2.NORM_L1) / inside.size for place in places]
        assert int(np.argmin(shown)) == row["frame_index"], name
        assert shown[row["frame_index"]] < 2, name
        assert row["original_id"] is None or row["original_id"].split("/")[1] == row["compression"]


def test_5_a_header_that_promises_too_much_costs_the_end_alone(couple: Path, tmp_path: Path) -> None:
    root = tmp_path / "in"
    shutil.copytree(couple, root)
    path = original_path(root, "071_054", "c23")
    data = path.read_bytes()
    # The index of an MP4 lies behind its media data: the last third is gone, and the header still counts it.
    frames = len(pictures(path))
    start, end = data.index(b"mdat"), data.index(b"moov") - 8
    lost_from = start + (end - start) * 2 // 3
    path.write_bytes(data[:lost_from] + bytes(end - lost_from) + data[end:])
    rows, drops, _ = shards(root, tmp_path / "out", frames="all", stages="crop", methods="Deepfakes")
    whole, _, _ = shards(couple, tmp_path / "whole", frames="all", stages="crop", methods="Deepfakes")
    before = {row["sample_id"]: row for row in whole}
    kept = [row for row in rows if row["clip_id"].endswith("youtube/071")]
    assert 20 < len(kept) < frames
    early = [row for row in kept if row["frame_index"] < frames // 3]
    assert len(early) >= frames // 3 - 2
    for row in early:
        assert np.array_equal(row["image"], before[row["sample_id"]]["image"])
    lost = {drop["frame_index"] for drop in drops if drop["clip_id"].endswith("youtube/071")}
    assert lost == set(range(frames)) - {row["frame_index"] for row in kept}


def test_9_every_face_is_taken_wherever_it_is(couple: Path, tmp_path: Path) -> None:
    one, other = (pictures(original_path(couple, stem, "raw"))[:12] for stem in ("071", "054"))
    wide = [np.hstack([a[:, 40:440], b[:, 40:440], a[:, 40:440][:, ::-1]]) for a, b in zip(one, other, strict=True)]
    encode_video(original_path(tmp_path / "in", "071", "c23"), wide, crf=23)
    rows, drops, _ = shards(tmp_path / "in", tmp_path / "out", frames="4", stages="crop")
    assert drops == []
    centres = defaultdict(list)
    for row in rows:
        centres[row["track_id"]].append((row["face_box"][0] + row["face_box"][2]) / 2)
    assert sorted(round(np.mean(values) / 1200, 1) for values in centres.values()) == [0.2, 0.5, 0.8]


def test_10_every_sample_has_its_own_values(rows: list[Row]) -> None:
    boxes: dict[str, set[tuple[float, ...]]] = defaultdict(set)
    times: dict[str, set[float]] = defaultdict(set)
    for row in rows:
        boxes[row["clip_id"]].add(tuple(row["face_box"]))
        times[row["clip_id"]].add(row["timestamp_s"])
    assert {len(found) for found in boxes.values()} == {4}
    assert {len(found) for found in times.values()} == {4}


def test_11_names_are_posix_and_numbers_have_their_width(out: Path) -> None:
    schema = pq.ParquetFile(next(out.glob("shards/*/*.parquet"))).schema_arrow
    assert schema.field("landmarks").type == pa.list_(pa.float32())
    assert schema.field("crop_box").type == pa.list_(pa.int32(), 4)
    for path in shard_paths(out):
        for row in iter_rows(path, decode=False):
            assert "\\" not in row["sample_id"] + row["image"]["path"] + row["clip_id"]
            assert row["image"]["path"].startswith(row["sample_id"])
    clips = pq.read_table(out / "meta/clips.pq").to_pylist()
    assert all("\\" not in clip["path"] and not clip["path"].startswith("/") for clip in clips)
