"""Signs that a mask may be wrong, which need no truth: what differs far from it, and how its area jumps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

UInt8 = npt.NDArray[np.uint8]

WIDEN = 0.1
"""Differences are stray outside the main region, which is first widened by this share of the crop."""
NEAR_S = 1.0
"""Frames further apart, in seconds, are not neighbours."""
NEAR_FRAMES = 30
"""The same in frames, where frames have no times."""

_LIKELIHOOD = np.where(np.arange(256) > 0, 1 / (1 + np.exp((128 - np.arange(256)) / 20.0)), 0.0)
"""Level of ``difference`` -> probability that the pixel was forged."""
_ALIKE = (np.arange(256) > 0).astype(np.float64)


def stray_share(mask: UInt8, difference: UInt8 | None) -> float | None:
    """Of what differs, the share far from the mask's main region.

    The main region is the mask's largest connected part, widened by 10 % of the crop. Pixels are weighted by the
    probability that they were forged; without a difference to the original, all pixels of the mask weigh the same.

    Args:
        mask: uint8 (H, W), 0 pristine.
        difference: the column ``difference``, uint8 (H, W), or None.

    Returns:
        0 to 1; None where the mask is empty or nothing differs.
    """
    main = _main_region(mask)
    if main is None:
        return None
    levels = mask if difference is None else difference
    weights = _ALIKE if difference is None else _LIKELIHOOD
    reach = WIDEN * max(mask.shape)
    # All that is near lies in the region's bounds, widened.
    left, top, width, height = cv2.boundingRect(main)
    margin = math.ceil(reach) + 1
    near = np.s_[max(0, top - margin) : top + height + margin, max(0, left - margin) : left + width + margin]
    other = np.equal(main[near], 0).view(np.uint8)
    apart = np.asarray(cv2.distanceTransform(other, cv2.DIST_L2, cv2.DIST_MASK_5))
    counts = _counts(levels)
    total = float(counts @ weights)
    stray = counts - _counts(levels[near], np.less_equal(apart, reach).view(np.uint8))
    return float(stray @ weights) / total if total else None


def _counts(levels: UInt8, where: UInt8 | None = None) -> npt.NDArray[np.float64]:
    """How many pixels have each level, (256,); OpenCV is faster at that than NumPy."""
    found = cv2.calcHist([levels], [0], where, [256], [0, 256])
    return np.asarray(found, np.float64).ravel()


def _main_region(mask: UInt8) -> UInt8 | None:
    """A picture that is not 0 on the largest connected part of a mask; None for an empty one."""
    # To count outlines takes a tenth of the time of labelling, and most masks have one.
    outlines, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    if len(outlines) < 2:
        return mask if outlines else None
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8, ltype=cv2.CV_16U)
    return np.equal(labels, 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))).view(np.uint8)


def area_jumps(areas: Sequence[float], frames: Sequence[int], times_s: Sequence[float | None]) -> list[float | None]:
    """How far the area of each mask of a face is from that of its neighbours.

    Neighbours are the masks before and after, if they are within :data:`NEAR_S` seconds, or, where frames have no
    times, within :data:`NEAR_FRAMES` frames. A mask that is wrong alone differs from the mean of the two by more than
    they do from that of theirs, so it stands out.

    Args:
        areas: in order of time, in any unit that does not change with the size of the face; above 0.
        frames: index of each frame.
        times_s: its time in seconds, or None.

    Returns:
        0 (as the neighbours' mean) to 1 (nothing beside much, or much beside nothing); None without a neighbour.

    >>> area_jumps([0.2, 0.2, 0.8, 0.2], [0, 1, 2, 90], [0.0, 0.04, 0.08, 3.6])
    [0.0, 0.6, 0.75, None]
    """
    jumps: list[float | None] = []
    for place, area in enumerate(areas):
        near = [
            areas[other]
            for other in (place - 1, place + 1)
            if 0 <= other < len(areas) and _are_near(frames[place], frames[other], times_s[place], times_s[other])
        ]
        mean = sum(near) / len(near) if near else 0.0
        jumps.append(1 - min(area, mean) / max(area, mean) if near else None)
    return jumps


def _are_near(frame: int, other: int, time_s: float | None, other_s: float | None) -> bool:
    if time_s is None or other_s is None:
        return abs(frame - other) <= NEAR_FRAMES
    return abs(time_s - other_s) <= NEAR_S
