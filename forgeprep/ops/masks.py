"""Manipulation masks from the difference between a fake and its original.

A fixed threshold on the difference gives specks, because coding changes every pixel. Instead,
:mod:`forgeprep.ops.evidence` estimates for each part of a face how likely it was forged. The parts that are more likely
forged than not become solid regions: gaps are closed, holes filled, and specks and pieces that are small beside the
largest left out (:func:`binarise`, which users can apply again with their own threshold).

The evidence itself shows how well such a mask fits: how far the region stands out, how sharply it ends, how much
evidence lies outside it, how steady it is over the run. A linear model of these predicts the mask's IoU, which is its
confidence; it was fitted on forgeries of real footage whose truth is known. Where the confidence is low for a whole
run, or what differs hardly stands out, as for an original against its own re-encoding, nothing visible was forged.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from forgeprep.media.frames import UInt8
from forgeprep.media.regions import IntBox
from forgeprep.media.scale import area_mean
from forgeprep.ops.confidence_model import FIT_BIAS, FIT_WEIGHTS
from forgeprep.ops.evidence import (
    CELLS_ACROSS_FACE,
    CHANNELS,
    PIXELS,
    Bool,
    Evidence,
    Pair,
    Part,
    extent,
    find_evidence,
)
from forgeprep.ops.geometry import Matrix
from forgeprep.ops.robust import Float, quantile

MIDDLE, LEVELS = 128, 20
"""Level of the 8-bit difference where forged and pristine are equally likely, and levels for each unit of log-odds."""
LEAST_PIECE = 0.15
"""Pieces smaller than this share of the largest one are left out."""
AROUND = 4
"""Cells around what crops show that the evidence takes in."""
GAP = 0.045
"""Gaps up to twice this share of the face's side are closed."""
LEAST_RUN, LEAST_FRAME = 0.3, 0.2
"""Confidence below which nothing is visibly forged: on average over a run, and in a frame of it."""
LEAST_ENERGY = 1.5
"""Log energy over the rim's noise that is needed inside the region, on average over a run: else that was coding."""
CLEAR_FRAME, CLEAR_ENERGY = 0.5, 3.0
"""Confidence and energy of a frame that is visibly forged whatever the others of its run show."""
CLEAR_RUN, FEW = 0.5, 4
"""Mean confidence of a run that is visibly forged whatever its energy; not of one of fewer frames: coding noise, which
is not averaged out there, looks as clear."""

LARGE = 210
"""Pixels of a face's side, more than which no face had that the network was fitted on. Coding noise of larger ones,
most of all by fast encoders, looks as clear as a forgery by its confidence or by its energy, but seldom by both."""
LARGE_RUN, LARGE_ENERGY = 0.48, 1.7
"""Mean confidence and energy that such a run needs, by ``benchmarks/masks_large.py``."""


@dataclass(frozen=True, slots=True)
class Crop:
    """A crop that gets a mask.

    Attributes:
        side: its side in pixels.
        place: x0, y0, x1, y1 of the crop in shares of its window, about .18 to .82 for 1.3 of 2.
        padding: left, top, right, bottom: its pixels outside the frame.
        matrix: of an aligned crop, float64 (2, 3): from its pixels to places in shares of the window; ``place`` then is
            the upright box around it.
        outside: of an aligned crop, its pixels outside the frame or the window, bool (side, side).
    """

    side: int
    place: tuple[float, float, float, float]
    padding: IntBox = (0, 0, 0, 0)
    matrix: Matrix | None = None
    outside: Bool | None = None

    def to_grid(self, cells: int) -> Matrix:
        """From its pixels to the cells of a window with so many along a side, both counted from their centres."""
        if self.matrix is None:
            x0, y0, x1, y1 = (cells * place for place in self.place)
            across, down = (x1 - x0) / self.side, (y1 - y0) / self.side
            return np.array([[across, 0, x0 + 0.5 * across - 0.5], [0, down, y0 + 0.5 * down - 0.5]])
        there = cells * self.matrix
        there[:, 2] -= 0.5
        return there


