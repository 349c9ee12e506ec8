"""Parts of a frame as pictures: cropped from its planes first, converted afterwards.

Boxes are x0, y0, x1, y1 in frame pixels, x1 and y1 exclusive.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from forgeprep.media.colour import part_gray, part_rgb
from forgeprep.media.frames import Frame, Plane, UInt8
from forgeprep.media.scale import area_mean

Box = tuple[float, float, float, float]
IntBox = tuple[int, int, int, int]


def crop_rgb(frame: Frame, box: IntBox) -> UInt8:
    """Cut ``box`` out of a frame's planes and convert only that to RGB.

    A pixel's value does not depend on where the box lies.

    Args:
        frame: the decoded frame.
        box: may reach outside the frame; what lies outside is black.

    Returns:
        uint8 (y1 - y0, x1 - x0, 3), RGB.
    """
    inner = _inside(box, frame.size_wh)
    if inner is None:
        return np.zeros((box[3] - box[1], box[2] - box[0], 3), np.uint8)
    return _pad(part_rgb(frame, inner), box, frame.size_wh)


def crop_gray(frame: Frame, box: IntBox) -> UInt8:
    """Cut ``box`` out of a frame's luma, uint8 (H, W) from 0 (black) to 255 (white); 0 outside the frame."""
    inner = _inside(box, frame.size_wh)
    if inner is None:
        return np.zeros((box[3] - box[1], box[2] - box[0]), np.uint8)
    return _pad(part_gray(frame, inner), box, frame.size_wh)


def frame_rgb(frame: Frame) -> UInt8:
    """The whole frame as RGB, uint8 (H, W, 3)."""
    return crop_rgb(frame, (0, 0, *frame.size_wh))


def small_rgb(frame: Frame, lines: int) -> tuple[UInt8, float]:
    """The frame as RGB, scaled to ``lines`` rows before it is converted, and how many pixels make one of it."""
    width, height = frame.size_wh
    scale = height / lines
    if scale == 1.0:
        return frame_rgb(frame), 1.0
    size = max(1, round(width / scale)), lines
    planes = tuple(
        area_mean(plane, size) if scale > 1 else np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR))
        for plane in frame.planes
    )
    return frame_rgb(replace(frame, planes=planes, shift=(0, 0))), scale


def window_rgb(frame: Frame, box: IntBox, side: int) -> UInt8:
    """Cut a square out of a frame, scaled to ``side`` x ``side`` before it is converted to RGB.

    What lies outside the frame is continued from its edge. Halved chroma is placed to half a pixel: good for comparing
    two frames that are cut alike, not for crops.
    """
    planes = []
    for number, plane in enumerate(frame.planes):
        sx, sy = frame.shift if number and frame.model == "yuv" else (0, 0)
        planes.append(_scaled_part(plane, (box[0] >> sx, box[1] >> sy, -(-box[2] >> sx), -(-box[3] >> sy)), side))
    return frame_rgb(replace(frame, planes=tuple(planes), shift=(0, 0)))


def window_gray(frame: Frame, box: IntBox, side: int) -> UInt8:
    """The same of its luma alone, uint8 (side, side), in the range of the planes."""
    return np.asarray(_scaled_part(frame.y, box, side), np.uint8)


def _scaled_part(plane: Plane, box: IntBox, side: int) -> Plane:
    x0, y0, x1, y1 = box
    height, width = plane.shape
    left, top = min(max(0, x0), width - 1), min(max(0, y0), height - 1)
    part = plane[top : max(top + 1, min(height, y1)), left : max(left + 1, min(width, x1))]
    above, below = max(0, top - y0), max(0, y1 - top - part.shape[0])
    before, after = max(0, left - x0), max(0, x1 - left - part.shape[1])
    if above or below or before or after:
        part = cv2.copyMakeBorder(part, above, below, before, after, cv2.BORDER_REPLICATE)
    if part.shape[0] >= 1.6 * side:
        return area_mean(part, (side, side))
    return np.asarray(cv2.resize(part, (side, side), interpolation=cv2.INTER_LINEAR))


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


def _inside(box: IntBox, size_wh: tuple[int, int]) -> IntBox | None:
    x0, y0, x1, y1 = max(0, box[0]), max(0, box[1]), min(size_wh[0], box[2]), min(size_wh[1], box[3])
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _pad(image: UInt8, box: IntBox, size_wh: tuple[int, int]) -> UInt8:
    left, top, right, bottom = padding_of(box, size_wh)
    if not (left or top or right or bottom):
        return np.ascontiguousarray(image)
    return np.asarray(cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=0), np.uint8)
