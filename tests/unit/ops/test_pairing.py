"""Pairs of clips, frame by frame."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from forgeprep.media.frames import Frame
from forgeprep.ops import pairing


def test_clips_that_change_their_size_early_are_compared_as_far_as_it_stays() -> None:
    rng = np.random.default_rng(0)
    scene = cv2.GaussianBlur(rng.integers(0, 255, (200, 400), dtype=np.uint8), (0, 0), 4)
    frames = [
        Frame(i, i / 25, (np.ascontiguousarray(scene[:120, 4 * i : 4 * i + 160]),), "gray", (0, 0)) for i in range(40)
    ]
    frames = [f if f.index < 25 else replace(f, planes=(np.ascontiguousarray(f.planes[0][:90]),)) for f in frames]
    found = pairing.align(lambda: iter(frames), lambda: iter(frames), (25.0, 25.0))
    assert found is not None
    assert found.placement.is_identity
    assert all(found.partner[i] == i for i in range(25))
