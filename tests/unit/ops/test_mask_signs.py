"""The signs that a mask may be wrong."""

from __future__ import annotations

import numpy as np
import pytest

from forgeprep.ops.mask_signs import area_jumps, stray_share


def test_stray_is_what_differs_far_from_the_main_region() -> None:
    mask, difference = np.zeros((100, 100), np.uint8), np.zeros((100, 100), np.uint8)
    assert stray_share(mask, difference) is None
    mask[20:60, 20:60], mask[90:95, 90:95] = 255, 255
    assert stray_share(mask, difference) is None
    assert stray_share(mask, None) == pytest.approx(25 / 1625)
    difference[20:60, 20:60] = 128
    difference[62:64, 20:60] = 128
    assert stray_share(mask, difference) == 0
    difference[90:95, 90:95] = 148
    ratio = 2 / (1 + np.exp(-1))
    assert stray_share(mask, difference) == pytest.approx(25 * ratio / (25 * ratio + 1680))


def test_one_wrong_area_stands_out_and_a_slow_change_does_not() -> None:
    times = [0.04 * number for number in range(6)]
    flicker = area_jumps([0.5, 0.5, 0.1, 0.5, 0.5, 0.5], range(6), times)
    assert flicker == pytest.approx([0.0, 0.4, 0.8, 0.4, 0.0, 0.0])
    growing = area_jumps([0.2, 0.22, 0.24, 0.26, 0.28, 0.3], range(6), times)
    assert growing[1:5] == pytest.approx([0.0] * 4)
    assert max(jump or 0 for jump in growing) < 0.1


def test_only_frames_that_are_near_are_neighbours() -> None:
    assert area_jumps([0.5], [3], [0.1]) == [None]
    assert area_jumps([0.5, 0.1], [0, 60], [0.0, 2.4]) == [None, None]
    # Pictures have numbers only.
    assert area_jumps([0.5, 0.1], [0, 60], [None, None]) == [None, None]
    assert area_jumps([0.5, 0.1, 0.2], [0, 10, 60], [None] * 3) == pytest.approx([0.8, 0.8, None])
