"""Whether a face of a fake differs from the original's at a frame by more than compression explains.

The luma of the face, with a rim around it, is scaled down to a small picture. In it a forgery is many levels strong and
compression noise few. The *signal* is the log of the face's strongest energy over the rim's. It is 0 where the face
differs no more than its surroundings, 1 to 2 for an original against its own re-encoding, and 3 or more for forgeries
that compression has not hidden.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from forgeprep.media.frames import Frame, UInt8
from forgeprep.media.regions import Box
from forgeprep.media.scale import area_mean
from forgeprep.ops.geometry import square_crop_box
from forgeprep.ops.robust import median_of_least, quantile
from forgeprep.ops.tone import tone_of, with_tone

SIDE = 48
ENLARGE = 1.3
RIM = 0.86
"""Pixels farther out than this are the rim; 1 is the edge of the picture."""
CLEAR, FAINT = 2.5, 1.8
"""A frame with a signal of at least CLEAR counts as forged; next to such frames FAINT is enough."""
GAP = 1.0
"""Frames count as unforged only where low and high signals are this far apart. Without such a gap, as where compression
hides the forgery now and then, no frame is taken for a real one."""
LEAST_GAP = 5
"""Shorter stretches of unforged frames between forged ones count as forged."""
MOST_RIM = 8.0
"""Energy, in squared levels, that the strongest compression leaves at the rim."""
LEAST_CLEAR = 3
"""A forgery is clear if this many of its frames are."""
TONE_PAIRS = 4
"""Pairs of patches, some more or less, whose rims tell a change of tone."""


def face_patch(frame: Frame, face: Box) -> UInt8:
    """A face and its rim, luma of limited range, uint8 (SIDE, SIDE); the frame's edge is repeated outside the frame."""
    x0, y0, x1, y1 = square_crop_box(face, ENLARGE)
    width, height = frame.size_wh
    part = frame.y[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)]
    if part.size == 0:
        return np.zeros((SIDE, SIDE), np.uint8)
    around = max(0, -y0), max(0, y1 - height), max(0, -x0), max(0, x1 - width)
    if any(around):
        part = np.asarray(cv2.copyMakeBorder(part, *around, cv2.BORDER_REPLICATE), np.uint8)
    return frame.limited(np.asarray(area_mean(part, (SIDE, SIDE)), np.uint8))


def change_signal(fake: UInt8, original: UInt8, *, beyond: bool = False) -> float:
    """The signal of a pair of patches; natural logarithm of a ratio of energies, about 0 to 10.

    ``beyond`` says that more than the face was drawn anew: then the rim counts as no noisier than coding makes it.
    """
    difference = np.asarray(cv2.subtract(fake, original, dtype=cv2.CV_32F), np.float32)
    around = difference[_RIM]
    difference -= 0.0 if beyond else median_of_least(around, around.size)
    smooth = cv2.GaussianBlur(difference, (0, 0), 1.2)
    energy = cv2.GaussianBlur(cv2.multiply(smooth, smooth), (0, 0), 1.0)
    # 0.05 is the energy left by rounding to whole levels.
    rim = quantile(energy[_RIM], 0.75)
    return math.log((quantile(energy[_INNER], 0.9) + 0.05) / ((min(rim, MOST_RIM) if beyond else rim) + 0.05))


def in_one_tone(pairs: Sequence[tuple[UInt8, UInt8, bool]]) -> list[tuple[UInt8, UInt8]]:
    """Pairs of patches, a fake's and its original's, the originals in the tone of the fakes' rims.

    The third says of a pair that more than the face was drawn anew: then the rim does not tell the tone.
    """
    alike = [(own, other) for own, other, _ in pairs]
    if any(beyond for *_, beyond in pairs):
        return alike
    some = alike[:: max(1, len(alike) // TONE_PAIRS)]
    fake, original = (np.concatenate([pair[i][_RIM] for pair in some])[:, None].astype(np.float32) for i in (0, 1))
    tone = tone_of(original, fake)
    return alike if tone is None else [(own, with_tone(other, tone)) for own, other in alike]


def is_clear(signals: Sequence[float]) -> bool:
    """Whether a face's signals clearly show a forgery."""
    return int(np.sum(np.asarray(signals) >= CLEAR)) >= LEAST_CLEAR


def forgery_threshold(signals: Sequence[float]) -> float:
    """The signal above which a frame of a clearly forged face counts as forged; -inf if all frames do."""
    values = np.sort(np.asarray(signals, np.float64))
    low, high = values[:-1], values[1:]
    width = np.where((low < CLEAR) & (high >= FAINT), high - low, 0.0)
    widest = int(np.argmax(width)) if len(width) else 0
    return float(low[widest] + high[widest]) / 2 if len(width) and width[widest] >= GAP else -math.inf


def forged_frames(signals: Sequence[float], threshold: float, before: bool | None) -> npt.NDArray[np.bool_]:
    """Which of consecutive frames are forged, by hysteresis; doubtful frames count as forged.

    Args:
        signals: one for each frame, in order of time.
        threshold: from :func:`forgery_threshold`, for all signals of the face so far.
        before: whether the frame before these was forged; None if they are the clip's first.

    Returns:
        bool, as many.
    """
    values = np.asarray(signals, np.float64)
    forged = _spread(values >= CLEAR, values >= FAINT) | (values > threshold)
    edges = np.flatnonzero(np.diff(np.concatenate([[True], forged, [True]]).astype(np.int8)))
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        opens = start == 0 and before is not True
        if end - start < LEAST_GAP and not opens and end < len(values):
            forged[start:end] = True
    return forged


def _spread(seeds: npt.NDArray[np.bool_], over: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The seeds and all of ``over`` that is connected to them."""
    _, labels = cv2.connectedComponents((seeds | over).astype(np.uint8)[None, :])
    row = labels[0]
    return np.asarray(np.isin(row, np.unique(row[seeds])) & (row > 0), np.bool_)


_OFFSET = np.abs(np.arange(SIDE) + 0.5 - SIDE / 2) / (SIDE / 2)
_RIM = np.maximum(_OFFSET[:, None], _OFFSET[None, :]) > RIM
_INNER = ~_RIM
