"""A landmarker for forgeprep: the eyes as the darkest places where eyes are to be expected."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from forgeprep.errors import UsageError
from forgeprep.faces.landmarkers.base import Find, Points, RegisteredLandmarker, Scheme
from forgeprep.faces.landmarkers.window import window_around
from forgeprep.media.frames import Frame
from forgeprep.media.regions import Box, window_gray

EYES = Scheme("eyes", mirrored=(1, 0), parts={"right_eye": (0,), "left_eye": (1,)})
"""Two points, which the mirror swaps. With ``parts``, ``--align`` knows what they are."""
SIDE = 96
"""Pixels of the window that is searched: the face box."""
EXPECTED = np.array([[0.29, 0.3], [0.71, 0.3]]) * SIDE
"""Where eyes lie in the window, on average."""
CONTRAST = 12.0
"""By so many levels an eye is darker than what is around it, or it is not seen."""


def load(file: Path | None) -> Find:
    """Called once a worker; what is slow to load belongs here. ``file`` comes from ``--landmarks-file``."""
    if file is not None:
        raise UsageError("--landmarks-file: dark-eyes needs no file")
    rows, columns = np.mgrid[:SIDE, :SIDE]
    away = [np.hypot(columns - x, rows - y) / (0.14 * SIDE) for x, y in EXPECTED]

    def find(frame: Frame, box: Box) -> Points | None:
        """The eyes of the face in a box of the frame; None where they are not seen, and nothing is guessed."""
        window = window_around(box, 1.0, SIDE)
        gray = window_gray(frame, window.box, SIDE).astype(np.float32)
        darkness = cv2.GaussianBlur(gray, (0, 0), 0.12 * SIDE) - cv2.GaussianBlur(gray, (0, 0), 0.03 * SIDE)
        points = []
        for far in away:
            seen = np.where(far < 1, darkness, -np.inf)
            row, column = np.unravel_index(int(seen.argmax()), seen.shape)
            if seen[row, column] < CONTRAST:
                return None
            points.append((column, row))
        return window.to_frame(np.array(points, np.float64))

    return find


DARK_EYES = RegisteredLandmarker(
    name="dark-eyes",
    summary="the eyes, as the darkest places where they are to be expected",
    scheme=EYES,
    load=load,
    # Of what it computes with; this package itself need not be named. Another version makes shards again.
    distributions=("opencv-python",),
)
