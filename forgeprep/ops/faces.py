"""Face detectors behind one function type: a frame in, boxes and scores out.

``dlib-hog`` ships inside dlib and needs no file. ``dlib-cnn`` and ``face-alignment`` need weights, which are never
fetched during a run: a missing file is an error that names the place where it is looked for.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import cv2
import numpy as np

from forgeprep.errors import ForgeprepError
from forgeprep.ops.frames import Frame
from forgeprep.ops.geometry import Box, frame_rgb
from forgeprep.ops.weights import require

DetectorName = Literal["dlib-hog", "dlib-cnn", "face-alignment"]
DETECTORS: tuple[str, ...] = get_args(DetectorName)


@dataclass(frozen=True, slots=True)
class Detection:
    """A face found: box in frame pixels, and the detector's own score (HOG: about 0 to 3, CNN: about 0 to 1.1)."""

    box: Box
    score: float


Detector = Callable[[Frame, int], list[Detection]]
"""``detector(frame, lines)``: search the frame scaled to ``lines`` rows."""


def make_detector(name: str) -> Detector:
    """Build a detector; do it once a worker.

    Raises:
        ForgeprepError: its library or weights are not installed.
    """
    builders: dict[str, Callable[[], Detector]] = {
        "dlib-hog": _hog,
        "dlib-cnn": _cnn,
        "face-alignment": _face_alignment,
    }
    return builders[name]()


def _hog() -> Detector:
    """dlib's frontal HOG detector (King 2009; Dalal and Triggs 2005); smallest face 80 pixels at the searched scale."""
    import dlib

    model = dlib.get_frontal_face_detector()

    def detect(frame: Frame, lines: int) -> list[Detection]:
        gray, scale = _scaled(frame.y, lines)
        boxes, scores, _ = model.run(gray, 0, 0.0)
        return [Detection(_box(box, scale), float(score)) for box, score in zip(boxes, scores, strict=True)]

    return detect


def _cnn() -> Detector:
    """dlib's max-margin CNN detector (King 2015), on the GPU where dlib was built with CUDA."""
    import dlib

    model = dlib.cnn_face_detection_model_v1(str(require("dlib-cnn")))

    def detect(frame: Frame, lines: int) -> list[Detection]:
        rgb, scale = _scaled(frame_rgb(frame), lines)
        return [Detection(_box(found.rect, scale), float(found.confidence)) for found in model(rgb, 0)]

    return detect


def _face_alignment() -> Detector:
    """S3FD (Zhang et al. 2017) through face-alignment, on the GPU where torch sees one."""
    if importlib.util.find_spec("face_alignment") is None:
        raise ForgeprepError("the face-alignment detector is not installed: pip install 'forgeprep[align]'")
    import torch
    from face_alignment.detection.sfd import FaceDetector

    # face-alignment would download them here and now; a run never touches the network on its own.
    require("s3fd")
    model = FaceDetector(device="cuda" if torch.cuda.is_available() else "cpu", verbose=False)

    def detect(frame: Frame, lines: int) -> list[Detection]:
        rgb, scale = _scaled(frame_rgb(frame), lines)
        found = model.detect_from_image(rgb)
        return [
            Detection((float(b[0] * scale), float(b[1] * scale), float(b[2] * scale), float(b[3] * scale)), float(b[4]))
            for b in found
        ]

    return detect


def _scaled(image: Any, lines: int) -> tuple[Any, float]:
    height, width = image.shape[:2]
    if height == lines:
        return np.ascontiguousarray(image), 1.0
    scale = height / lines
    way = cv2.INTER_AREA if height > lines else cv2.INTER_LINEAR
    return cv2.resize(image, (round(width / scale), lines), interpolation=way), scale


def _box(rect: Any, scale: float) -> Box:
    return rect.left() * scale, rect.top() * scale, (rect.right() + 1) * scale, (rect.bottom() + 1) * scale
