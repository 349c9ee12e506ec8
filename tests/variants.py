"""Fakes as they are found in the wild: shifted, resampled, letterboxed, partly forged. Made from demo clips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq

from forgeprep.ops.geometry import frame_rgb
from forgeprep.ops.video import read_frames
from forgeprep.pipeline.configure import make_config
from forgeprep.pipeline.run import execute, prepare_run
from forgeprep.shards.read import iter_rows, shard_paths
from forgeprep.shards.verify import verify
from tests.conftest import UInt8, encode_video

CRF = {"raw": 0, "c23": 23, "c40": 40}


def original_path(root: Path, stem: str, compression: str) -> Path:
    return root / f"original_sequences/youtube/{compression}/videos/{stem[:3]}.mp4"


def fake_path(root: Path, method: str, stem: str, compression: str) -> Path:
    return root / f"manipulated_sequences/{method}/{compression}/videos/{stem}.mp4"


def pictures(path: Path) -> list[UInt8]:
    """All frames, RGB."""
    return [frame_rgb(frame) for frame in read_frames(path)]


def place(
    demo: Path,
    root: Path,
    stem: str,
    method: str,
    frames: Sequence[UInt8],
    *,
    compression: str = "c23",
    original_compression: str | None = None,
    fps: int = 25,
    change: Callable[[UInt8], UInt8] = lambda picture: picture,
) -> Path:
    """A dataset of one original of the demo, as it is, and one fake with these frames."""
    source = original_path(demo, stem, original_compression or compression)
    target = original_path(root, stem, compression)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read_bytes())
    path = fake_path(root, method, stem, compression)
    return encode_video(path, map(change, frames), crf=CRF[compression], fps=fps)


def shards(root: Path, out: Path, **given: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Any]]:
    """Run; returns rows, drops and clips by id."""
    values = {"stages": "crop,mask", "frames": "10", **given}
    prepared = prepare_run(make_config("ffpp", values), root, out)
    assert execute(prepared, workers=0, report=lambda *_: None).failed == []
    assert verify(out) == []
    rows = [row for path in shard_paths(out) for row in iter_rows(path)]
    clips = {clip["clip_id"]: clip for clip in pq.read_table(out / "clips.parquet").to_pylist()}
    return rows, pq.read_table(out / "drops.parquet").to_pylist(), clips


def letterboxed(size_wh: tuple[int, int], top: int, left: int) -> Callable[[UInt8], UInt8]:
    """Scale to a size, and put black bars around it."""

    def change(picture: UInt8) -> UInt8:
        small = cv2.resize(picture, size_wh, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.copyMakeBorder(small, top, top, left, left, cv2.BORDER_CONSTANT), np.uint8)

    return change
