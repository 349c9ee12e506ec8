"""Which frame shows which, where the camera stands still and only a head moves, part of which is drawn again."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from forgeprep.media.frames import UInt8
from forgeprep.ops.timing import Thumbs, find_order, lags

FRAMES = 90
HIGH, WIDE = 36, 64


def clip(*, forged: bool, seed: int) -> list[UInt8]:
    """A textured head that wanders before a still wall; the forged one has another, wilder mouth."""
    fixed = np.random.default_rng(0)
    wall = cv2.GaussianBlur(fixed.uniform(40, 220, (HIGH, WIDE)).astype(np.float32), (0, 0), 1.5)
    head = cv2.GaussianBlur(fixed.uniform(60, 240, (64, 64)).astype(np.float32), (0, 0), 2)
    way = np.cumsum(cv2.GaussianBlur(fixed.normal(0, 1.2, (FRAMES, 2)), (0, 0), sigmaX=0.1, sigmaY=2), axis=0)
    rng, found = np.random.default_rng(seed), []
    for x, y in np.clip(way, -5, 5):
        picture = wall.copy()
        place = np.array([[0.4, 0, WIDE / 2 + x - 13], [0, 0.45, HIGH / 2 + y - 14]], np.float32)
        shown = cv2.warpAffine(head, place, (WIDE, HIGH))
        inside = cv2.warpAffine(np.ones_like(head), place, (WIDE, HIGH)) > 0.5
        picture[inside] = shown[inside]
        if forged:
            cv2.circle(picture, (round(WIDE / 2 + x), round(HIGH / 2 + y + 5)), 4, float(rng.uniform(40, 220)), -1)
        found.append(np.clip(picture + rng.normal(0, 1.5, picture.shape), 0, 255).astype(np.uint8))
    return found


ORIGINAL, FAKE = clip(forged=False, seed=1), clip(forged=True, seed=2)
ORDERS = {
    "as is": (list(range(FRAMES)), 25.0),
    "one frame cut off": (list(range(1, FRAMES)), 25.0),
    "twenty cut off": (list(range(20, FRAMES)), 25.0),
    "the end cut off": (list(range(FRAMES - 20)), 25.0),
    "each tenth lost": ([i for i in range(FRAMES) if i % 10 != 7], 25.0),
    "twice the rate": ([i // 2 for i in range(2 * FRAMES)], 50.0),
    "half the rate": (list(range(0, FRAMES, 2)), 12.5),
    "twice as slow": ([i // 2 for i in range(2 * FRAMES)], 25.0),
    "twice as slow, as long": ([i // 2 for i in range(FRAMES)], 25.0),
}


@pytest.mark.parametrize("name", ORDERS)
def test_what_moves_tells_the_order(name: str) -> None:
    shown, fps = ORDERS[name]
    original, fake = Thumbs.of(enumerate(ORIGINAL)), Thumbs.of(enumerate(FAKE[index] for index in shown))
    found = find_order(original, fake, (25.0, fps), (), frozenset())
    right = np.mean(found.partner == np.array(shown))
    assert right == 1.0 if name == "as is" else right >= 0.95
    assert found.sure
    # Frames of the same number are the same moment, or another lag is clearly more alike.
    assert (min(lags(original, fake).values()) > 0) == (name in ("as is", "the end cut off"))


def test_where_nothing_moves_nothing_is_sure() -> None:
    rng = np.random.default_rng(3)
    still = [np.clip(ORIGINAL[0] + rng.normal(0, 1.5, (HIGH, WIDE)), 0, 255).astype(np.uint8) for _ in range(120)]
    found = find_order(
        Thumbs.of(enumerate(still[:60])), Thumbs.of(enumerate(still[60:])), (25.0, 25.0), (), frozenset()
    )
    assert found.partner.tolist() == list(range(60))
    assert not found.sure
