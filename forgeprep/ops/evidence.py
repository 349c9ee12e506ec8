"""How likely each place of a face was forged, from a fake's pictures and its original's.

Both are compared in a window around the face, wider than any usual crop, on a grid of cells. Per cell, channel (luma,
chroma) and scale the energy of the difference is taken: within the cell, smoothed a little and smoothed widely, of the
frame, of its neighbours in time, and of the mean over the run, in which coding noise averages out and a forgery stays.

* Each energy is set against the noise that the window's own rim shows at equal texture: a robust line through their
  logarithms. A forgery does not reach the whole rim, and what it reaches is left out of the line as outliers.
* What stands out is seen in relation: to the face's strongest evidence, since the codec smears strong changes over
  their neighbourhood; and to what the neighbourhood shows on average.
* A logistic model (:mod:`forgeprep.ops.evidence_model`) adds all this up to log-odds.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from forgeprep.ops.evidence_model import BIAS, WEIGHTS
from forgeprep.ops.frames import UInt8

Float = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]

CELLS_ACROSS_FACE = 48
PIXELS = 2
"""Pixels of a window along a cell's side."""
WIDE = 2.0
"""Side of the window over side of the face box, at least."""
SCALES = (0.7, 1.5, 3.6)
"""Standard deviations of the smoothing, in cells."""
RIM = 1.35, 1.1, 0.9
"""Cells from this distance on are the rim, 1 being the edge of the face box; the next where the frame ends before."""
LEAST_RIM = 100
"""Cells a frame that make a rim."""
CHANNELS = ("hy", "hc", "y0", "c0", "y1", "c1", "y2", "c2", "ty", "tc", "py1", "pc1", "py2", "pc2")
"""Energies of luma and chroma: within a cell (h), by scale (0 to 2), over neighbouring frames (t), of the mean (p)."""
SHARED = ("hy", "y1", "c1", "y2", "c2")
"""Energies whose evidence is averaged over the run too."""
LOCAL = ("y0", "c0", "y1", "c1")
"""Energies that are set against their maximum nearby."""
PEAKED = ("y1", "c1", "y2", "c2", "py1", "pc1", "py2", "pc2")
"""Energies that are set against the face's strongest."""
NEAR = ("y2", "c2", "hy")
"""Energies of which the neighbourhood's average counts."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A fake's window and its original's.

    Attributes:
        fake, original: uint8 (S, S, 3) RGB, S being ``PIXELS`` for each of the grid's cells, of the same part of the
            picture; what lies outside the frame is continued from its edge.
        outside: left, top, right, bottom: shares of the window that lie outside the frame, 0 to 1.
    """

    fake: UInt8
    original: UInt8
    outside: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a run of pairs shows.

    Attributes:
        log_odds: float32 (frames, G, G), of each cell being forged; strongly negative outside the frame.
        standing: float32 (14, frames, G, G), the channels' log energies over the rim's noise.
        seen: bool (frames, G, G), cells that show picture.
    """

    log_odds: Float
    standing: Float
    seen: Bool


def cells_of(wide: float) -> int:
    """Cells along a window that is ``wide`` times the face box."""
    return round(CELLS_ACROSS_FACE * wide / 2) * 2


def find_evidence(pairs: Sequence[Pair]) -> Evidence:
    """Compare the pairs of one face over a run; the more frames, the better."""
    standing, seen = measure(pairs)
    log_odds = np.empty(seen.shape, np.float32)
    for number, columns in enumerate(features(standing, seen)):
        log_odds[number] = np.tensordot(WEIGHTS, columns, 1) + BIAS
    log_odds[~seen] = -9.0
    return Evidence(log_odds, standing, seen)


def measure(pairs: Sequence[Pair]) -> tuple[Float, Bool]:
    """The channels' log energies over the noise of the rim, float32 (14, frames, G, G), and the cells seen."""
    cells = pairs[0].fake.shape[0] // PIXELS
    seen = np.stack([_seen(pair, cells) for pair in pairs])
    means = np.empty((len(pairs), cells, cells, 3), np.float32)
    within = np.empty((len(pairs), cells, cells, 2), np.float32)
    texture = np.empty((len(pairs), cells, cells), np.float32)
    for number, pair in enumerate(pairs):
        means[number], within[number], texture[number] = _differences(pair, cells)
    log_texture = np.log(texture + np.float32(0.5))
    rim = _rim(seen, cells)
    maps = np.empty((len(CHANNELS), *seen.shape), np.float32)
    for number, (energy, floor) in enumerate(_energies(means, within)):
        maps[number] = _over_noise(
            np.log(energy + np.float32(floor)), log_texture, rim, once=CHANNELS[number][0] == "p"
        )
    maps[:, ~seen] = 0
    return maps, seen


