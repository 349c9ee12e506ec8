"""Manipulation masks from the difference between a fake and its original.

A fixed threshold on the difference gives specks, because re-encoding changes every pixel, and more so where the picture
has texture. Three things tell a forged region from that noise:

* its difference is large *for the texture it lies on*: energies are compared with what the crop's rim shows at equal
  gradient, since a forgery seldom reaches the rim;
* it stays at the same place of the face: evidence is shared between the frames of a run, in the crop's coordinates;
* it has a sign: a forged cheek is a little lighter or redder in every frame, while noise averages out. The stronger the
  compression, the more this persistent part counts.

The evidence, logarithmic and in 8 bits, is cut where it separates best (Otsu 1979), but never below nearly all of
the rim, and the region is then made solid: :func:`binarise`, which users can apply again with a threshold of their own.
All of it happens on a coarse grid, of about 72 cells across the face.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from forgeprep.ops.frames import UInt8
from forgeprep.ops.geometry import IntBox

Float = npt.NDArray[np.float32]

CELLS_ACROSS_FACE = 72
RIM = 0.86, 1.15
"""Cells between these distances are the rim, taken for pristine; 1 = the edge of a crop enlarged 1.3 times."""
RIM_QUANTILE = 0.975
CHROMA_WEIGHT = 1.5
SHARE_SLOPE = 0.1
WEIGHT_BASE, WEIGHT_SLOPE = 0.1, 0.15
LEVELS = 40
"""Levels of the 8-bit difference for a factor e of energy."""
LEAST_STRENGTH, LEAST_ALONE, LEAST_SHARE = 0.27, 0.2, 0.3
"""Below the first on average over a run, nothing is visibly forged in it; below the second, not in that frame. Strength
is the region's contrast to the rim times the root of its share of the face. On the demo, originals against their own
re-encoding, equally or differently compressed, stay below 0.25 on average, and below 0.24 in 95 % of frames even where
the region is that of a fake; forgeries of the mouth alone, c23 against c40, begin at 0.27 and 0.17."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A fake's crop and its original's, uint8 (H, W, 3) RGB; ``padding`` is left, top, right, bottom in pixels."""

    fake: UInt8
    original: UInt8
    padding: IntBox = (0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class DifferenceMask:
    """A mask and what it was made from.

    Attributes:
        mask: uint8 (H, W), 255 manipulated, 0 pristine; all 0 where the pair does not differ visibly.
        difference: uint8 (H, W), how far the pair's difference stands out of the noise at the crop's rim: 1 = no more
            than that, and ``LEVELS`` more for each factor e of energy; 0 = not compared (padding).
        threshold: the level of the difference above which the mask was cut, 0 to 254.
        confidence: 0 to 1, how far the region's evidence lies above the rim's.
    """

    mask: UInt8
    difference: UInt8
    threshold: int
    confidence: float


@dataclass(frozen=True, slots=True)
class _Features:
    """What a frame shows on the grid, float32: energy and texture (n, n), smooth signed difference (n, n, 3)."""

    energy: Float
    texture: Float
    signed: Float


def difference_masks(pairs: Sequence[Pair], *, enlarge: float = 1.3) -> list[DifferenceMask]:
    """Masks of one face over the frames of a run.

    Args:
        pairs: crops of one track in order of time; frames may be far apart.
        enlarge: side of the crop over side of the face box.

    Returns:
        One for each pair. More frames give better masks, up to a few dozen; one frame works too.
    """
    if not pairs:
        return []
    cells = round(CELLS_ACROSS_FACE * enlarge)
    sizes = [pair.fake.shape[:2] for pair in pairs]
    pairs = [_at_working_size(pair, 2 * cells) for pair in pairs]
    features = [_features(pair, cells) for pair in pairs]
    distance = _distance(cells) * (enlarge / 1.3)
    band = (distance > RIM[0]) & (distance < RIM[1])
    rim = np.logical_and.reduce([band, *(_seen(pair, cells) for pair in pairs)])
    rim = rim if rim.sum() >= cells else band
    own = [_above_rim(_log_energy(f), rim) for f in features]
    shared = np.mean(own, axis=0)
    # The noisier the pictures, the more the frames have to help each other.
    noise = float(np.log1p(np.median(np.mean([f.energy for f in features], axis=0)[rim])))
    persistent, weight = _persistent(features, rim), min(0.85, WEIGHT_BASE + WEIGHT_SLOPE * noise)
    share = min(0.7, SHARE_SLOPE * noise)
    found, strengths = [], []
    for pair, size, seen, alone in zip(pairs, sizes, features, own, strict=True):
        instant = (1 - share) * alone + share * shared
        evidence = ((1 - weight) * instant + weight * persistent - distance**2).astype(np.float32)
        found.append(_decide(pair, size, evidence, rim, enlarge))
        strengths.append(_strength(found[-1].mask, seen.energy, alone, rim))
    visible = float(np.mean(strengths)) >= LEAST_STRENGTH
    # Where some frames differ strongly, those that hardly do are left out: the clip may be forged in parts.
    least = max(LEAST_ALONE, LEAST_SHARE * float(np.quantile(strengths, 0.75)))
    return [
        one if visible and strength >= least else _nothing(one) for one, strength in zip(found, strengths, strict=True)
    ]


def binarise(difference: UInt8, threshold: int, *, enlarge: float = 1.3) -> UInt8:
    """Cut a difference into a mask: one solid region where it exceeds a level.

    With a sample's own ``mask_threshold`` and ``enlarge`` this gives its ``mask`` again; a higher threshold gives a
    narrower region. It needs neither the videos nor a rerun.

    Args:
        difference: uint8 (H, W), a sample's ``difference``.
        threshold: 0 to 254.
        enlarge: side of the crop over side of the face box.

    Returns:
        uint8 (H, W), 255 manipulated, 0 pristine; all 0 where nothing exceeds the threshold.
    """
    height, width = difference.shape
    # Twice as fine as the grid is as much as the evidence knows; the outline is drawn smoothly from there.
    side = 2 * round(CELLS_ACROSS_FACE * enlarge)
    fine = cv2.resize(difference, (side, side), interpolation=cv2.INTER_LINEAR)
    region = _solid((fine > threshold).astype(np.uint8), round(0.04 * CELLS_ACROSS_FACE * 2))
    outline = cv2.resize(region * np.uint8(255), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.where((outline > 127) & (difference > 0), 255, 0).astype(np.uint8)


# RGB difference to luma and chroma difference (BT.601), chroma scaled so that squares add up with its weight.
_LUMA = np.array([0.299, 0.587, 0.114])
_TO_WEIGHTED_YCC = np.stack(
    [
        _LUMA,
        np.sqrt(CHROMA_WEIGHT) * 0.564 * (np.array([0.0, 0.0, 1.0]) - _LUMA),
        np.sqrt(CHROMA_WEIGHT) * 0.713 * (np.array([1.0, 0.0, 0.0]) - _LUMA),
    ]
).astype(np.float32)


def _at_working_size(pair: Pair, side: int) -> Pair:
    """Large crops are brought down to twice the grid: what is finer than that does not reach the grid anyway."""
    height = pair.fake.shape[0]
    if height < 1.5 * side:
        return pair
    # Averaging over fractions of pixels costs more than all that follows; only far reductions need it.
    way = cv2.INTER_LINEAR if height < 3 * side else cv2.INTER_AREA
    fake, original = (
        np.asarray(cv2.resize(image, (side, side), interpolation=way), np.uint8) for image in (pair.fake, pair.original)
    )
    left, top, right, bottom = (math.ceil(pad * side / height) for pad in pair.padding)
    return Pair(fake, original, (left, top, right, bottom))


def _features(pair: Pair, cells: int) -> _Features:
    size = (cells, cells)
    difference = cv2.subtract(pair.fake, pair.original, dtype=cv2.CV_32F)
    signed = np.asarray(cv2.transform(difference, _TO_WEIGHTED_YCC), np.float32)
    energy = cv2.resize(cv2.multiply(signed, signed), size, interpolation=cv2.INTER_AREA).sum(axis=2)
    gray = cv2.resize(cv2.cvtColor(pair.original, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)
    slope_x, slope_y = (cv2.Sobel(gray, cv2.CV_32F, *order, scale=0.25) for order in ((1, 0), (0, 1)))
    return _Features(
        energy=_blur(energy, 1.2),
        texture=_blur(slope_x**2 + slope_y**2, 1.8),
        signed=_blur(np.asarray(cv2.resize(signed, size, interpolation=cv2.INTER_AREA), np.float32), 1.7),
    )


def _log_energy(f: _Features) -> Float:
    """Energy on a log scale, the smooth part counted more, less what texture alone explains."""
    smooth = (f.signed**2).sum(axis=2)
    return np.asarray(np.log(f.energy + 6.0 * smooth + 0.5) - 0.5 * np.log(f.texture + 2.0), np.float32)


def _persistent(features: Sequence[_Features], rim: npt.NDArray[np.bool_]) -> Float:
    """Evidence from the mean signed difference over the run."""
    signed = np.stack([_blur(f.signed, 1.5) for f in features])
    mean = signed.mean(axis=0)
    # What noise alone leaves in the mean of so many frames.
    chance = signed.var(axis=0, ddof=1) / len(features) if len(features) > 1 else 0.0
    power = _blur(np.maximum((mean**2 - chance).sum(axis=2), 0), 1.5)
    texture = np.mean([f.texture for f in features], axis=0)
    return _above_rim(np.log(power + 1.0) - 0.3 * np.log(texture + 2.0), rim)


def _strength(mask: UInt8, energy: Float, alone: Float, rim: npt.NDArray[np.bool_]) -> float:
    """How far this very frame differs inside the mask, whatever the other frames of the run say."""
    inside = cv2.resize(mask, energy.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
    if not inside.any():
        return 0.0
    # 0.3: what rounding to whole levels leaves even between equal pictures.
    ratio = float(np.log(energy[inside].mean() / (np.median(energy[rim]) + 0.3) + 1e-6))
    share = np.count_nonzero(inside) / CELLS_ACROSS_FACE**2
    return min(float(np.median(alone[inside])), ratio) * math.sqrt(share)


def _nothing(found: DifferenceMask) -> DifferenceMask:
    return replace(found, mask=np.zeros_like(found.mask), confidence=0.0)


def _decide(
    pair: Pair, size: tuple[int, int], evidence: Float, rim: npt.NDArray[np.bool_], enlarge: float
) -> DifferenceMask:
    height, width = size
    base, floor = (float(value) for value in np.quantile(evidence[rim], [0.5, RIM_QUANTILE]))
    cut = max(_otsu(evidence), floor)
    fine = cv2.resize(evidence, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
    levels = np.clip(np.rint(1 + LEVELS * (fine - base)), 1, 255).astype(np.uint8)
    difference = np.asarray(cv2.resize(levels, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    left, top, right, bottom = (round(pad * height / pair.fake.shape[0]) for pad in pair.padding)
    difference[:top], difference[height - bottom :], difference[:, :left], difference[:, width - right :] = 0, 0, 0, 0
    threshold = int(np.clip(round(1 + LEVELS * (cut - base)), 0, 254))
    mask = binarise(difference, threshold, enlarge=enlarge)
    inside = cv2.resize(mask, evidence.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
    confidence = (float(np.median(evidence[inside])) - floor) / 3.0 if inside.any() else 0.0
    return DifferenceMask(mask, difference, threshold, float(np.clip(confidence, 0.0, 1.0)))


def _solid(region: UInt8, reach: int) -> UInt8:
    """One region without holes: gaps closed, holes filled, specks opened away, the largest piece kept."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    # Continued past the edge, so that a region that touches the edge is not eaten away there.
    wide = cv2.copyMakeBorder(region, reach, reach, reach, reach, cv2.BORDER_REPLICATE)
    wide = np.asarray(cv2.morphologyEx(wide, cv2.MORPH_CLOSE, kernel), np.uint8)
    outside = cv2.copyMakeBorder(1 - wide, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
    cv2.floodFill(outside, None, (0, 0), 0)
    wide = cv2.morphologyEx(cv2.bitwise_or(wide, outside[1:-1, 1:-1]), cv2.MORPH_OPEN, kernel)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(np.ascontiguousarray(wide[reach:-reach, reach:-reach]))
    if count < 2:
        return np.zeros_like(region)
    return np.asarray(labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA])), np.uint8)


def _otsu(evidence: Float) -> float:
    low, span = float(evidence.min()), float(np.ptp(evidence))
    if span == 0:
        return low
    cut, _ = cv2.threshold(((evidence - low) * (255 / span)).astype(np.uint8), 0, 255, cv2.THRESH_OTSU)
    return low + float(cut) * span / 255


def _above_rim(values: npt.NDArray[np.floating], rim: npt.NDArray[np.bool_]) -> Float:
    return np.asarray(values - np.median(values[rim]), np.float32)


def _distance(cells: int) -> Float:
    """How far out a cell lies: 0 in the middle, 1 at the edge, by the larger coordinate."""
    place = np.abs(np.arange(cells, dtype=np.float32) + 0.5 - cells / 2) / (cells / 2)
    return np.asarray(np.maximum(place[:, None], place[None, :]), np.float32)


def _seen(pair: Pair, cells: int) -> npt.NDArray[np.bool_]:
    """The cells that show picture, not padding."""
    height, width = pair.fake.shape[:2]
    left, top, right, bottom = pair.padding
    rows = (np.arange(cells) + 0.5) * height / cells
    columns = (np.arange(cells) + 0.5) * width / cells
    return np.asarray(
        ((rows >= top) & (rows < height - bottom))[:, None] & ((columns >= left) & (columns < width - right))
    )


def _blur(values: npt.NDArray[np.floating], sigma: float) -> Float:
    return np.asarray(cv2.GaussianBlur(values.astype(np.float32, copy=False), (0, 0), sigma), np.float32)
