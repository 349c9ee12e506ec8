"""A decoded picture: its planes as the decoder gave them, and what they mean."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

UInt8 = npt.NDArray[np.uint8]
Plane = npt.NDArray[Any]
"""uint8, or uint16 where the picture has more than 8 bits."""

Model = Literal["yuv", "rgb", "gray"]

_ALL_BUT_SQUARE = 0.01
"""Pixels whose sides differ by less are kept, as in scaled downloads: resampling would cost more than it repairs."""


@dataclass(frozen=True)
class Frame:
    """One decoded picture; nothing is converted until a crop is cut out of it.

    Attributes:
        index: position in presentation order, from 0.
        time_s: presentation time in seconds; NaN where none is known.
        planes: Y, U, V or R, G, B or gray alone; uint8 (H, W), or uint16 where ``bits`` > 8. Chroma planes hold one
            sample for ``2**shift`` pixels in each direction. Views of the decoder's buffers: read-only.
        model: what the planes are.
        shift: how many times chroma is halved, horizontally and vertically: (1, 1) is 4:2:0, (0, 0) is 4:4:4.
        bits: significant bits of a sample.
        matrix: ``bt601``, ``bt709``, ``bt2020``, ``smpte240m`` or ``fcc``; untagged video counts as BT.601, as
            FFmpeg's converters do.
        full_range: True where black is 0 and white all ones, False for 16 to 235 (times ``2**(bits - 8)``).
        siting: where the first chroma sample lies, in pixels from the centre of the first pixel, horizontally and
            vertically.
    """

    index: int
    time_s: float
    planes: tuple[Plane, ...] = field(repr=False)
    model: Model = "yuv"
    shift: tuple[int, int] = (1, 1)
    bits: int = 8
    matrix: str = "bt601"
    full_range: bool = False
    siting: tuple[float, float] = (0.0, 0.5)

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.planes[0].shape[1], self.planes[0].shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of its planes."""
        return sum(plane.nbytes for plane in self.planes)

    @cached_property
    def y(self) -> UInt8:
        """Luma, uint8 (H, W), in the range of the planes; of an RGB picture BT.601 luma, full range."""
        if self.model == "rgb":
            rgb = cv2.merge([to_8_bits(plane, self.bits) for plane in self.planes])
            return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
        return to_8_bits(self.planes[0], self.bits)

    def limited(self, luma: UInt8) -> UInt8:
        """A part of :attr:`y`, scaled or not, in the limited range, so that pictures of both ranges can be compared."""
        full = self.model == "rgb" or self.full_range
        return np.asarray(cv2.convertScaleAbs(luma, alpha=219 / 255, beta=16), np.uint8) if full else luma


def to_8_bits(plane: Plane, bits: int) -> UInt8:
    """A plane's samples on the scale of 8 bits, rounded; the plane itself where it has 8 bits."""
    if plane.dtype == np.uint8:
        return np.asarray(plane, np.uint8)
    return np.asarray(cv2.convertScaleAbs(np.ascontiguousarray(plane), alpha=2.0 ** (8 - bits)), np.uint8)


def turned(frame: Frame, turn: tuple[bool, bool, bool]) -> Frame:
    """The frame turned and mirrored; ``turn``: whether to transpose, then to mirror left to right, then upside down."""
    transpose, mirror, flip = turn
    if not any(turn):
        return frame
    planes, (sx, sy), (px, py) = frame.planes, frame.shift, frame.siting
    if transpose:
        planes, (sx, sy), (px, py) = tuple(plane.T for plane in planes), (sy, sx), (py, px)
    chroma = planes[1] if frame.model == "yuv" else planes[0]
    if mirror:
        px = (planes[0].shape[1] - 1) - (1 << sx) * (chroma.shape[1] - 1) - px
        planes = tuple(plane[:, ::-1] for plane in planes)
    if flip:
        py = (planes[0].shape[0] - 1) - (1 << sy) * (chroma.shape[0] - 1) - py
        planes = tuple(plane[::-1] for plane in planes)
    return replace(
        frame, planes=tuple(map(np.ascontiguousarray, planes)), shift=(sx, sy), siting=(float(px), float(py))
    )


def cropped(frame: Frame, edges: tuple[int, int, int, int]) -> Frame:
    """The frame without ``edges``: pixels at its top, bottom, left and right."""
    top, bottom, left, right = edges
    width, height = frame.size_wh
    if not any(edges) or top + bottom >= height or left + right >= width:
        return frame
    (sx, sy), (px, py) = frame.shift, frame.siting
    planes = []
    for number, plane in enumerate(frame.planes):
        across, down = (sx, sy) if number and frame.model == "yuv" else (0, 0)
        rows, columns = -(-(height - bottom) >> down), -(-(width - right) >> across)
        planes.append(plane[top >> down : rows, left >> across : columns])
    # If the edge falls between two pixels of one chroma sample, that sample lies before the first pixel.
    siting = px - (left - (left >> sx << sx)), py - (top - (top >> sy << sy))
    return replace(frame, planes=tuple(planes), siting=siting)


def squared(frame: Frame, aspect: float) -> Frame:
    """The frame with square pixels, made wider or taller; ``aspect`` is a pixel's width over its height.

    Pixels within a hundredth of square are left as they are.
    """
    if abs(aspect - 1) < _ALL_BUT_SQUARE:
        return frame
    across, down = max(aspect, 1.0), max(1 / aspect, 1.0)
    width, height = (round(side * factor) for side, factor in zip(frame.size_wh, (across, down), strict=True))
    if frame.model == "yuv":
        # Chroma keeps its share of the samples, so its siting changes by less than a pixel.
        sizes = [(width, height), *[(-(-width >> frame.shift[0]), -(-height >> frame.shift[1]))] * 2]
    else:
        sizes = [(width, height)] * len(frame.planes)
    planes = tuple(
        cv2.resize(np.ascontiguousarray(plane), size, interpolation=cv2.INTER_LINEAR)
        for plane, size in zip(frame.planes, sizes, strict=True)
    )
    return replace(frame, planes=planes)
