"""Whether a face of a fake differs from the original's at a frame, beyond what compression does.

The luma of the face, with a rim around it, is brought down to a small picture, in which a forgery is many levels strong
and compression noise few. The *signal* is the log of the face's strongest energy over the rim's: 0 where the face
differs no more than what surrounds it, 1 to 2 for an original against its own re-encoding, 3 and more for forgeries
that compression has not drowned.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from forgeprep.media.frames import Frame, UInt8
from forgeprep.media.regions import Box
from forgeprep.ops.geometry import square_crop_box

SIDE = 48
ENLARGE = 1.3
RIM = 0.86
"""Cells farther out than this are the rim; 1 = the edge of the picture."""
CLEAR, FAINT = 2.5, 1.8
"""From the first on, a frame counts as forged; next to such frames, from the second on."""
GAP = 1.0
"""Only a gap of this between low and high signals tells unforged frames: without one, as where compression drowns the
forgery now and then, a frame that is hardly forged is never taken for a real."""
LEAST_GAP = 5
"""Shorter stretches of unforged frames between forged ones count as forged."""
LEAST_CLEAR = 3
"""So many clear frames make a forgery clear."""


def face_patch(frame: Frame, face: Box) -> UInt8:
    """A face and its rim, luma, uint8 (SIDE, SIDE); continued past the frame's edge."""
    x0, y0, x1, y1 = square_crop_box(face, ENLARGE)
    width, height = frame.size_wh
    part = frame.y[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)]
    if part.size == 0:
        return np.zeros((SIDE, SIDE), np.uint8)
    around = max(0, -y0), max(0, y1 - height), max(0, -x0), max(0, x1 - width)
    if any(around):
        part = np.asarray(cv2.copyMakeBorder(part, *around, cv2.BORDER_REPLICATE), np.uint8)
    return np.asarray(cv2.resize(part, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def change_signal(fake: UInt8, original: UInt8) -> float:
    """The signal of a pair of patches; natural logarithm of a ratio of energies, about 0 to 10."""
    difference = cv2.subtract(fake, original, dtype=cv2.CV_32F)
    difference -= np.median(difference[_RIM])
    smooth = cv2.GaussianBlur(difference, (0, 0), 1.2)
    energy = cv2.GaussianBlur(cv2.multiply(smooth, smooth), (0, 0), 1.0)
    # 0.05: what rounding to whole levels leaves.
    return float(np.log((np.quantile(energy[~_RIM], 0.9) + 0.05) / (np.quantile(energy[_RIM], 0.75) + 0.05)))


def is_clear(signals: Sequence[float]) -> bool:
    """Whether a face's signals show a forgery beyond doubt."""
    return int(np.sum(np.asarray(signals) >= CLEAR)) >= LEAST_CLEAR


def cut_of(signals: Sequence[float]) -> float:
    """The signal above which a frame of a clearly forged face counts as forged; -inf where all of them do."""
    values = np.sort(np.asarray(signals, np.float64))
    low, high = values[:-1], values[1:]
    width = np.where((low < CLEAR) & (high >= FAINT), high - low, 0.0)
    widest = int(np.argmax(width)) if len(width) else 0
    return float(low[widest] + high[widest]) / 2 if len(width) and width[widest] >= GAP else -math.inf


def forged_frames(signals: Sequence[float], cut: float, before: bool | None) -> npt.NDArray[np.bool_]:
    """Which of consecutive frames are forged, by hysteresis; in doubt they are.

    Args:
        signals: one for each frame, in order of time.
        cut: as :func:`cut_of` gives it for all that is known of the face.
        before: what the frame before these was; None for the clip's first.

    Returns:
        bool, as many.
    """
    values = np.asarray(signals, np.float64)
    forged = _spread(values >= CLEAR, values >= FAINT) | (values > cut)
    edges = np.flatnonzero(np.diff(np.concatenate([[True], forged, [True]]).astype(np.int8)))
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        opens = start == 0 and before is not True
        if end - start < LEAST_GAP and not opens and end < len(values):
            forged[start:end] = True
    return forged


def _spread(seeds: npt.NDArray[np.bool_], over: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Seeds, and all of ``over`` that touches them directly or through more of ``over``."""
    _, labels = cv2.connectedComponents((seeds | over).astype(np.uint8)[None, :])
    row = labels[0]
    return np.asarray(np.isin(row, np.unique(row[seeds])) & (row > 0), np.bool_)


_PLACE = np.abs(np.arange(SIDE) + 0.5 - SIDE / 2) / (SIDE / 2)
_RIM = np.maximum(_PLACE[:, None], _PLACE[None, :]) > RIM
