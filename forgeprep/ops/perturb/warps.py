"""Perturbations that move pixels: one warp for the crop, its mask and its coordinates.

A warp takes points of the picture to where they end up. Points are x, y in pixels, the upper left corner of the upper
left pixel at (0, 0), so that its centre lies at (0.5, 0.5). The size stays; what comes from outside is black.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from forgeprep.media.frames import UInt8
from forgeprep.media.regions import Box

Points = npt.NDArray[np.float64]

_NEWTON_STEPS = 12


@dataclass(frozen=True, slots=True, eq=False)
class Warp:
    """Where points of a picture go: through ``matrix``, then towards the centre.

    Attributes:
        matrix: float64 (3, 3), a homography.
        size_wh: width and height of the picture in pixels.
        bend: of the lens: a point that ends at the distance r from the centre, in halves of the shorter side, came from
            r (1 + bend r²). 0: none.
    """

    matrix: npt.NDArray[np.float64]
    size_wh: tuple[int, int]
    bend: float = 0.0

    def points(self, points: Points) -> Points:
        """Where ``points``, float64 (N, 2), go."""
        moved = _through(self.matrix, points)
        if not self.bend:
            return moved
        centre, unit = self.lens()
        offset = (moved - centre) / unit
        before = np.linalg.norm(offset, axis=1, keepdims=True)
        after = before.copy()
        # r + bend r³ is convex for r > 0: Newton's steps come down on the root from above and never overshoot.
        for _ in range(_NEWTON_STEPS):
            after -= (after * (1 + self.bend * after**2) - before) / (1 + 3 * self.bend * after**2)
        bent: Points = centre + offset * (after / np.maximum(before, 1e-12)) * unit
        return bent

    def box(self, box: Box) -> Box:
        """The smallest upright box around where ``box`` goes."""
        x0, y0, x1, y1 = box
        share = np.linspace(0, 1, 9)
        x, y = x0 + (x1 - x0) * share, y0 + (y1 - y0) * share
        sides = [(x, 0 * y + y0), (x, 0 * y + y1), (0 * x + x0, y), (0 * x + x1, y)]
        moved = self.points(np.concatenate([np.stack(side, axis=1) for side in sides]))
        (left, top), (right, bottom) = moved.min(axis=0), moved.max(axis=0)
        return float(left), float(top), float(right), float(bottom)

    def picture(self, image: UInt8) -> UInt8:
        """Warp a picture, uint8 (H, W, 3), by cubic interpolation."""
        return self._remap(image, cv2.INTER_CUBIC)

    def levels(self, image: UInt8) -> UInt8:
        """Warp levels whose 0 has a meaning of its own, uint8 (H, W), by the nearest pixel: no new level appears."""
        return self._remap(image, cv2.INTER_NEAREST)

    def mask(self, mask: UInt8) -> UInt8:
        """Warp a mask of 0 and 255, uint8 (H, W); 255 where at least half a pixel is."""
        return np.where(self._remap(mask, cv2.INTER_LINEAR) >= 128, 255, 0).astype(np.uint8)

    def _remap(self, image: UInt8, way: int) -> UInt8:
        source = _source(self)
        return np.asarray(cv2.remap(image, *source, way, borderMode=cv2.BORDER_CONSTANT, borderValue=0), np.uint8)

    def lens(self) -> tuple[Points, float]:
        """The lens's centre, x and y, and its unit, half the shorter side, in pixels."""
        return np.array(self.size_wh) / 2, min(self.size_wh) / 2


def rotate(size_wh: tuple[int, int], *, angle: float) -> Warp:
    """Turn about the centre by ``angle`` degrees, counter-clockwise as one looks at it."""
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return _about_centre(size_wh, [[cos, sin], [-sin, cos]])


def translate(size_wh: tuple[int, int], *, share: float, angle: float) -> Warp:
    """Move by ``share`` of the shorter side, ``angle`` degrees counter-clockwise from the right."""
    length = share * min(size_wh)
    matrix = np.eye(3)
    matrix[:2, 2] = length * math.cos(math.radians(angle)), -length * math.sin(math.radians(angle))
    return Warp(matrix, size_wh)


def zoom(size_wh: tuple[int, int], *, factor: float) -> Warp:
    """Scale by ``factor`` about the centre; below 1 a black rim appears."""
    return _about_centre(size_wh, [[factor, 0], [0, factor]])


def shear(size_wh: tuple[int, int], *, slope: float) -> Warp:
    """Move each row sideways by ``slope`` times its distance from the middle row."""
    return _about_centre(size_wh, [[1, slope], [0, 1]])


def perspective(size_wh: tuple[int, int], *, corners: Sequence[float]) -> Warp:
    """Move the corners by x, y shares of the sides: upper left, upper right, lower right, lower left."""
    width, height = size_wh
    before = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    after = before + np.array(corners, np.float32).reshape(4, 2) * np.array([width, height], np.float32)
    return Warp(np.asarray(cv2.getPerspectiveTransform(before, after), np.float64), size_wh)


def lens(size_wh: tuple[int, int], *, bend: float) -> Warp:
    """Barrel distortion by ``bend``, see :class:`Warp`."""
    return Warp(np.eye(3), size_wh, bend)


@functools.lru_cache(maxsize=2)
def _source(warp: Warp) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """For each pixel, the x and the y that it comes from, float32 (H, W), in OpenCV's coordinates of pixel centres.

    Kept for the mask that follows the picture.
    """
    width, height = warp.size_wh
    x, y = np.arange(width)[None] + 0.5, np.arange(height)[:, None] + 0.5
    if warp.bend:
        (middle_x, middle_y), unit = warp.lens()
        x, y = x - middle_x, y - middle_y
        out = 1 + warp.bend / unit**2 * (x**2 + y**2)
        x, y = x * out + middle_x, y * out + middle_y
    (a, b, c), (d, e, f), (g, h, i) = np.linalg.inv(warp.matrix)
    over = 1 / (g * x + h * y + i)
    return (
        ((a * x + b * y + c) * over - 0.5).astype(np.float32),
        ((d * x + e * y + f) * over - 0.5).astype(np.float32),
    )


def _about_centre(size_wh: tuple[int, int], linear: list[list[float]]) -> Warp:
    centre = np.array(size_wh) / 2
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = centre - matrix[:2, :2] @ centre
    return Warp(matrix, size_wh)


def _through(matrix: npt.NDArray[np.float64], points: Points) -> Points:
    moved = points @ matrix[:, :2].T + matrix[:, 2]
    result: Points = moved[:, :2] / moved[:, 2:]
    return result
