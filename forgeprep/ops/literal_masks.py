"""The literal mask of the pixel-level papers: a threshold on the plain difference of one frame."""

from __future__ import annotations

import cv2
import numpy as np

from forgeprep.media.frames import UInt8


def literal_mask(fake: UInt8, original: UInt8, threshold: int = 0) -> UInt8:
    """Where a fake differs from its original by more than a level, ``|fake - original| > t``, in any of R, G and B.

    "Zooming into Face Forensics" (2019) defines its masks like this, but states neither the threshold nor whether it
    applies to gray. The default, any difference at all, is our reading and not a value of the paper. Coding changes
    nearly every pixel, so on compressed video this gives specks all over the crop.

    Args:
        fake: uint8 (H, W, 3), RGB.
        original: the same pixels of the original, of the same shape.
        threshold: 0 to 254, in levels of 255.

    Returns:
        uint8 (H, W), 255 forged, 0 pristine; all 0 where nothing exceeds the threshold.
    """
    difference = cv2.absdiff(fake, original).max(axis=2)
    return np.where(difference > threshold, 255, 0).astype(np.uint8)
