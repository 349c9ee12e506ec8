"""Planes scaled down by area averages, as OpenCV does it, in less time."""

from __future__ import annotations

import functools

import cv2
import numpy as np
import numpy.typing as npt

from forgeprep.media.frames import Plane

Float = npt.NDArray[np.float32]

_BLOCK = 8
"""Rows of a result that are made together: longer blocks multiply more of the zeros beside the band."""
_LEAST_SHARE = 1e-3
"""OpenCV leaves out smaller shares of a row."""


def area_mean(plane: Plane, size_wh: tuple[int, int]) -> Plane:
    """A plane, scaled down to width and height; of a million pixels one or a few are a level off OpenCV's.

    >>> area_mean(np.array([[0, 90, 30], [30, 30, 0]], np.uint8), (1, 1)).tolist()
    [[30]]
    """
    (columns, rows), (height, width) = size_wh, plane.shape
    down, across = height // rows, width // columns
    whole = (rows * down, columns * across) == plane.shape
    # OpenCV is fast at two by two, and rounds it differently.
    if plane.dtype != np.uint8 or not (down and across) or (whole and max(down, across) < 3):
        return np.asarray(cv2.resize(plane, size_wh, interpolation=cv2.INTER_AREA))
    # Sums of more than 257 levels do not fit into 16 bits.
    if whole and 3 <= min(down, across) <= max(down, across) <= 257:
        sums = np.add.reduce(plane.reshape(rows, down, width), axis=1, dtype=np.uint16).astype(np.float32)
        sums = sums.reshape(-1, across) @ np.ones(across, np.float32)
        return np.asarray(np.rint(sums * np.float32(1 / (down * across))), np.uint8).reshape(rows, columns)
    lower = np.asarray(cv2.transpose(_lower(plane, rows)), np.float32)
    return np.asarray(cv2.convertScaleAbs(cv2.transpose(_lower(lower, columns))), np.uint8)


def _lower(plane: Plane, rows: int) -> Float:
    """A plane, scaled down to some rows, float32 (rows, W): a product with a banded matrix, block by block."""
    found = np.empty((rows, plane.shape[1]), np.float32)
    for to, of, shares in _blocks(len(plane), rows):
        # Converted here, where it stays in the processor's cache.
        np.dot(shares, plane[of].astype(np.float32, copy=False), out=found[to])
    return found


@functools.lru_cache(maxsize=512)
def _blocks(size: int, small: int) -> list[tuple[slice, slice, Float]]:
    """For each block of rows of a result: these, the rows that they are means of, and their shares."""
    factor, first = size / small, np.arange(0, small, _BLOCK)
    rows = np.minimum(first[:, None] + np.arange(_BLOCK), small - 1)
    low, high = rows * factor, np.minimum((rows + 1) * factor, size)
    starts, stops = np.floor(low[:, 0]).astype(int), np.minimum(np.ceil(high[:, -1]).astype(int), size)
    at = starts[:, None, None] + np.arange((stops - starts).max())
    shares = np.minimum(high[..., None], at + 1) - np.maximum(low[..., None], at)
    shares = np.where(shares > _LEAST_SHARE, shares / factor, 0).astype(np.float32)
    return [
        (slice(to, min(to + _BLOCK, small)), slice(start, stop), own[: small - to, : stop - start].copy())
        for to, start, stop, own in zip(first.tolist(), starts.tolist(), stops.tolist(), shares, strict=True)
    ]
