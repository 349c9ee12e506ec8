"""How likely each part of a face was forged, from a fake's pictures and its original's.

Both are compared in a window around the face, wider than any usual crop, on a grid of cells. The energy of the
difference is measured for each cell, channel (luma, chroma) and scale: within the cell, smoothed a little and smoothed
widely; for the frame, for its neighbours in time, and for the mean over the run, where coding noise averages out.

* Each energy is compared with the noise that the window's rim shows at equal texture: a robust line through their
  logarithms. A forgery does not reach the whole rim; the cells that it reaches are outliers, which the line ignores.
* A small convolutional network (:mod:`forgeprep.ops.evidence_net`) turns all this into log-odds. It sees surroundings
  and the whole face: codecs spread strong changes, and forgeries have shapes.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from forgeprep.media.frames import UInt8
from forgeprep.ops.evidence_net import forged_odds
from forgeprep.ops.robust import Float, medians, robust_line
from forgeprep.ops.tone import same_tone

Bool = npt.NDArray[np.bool_]
Part = tuple[slice, slice]
Places = npt.NDArray[np.intp]

CELLS_ACROSS_FACE = 48
PIXELS = 2
"""Pixels of a window along a cell's side."""
WIDE = 2.0
"""Side of the window over side of the face box, at least."""
SCALES = (0.7, 1.5, 3.6)
"""Standard deviations of the smoothing, in cells."""
RIM = 1.35, 1.1, 0.9
"""Cells from this distance on are the rim; 1 is the edge of the face box. The next value serves if too few are seen."""
TONE_CELLS = 4
"""Cells of the grid along the side of those whose colours tell a change of tone."""
TONE_LEFT = 0.16
"""Energy, in squared levels, that a change of tone leaves: it was rounded, and is known only so well."""
LEAST_RIM = 100
"""Cells for each frame that make a rim."""
CHANNELS = ("hy", "hc", "y0", "c0", "y1", "c1", "y2", "c2", "ty", "tc", "py1", "pc1", "py2", "pc2")
"""Energies of luma and chroma: within a cell (h), by scale (0 to 2), over neighbouring frames (t), of the mean (p)."""
FLOORS = 0.15, 0.15, 0.12, 0.12, 0.05, 0.05, 0.03, 0.03, 0.05, 0.05, 0.02, 0.02, 0.02, 0.02
"""Their values where only rounding to whole levels is left."""
MOST_NOISE = tuple(
    np.array(values, np.float32)
    for values in (
        (0.6, 0.2, 0.4, 0.1, 0.4, 0.1, 0.3, 0.0, 0.4, 0.1, 0.4, 0.1, 0.3, 0.0),
        (-0.1, -0.1, 1.1, 2.1, 0.9, 2.1, 0.5, 2.0, 1.0, 2.1, 0.7, 2.0, 0.2, 2.0),
    )
)
"""Slope and level, over the logarithm of texture, of twice the most that coding was seen to leave (c40): a rim that has
more is forged itself, where the pictures say that more than the face is, or show hardly more than the face."""
OWN = sum(not name.startswith("p") for name in CHANNELS)
"""How many energies are a frame's own; their evidence is averaged over the run too."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A fake's window and its original's.

    Attributes:
        fake, original: uint8 (S, S, 3) RGB, S being ``PIXELS`` for each of the grid's cells, of the same part of the
            picture; the frame's edge is repeated outside the frame.
        outside: left, top, right, bottom: shares of the window that lie outside the frame, 0 to 1.
        beyond: whether more of the picture than the face was drawn anew, so that the rim may be forged too.
    """

    fake: UInt8
    original: UInt8
    outside: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    beyond: bool = False


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the pairs of one face show.

    Attributes:
        log_odds: float32 (frames, G, G), of each cell being forged; strongly negative outside the frame, and outside
            the part of the grid that was wanted.
        standing: float32 (frames, 14, h, w), the channels' log energies over the rim's noise, in that part.
        seen: bool (frames, G, G), cells that show picture.
        part: rows and columns of that part; the whole grid by default.
    """

    log_odds: Float
    standing: Float
    seen: Bool
    part: Part = (slice(0, None), slice(0, None))


def grid_side(wide: float) -> int:
    """Cells along the side of a window that is ``wide`` times the face box."""
    return round(CELLS_ACROSS_FACE * wide / 2) * 2


def find_evidence(pairs: Sequence[Pair], part: Part | None = None) -> Evidence:
    """Compare the pairs of one face over a run; the more frames, the better.

    Args:
        pairs: of at least one frame.
        part: rows and columns of the grid whose odds are wanted; all if None.
    """
    side = pairs[0].fake.shape[0] // PIXELS
    part = part or (slice(0, side), slice(0, side))
    standing, seen = measure(pairs, part)
    log_odds = np.full(seen.shape, -9.0, np.float32)
    shared = standing[:, :OWN].mean(axis=0)
    log_odds[:, *part] = forged_odds(standing, shared, seen[:, *part], _place(side)[:, *part])
    log_odds[~seen] = -9.0
    return Evidence(log_odds, standing, seen, part)


def measure(pairs: Sequence[Pair], part: Part | None = None) -> tuple[Float, Bool]:
    """The channels' log energies over the noise of the rim, and the cells seen.

    Args:
        pairs: of at least one frame.
        part: rows and columns of the grid that are wanted, h by w; all if None.

    Returns:
        float32 (frames, 14, h, w), 0 where nothing is seen, and bool (frames, G, G).
    """
    side = pairs[0].fake.shape[0] // PIXELS
    part = part or (slice(0, side), slice(0, side))
    seen = np.stack([_seen(pair, side) for pair in pairs])
    rim, is_close = _rim(seen, side)
    alike = _in_one_tone(pairs)
    means, within, texture = _differences(alike, side)
    left = TONE_LEFT if alike[0].original is not pairs[0].original else 0.0
    standing, at_rim = _log_energies(means, within, rim, part, left)
    most = MOST_NOISE if is_close or any(pair.beyond for pair in pairs) else None
    _take_off_noise(standing, at_rim, np.log(texture + np.float32(0.5)), rim, part, most)
    if not seen[:, *part].all():
        standing[np.broadcast_to(~seen[:, None, *part], standing.shape)] = 0
    return standing, seen


def _in_one_tone(pairs: Sequence[Pair]) -> Sequence[Pair]:
    """The pairs, each original in the tone of its fake, as it shows outside the face."""
    side = pairs[0].fake.shape[0] // PIXELS
    coarse = side // TONE_CELLS
    face = cv2.resize(_distance(side), (coarse, coarse), interpolation=cv2.INTER_AREA) <= RIM[1]
    seen = [_seen(pair, coarse) for pair in pairs]
    fakes, originals = [pair.fake for pair in pairs], [pair.original for pair in pairs]
    return [
        pair if own is pair.original else replace(pair, original=own)
        for pair, own in zip(pairs, same_tone(originals, fakes, seen, face), strict=True)
    ]


def _differences(pairs: Sequence[Pair], side: int) -> tuple[Float, Float, Float]:
    """What the frames' cells show, float32.

    Returns:
        Signed mean difference, (frames, G, G, 3), Y, Cb, Cr; energy within the cells, (frames, 2, G, G), luma and
        chroma; and texture of the original, (frames, G, G).
    """
    means = np.empty((len(pairs), side, side, 3), np.float32)
    within = np.empty((len(pairs), 2, side, side), np.float32)
    texture = np.empty((len(pairs), side, side), np.float32)
    # Single planes, because OpenCV halves one channel much faster than three; one buffer for all frames, because fresh
    # memory costs more than the arithmetic.
    height, width = pairs[0].fake.shape[:2]
    fake, original = np.empty((2, 3, height, width), np.uint8)
    rgb, signed = np.empty((2, 3, height, width), np.float32)
    for number, pair in enumerate(pairs):
        cv2.split(pair.fake, list(fake))
        cv2.split(pair.original, list(original))
        cv2.subtract(fake.reshape(3, -1), original.reshape(3, -1), dst=rgb.reshape(3, -1), dtype=cv2.CV_32F)
        np.matmul(_TO_YCC, rgb.reshape(3, -1), out=signed.reshape(3, -1))
        mean = _halved(signed)
        cv2.merge(list(mean), dst=means[number])
        energy = _halved(np.square(signed, out=signed))
        energy -= np.square(mean, out=mean)
        energy[1] += energy[2]
        np.maximum(energy[:2], 0, out=within[number])
        texture[number] = _texture(pair.original, side)
    return means, within, texture


def _halved(planes: Float) -> Float:
    """Means of two by two pixels, float32 (n, G, G), of (n, 2 G, 2 G)."""
    count, height, width = (planes.shape[0], *(side // PIXELS for side in planes.shape[1:]))
    flat = planes.reshape(-1, planes.shape[2])
    halved = cv2.resize(flat, (width, count * height), interpolation=cv2.INTER_AREA)
    return np.asarray(halved, np.float32).reshape(count, height, width)


def _texture(original: UInt8, side: int) -> Float:
    gray = cv2.resize(cv2.cvtColor(original, cv2.COLOR_RGB2GRAY), (side, side), interpolation=cv2.INTER_AREA)
    slope_x, slope_y = (np.asarray(slope, np.float32) * np.float32(0.125) for slope in cv2.spatialGradient(gray))
    return _blur(slope_x * slope_x + slope_y * slope_y, 1.0)


def _log_energies(
    means: Float, within: Float, rim: Sequence[Places], part: Part, left: float = 0.0
) -> tuple[Float, Float]:
    """The logarithms of the energies of :data:`CHANNELS` in a part of the grid, and those at the rim.

    Energies of less than ``left`` tell nothing.

    Returns:
        float32 (frames, 14, h, w) and (14, n).
    """
    frames, side = means.shape[:2]
    floors = np.array(FLOORS, np.float32)[:, None, None] + np.float32(left)
    # Energies of one frame on the whole grid, while they are in the processor's cache.
    energies = np.empty((len(CHANNELS), side, side), np.float32)
    flat = energies.reshape(len(CHANNELS), -1)
    mean = means.mean(axis=0)
    for number, scale in enumerate((1.2, 3.2)):
        _square(mean, scale, scale / 2, energies[OWN + 2 * number :][:2])
    energies[OWN:] += floors[OWN:]
    found = np.empty((frames, *energies[:, *part].shape), np.float32)
    found[:, OWN:] = np.log(energies[OWN:, *part])
    at_rim = []
    for number, frame in enumerate(means):
        for plane, to in zip(within[number], energies, strict=False):
            cv2.GaussianBlur(plane, (0, 0), 0.8, dst=to)
        for place, scale in enumerate(SCALES, 1):
            _square(frame, scale, scale / 2 if scale > 1 else 0.0, energies[2 * place :][:2])
        _square(_over_time(means, number), 1.0, 0.6, energies[OWN - 2 :][:2])
        energies[:OWN] += floors[:OWN]
        np.log(energies[:OWN, *part], out=found[number, :OWN])
        at_rim.append(np.log(flat[:, rim[number]]))
    return found, np.concatenate(at_rim, axis=1)


def _square(mean: Float, scale: float, after: float, out: Float) -> None:
    """Energy of the smoothed difference, float32 (G, G, 3), smoothed again: luma and chroma, to ``out``, (2, G, G)."""
    energy = np.empty((3, *mean.shape[:2]), np.float32)
    cv2.split(_blur(mean, scale), list(energy))
    np.square(energy, out=energy)
    energy[1] += energy[2]
    for plane, to in zip(energy, out, strict=False):
        if after:
            cv2.GaussianBlur(plane, (0, 0), after, dst=to)
        else:
            to[:] = plane


def _over_time(means: Float, number: int) -> Float:
    """A frame's differences averaged with those of the two before and after it in the run."""
    if len(means) < 5:
        return np.asarray(means[number], np.float32)
    weights = np.zeros(len(means), np.float32)
    near = np.clip(np.arange(number - 2, number + 3), 0, len(means) - 1)
    np.add.at(weights, near, np.array([1, 2, 3, 2, 1], np.float32) / 9)
    part = slice(near[0], near[-1] + 1)
    return np.asarray(np.tensordot(weights[part], means[part], 1), np.float32)


