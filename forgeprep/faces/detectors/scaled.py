"""Frames at the size that a detector searches, and dlib's boxes back in the frame's pixels."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from forgeprep.media.frames import Frame
from forgeprep.media.regions import Box


def rows_of(frame: Frame, lines: int) -> int:
    """Rows of the frame when its shorter side has ``lines`` pixels."""
    width, height = frame.size_wh
    return max(1, round(height * lines / min(width, height)))


def scaled(image: Any, lines: int) -> tuple[Any, float]:
    """A plane, uint8 (H, W), resized to ``lines`` rows, and by how much it was reduced."""
    height, width = image.shape[:2]
    if height == lines:
        return np.ascontiguousarray(image), 1.0
    scale = height / lines
    way = cv2.INTER_AREA if height > lines else cv2.INTER_LINEAR
    return cv2.resize(image, (round(width / scale), lines), interpolation=way), scale


def box_of(rect: Any, scale: float) -> Box:
    """One of dlib's rectangles, which include their last pixels, as a box in the frame."""
    return rect.left() * scale, rect.top() * scale, (rect.right() + 1) * scale, (rect.bottom() + 1) * scale
