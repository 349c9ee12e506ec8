"""From planes to RGB, for a part of a picture only.

Chroma is enlarged to full size in 16 bits by linear interpolation, with its samples where the file says that they lie.
The colour matrix works on these 16 bits and the result is rounded to 8 bits once. A pixel's value does not depend on
which part is converted.

Results are within 1 level of FFmpeg's accurate conversion, except for halved chroma of an odd number of columns or
rows. There FFmpeg's scaler stretches the chroma plane over the picture; here its samples stay where they were coded.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np
import numpy.typing as npt

from forgeprep.media.frames import Frame, Plane, UInt8

IntBox = tuple[int, int, int, int]

_KR_KB = {
    "bt601": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
    "bt2020": (0.2627, 0.0593),
    "smpte240m": (0.212, 0.087),
    "fcc": (0.30, 0.11),
}
"""The known colour matrices, by the luma weights of ITU-R BT.601, BT.709 and BT.2020, SMPTE 240M, and FCC."""


def part_rgb(frame: Frame, box: IntBox) -> UInt8:
    """A part of a frame as RGB.

    Args:
        frame: the decoded frame.
        box: x0, y0, x1, y1 in its pixels, inside it.

    Returns:
        uint8 (y1 - y0, x1 - x0, 3).
    """
    x0, y0, x1, y1 = box
    if frame.model == "rgb":
        return np.asarray(cv2.merge([_rounded(plane[y0:y1, x0:x1], frame.bits) for plane in frame.planes]), np.uint8)
    luma = frame.planes[0][y0:y1, x0:x1]
    if frame.model == "gray":
        gray = _rounded(luma, frame.bits) if frame.full_range else _stretched(luma, frame.bits)
        return np.asarray(cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB), np.uint8)
    matrix = _rgb_from_yuv(frame.matrix, frame.full_range, frame.bits)
    if frame.bits == 8 and frame.shift == (0, 0):
        yuv = cv2.merge([plane[y0:y1, x0:x1] for plane in frame.planes])
        return np.asarray(cv2.transform(yuv, matrix), np.uint8)
    yuv = cv2.merge([_wide(luma, frame.bits), *(chroma_at_full_size(frame, number, box) for number in (1, 2))])
    wide = matrix.copy()
    wide[:, 3] *= 256
    return np.asarray(cv2.convertScaleAbs(cv2.transform(yuv, wide), alpha=1 / 256), np.uint8)


def part_gray(frame: Frame, box: IntBox) -> UInt8:
    """The luma of a part of a frame from 0 (black) to 255 (white), uint8 (y1 - y0, x1 - x0)."""
    x0, y0, x1, y1 = box
    if frame.model == "rgb" or frame.full_range:
        return frame.y[y0:y1, x0:x1]
    return _stretched(frame.planes[0][y0:y1, x0:x1], frame.bits)


def yuv_from_rgb(rgb: UInt8, matrix: str, full_range: bool) -> UInt8:
    """RGB as Y, U, V of full size, uint8 (H, W, 3), by the same matrices as :func:`part_rgb`."""
    back = np.linalg.inv(np.vstack([_rgb_from_yuv(matrix, full_range, 8), [0.0, 0.0, 0.0, 1.0]]))[:3]
    return np.asarray(cv2.transform(rgb, back), np.uint8)


def chroma_at_full_size(frame: Frame, number: int, box: IntBox) -> npt.NDArray[np.uint16]:
    """The part of a YUV frame's plane 1 or 2 inside ``box``, a sample for each pixel, on the scale of 16 bits."""
    plane = frame.planes[number]
    x0, y0, x1, y1 = box
    (sx, sy), (px, py) = frame.shift, frame.siting
    # One more sample on each side, so that interpolation has the same neighbours wherever the box lies.
    left, top = max(0, (x0 >> sx) - 2), max(0, (y0 >> sy) - 2)
    part = _wide(plane[top : (y1 >> sy) + 3, left : (x1 >> sx) + 3], frame.bits)
    if (sx, sy) == (0, 0):
        return part[y0 - top : y1 - top, x0 - left : x1 - left]
    across, down = 2.0**-sx, 2.0**-sy
    to_chroma = np.array([[across, 0, (x0 - px) * across - left], [0, down, (y0 - py) * down - top]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    full = cv2.warpAffine(part, to_chroma, (x1 - x0, y1 - y0), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(full, np.uint16)


def _wide(plane: Plane, bits: int) -> npt.NDArray[np.uint16]:
    """Samples on the scale of 16 bits."""
    return np.left_shift(plane, 16 - bits, dtype=np.uint16)


def _rounded(plane: Plane, bits: int) -> UInt8:
    if bits == 8:
        return np.ascontiguousarray(plane, np.uint8)
    # White is all ones: 1023 becomes 255.
    return np.asarray(cv2.convertScaleAbs(np.ascontiguousarray(plane), alpha=255 / (2**bits - 1)), np.uint8)


def _stretched(plane: Plane, bits: int) -> UInt8:
    """Luma of limited range on the scale from 0 to 255."""
    wide = np.ascontiguousarray(plane)
    grown = cv2.addWeighted(wide, 255 / 219 / 2 ** (bits - 8), wide, 0.0, -16 * 255 / 219, dtype=cv2.CV_8U)
    return np.asarray(grown, np.uint8)


@functools.cache
def _rgb_from_yuv(matrix: str, full_range: bool, bits: int) -> npt.NDArray[np.float32]:
    """The 3x4 matrix from (Y, U, V, 1), on the scale of 8 bits, to RGB on the 0-255 scale."""
    red, blue = _KR_KB[matrix]
    green = 1.0 - red - blue
    # In full range white is all ones. With more than 8 bits that is a little above 255.
    white = (2**bits - 1) / 2 ** (bits - 8)
    luma, chroma, black = (255 / white, 255 / white, 0.0) if full_range else (255 / 219, 255 / 224, 16.0)
    linear = np.array(
        [
            [luma, 0.0, chroma * 2 * (1 - red)],
            [luma, -chroma * 2 * blue * (1 - blue) / green, -chroma * 2 * red * (1 - red) / green],
            [luma, chroma * 2 * (1 - blue), 0.0],
        ]
    )
    offset = linear @ np.array([-black, -128.0, -128.0])
    return np.hstack([linear, offset[:, None]]).astype(np.float32)