def _take_off_noise(
    levels: Float,
    at_rim: Float,
    log_texture: Float,
    rim: Sequence[Places],
    part: Part,
    most: tuple[npt.NDArray[np.float32], ...] | None,
) -> None:
    """Subtract from a part's log energies, float32 (frames, 14, h, w), those of the rim at equal texture.

    ``most`` limits these: slope and level of each channel, float32 (14,).
    """
    if not at_rim.size:
        return
    frame = np.repeat(np.arange(len(rim)), [len(places) for places in rim])
    texture = np.concatenate([own.ravel()[places] for own, places in zip(log_texture, rim, strict=True)])
    # Some four thousand make a line: more cost more than all else here, and masks are the same.
    thin, thin_texture = at_rim[:, ::3].copy(), texture[::3].copy()
    lines = np.array([robust_line(thin_texture, level) for level in thin], np.float32)
    rest = at_rim - (lines[:, :1] * texture + lines[:, 1:])
    # Frames of one clip are coded at different qualities.
    shift = np.clip(medians(rest, frame, len(levels)), -1, 0.5)
    shift[[name.startswith("p") for name in CHANNELS]] = 0
    base = lines[:, 1] + shift.T
    noise = np.empty_like(levels[0])
    for own, seen_texture, level in zip(levels, log_texture[:, *part], base, strict=True):
        np.multiply(lines[:, :1, None], seen_texture, out=noise)
        noise += level[:, None, None]
        if most is not None:
            np.minimum(noise, most[0][:, None, None] * seen_texture + most[1][:, None, None], out=noise)
        own -= noise


