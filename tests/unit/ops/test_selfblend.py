"""Self-blended images: exact outside, exact inside, and only of faces that are there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forgeprep.ops.selfblend import LEAST_SHARE, RATIOS, mix, self_blend
from tests.conftest import UInt8

ANGLES = np.linspace(0, 2 * np.pi, 68, endpoint=False)
FACE = np.stack([48 + 22 * np.cos(ANGLES), 50 + 30 * np.sin(ANGLES)], axis=1)
"""Landmarks of a face on a crop of 96 pixels."""


@pytest.fixture(scope="module")
def crop(face_photo: UInt8) -> UInt8:
    return np.ascontiguousarray(face_photo[40:232:2, 140:332:2])


@given(seed=st.integers(0, 10_000), change_target=st.booleans())
@settings(max_examples=40)
def test_a_blend_is_the_target_outside_and_the_mix_inside(crop: UInt8, seed: int, change_target: bool) -> None:
    found = self_blend(crop, FACE, np.random.default_rng(seed), change_target=change_target)
    assert found is not None
    inside = found.mask > 0
    np.testing.assert_array_equal(found.image[~inside], found.target[~inside])
    np.testing.assert_array_equal(inside, found.alpha > 0)
    if not change_target:
        np.testing.assert_array_equal(found.target, crop)
    # By exact fractions: the nearest integer to the weighted mean, halves up.
    for y, x in np.argwhere(inside)[:: max(1, inside.sum() // 25)]:
        share = int(found.alpha[y, x])
        for channel in range(3):
            s, t = int(found.source[y, x, channel]), int(found.target[y, x, channel])
            assert int(found.image[y, x, channel]) == int(np.floor((t * (255 - share) + s * share) / 255 + 0.5))
    # The region is the face's: bent and blurred, it still holds the middle of the hull and no corner of the crop.
    y, x = np.mgrid[:96, :96]
    core = ((x - 48) / 22) ** 2 + ((y - 50) / 30) ** 2 < 0.3
    assert inside[core].all()
    assert not inside[[0, 0, -1, -1], [0, -1, 0, -1]].any()
    assert found.alpha.max() in {round(255 * ratio) for ratio in RATIOS}
    again = self_blend(crop, FACE, np.random.default_rng(seed), change_target=change_target)
    assert again is not None
    np.testing.assert_array_equal(found.image, again.image)


def test_half_of_the_targets_are_changed_where_that_is_asked_for(crop: UInt8) -> None:
    made = [self_blend(crop, FACE, np.random.default_rng(seed), change_target=True) for seed in range(60)]
    changed = [not np.array_equal(one.target, crop) for one in made if one is not None]
    assert len(changed) == 60
    assert 18 <= sum(changed) <= 42
    # What differs between the two is of the same kind either way.
    assert len({one.image.tobytes() for one in made if one is not None}) == 60


def test_a_face_that_is_hardly_on_the_crop_gives_no_blend(crop: UInt8) -> None:
    assert self_blend(crop, FACE + 200, np.random.default_rng(0)) is None
    for shift in range(0, 80, 8):
        found = self_blend(crop, FACE + np.array([shift, 0]), np.random.default_rng(1))
        assert found is None or (found.mask > 0).mean() >= LEAST_SHARE


def test_the_ends_of_a_mix_are_the_pictures(crop: UInt8) -> None:
    other = 255 - crop
    full = np.full(crop.shape[:2], 255, np.uint8)
    np.testing.assert_array_equal(mix(other, crop, full), other)
    np.testing.assert_array_equal(mix(other, crop, 0 * full), crop)
