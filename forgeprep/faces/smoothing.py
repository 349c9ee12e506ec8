"""A face's box between and at detections, smoothed over time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from forgeprep.media.regions import Box

STRAY = 1 / 3, 1 / 2
"""Shares of a face's size: smoothing that leads away from the detections by more than the first is taken back in part,
by more than the second altogether. Talking heads never move so fast, dancers do."""


def smooth_box(frames: Sequence[int], boxes: Sequence[Box], key_every: int) -> Box:
    """The square face box at a frame, by a local linear fit through the boxes around it (Cleveland 1979).

    Args:
        frames: those of the boxes, ascending, counted from the wanted one.
        boxes: as many, in frame pixels.
        key_every: frames from one detection to the next, as a rule.
    """
    times = [float(frame) for frame in frames]
    centre_x = _fit(times, [(b[0] + b[2]) / 2 for b in boxes], width=1.3 * key_every, slope=True)
    centre_y = _fit(times, [(b[1] + b[3]) / 2 for b in boxes], width=1.3 * key_every, slope=True)
    # A face's size changes slowly, and the detector's sizes come in coarse steps: a wider, level fit.
    half = _fit(times, [max(b[2] - b[0], b[3] - b[1]) / 2 for b in boxes], width=2.0 * key_every, slope=False)
    seen_x, seen_y = (float(np.interp(0.0, times, [(b[i] + b[i + 2]) / 2 for b in boxes])) for i in (0, 1))
    stray = math.hypot(seen_x - centre_x, seen_y - centre_y) / max(1e-9, 2 * half)
    back = min(1.0, max(0.0, (stray - STRAY[0]) / (STRAY[1] - STRAY[0])))
    centre_x, centre_y = centre_x + back * (seen_x - centre_x), centre_y + back * (seen_y - centre_y)
    return centre_x - half, centre_y - half, centre_x + half, centre_y + half


def _fit(times: list[float], values: list[float], *, width: float, slope: bool) -> float:
    """Value at time 0 of the Gaussian-weighted line (or level) through the points."""
    weights = [math.exp(-0.5 * (t / width) ** 2) for t in times]
    total = math.fsum(weights)
    mean_t = math.fsum(w * t for w, t in zip(weights, times, strict=True)) / total
    mean_v = math.fsum(w * v for w, v in zip(weights, values, strict=True)) / total
    spread = math.fsum(w * (t - mean_t) ** 2 for w, t in zip(weights, times, strict=True))
    if not slope or spread < 1e-9 * total:
        return mean_v
    gain = math.fsum(w * (t - mean_t) * (v - mean_v) for w, t, v in zip(weights, times, values, strict=True)) / spread
    return mean_v - gain * mean_t