def _rim(seen: Bool, side: int) -> tuple[list[Places], bool]:
    """Flat indices of cells of each frame's rim, some ten thousand in all; and whether it lies close to the face, where
    much of it may be forged.
    """
    for least in RIM:
        rim = np.flatnonzero(seen & (_distance(side) > least))
        if rim.size >= LEAST_RIM * len(seen):
            break
    else:
        least, rim = 0.0, np.flatnonzero(seen)
    frame, place = np.divmod(rim[:: max(1, rim.size // 12000)], side * side)
    return np.split(place, np.searchsorted(frame, np.arange(1, len(seen)))), least < RIM[0]


def extent(there: Bool) -> Part:
    """Rows and columns of a rectangle of cells, bool (G, G)."""
    return _span(there.any(axis=1)), _span(there.any(axis=0))


def _span(there: npt.ArrayLike) -> slice:
    places = np.flatnonzero(there)
    return slice(places[0], places[-1] + 1) if places.size else slice(0)


def _seen(pair: Pair, side: int) -> Bool:
    left, top, right, bottom = pair.outside
    at = (np.arange(side) + 0.5) / side
    rows, columns = (at > top) & (at < 1 - bottom), (at > left) & (at < 1 - right)
    return np.asarray(rows[:, None] & columns[None, :])


@functools.cache
def _distance(side: int) -> Float:
    """How far out a cell lies: 1 at the edge of the face box, by the larger coordinate."""
    place = np.abs(np.arange(side, dtype=np.float32) + 0.5 - side / 2) / (CELLS_ACROSS_FACE / 2)
    return np.asarray(np.maximum(place[:, None], place[None, :]), np.float32)


@functools.cache
def _place(side: int) -> Float:
    """Where cells lie from the face's middle, float32 (3, side, side): across, down, and the larger of both."""
    at = (np.arange(side, dtype=np.float32) + 0.5 - side / 2) / (CELLS_ACROSS_FACE / 2)
    across, down = np.meshgrid(at, at)
    return np.stack([across, down, _distance(side)])


def _blur(values: Float, sigma: float) -> Float:
    """Gaussian smoothing of a map, float32 (G, G) or (G, G, n)."""
    return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma), np.float32)


_LUMA = np.array([0.299, 0.587, 0.114])
_TO_YCC = np.stack(
    [_LUMA, 0.564 * (np.array([0.0, 0.0, 1.0]) - _LUMA), 0.713 * (np.array([1.0, 0.0, 0.0]) - _LUMA)]
).astype(np.float32)
