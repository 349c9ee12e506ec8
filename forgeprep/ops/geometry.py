"""Boxes and the sizes of pictures. Boxes are x0, y0, x1, y1 in frame pixels, x1 and y1 exclusive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from forgeprep.media.frames import UInt8
from forgeprep.media.regions import Box, IntBox

Matrix = npt.NDArray[np.float64]
"""float64 (2, 3): takes points of a frame to those of a crop; both count from the centre of the upper left pixel."""


def square_crop_box(face_box: Box, enlarge: float) -> IntBox:
    """The square around a face box, ``enlarge`` times the face box's longer side, on whole pixels.

    >>> square_crop_box((100.0, 100.0, 200.0, 200.0), 1.3)
    (85, 85, 215, 215)
    """
    x0, y0, x1, y1 = face_box
    side = max(1, round(max(x1 - x0, y1 - y0) * enlarge))
    left = round((x0 + x1 - side) / 2)
    top = round((y0 + y1 - side) / 2)
    return left, top, left + side, top + side


def matrix_of_box(box: IntBox, side: int) -> Matrix:
    """The matrix of a crop that is an upright box, scaled to ``side`` pixels.

    >>> matrix_of_box((10, 20, 60, 70), 100).tolist()
    [[2.0, 0.0, -19.5], [0.0, 2.0, -39.5]]
    """
    scale = side / (box[2] - box[0])
    return np.array([[scale, 0.0, (0.5 - box[0]) * scale - 0.5], [0.0, scale, (0.5 - box[1]) * scale - 0.5]])


def matrix_of_row(row: Mapping[str, Any]) -> Matrix:
    """The matrix of a sample's crop by its columns; of runs without ``crop_matrix``, whose crops are upright, too."""
    told = row.get("crop_matrix")
    if told is not None:
        return np.array(told, np.float64).reshape(2, 3)
    return matrix_of_box(tuple(row["crop_box"]), row["image_size"][0])


def through(matrix: Matrix, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Where a matrix takes points, float64 (n, 2)."""
    return np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]


def inverse(matrix: Matrix) -> Matrix:
    """The way back."""
    return np.asarray(np.linalg.inv(np.vstack([matrix, [0.0, 0.0, 1.0]]))[:2], np.float64)


def tube_box(boxes: Sequence[Box]) -> Box:
    """The square around a face's boxes in several frames; enlarged, it leaves room around the face in each of them.

    >>> tube_box([(100.0, 100.0, 200.0, 200.0), (140.0, 100.0, 240.0, 200.0)])
    (100.0, 80.0, 240.0, 220.0)
    """
    x0, y0 = (min(box[side] for box in boxes) for side in (0, 1))
    x1, y1 = (max(box[side] for box in boxes) for side in (2, 3))
    half = max(x1 - x0, y1 - y0) / 2
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    return x - half, y - half, x + half, y + half


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, 0 to 1."""
    across = min(a[2], b[2]) - max(a[0], b[0])
    down = min(a[3], b[3]) - max(a[1], b[1])
    if across <= 0 or down <= 0:
        return 0.0
    both = across * down
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def resize_square(image: UInt8, size: int) -> UInt8:
    """Resize to size x size: area average when shrinking, cubic when growing."""
    if image.shape[:2] == (size, size):
        return image
    interpolation = cv2.INTER_AREA if image.shape[0] >= size else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (size, size), interpolation=interpolation), np.uint8)
