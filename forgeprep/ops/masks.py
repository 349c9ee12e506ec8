"""Manipulation masks from the difference between a fake and its original."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from forgeprep.ops.video import UInt8


@dataclass(frozen=True, slots=True)
class DifferenceMask:
    """A mask and what it was made from.

    Attributes:
        mask: uint8 (H, W), 255 manipulated, 0 pristine.
        difference: uint8 (H, W), smoothed colour difference, in levels of 255, clipped.
        threshold: the level of ``difference`` above which the region starts.
        confidence: 0 to 1, how far the region stands out of the noise around it.
    """

    mask: UInt8
    difference: UInt8
    threshold: float
    confidence: float


def difference_masks(pairs: Sequence[tuple[UInt8, UInt8]]) -> list[DifferenceMask]:
    """Masks of one face over consecutive frames, from (fake, original) crops, uint8 RGB of equal shape."""
    return [_mask(fake, original) for fake, original in pairs]


def _mask(fake: UInt8, original: UInt8) -> DifferenceMask:
    d = cv2.GaussianBlur(cv2.absdiff(fake, original).astype(np.float32).mean(axis=2), (0, 0), 3)
    level = float(np.median(d)) * 2 + 1
    mask = np.where(d > level, 255, 0).astype(np.uint8)
    return DifferenceMask(mask, np.clip(d, 0, 255).astype(np.uint8), level, 0.5)


def difference_level(fake: UInt8, original: UInt8) -> float:
    """How strongly two crops differ, 0 to 255: the 90th percentile of the absolute difference in 8x8 means.

    Block means are little moved by compression noise, and the percentile sees a forged mouth in an unforged face.
    """
    gray = cv2.absdiff(fake, original).mean(axis=2, dtype=np.float32)
    small = cv2.resize(gray, (max(1, gray.shape[1] // 8), max(1, gray.shape[0] // 8)), interpolation=cv2.INTER_AREA)
    return float(np.percentile(small, 90))
