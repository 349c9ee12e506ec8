"""Trees of files for the adapters of datasets, and what these find there."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2

from forgeprep.datasets import get_dataset
from forgeprep.datasets.base import Scan, ScanOptions
from forgeprep.media.regions import frame_rgb
from forgeprep.media.video import read_frames


def scan(name: str, root: Path, **params: Any) -> Scan:
    dataset = get_dataset(name)
    return dataset.scan(root, ScanOptions(params=dataset.params.model_validate(params)))


def put(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")
    return root


def explode(video: Path, folder: Path, numbers: Iterable[int], name: str = "{:04d}.png") -> None:
    """Write frames of a video as pictures that are named by their numbers."""
    wanted = set(numbers)
    folder.mkdir(parents=True)
    for frame in read_frames(video):
        if frame.index in wanted:
            cv2.imwrite(str(folder / name.format(frame.index)), frame_rgb(frame)[..., ::-1])
        if frame.index >= max(wanted):
            return