@dataclass(frozen=True, slots=True)
class DifferenceMask:
    """A mask and what it was made from.

    Attributes:
        mask: uint8 (H, W), 255 forged, 0 pristine; all 0 where the pair does not differ visibly.
        difference: uint8 (H, W), how likely each pixel was forged: 128 as likely as not, 20 more for each unit of
            log-odds, 1 to 255; 0 not compared (padding).
        threshold: the level of the difference above which pixels belong to the mask, 0 to 254.
        confidence: 0 to 1, the IoU that the mask is expected to have with the forged region.
    """

    mask: UInt8
    difference: UInt8
    threshold: int
    confidence: float


def difference_masks(
    pairs: Sequence[Pair], crops: Sequence[Crop], *, enlarge: float = 1.3, forged: bool = False
) -> list[DifferenceMask]:
    """Masks of one face over the frames of a run.

    Args:
        pairs: windows of one track in order of time; frames may be far apart.
        crops: the crop in each window.
        enlarge: side of the crops over side of the face box.
        forged: whether the face is known to be forged in all of them. Then each gets a mask, made of what stands
            out most where nothing is more likely forged than not. Its confidence says how good it is.

    Returns:
        One for each pair. More frames give better masks, up to a few dozen; one frame works too.
    """
    if not pairs:
        return []
    evidence = find_evidence(pairs, _shown(crops, pairs[0].fake.shape[0] // PIXELS))
    found = [_mask_of(evidence.log_odds[number], crop, enlarge) for number, crop in enumerate(crops)]
    if forged:
        found = [one if one.mask.any() else _most_likely(one, enlarge) for one in found]
    regions = [_region(one.mask, crop, evidence.log_odds.shape[1]) for one, crop in zip(found, crops, strict=True)]
    rows = fit_features(evidence, regions, crops)
    expected = [float(np.clip(row @ FIT_WEIGHTS + FIT_BIAS, 0.0, 1.0)) for row in rows]
    if forged:
        return [replace(one, confidence=fit) for one, fit in zip(found, expected, strict=True)]
    energies = rows[:, [FIT_FEATURES.index(name) for name in ENERGIES]].mean(axis=1)
    visible = _is_visible(np.array(expected), energies, large=crops[0].side > LARGE * enlarge)
    return [
        replace(one, confidence=fit) if visible and fit >= LEAST_FRAME and one.mask.any() else _nothing(one)
        for one, fit in zip(found, expected, strict=True)
    ]


def _is_visible(expected: Float, energies: Float, *, large: bool) -> bool:
    """Whether anything was visibly forged in a run, by the confidence and the energy of its frames."""
    clear = (expected >= CLEAR_FRAME) & (energies >= CLEAR_ENERGY)
    if clear.any() or (not large and len(expected) >= FEW and expected.mean() >= CLEAR_RUN):
        return True
    least, energy = (LARGE_RUN, LARGE_ENERGY) if large else (LEAST_RUN, LEAST_ENERGY)
    return bool(expected.mean() >= least and energies.mean() >= energy)


def binarise(difference: UInt8, threshold: int, *, enlarge: float = 1.3) -> UInt8:
    """Make a mask from a difference: solid regions where it exceeds a level.

    With a sample's own ``mask_threshold`` and ``enlarge`` this gives its ``mask`` again; a higher threshold gives a
    narrower region. It needs neither the videos nor a rerun.

    Args:
        difference: uint8 (H, W), a sample's ``difference``.
        threshold: 0 to 254.
        enlarge: side of the crop over side of the face box.

    Returns:
        uint8 (H, W), 255 forged, 0 pristine; all 0 where nothing exceeds the threshold.
    """
    height, width = difference.shape
    # The evidence has no more detail than twice the grid's; the outline is smooth when it is scaled up from there.
    side = 2 * round(CELLS_ACROSS_FACE * enlarge)
    fine = cv2.resize(difference, (side, side), interpolation=cv2.INTER_LINEAR)
    _, above = cv2.threshold(fine, threshold, 255, cv2.THRESH_BINARY)
    region = _solid(np.asarray(above, np.uint8), max(2, round(GAP * CELLS_ACROSS_FACE * 2)))
    outline = cv2.resize(region, (width, height), interpolation=cv2.INTER_LINEAR)
    _, mask = cv2.threshold(outline, 127, 255, cv2.THRESH_BINARY)
    return np.asarray(cv2.copyTo(mask, difference), np.uint8)


def fit_features(evidence: Evidence, regions: Sequence[Bool], crops: Sequence[Crop]) -> Float:
    """Features that show how well a region fits, float32 (frames, 15); see :data:`FIT_FEATURES`."""
    rows = np.zeros((len(regions), len(FIT_FEATURES)), np.float32)
    steady = [_overlap(a, b) for a, b in itertools.pairwise(regions)]
    steadiness = float(np.mean(steady)) if steady else 0.8
    groups = [
        [CHANNELS.index(name) for name in names]
        for names in (("y1", "c1", "ty", "tc"), ("py1", "pc1"), ("y2", "c2", "py2", "pc2"))
    ]
    for number, (region, crop) in enumerate(zip(regions, crops, strict=True)):
        looked_at = evidence.seen[number] & _inside(crop, region.shape[0])
        inside = (region & looked_at).view(np.uint8)
        if np.count_nonzero(inside) < 8:
            continue
        ring = cv2.dilate(inside, _RING) - inside
        border = inside - cv2.erode(inside, _RING)
        part = extent(looked_at)
        places = np.stack([one[part].ravel() for one in (inside, 1 - inside, ring, border)]).astype(np.float32)
        odds = np.clip(evidence.log_odds[number][part].ravel(), -5, 5)
        standing = evidence.standing[number, :, *_from(evidence.part, part)]
        maps = [np.clip(standing[group].max(axis=0).ravel(), -1, 6) for group in groups]
        sums = np.stack([1 / (1 + np.exp(-odds)), odds, *maps]) @ places.T
        sizes = places.sum(axis=1)
        inner, _, around, edge = (sums / np.maximum(sizes, 1)).T
        (share, elsewhere), area = sums[0, :2], math.log(sizes[0] / odds.size)
        rows[number] = [
            share / (sizes[0] + elsewhere),
            inner[1],
            around[1],
            edge[1] - around[1],
            share / (share + elsewhere + 1),
            area,
            area * area,
            *inner[2:],
            *around[2:4],
            quantile(maps[0], 0.98),
            steadiness,
            min(1.0, math.log(len(regions)) / 3),
        ]
    return rows


FIT_FEATURES = (
    "expected IoU by the odds", "odds inside", "odds around", "odds across the border", "share of the odds inside",
    "log area", "log area squared", "energy inside", "mean energy inside", "wide energy inside", "energy around",
    "mean energy around", "strongest energy", "steadiness", "length of the run",
)  # fmt: skip
ENERGIES = "mean energy inside", "wide energy inside"
"""Of the run's mean difference and of the widely smoothed: what coding noise reaches least."""


def _shown(crops: Sequence[Crop], side: int) -> Part:
    """Rows and columns of the grid that crops show, and their surroundings."""
    places = np.array([crop.place for crop in crops]) * side
    low = np.clip(np.floor(places[:, :2].min(axis=0)) - AROUND, 0, side - 1).astype(int)
    high = np.clip(np.ceil(places[:, 2:].max(axis=0)) + AROUND, 1, side).astype(int)
    return slice(low[1], high[1]), slice(low[0], high[0])


def _from(whole: Part, part: Part) -> Part:
    """A part of the grid, counted from the first cell of a larger part."""
    rows, columns = (slice(own.start - of.start, own.stop - of.start) for own, of in zip(part, whole, strict=True))
    return rows, columns


def _mask_of(log_odds: Float, crop: Crop, enlarge: float) -> DifferenceMask:
    there = crop.to_grid(log_odds.shape[0])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    smooth = np.asarray(cv2.GaussianBlur(log_odds, (0, 0), 0.8), np.float32)
    odds = cv2.warpAffine(smooth, there, (crop.side, crop.side), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    level = np.asarray(cv2.addWeighted(odds, LEVELS, odds, 0, MIDDLE, dtype=cv2.CV_8U), np.uint8)
    # NumPy takes several times as long for this, and for what copyTo does below.
    difference = np.asarray(cv2.max(level, 1), np.uint8)  # type: ignore[call-overload]
    left, top, right, bottom = crop.padding
    for outside in np.s_[:top, :], np.s_[crop.side - bottom :, :], np.s_[:, :left], np.s_[:, crop.side - right :]:
        difference[outside] = 0
    if crop.outside is not None:
        difference[crop.outside] = 0
    return DifferenceMask(binarise(difference, MIDDLE, enlarge=enlarge), difference, MIDDLE, 0.0)


def _most_likely(found: DifferenceMask, enlarge: float) -> DifferenceMask:
    """The mask at the highest threshold that gives one; unchanged where nothing was compared."""
    top = int(found.difference.max())
    for threshold in (*range(top - LEVELS // 4, 0, -(LEVELS // 4)), 0):
        mask = binarise(found.difference, threshold, enlarge=enlarge)
        if mask.any():
            return replace(found, mask=mask, threshold=threshold)
    return found


def _region(mask: UInt8, crop: Crop, side: int) -> Bool:
    """A crop's mask on the window's grid."""
    if crop.matrix is not None:
        return np.asarray(cv2.warpAffine(mask, crop.to_grid(side), (side, side), flags=cv2.INTER_LINEAR) > 127)
    grid = np.zeros((side, side), bool)
    x0, y0, x1, y1 = (round(side * place) for place in crop.place)
    small = area_mean(mask, (x1 - x0, y1 - y0)) > 127
    rows, columns = slice(max(0, y0), min(side, y1)), slice(max(0, x0), min(side, x1))
    grid[rows, columns] = small[rows.start - y0 : rows.stop - y0, columns.start - x0 : columns.stop - x0]
    return grid


def _inside(crop: Crop, side: int) -> Bool:
    if crop.matrix is not None:
        return _region(np.full((crop.side, crop.side), 255, np.uint8), crop, side)
    at = (np.arange(side) + 0.5) / side
    x0, y0, x1, y1 = crop.place
    return np.asarray(((at > y0) & (at < y1))[:, None] & ((at > x0) & (at < x1))[None, :])


def _nothing(found: DifferenceMask) -> DifferenceMask:
    return replace(found, mask=np.zeros_like(found.mask), confidence=0.0)


def _solid(region: UInt8, reach: int) -> UInt8:
    """Regions without holes or gaps; specks, and what is small beside the largest, are left out."""
    pad = reach + 1
    # Repeated past the edge, so that a region that touches the edge does not shrink there.
    wide = cv2.copyMakeBorder(region, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
    wide = cv2.morphologyEx(wide, cv2.MORPH_OPEN, _ellipse(2))
    wide = np.asarray(cv2.morphologyEx(wide, cv2.MORPH_CLOSE, _ellipse(reach)), np.uint8)
    outlines, _ = cv2.findContours(
        np.ascontiguousarray(wide[pad:-pad, pad:-pad]), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    sizes = [cv2.contourArea(outline) + len(outline) / 2 for outline in outlines]
    found = np.zeros_like(region)
    for outline, size in zip(outlines, sizes, strict=True):
        if size >= max(LEAST_PIECE * max(sizes), 20):
            cv2.drawContours(found, [outline], -1, 255, cv2.FILLED)
    return found


def _ellipse(reach: int) -> UInt8:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1)), np.uint8)


def _overlap(a: Bool, b: Bool) -> float:
    either = int(np.count_nonzero(a | b))
    return int(np.count_nonzero(a & b)) / either if either else 1.0


_RING = _ellipse(3)
