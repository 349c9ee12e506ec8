"""Pairs of clips, frame by frame."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from forgeprep.media.frames import Frame, UInt8
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


def test_thumbs_do_not_depend_on_the_range_that_a_picture_is_coded_in(face_photo: UInt8) -> None:
    gray = cv2.cvtColor(face_photo, cv2.COLOR_RGB2GRAY)
    limited = np.rint(16 + gray * (219 / 255)).astype(np.uint8)
    area, size = (0, 0, *gray.shape[::-1]), pairing.thumb_size((512, 512))
    frames = [
        Frame(0, 0.0, (plane,), "gray", (0, 0), full_range=full) for plane, full in ((limited, False), (gray, True))
    ]
    frames.append(Frame(0, 0.0, (gray, gray, gray), "rgb", (0, 0), full_range=True))
    first, *others = (pairing.thumb(frame, area, size).astype(int) for frame in frames)
    assert all(np.abs(first - other).max() <= 1 for other in others)
