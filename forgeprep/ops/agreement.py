"""Whether two small pictures show the same, where a part of one was drawn anew: a whole head, a logo, subtitles.

A mean over all cells says no as soon as a part differs much. Here each cell has a vote, and those that differ do not
outvote the rest. Only cells with contrast count: a flat wall looks the same wherever the picture lies. That it lies
where it should is told by least squares (Lucas and Kanade, 1981), reweighted so that cells that differ for other
reasons hardly count.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from forgeprep.media.frames import UInt8
from forgeprep.ops.robust import Float

Mask = npt.NDArray[np.bool_]

CONTRAST, ALIKE = 16, 4
"""Levels of 255 by which a cell differs from one of its neighbours if it has a vote, and up to which it says yes: what
strong compression leaves of most cells."""
OTHER, LEAST_AROUND = 6, 0.25
"""Levels from which on cells differ, and the share of those around faces that do if more than faces was drawn anew."""
AROUND = 0.2
"""How far from the faces, in shares of their side with a margin."""
FEWEST = 30
"""Votes that are needed."""
FRAMES = 12
"""Of so many frames, at most, a displacement is told."""
SLOPE, APART = 8, 4.0
"""Levels from cell to cell that tell a displacement, and those apart at which a cell counts a quarter."""
ROUNDS = 8
_RIDGE = 1e-3


def agreeing(original: UInt8, fake: UInt8, keep: Mask) -> float:
    """The share of the cells with a vote that say two thumbs, uint8 (H, W), show the same; 0 where too few have one."""
    votes = keep & (_contrast(original) >= CONTRAST)
    if np.count_nonzero(votes) < FEWEST:
        return 0.0
    return float(np.mean(cv2.absdiff(original, fake)[votes] <= ALIKE))


def differs_around(original: UInt8, fake: UInt8, keep: Mask) -> bool:
    """Whether two thumbs, uint8 (H, W), differ around the faces, which are not in ``keep``, and hardly elsewhere."""
    faces = (~keep).astype(np.uint8)
    reach = 2 * max(1, round(AROUND * np.sqrt(np.count_nonzero(faces)))) + 1
    near = keep & (cv2.dilate(faces, np.ones((reach, reach), np.uint8)) > 0)
    far = keep & ~near
    if not near.any() or np.count_nonzero(far) < FEWEST:
        return False
    apart = cv2.absdiff(original, fake) > OTHER
    return float(np.mean(apart[near])) >= max(LEAST_AROUND, 2 * float(np.mean(apart[far])))


def displacement(pairs: Sequence[tuple[UInt8, UInt8, Mask]]) -> float | None:
    """How far a fake's thumbs lie from where its original's do, shifted or scaled around the middle.

    Args:
        pairs: thumbs of original and fake, uint8 (H, W), and where to look, bool (H, W), of the frames of a run.

    Returns:
        In cells, the larger of the shift and of what the scale moves the upper edge by; None where too little tells.
    """
    used = {round(at) for at in np.linspace(0, len(pairs) - 1, min(len(pairs), FRAMES))}
    rows = [_slopes(*pairs[at]) for at in sorted(used)]
    slopes, apart = (np.concatenate([row[part] for row in rows]) for part in (0, 1)) if rows else (np.empty(0),) * 2
    if len(slopes) < FEWEST * len(rows) or not rows:
        return None
    moved = np.zeros(3, np.float32)
    for _ in range(ROUNDS):
        weighted = slopes / np.square(1 + np.square((apart - slopes @ moved) / APART))[:, None]
        ridge = _RIDGE * len(slopes) * np.eye(3, dtype=np.float32)
        moved = np.linalg.solve(weighted.T @ slopes + ridge, weighted.T @ apart)
    return float(max(np.hypot(moved[0], moved[1]), abs(moved[2]) * pairs[0][0].shape[0] / 2))


def _contrast(picture: UInt8) -> UInt8:
    """How far each cell is from that of its four neighbours which differs most."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    return np.asarray(
        cv2.max(cv2.subtract(cv2.dilate(picture, cross), picture), cv2.subtract(picture, cv2.erode(picture, cross))),
        np.uint8,
    )


def _slopes(original: UInt8, fake: UInt8, keep: Mask) -> tuple[Float, Float]:
    """Of the cells that tell: what a cell to the right, one down, or a scale of 2 would add, and what is added."""
    picture = original.astype(np.float32)
    right, down = np.zeros_like(picture), np.zeros_like(picture)
    right[:, 1:-1], down[1:-1] = (picture[:, 2:] - picture[:, :-2]) / 2, (picture[2:] - picture[:-2]) / 2
    high, wide = picture.shape
    y, x = np.arange(high)[:, None] - (high - 1) / 2, np.arange(wide)[None, :] - (wide - 1) / 2
    told = keep & (np.abs(right) + np.abs(down) >= SLOPE)
    told[[0, -1]] = told[:, [0, -1]] = False
    slopes = -np.stack([right[told], down[told], (right * x + down * y)[told]], axis=1)
    return np.asarray(slopes, np.float32), (fake - picture)[told]
