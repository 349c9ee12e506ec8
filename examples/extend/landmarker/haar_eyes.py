"""A landmarker for forgeprep: the middles of both eyes, by the Haar cascade that comes with OpenCV."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from forgeprep.faces.landmarkers.base import Find, Points, RegisteredLandmarker, Scheme
from forgeprep.faces.landmarkers.window import window_around
from forgeprep.media.frames import Frame
from forgeprep.media.regions import Box, window_gray

EYES = Scheme("eyes", mirrored=(1, 0), parts={"right_eye": (0,), "left_eye": (1,)})
"""Two points, which the mirror swaps. With ``parts``, ``--align`` knows what they are."""
SIDE = 240
"""Pixels of the window that is searched: the face box."""


def load(file: Path | None) -> Find:
    """Called once a worker; ``file`` is what the user gave as ``--landmarks-file``."""
    cascade = cv2.CascadeClassifier(str(file or Path(cv2.data.haarcascades) / "haarcascade_eye.xml"))

    def find(frame: Frame, box: Box) -> Points | None:
        """The eyes of the face in a box of the frame; None where they are not seen, and nothing is guessed."""
        window = window_around(box, 1.0, SIDE)
        gray = window_gray(frame, window.box, SIDE)
        found = np.asarray(cascade.detectMultiScale(gray, 1.05, 4, minSize=(SIDE // 8, SIDE // 8))).reshape(-1, 4)
        middles = found[:, :2] + found[:, 2:] / 2 - 0.5
        upper = middles[middles[:, 1] < 0.6 * SIDE]
        right, left = (upper[side] for side in (upper[:, 0] < SIDE / 2, upper[:, 0] >= SIDE / 2))
        if not len(right) or not len(left):
            return None
        return window.to_frame(np.array([np.median(right, axis=0), np.median(left, axis=0)]))

    return find


HAAR_EYES = RegisteredLandmarker(
    name="haar-eyes",
    summary="the middles of both eyes, by OpenCV's Haar cascade (Viola and Jones 2001)",
    scheme=EYES,
    load=load,
    # Of what it computes with; this package itself need not be named. Another version makes shards anew.
    distributions=("opencv-python",),
)
