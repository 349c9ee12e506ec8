"""Another tone of a whole picture: brightness, contrast, gamma, colour that were changed after the forgery.

Such a change of everything is no forgery of a part. It is found and laid on the original, so that what is compared
differs only where something was forged.

Kinds of change are tried, the plain ones first (:mod:`forgeprep.ops.tone_kinds`). Each is fitted outside the face, and
has so few numbers that it holds for colours too that only the face has. What is seen outside may leave several open, as
where the background is gray. Of these, that one counts which leaves most of the face alike: a forgery changes
structure, which no tone explains, so it speaks for none of them.

Fits are robust least squares by reweighting (Holland and Welsch, 1977).
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from forgeprep.media.frames import UInt8
from forgeprep.ops.robust import Float
from forgeprep.ops.tone_kinds import LUMA, OF_COLOUR, OF_GRAY, TO_YCC, Double, Kind, Tone, solve, unchanged

Bool = npt.NDArray[np.bool_]

LEAST_OFF, BETTER = 1.5, 0.4
"""Of gray pictures of which nothing but their levels tells: levels of 255 by which most have to differ before a tone is
looked for, and the share of the difference that it may leave. Coding leaves less, strong compression half."""
DIFFERS = 0.6
"""Of pictures with a face: levels by which half of the rest has to differ."""
MOST_LEFT, STEEP = 5.0, (0.4, 2.5)
"""Levels that a tone may leave, and contrasts that it may give: any two pictures are alike if both are made flat."""
AS_GOOD = 1.35, 0.1
"""What leaves at most this factor of the least, and this many levels more, is possible too."""
CLEARER, CLEARLY = 0.02, 0.05
"""By how much more of the face a kind has to explain than a plainer one, and than no change where that is possible."""
LESS = 0.9
"""Share of the difference outside the face that a tone may leave where no change is possible."""
CUT = 8
"""Levels so near to black or white may have been cut off there."""
FEWEST, MOST = 60, 1000
"""Places that tell a tone, inside and outside the face each."""
ROUNDS = 4


def tone_of(original: Float, fake: Float, face: Bool | None = None) -> Tone | None:
    """What turns the original's colours into the fake's, for all of the picture.

    Args:
        original, fake: float32 (n, 3) RGB or (n, 1) gray, mean levels of the same places, 0 to 255; those of a
            minority outside the face may be forged.
        face: bool (n,), which of them may all be forged; None if there are none such.

    Returns:
        None where both have the same tone, or where no such change explains the difference.
    """
    x, y = np.asarray(original, np.float64), np.asarray(fake, np.float64)
    whole = np.all([((one > CUT) & (one < 255 - CUT)).all(axis=1) for one in (x, y)], axis=0)
    x, y, face = x[whole], y[whole], None if face is None else face[whole]
    outside = np.ones(len(x), bool) if face is None else ~face
    if np.count_nonzero(outside) < FEWEST:
        return None
    before = _apart(x, y)
    if not _may_differ(before[outside], alone=face is None):
        return None
    fits = [(unchanged, before), *(_fit(kind, x, y, outside) for kind in (OF_GRAY if x.shape[1] == 1 else OF_COLOUR))]
    left = [float(np.median(apart[outside])) for _, apart in fits]
    least = min(left)
    width = _width(least)
    alike = [float(np.mean(_weights(apart[~outside], width))) if face is not None else 0.0 for _, apart in fits]
    possible = [number for number, value in enumerate(left) if value <= AS_GOOD[0] * least + AS_GOOD[1]]
    best = possible[0]
    for number in possible[1:]:
        clear = left[number] <= LESS * left[0] and alike[number] > alike[0] + CLEARLY
        if alike[number] > alike[best] + CLEARER and (clear or possible[0]):
            best = number
    allowed = MOST_LEFT if face is not None else min(MOST_LEFT, BETTER * left[0])
    tone = fits[best][0]
    return tone if best and left[best] <= allowed and STEEP[0] <= _contrast(tone, x.shape[1]) <= STEEP[1] else None


def with_tone(picture: UInt8, tone: Tone) -> UInt8:
    """A picture, uint8 (H, W, 3) RGB or (H, W) gray, in another tone."""
    levels = tone(picture.reshape(-1, 1 if picture.ndim == 2 else 3).astype(np.float64))
    return np.asarray(np.clip(np.rint(levels), 0, 255), np.uint8).reshape(picture.shape)


def same_tone(originals: Sequence[UInt8], fakes: Sequence[UInt8], seen: Sequence[Bool], face: Bool) -> list[UInt8]:
    """The originals in the fakes' tone, which is one for all of them; as they are where that is the same.

    Args:
        originals, fakes: uint8 (S, S, 3) RGB each, the same parts of the picture.
        seen: bool (n, n), a coarse grid's cells that are inside the frame, one for each.
        face: bool (n, n), its cells that may be forged.
    """
    colours: tuple[list[Float], list[Float]] = [], []
    for one, other, keep in zip(originals, fakes, seen, strict=True):
        for picture, to in zip((one, other), colours, strict=True):
            small = cv2.resize(picture, keep.shape[::-1], interpolation=cv2.INTER_AREA)
            to.append(np.asarray(small[keep], np.float32))
    inside = np.concatenate([face[keep] for keep in seen])
    some = np.concatenate([np.flatnonzero(own)[:: max(1, np.count_nonzero(own) // MOST)] for own in (inside, ~inside)])
    x, y = (np.concatenate(own)[some] for own in colours)
    tone = tone_of(x, y, inside[some])
    return list(originals) if tone is None else [with_tone(one, tone) for one in originals]


def luma_in_tone(colours: Float, luma: Float, keep: Bool) -> Float:
    """The luma that an original's colours have in a fake: what a change of colour leaves of it.

    Args:
        colours: float32 (n, 3), luma and two values of chroma of the original, 0 to 255.
        luma: float32 (n,), of the fake.
        keep: bool (n,), which of them tell it.

    Returns:
        float32 (n,).
    """
    around = np.asarray(colours, np.float64) / 128 - 1
    strength = np.hypot(around[:, 1:2], around[:, 2:3])
    terms = np.concatenate([np.ones_like(strength), around, strength, around[:, :1] ** 2], axis=1)
    wanted = np.asarray(luma - colours[:, 0], np.float64)
    weights = np.ones(np.count_nonzero(keep))
    for _ in range(ROUNDS):
        change = (terms @ solve(terms[keep], wanted[keep][:, None], weights))[:, 0]
        apart = np.abs(change - wanted)[keep]
        weights = _weights(apart, _width(float(np.median(apart))))
    return np.asarray(colours[:, 0] + change, np.float32)


def _may_differ(before: Double, *, alone: bool) -> bool:
    if not alone:
        return bool(np.median(before) >= DIFFERS)
    # Most of the places, not half of them: a forged face may reach many.
    return bool(np.quantile(before, 0.3) >= LEAST_OFF or np.median(before) >= 2 * LEAST_OFF)


def _fit(kind: Kind, x: Double, y: Double, outside: Bool) -> tuple[Tone, Double]:
    """A tone of a kind as it fits outside the face, and what it leaves everywhere."""
    known, wanted = x[outside], y[outside]
    weights = np.ones(len(known))
    for _ in range(ROUNDS):
        tone = kind(known, wanted, weights)
        apart = _apart(tone(known), wanted)
        weights = _weights(apart, _width(float(np.median(apart))))
    return tone, _apart(tone(x), y)


def _width(left: float) -> float:
    return 1.5 * left + 0.3


def _weights(apart: Double, width: float) -> Double:
    return np.asarray(1 / (1 + np.square(apart / width)) ** 2, np.float64)


def _apart(one: Double, other: Double) -> Double:
    """Levels by which colours differ, in the luma or chroma that differs most."""
    difference = one - other
    return np.asarray(np.abs(difference if difference.shape[1] == 1 else difference @ TO_YCC.T).max(axis=1), np.float64)


def _contrast(tone: Tone, channels: int) -> float:
    dark, light = tone(np.repeat([[64.0], [192.0]], channels, axis=1)) @ (LUMA if channels == 3 else np.ones(1))
    return float(light - dark) / 128