def features(standing: Float, seen: Bool) -> Iterator[Float]:
    """What the logistic model adds up, for each frame: float32 (77, G, G)."""
    cells = seen.shape[1]
    place = _place(cells)
    shared = {name: standing[CHANNELS.index(name)].mean(axis=0) for name in SHARED}
    inner = _distance(cells) < 1.25
    for number, there in enumerate(seen):
        maps = dict(zip(CHANNELS, standing[:, number], strict=True))
        columns: list[Float] = []
        for name in CHANNELS:
            z = maps[name]
            columns += [np.clip(z - 0.3, -1.3, 0.7), np.clip(z - 1, 0, 1.5), np.clip(z - 2.5, 0, 4)]
        for name in SHARED:
            columns += [np.clip(shared[name] - 0.2, -1, 0.8), np.clip(shared[name] - 1, 0, 3)]
        columns += [np.clip(maps[name] - cv2.dilate(maps[name], _KERNEL), -4, 0) for name in LOCAL]
        looked_at = inner & there
        for name in PEAKED:
            peak = _peak(maps[name][looked_at])
            columns += [np.clip(maps[name] - peak, -4, 0), np.full_like(maps[name], min(max(peak, 0.0), 4.0))]
        columns += [_blur(np.clip(maps[name], -1, 3), 6.4) for name in NEAR]
        yield np.stack([*columns, *place])


