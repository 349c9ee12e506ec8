"""Each file is read once: faces are settled while it is decoded."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import pyarrow.parquet as pq
import pytest

from forgeprep.faces.detectors import make_detector
from forgeprep.faces.lookahead import frames_with_faces
from forgeprep.faces.search import find_faces
from forgeprep.faces.tracks import Survey
from forgeprep.media import video
from forgeprep.media.frames import Frame
from forgeprep.media.video import Learned, read_frames
from forgeprep.pipeline.configure import make_config
from forgeprep.pipeline.make_shard import ShardJob, make_shard
from forgeprep.pipeline.run import prepare_run
from forgeprep.shards.read import iter_rows, shard_paths
from forgeprep.stages.crop import boxes, group, original
from tests.helpers.runs import run


def test_real_faces_are_the_same_too(real_footage: Path) -> None:
    detector = make_detector("libfacedetection")
    whole = find_faces(read_frames(real_footage), detector)
    waited, held = 0, []

    def frames() -> Iterator[Frame]:
        for frame in read_frames(real_footage):
            held.append(frame.index)
            yield frame

    for frame, faces in frames_with_faces(frames, detector, Survey()):
        assert faces == whole.faces_at(frame.index)
        waited = max(waited, held[-1] - frame.index)
    assert len(held) == len(whole.frames), "read twice"
    assert waited <= 60


def test_each_file_is_decoded_once_and_pictures_are_let_go(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: Counter[Path] = Counter()
    most = 0
    before = video._decoded

    def counted(packet: Any, path: Path, *, first: bool) -> list[Any]:
        nonlocal most
        pictures = before(packet, path, first=first)
        decoded[path] += len(pictures)
        if sum(decoded.values()) % 8 == 0:
            most = max(most, sum(type(one) is av.VideoFrame for one in gc.get_objects()))
        return pictures

    config = make_config(
        "ffpp",
        {
            "stages": "crop",
            "frames": "all",
            "compression": "c23",
            "methods": "Deepfakes,FaceSwap",
            "splits": "test",
            "boxes_from": "own",
        },
    )
    prepared = prepare_run(config, demo, tmp_path / "out")
    monkeypatch.setattr(video, "_decoded", counted)
    gc.disable()
    try:
        make_shard(ShardJob(0, prepared.shards[0].name, config, demo.resolve(), (tmp_path / "out").resolve(), "key"))
    finally:
        gc.enable()
    assert decoded
    for path, count in decoded.items():
        assert count == sum(1 for _ in av.open(str(path)).decode(video=0)), path
    # The original's that wait for their faces, and the last few of a fake.
    assert 10 <= most < 60 < sum(decoded.values())


def test_dozens_of_large_fakes_come_after_each_other(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each holds its decoder's frames: 60 of 1080 lines took more than a worker may, and all were lost."""

    def rows(out: Path) -> tuple[dict[str, Any], list[Any]]:
        given: dict[str, Any] = {
            "stages": "crop,mask",
            "frames": "4",
            "compression": "c23",
            "splits": "test",
            "boxes_from": "own",
        }
        assert run(demo, out, **given).failed == []
        found = {row["sample_id"]: row for path in shard_paths(out) for row in iter_rows(path, decode=False)}
        clips = pq.read_table(out / "meta/clips.pq").to_pylist()
        return found, sorted(clips, key=lambda clip: clip["clip_id"])

    together = rows(tmp_path / "together")
    opened: list[str] = []
    read = video.read_frames

    def noted(path: Path, learned: Learned | None = None) -> Iterator[Frame]:
        opened.append(path.name)
        return read(path, learned)

    for module in (original, boxes):
        monkeypatch.setattr(module, "read_frames", noted)
    width, height = together[1][0]["width"], together[1][0]["height"]
    monkeypatch.setattr(group, "IN_STEP_BYTES", 3 * group.HELD_FRAMES * 3 * width * height)
    assert rows(tmp_path / "apart") == together
    reals = [clip for clip in together[1] if clip["label"] == 0]
    assert len(together[1]) > 4 * len(reals)
    assert len(opened) == 2 * len(reals)
