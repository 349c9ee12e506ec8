"""Landmarks that come with crops: DeepfakeBench's ``.npy``, one of a picture, in pixels of a crop of 256."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from forgeprep.io.safe_files import open_regular
from forgeprep.io.storage import visible_entries
from forgeprep.media.frame_folder import numbered
from forgeprep.schemas.clips import Clip
from forgeprep.stages.base import Sample

SIDE = 256
"""DeepfakeBench scales pictures to this side, and landmarks not at all: they are written for it."""
_SCHEMES = {81: "dlib-81", 68: "ibug-68"}
_MOST_BYTES = 1 << 20


def with_landmarks(samples: list[Sample], clip: Clip, root: Path) -> list[Sample]:
    """Fill in the landmarks of samples that have none of a landmarker's, from the clip's files.

    Files that are missing, broken or of another number of points give none.
    """
    place = clip.companions.get("landmarks")
    if place is None:
        return samples
    files = _files(root / place) if clip.frames is not None else {0: root / place}
    for sample in samples:
        points = _points(files.get(sample.frame_index)) if sample.landmarks is None else None
        if points is not None:
            scaled = (points + 0.5) * np.asarray(sample.frame_size) / SIDE - 0.5
            sample.landmarks = [float(value) for value in scaled.astype(np.float32).ravel()]
            sample.landmark_scheme = _SCHEMES[len(points)]
    return samples


def _files(folder: Path) -> dict[int, Path]:
    try:
        names = [entry.name for entry in visible_entries(folder) if entry.name.lower().endswith(".npy")]
    except OSError:
        return {}
    return {number: folder / name for number, name in (numbered(names) or {}).items()}


def _points(file: Path | None) -> npt.NDArray[np.float64] | None:
    if file is None:
        return None
    try:
        with open_regular(file, _MOST_BYTES) as opened:
            points = np.asarray(np.load(opened, allow_pickle=False), np.float64)
    except (OSError, ValueError, EOFError):
        return None
    usable = points.ndim == 2 and points.shape[1] == 2 and len(points) in _SCHEMES and np.isfinite(points).all()
    return points if usable else None
