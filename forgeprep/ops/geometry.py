"""Boxes and crops. Boxes are x0, y0, x1, y1 in frame pixels, x1 and y1 exclusive."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from forgeprep.ops.video import Frame, UInt8

Box = tuple[float, float, float, float]
IntBox = tuple[int, int, int, int]


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


def padding_of(box: IntBox, size_wh: tuple[int, int]) -> IntBox:
    """How many pixels of ``box`` lie outside a frame: left, top, right, bottom.

    >>> padding_of((-5, 10, 95, 110), (90, 200))
    (5, 0, 5, 0)
    """
    x0, y0, x1, y1 = box
    width, height = size_wh
    across, down = x1 - x0, y1 - y0
    return (
        min(max(0, -x0), across),
        min(max(0, -y0), down),
        min(max(0, x1 - width), across),
        min(max(0, y1 - height), down),
    )


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, 0 to 1."""
    across = min(a[2], b[2]) - max(a[0], b[0])
    down = min(a[3], b[3]) - max(a[1], b[1])
    if across <= 0 or down <= 0:
        return 0.0
    both = across * down
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def crop_rgb(frame: Frame, box: IntBox) -> UInt8:
    """Cut ``box`` out of a frame and convert only that to RGB.

    A pixel's value does not depend on where the box lies: chroma is interpolated on the frame's own grid.

    Args:
        frame: the decoded frame.
        box: may reach outside the frame; what lies outside is black.

    Returns:
        uint8 (y1 - y0, x1 - x0, 3), RGB.
    """
    inner = _inside(box, frame.size_wh)
    if inner is None:
        return np.zeros((box[3] - box[1], box[2] - box[0], 3), np.uint8)
    x0, y0, x1, y1 = inner
    if frame.rgb is not None:
        return _pad(frame.rgb[y0:y1, x0:x1], box, frame.size_wh)
    yuv = cv2.merge((frame.y[y0:y1, x0:x1], _chroma(frame.u, inner), _chroma(frame.v, inner)))
    rgb = np.asarray(cv2.transform(yuv, _rgb_from_yuv(frame.matrix, frame.full_range)), np.uint8)
    return _pad(rgb, box, frame.size_wh)


def crop_gray(frame: Frame, box: IntBox) -> UInt8:
    """Cut ``box`` out of a frame's luma, uint8 (H, W) from 0 (black) to 255 (white); 0 outside the frame."""
    inner = _inside(box, frame.size_wh)
    if inner is None:
        return np.zeros((box[3] - box[1], box[2] - box[0]), np.uint8)
    x0, y0, x1, y1 = inner
    return _pad(full_range_luma(frame)[y0:y1, x0:x1], box, frame.size_wh)


def full_range_luma(frame: Frame) -> UInt8:
    """The frame's luma stretched to 0 (black) to 255 (white), uint8 (H, W)."""
    if frame.full_range:
        return frame.y
    return np.asarray(cv2.addWeighted(frame.y, 255 / 219, frame.y, 0.0, -16 * 255 / 219), np.uint8)


def frame_rgb(frame: Frame) -> UInt8:
    """The whole frame as RGB, uint8 (H, W, 3)."""
    return crop_rgb(frame, (0, 0, *frame.size_wh))


def yuv_from_rgb(rgb: UInt8, matrix: str, full_range: bool) -> UInt8:
    """RGB as Y, U, V of full size, uint8 (H, W, 3), by the same matrices as :func:`crop_rgb`."""
    back = np.linalg.inv(np.vstack([_rgb_from_yuv(matrix, full_range), [0.0, 0.0, 0.0, 1.0]]))[:3]
    return np.asarray(cv2.transform(rgb, back), np.uint8)


def resize_square(image: UInt8, size: int) -> UInt8:
    """Resize to size x size: area average when shrinking, cubic when growing."""
    if image.shape[:2] == (size, size):
        return image
    way = cv2.INTER_AREA if image.shape[0] >= size else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (size, size), interpolation=way), np.uint8)


def _inside(box: IntBox, size_wh: tuple[int, int]) -> IntBox | None:
    x0, y0, x1, y1 = max(0, box[0]), max(0, box[1]), min(size_wh[0], box[2]), min(size_wh[1], box[3])
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _pad(image: UInt8, box: IntBox, size_wh: tuple[int, int]) -> UInt8:
    left, top, right, bottom = padding_of(box, size_wh)
    if not (left or top or right or bottom):
        return np.ascontiguousarray(image)
    return np.asarray(cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=0), np.uint8)


def _chroma(plane: UInt8, box: IntBox) -> UInt8:
    """The part of a chroma plane under ``box``, doubled in size by linear interpolation."""
    x0, y0, x1, y1 = box
    # One sample more on each side, so that the interpolation sees the same neighbours wherever the crop is cut.
    left, top = max(0, x0 // 2 - 1), max(0, y0 // 2 - 1)
    part = plane[top : (y1 + 1) // 2 + 1, left : (x1 + 1) // 2 + 1]
    double = cv2.resize(part, (part.shape[1] * 2, part.shape[0] * 2), interpolation=cv2.INTER_LINEAR)
    return np.asarray(double[y0 - 2 * top : y1 - 2 * top, x0 - 2 * left : x1 - 2 * left], np.uint8)


_KR_KB = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}


@functools.cache
def _rgb_from_yuv(matrix: str, full_range: bool) -> npt.NDArray[np.float32]:
    """The 3x4 matrix from (Y, U, V, 1) to RGB on the 0-255 scale, by the luma weights of ITU-R BT.601/709/2020."""
    red, blue = _KR_KB[matrix]
    green = 1.0 - red - blue
    luma, chroma, black = (1.0, 1.0, 0.0) if full_range else (255 / 219, 255 / 224, 16.0)
    linear = np.array(
        [
            [luma, 0.0, chroma * 2 * (1 - red)],
            [luma, -chroma * 2 * blue * (1 - blue) / green, -chroma * 2 * red * (1 - red) / green],
            [luma, chroma * 2 * (1 - blue), 0.0],
        ]
    )
    offset = linear @ np.array([-black, -128.0, -128.0])
    return np.hstack([linear, offset[:, None]]).astype(np.float32)
