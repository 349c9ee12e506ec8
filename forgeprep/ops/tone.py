"""Another tone of a whole picture: brightness, contrast, gamma, colour that were changed after the forgery.

Such a change of everything is no forgery of a part. It is found outside the face and laid on the original, so that what
is compared differs only where something was forged. Luma follows a curve; chroma is turned, scaled and shifted, and
follows luma where the white balance is another: few numbers, so that they hold for colours too that only the face has.
The fit is robust least squares by reweighting (Holland and Welsch, 1977).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from forgeprep.media.frames import UInt8
from forgeprep.ops.robust import Float

Double = npt.NDArray[np.float64]

LEAST_OFF = 1.5
"""Levels of 255 by which most of two pictures have to differ before a tone is looked for: coding leaves less."""
BETTER = 0.3
"""A tone counts if it leaves at most this share of the difference: strong compression alone leaves half."""
MOST_LEFT, STEEP = 5.0, (0.4, 2.5)
"""Levels that a tone may leave, and contrasts that it may give: any two pictures are alike if both are made flat."""
FEWEST = 60
ROUNDS = 4
RIDGE = 1e-6
"""How far the fit is drawn to no change: what shows one colour only does not tell the rest."""
_LUMA = np.array([0.299, 0.587, 0.114])
_TO_YCC = np.stack([_LUMA, 0.564 * (np.eye(3)[2] - _LUMA), 0.713 * (np.eye(3)[0] - _LUMA)])
_TO_RGB = np.linalg.inv(_TO_YCC)
_SCALE, _MIDDLE = 1 / 128, np.array([128.0, 0.0, 0.0])


@dataclass(frozen=True, slots=True)
class Tone:
    """A change of tone, of values around the middle, one for 128 levels.

    Attributes:
        luma: float64 (3, 1): of 1, luma, and its square.
        chroma: float64 (4, 2): of 1, luma, Cb and Cr; None for gray pictures.
    """

    luma: Double
    chroma: Double | None

    def of(self, values: Double) -> Double:
        """Changed values, float64 (n, 3) Y, Cb, Cr, or (n, 1) Y."""
        changed = _luma_terms(values) @ self.luma
        if self.chroma is None:
            return changed
        return np.concatenate([changed, _chroma_terms(values) @ self.chroma], axis=1)


def tone_of(original: Float, fake: Float) -> Tone | None:
    """What turns the original's colours into the fake's, for all of the picture.

    Args:
        original, fake: float32 (n, 3) RGB or (n, 1) gray, mean levels of the same places, 0 to 255; those of a
            minority may be forged.

    Returns:
        None where both have the same tone, or where no such change explains the difference.
    """
    if len(original) < FEWEST:
        return None
    before = np.abs(fake - original).max(axis=1)
    # Most of the places, not half of them: a forged face may reach many.
    if np.quantile(before, 0.3) < LEAST_OFF and np.median(before) < 2 * LEAST_OFF:
        return None
    x, y = _values(original), _values(fake)
    weights, tone, apart = np.ones(len(x)), Tone(np.eye(3, 1, -1), None), before
    for _ in range(ROUNDS):
        tone = Tone(
            _fit(_luma_terms(x), y[:, :1], np.eye(3, 1, -1), weights),
            None if x.shape[1] == 1 else _fit(_chroma_terms(x), y[:, 1:], np.eye(4, 2, -2), weights),
        )
        apart = np.abs(tone.of(x) - y).max(axis=1) / _SCALE
        weights = 1 / (1 + np.square(apart / (1.5 * np.median(apart) + 0.3))) ** 2
    left, slope = float(np.median(apart)), float(tone.luma[1, 0])
    fits = left <= min(MOST_LEFT, BETTER * float(np.median(before))) and STEEP[0] <= slope <= STEEP[1]
    return tone if fits else None


def with_tone(picture: UInt8, tone: Tone) -> UInt8:
    """A picture, uint8 (H, W, 3) RGB or (H, W) gray, in another tone."""
    changed = tone.of(_values(picture.reshape(-1, 1 if picture.ndim == 2 else 3))) / _SCALE
    levels = changed + _MIDDLE[: changed.shape[1]]
    if picture.ndim == 3:
        levels = levels @ _TO_RGB.T
    return np.asarray(np.clip(np.rint(levels), 0, 255), np.uint8).reshape(picture.shape)


def same_tone(
    originals: Sequence[UInt8], fakes: Sequence[UInt8], places: Sequence[npt.NDArray[np.bool_]]
) -> list[UInt8]:
    """The originals in the fakes' tone, which is one for all of them; as they are where that is the same.

    Args:
        originals, fakes: uint8 (S, S, 3) RGB each, the same parts of the picture.
        places: bool (n, n), a coarse grid's cells that are outside the face and inside the frame, one for each.
    """
    colours: tuple[list[Float], list[Float]] = [], []
    for one, other, keep in zip(originals, fakes, places, strict=True):
        for picture, to in zip((one, other), colours, strict=True):
            small = cv2.resize(picture, keep.shape[::-1], interpolation=cv2.INTER_AREA)
            to.append(np.asarray(small[keep], np.float32))
    tone = tone_of(np.concatenate(colours[0]), np.concatenate(colours[1]))
    return list(originals) if tone is None else [with_tone(one, tone) for one in originals]


def _values(levels: npt.NDArray[np.generic]) -> Double:
    """Y, Cb, Cr around their middle, of levels (n, 3) RGB; luma alone of (n, 1)."""
    found = np.asarray(levels, np.float64)
    if found.shape[1] == 3:
        found = found @ _TO_YCC.T
    return np.asarray((found - _MIDDLE[: found.shape[1]]) * _SCALE, np.float64)


def _luma_terms(values: Double) -> Double:
    luma = values[:, :1]
    return np.concatenate([np.ones_like(luma), luma, luma * luma], axis=1)


def _chroma_terms(values: Double) -> Double:
    return np.concatenate([np.ones((len(values), 1)), values], axis=1)


def _fit(terms: Double, wanted: Double, unchanged: Double, weights: Double) -> Double:
    """Coefficients (terms, outputs) of least squares; ``unchanged`` are those of no change."""
    weighted = terms * weights[:, None]
    ridge = RIDGE * weights.sum() * np.eye(terms.shape[1])
    ridge[0, 0] = 0.0
    return np.asarray(
        unchanged + np.linalg.solve(weighted.T @ terms + ridge, weighted.T @ (wanted - terms @ unchanged)), np.float64
    )
