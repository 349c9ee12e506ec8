"""Whether two boxes of neighbouring moments hold the same person: hand-made features, no weights.

Three distances between small pictures of the faces, and the boxes' overlap, give log-odds by a logistic model. Its
numbers were fitted by ``benchmarks/faces_fit.py`` on talking heads and a crowd, and judged on other clips.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import numpy.typing as npt

from forgeprep.media.frames import Frame, UInt8
from forgeprep.media.regions import Box, window_rgb
from forgeprep.ops.geometry import square_crop_box

ENLARGE, SIDE, SLACK = 1.5, 24, 4
"""The picture is cut at this multiple of the box; its side; and the rim over which the other's inside may be moved."""
CELLS = 4
"""Cells along a side for brightness and colour, over the middle of the picture."""
_FLOOR = 4.0
"""Added to values before their logarithm: in the dark, noise has no colour."""
BIAS, PATTERN, COLOUR, BRIGHTNESS, OVERLAP = 8.8, -10.3, -7.7, -9.3, 12.2


@dataclass(frozen=True, slots=True)
class Look:
    """What a face looks like at one moment.

    Attributes:
        gray: uint8 (SIDE, SIDE).
        cells: natural logarithms of the cells' mean R, G and B, float32 (CELLS, CELLS, 3).
    """

    gray: UInt8 = field(repr=False)
    cells: npt.NDArray[np.float32] = field(repr=False)


def look_at(frame: Frame, box: Box) -> Look:
    """The look of the face in a box, which may reach outside the frame."""
    # Of a large face every so many pixels will do: four times as many are left as the picture has.
    step = max(1, int(ENLARGE * (box[2] - box[0])) // (4 * SIDE))
    thin = frame if step == 1 else replace(frame, planes=tuple(plane[::step, ::step] for plane in frame.planes))
    x0, y0, x1, y1 = (side / step for side in box)
    rgb = window_rgb(thin, square_crop_box((x0, y0, x1, y1), ENLARGE), SIDE)
    cells = cv2.resize(rgb, (CELLS + 2, CELLS + 2), interpolation=cv2.INTER_AREA)[1:-1, 1:-1]
    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    return Look(np.asarray(gray, np.uint8), np.log(cells.astype(np.float32) + np.float32(_FLOOR)))


def same_face(a: Look, b: Look, overlap: float) -> float:
    """Log-odds, even before anything is known, that two faces at most ten frames apart are one person's.

    Args:
        a: the look of one.
        b: of the other.
        overlap: of their boxes, as intersection over union, 0 to 1.
    """
    weights = PATTERN, COLOUR, BRIGHTNESS
    return BIAS + OVERLAP * overlap + sum(w * math.sqrt(d) for w, d in zip(weights, distances(a, b), strict=True))


def distances(a: Look, b: Look) -> tuple[float, float, float]:
    """How far two looks differ in pattern (0 to 2), colour and brightness (0 to about 4)."""
    change = a.cells - b.cells
    chroma = np.abs(change[..., ::2] - change[..., 1:2])
    return 1 - moved_correlation(a.gray, b.gray, (SLACK, SLACK)), float(chroma.mean()), float(np.abs(change).mean())


def moved_correlation(a: UInt8, b: UInt8, by: tuple[int, int]) -> float:
    """The best correlation of one picture's inside with the other, -1 to 1.

    Args:
        a: uint8 (H, W).
        b: the same.
        by: by so many pixels at most, across and down, it is moved.
    """
    flat = [int(image.max()) - int(image.min()) < 3 for image in (a, b)]
    if any(flat):
        return float(all(flat))
    inner = slice(by[1], -by[1]), slice(by[0], -by[0])
    both = (
        cv2.matchTemplate(outer, np.ascontiguousarray(inside[inner]), cv2.TM_CCOEFF_NORMED).max()
        for inside, outer in ((a, b), (b, a))
    )
    return min(1.0, float(max(both)))
