"""A line and medians that outliers do not affect."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float32]


def robust_line(x: Float, y: Float) -> tuple[float, float]:
    """Slope and level of a line through points, ignoring points far above it; ``x`` and ``y`` are float32 (n,)."""
    powers = np.empty((4, len(x)))
    powers[1], powers[3] = x, y
    np.multiply(powers[1], powers[1::2], out=powers[::2])
    keep, count = np.ones(len(x), bool), len(x)
    slope = level = 0.0
    for turn in range(4):
        if turn:
            rest = y - (np.float32(slope) * x + np.float32(level))
            # Ignored points become infinite: cheaper than selecting the others.
            kept = np.where(keep, rest, np.float32(np.inf))
            middle = median_of_least(kept, count)
            keep = rest < middle + 2 * (1.4826 * median_of_least(np.abs(kept - np.float32(middle)), count) + 1e-3)
            count = int(np.count_nonzero(keep))
        xx, x1, xy, y1 = (powers @ keep.astype(np.float64)).tolist()
        width = (xx + 1e-2) * (count + 1e-2) - x1 * x1
        slope, level = ((count + 1e-2) * xy - x1 * y1) / width, ((xx + 1e-2) * y1 - x1 * xy) / width
    return slope, level


def median_of_least(values: Float, count: int) -> float:
    """The median of the ``count`` least values; faster than ``np.median``, which partitions more than once."""
    half = count // 2
    ordered = np.partition(values, half)
    return float(ordered[half] if count % 2 else (ordered[half] + ordered[:half].max()) / 2)


def medians(values: Float, frame: npt.NDArray[np.intp], frames: int) -> Float:
    """Medians by frame, float32 (channels, frames), 0 for frames of few values; ``frame`` ascends."""
    counts = np.bincount(frame, minlength=frames)
    at = np.arange(counts.max())
    padded = np.concatenate([values, np.full((len(values), 1), np.inf, np.float32)], axis=1)
    starts = np.cumsum(counts) - counts
    ordered = np.sort(padded[:, np.where(at < counts[:, None], starts[:, None] + at, -1)], axis=-1)
    middles = np.stack([(counts - 1) // 2, counts // 2], axis=-1)
    return np.where(counts > 60, np.take_along_axis(ordered, middles[None], axis=-1).mean(axis=-1), np.float32(0))


def quantile(values: Float, share: float) -> float:
    """As ``np.quantile`` of more than one value, up to rounding, in two fifths of its time: with a single partition."""
    whole, rest = divmod(share * (len(values) - 1), 1)
    ordered = np.partition(values, int(whole) + 1)
    low, high = float(ordered[: int(whole) + 1].max()), float(ordered[int(whole) + 1])
    return low + rest * (high - low)
