"""dlib's shape predictors: an ensemble of regression trees (Kazemi and Sullivan 2014), of 5, 68 and 81 points.

The model of 5 points is free. Those of 68 and 81 points were trained on 300-W, which excludes commercial use: they are
never fetched, but taken from a file that the user names or has installed.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from forgeprep.errors import ForgeprepError
from forgeprep.faces.landmarkers.base import DLIB_5, DLIB_81, IBUG_68, Find, Points, RegisteredLandmarker, Scheme
from forgeprep.faces.landmarkers.window import Window, window_around
from forgeprep.faces.weights import WEIGHTS, require
from forgeprep.media.frames import Frame
from forgeprep.media.regions import Box, window_gray

SIDE = 400
"""Side of the window in pixels, the face box being half of it: dlib's points are whole pixels of it."""
_WIDE = 2.0


def _load(name: str, scheme: Scheme, file: Path | None) -> Find:
    import dlib

    path = require(name) if file is None else file
    if not path.is_file():
        raise ForgeprepError(f"{path}: no such file; --landmarks-file names a shape predictor of dlib")
    try:
        predictor = dlib.shape_predictor(str(path))
        count = predictor(np.zeros((64, 64), np.uint8), dlib.rectangle(16, 16, 47, 47)).num_parts
    except RuntimeError as error:
        raise ForgeprepError(f"{path}: no shape predictor of dlib ({' '.join(str(error).split())[:80]})") from None
    if count != scheme.count:
        raise ForgeprepError(
            f"{path}: finds {count} points, {name} has {scheme.count}; give another file or landmarker"
        )

    def find(frame: Frame, box: Box) -> Points:
        window: Window = window_around(box, _WIDE, SIDE)
        gray = window_gray(frame, window.box, SIDE)
        x0, y0, x1, y1 = (round(side) for side in window.inside(box))
        shape = predictor(gray, dlib.rectangle(x0, y0, x1 - 1, y1 - 1))
        return window.to_frame(np.array([(point.x, point.y) for point in shape.parts()], np.float64))

    return find


def _registered(name: str, scheme: Scheme, summary: str) -> RegisteredLandmarker:
    load = functools.partial(_load, name, scheme)
    return RegisteredLandmarker(name, summary, scheme, load, weights={name: WEIGHTS[name]})


DLIB_5_POINTS = _registered("dlib-5", DLIB_5, "dlib's 5 points: corners of the eyes, and the nose (King 2017)")
DLIB_68_POINTS = _registered("dlib-68", IBUG_68, "dlib's 68 points; not for commercial use (Kazemi, Sullivan 2014)")
DLIB_81_POINTS = _registered("dlib-81", DLIB_81, "dlib's 68 points and 13 of the hairline; not for commercial use")