def _differences(pair: Pair, cells: int) -> tuple[Float, Float, Float]:
    """Signed mean difference (Y, Cb, Cr), energy within the cells (luma, chroma), and texture of the original."""
    size = (cells, cells)
    signed = cv2.transform(cv2.subtract(pair.fake, pair.original, dtype=cv2.CV_32F), _TO_YCC)
    mean = np.asarray(cv2.resize(signed, size, interpolation=cv2.INTER_AREA), np.float32)
    energy = np.asarray(cv2.resize(signed * signed, size, interpolation=cv2.INTER_AREA), np.float32)
    rest = np.maximum(energy - mean * mean, 0)
    gray = cv2.resize(cv2.cvtColor(pair.original, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)
    slope_x, slope_y = (cv2.Sobel(gray, cv2.CV_32F, *order, scale=0.125) for order in ((1, 0), (0, 1)))
    texture = _blur(slope_x * slope_x + slope_y * slope_y, 1.0)
    return mean, np.stack([rest[..., 0], rest[..., 1] + rest[..., 2]], axis=-1), texture


def _energies(means: Float, within: Float) -> list[tuple[Float, float]]:
    """The energies of :data:`CHANNELS`, each (frames, G, G), with what rounding to whole levels leaves of them."""
    found: list[tuple[Float, float]] = []
    smooth = _apart(_blur(frame, 0.8) for frame in within)
    found += [(smooth[0], 0.15), (smooth[1], 0.15)]
    for scale, floor in zip(SCALES, (0.12, 0.05, 0.03), strict=True):
        squares = _apart(_square(frame, scale, scale / 2 if scale > 1 else 0.0) for frame in means)
        found += [(squares[0], floor), (squares[1], floor)]
    squares = _apart(_square(frame, 1.0, 0.6) for frame in _over_time(means))
    found += [(squares[0], 0.05), (squares[1], 0.05)]
    mean = means.mean(axis=0)
    for scale in (1.2, 3.2):
        squares = _apart([_square(mean, scale, scale / 2)] * len(means))
        found += [(squares[0], 0.02), (squares[1], 0.02)]
    return found


def _apart(frames: Iterable[Float]) -> Float:
    """Maps of luma and chroma, float32 (2, frames, G, G)."""
    return np.ascontiguousarray(np.stack(list(frames)).transpose(3, 0, 1, 2))


def _square(mean: Float, scale: float, after: float) -> Float:
    """Energy of the smoothed difference: luma, chroma."""
    smooth = _blur(mean, scale)
    square = smooth * smooth
    both = np.stack([square[..., 0], square[..., 1] + square[..., 2]], axis=-1)
    return _blur(both, after) if after else both


def _over_time(means: Float) -> Float:
    """Each frame's differences averaged with those of the two before and after it in the run."""
    if len(means) < 5:
        return means
    wide = np.concatenate([means[:1]] * 2 + [means] + [means[-1:]] * 2)
    return np.asarray((wide[:-4] + 2 * wide[1:-3] + 3 * wide[2:-2] + 2 * wide[3:-1] + wide[4:]) / 9, np.float32)


def _over_noise(levels: Float, log_texture: Float, rim: npt.NDArray[np.intp], *, once: bool) -> Float:
    """Log energies less what the rim shows at equal texture; ``once`` where all frames share them."""
    y, x = levels.ravel()[rim].astype(np.float64), log_texture.ravel()[rim].astype(np.float64)
    columns = np.stack([x, np.ones_like(x)], axis=1)
    keep = np.ones(len(y), bool)
    line: npt.NDArray[np.float64] = np.zeros(2)
    for _ in range(4):
        a, b = columns[keep], y[keep]
        line = np.asarray(np.linalg.solve(a.T @ a + 1e-2 * np.eye(2), a.T @ b), np.float64)
        rest = y - columns @ line
        middle = np.median(rest[keep])
        keep = rest < middle + 2 * (1.4826 * np.median(np.abs(rest[keep] - middle)) + 1e-3)
    found = levels - (np.float32(line[0]) * log_texture + np.float32(line[1]))
    if not once:
        # Frames of one clip are coded with different care.
        frames, rest = rim // levels[0].size, found.ravel()[rim]
        for number in range(len(found)):
            own = rest[frames == number]
            if own.size > 60:
                found[number] -= np.clip(np.median(own), -1, 0.5)
    return np.asarray(found, np.float32)


def _rim(seen: Bool, cells: int) -> npt.NDArray[np.intp]:
    """Flat indices of some ten thousand cells of the rim, over all frames."""
    for least in RIM:
        rim = np.flatnonzero(seen & (_distance(cells) > least))
        if rim.size >= LEAST_RIM * len(seen):
            break
    else:
        rim = np.flatnonzero(seen)
    return rim[:: max(1, rim.size // 12000)]


def _peak(values: Float) -> float:
    if not values.size:
        return 0.0
    at = int(0.985 * (values.size - 1))
    return float(np.partition(values, at)[at])


def _seen(pair: Pair, cells: int) -> Bool:
    left, top, right, bottom = pair.outside
    at = (np.arange(cells) + 0.5) / cells
    rows, columns = (at > top) & (at < 1 - bottom), (at > left) & (at < 1 - right)
    return np.asarray(rows[:, None] & columns[None, :])


@functools.cache
def _distance(cells: int) -> Float:
    """How far out a cell lies: 1 at the edge of the face box, by the larger coordinate."""
    place = np.abs(np.arange(cells, dtype=np.float32) + 0.5 - cells / 2) / (CELLS_ACROSS_FACE / 2)
    return np.asarray(np.maximum(place[:, None], place[None, :]), np.float32)


@functools.cache
def _place(cells: int) -> tuple[Float, Float]:
    """Where forgeries lie: squared distance from the middle, and distance beyond the face box."""
    at = (np.arange(cells, dtype=np.float32) + 0.5 - cells / 2) / (CELLS_ACROSS_FACE / 2)
    squared = at[None, :] ** 2 + (0.9 * at[:, None]) ** 2
    return np.asarray(squared, np.float32), np.maximum(_distance(cells) - 1, 0)


def _blur(values: Float, sigma: float) -> Float:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma), np.float32)


_LUMA = np.array([0.299, 0.587, 0.114])
_TO_YCC = np.stack(
    [_LUMA, 0.564 * (np.array([0.0, 0.0, 1.0]) - _LUMA), 0.713 * (np.array([1.0, 0.0, 0.0]) - _LUMA)]
).astype(np.float32)
_KERNEL = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (11, 11))
