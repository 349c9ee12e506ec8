"""A face detector for forgeprep: the cascade of local binary patterns that comes with scikit-image."""

from __future__ import annotations

import numpy as np

from forgeprep.faces.detectors.base import Detection, FaceDetector, RegisteredDetector
from forgeprep.faces.detectors.scaled import rows_of, scaled
from forgeprep.media.frames import Frame

SIDE, DOWN = 0.95, 0.08
"""From a box of the cascade to dlib's: side, and shift of the centre downwards, both over the box's side.

All detectors bring their boxes to dlib's convention, so that crops are alike. These are medians over the demo's people.
"""
LEAST = 24
"""Pixels of the smallest face that the cascade was trained on."""


def load() -> FaceDetector:
    """Called once a worker; what is slow to import or to load belongs here."""
    from skimage.data import lbp_frontal_face_cascade_filename
    from skimage.feature import Cascade

    cascade = Cascade(lbp_frontal_face_cascade_filename())

    def find(frame: Frame, lines: int) -> list[Detection]:
        """The faces of a frame, searched at ``lines`` pixels along its shorter side."""
        gray, scale = scaled(frame.y, rows_of(frame, lines))
        sizes = (LEAST, LEAST), gray.shape
        found = cascade.detect_multi_scale(gray, scale_factor=1.2, step_ratio=1.5, min_size=sizes[0], max_size=sizes[1])
        return [_detection(np.array([one["c"], one["r"]]) * scale, one["width"] * scale) for one in found]

    # The cascade gives no score: whatever it finds is a face.
    return FaceDetector(find, coarse=120, fine=240, small=30, sure=1.0, likely=1.0, least=1.0, bridge=4)


def _detection(corner: np.ndarray, side: float) -> Detection:
    x, y = corner + side / 2 + (0.0, DOWN * side)
    half = SIDE * side / 2
    return Detection((float(x - half), float(y - half), float(x + half), float(y + half)), 1.0)


LBP = RegisteredDetector(
    name="lbp",
    summary="local binary patterns, frontal faces only (Liao et al. 2007)",
    load=load,
    least_pixels=LEAST,
    score_range=(1.0, 1.0),
    # Of what it computes with; this package itself need not be named. Another version makes shards again.
    distributions=("scikit-image",),
)
