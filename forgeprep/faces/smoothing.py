"""A face's box between and at detections, smoothed over time."""

from __future__ import annotations

import math
from collections.abc import Sequence

from forgeprep.media.regions import Box

CALM, BUSY = 1.3, 0.5
"""Widths of the fit, in key frames: of a face that keeps its course, and of one that turns."""
TURNS = 0.07, 0.14
"""Shares of a face's size: detections that lie off the calm fit by less than the first, in the root mean square, are of
a face that keeps its course; those off by more than the second, of one that turns. Talking heads stay below the first.
"""


def smooth_box(frames: Sequence[int], boxes: Sequence[Box], key_every: int) -> Box:
    """The square face box at a frame, by a local linear fit through the boxes around it (Cleveland 1979).

    The fit is narrow where the boxes are not on a line: a wide one cuts the corners of a dance.

    Args:
        frames: those of the boxes, ascending, counted from the wanted one.
        boxes: as many, in frame pixels.
        key_every: frames from one detection to the next, as a rule.
    """
    times = [float(frame) for frame in frames]
    middles = [[(b[i] + b[i + 2]) / 2 for b in boxes] for i in (0, 1)]
    # A face's size changes slowly, and the detector's sizes come in coarse steps: a wider, level fit.
    half, _ = _fit(times, [max(b[2] - b[0], b[3] - b[1]) / 2 for b in boxes], width=2.0 * key_every, slope=False)
    calm = [_fit(times, values, width=CALM * key_every) for values in middles]
    off = math.hypot(*(left for _, left in calm)) / max(1e-9, 2 * half)
    turns = min(1.0, max(0.0, (off - TURNS[0]) / (TURNS[1] - TURNS[0])))
    near = [_fit(times, values, width=BUSY * key_every) for values in middles] if turns else calm
    x, y = (wide + turns * (narrow - wide) for (wide, _), (narrow, _) in zip(calm, near, strict=True))
    return x - half, y - half, x + half, y + half


def _fit(times: list[float], values: list[float], *, width: float, slope: bool = True) -> tuple[float, float]:
    """Value at time 0 of the Gaussian-weighted line (or level) through the points, and their deviation from it."""
    # Counted from the nearest point, whose weight is 1: where all are far, none would have any.
    nearest = min(t * t for t in times)
    weights = [math.exp(-0.5 * (t * t - nearest) / width**2) for t in times]
    total = math.fsum(weights)
    mean_t = math.fsum(w * t for w, t in zip(weights, times, strict=True)) / total
    mean_v = math.fsum(w * v for w, v in zip(weights, values, strict=True)) / total
    spread = math.fsum(w * (t - mean_t) ** 2 for w, t in zip(weights, times, strict=True))
    gain = 0.0
    if slope and spread >= 1e-9 * total:
        products = (w * (t - mean_t) * (v - mean_v) for w, t, v in zip(weights, times, values, strict=True))
        gain = math.fsum(products) / spread
    left = math.fsum(
        w * (v - mean_v - gain * (t - mean_t)) ** 2 for w, t, v in zip(weights, times, values, strict=True)
    )
    return mean_v - gain * mean_t, math.sqrt(left / total)
