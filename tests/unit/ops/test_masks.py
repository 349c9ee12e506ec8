from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forgeprep.ops import evidence, masks, robust
from forgeprep.ops.evidence import PIXELS, WIDE, Pair, find_evidence, grid_side
from forgeprep.ops.masks import Crop, binarise, difference_masks
from forgeprep.ops.similarity import mask_grid, pack_grid, similarity_map, unpack_grid
from tests.conftest import UInt8

SIDE = PIXELS * grid_side(WIDE)
MIDDLE = (WIDE - 1.3) / 2 / WIDE
PLACE = MIDDLE, MIDDLE, 1 - MIDDLE, 1 - MIDDLE
"""Of a crop enlarged 1.3 times in its window."""


def noisy(image: UInt8, seed: int, sigma: float = 2.0) -> UInt8:
    noise = np.random.default_rng(seed).normal(0, sigma, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def window(photo: UInt8) -> UInt8:
    """A face and as much around it on each side as its half."""
    return np.asarray(cv2.resize(photo[0:270, 88:358], (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def forged(image: UInt8, region: UInt8) -> UInt8:
    """The region relit and softened, as a re-rendered face is."""
    drawn = cv2.GaussianBlur(image, (0, 0), 1.5).astype(np.float32) * 1.06 + 4
    return np.where(region[..., None] > 0, np.clip(drawn, 0, 255), image).astype(np.uint8)


def ellipse() -> UInt8:
    region = np.zeros((SIDE, SIDE), np.uint8)
    cv2.ellipse(region, (SIDE // 2, round(0.52 * SIDE)), (SIDE // 6, SIDE // 4), 0, 0, 360, 255, -1)
    return region


def in_crop(region: UInt8, side: int) -> UInt8:
    """What a crop of the window shows of a region."""
    low, high = round(MIDDLE * SIDE), round((1 - MIDDLE) * SIDE)
    return np.asarray(cv2.resize(region[low:high, low:high], (side, side), interpolation=cv2.INTER_LINEAR), np.uint8)


@pytest.mark.parametrize("side", [120, 237, 480])
@pytest.mark.parametrize("frames", [1, 8])
def test_a_forged_ellipse_is_found_through_noise(face_photo: UInt8, side: int, frames: int) -> None:
    image, region = window(face_photo), ellipse()
    pairs = [Pair(noisy(forged(image, region), 2 * i), noisy(image, 2 * i + 1)) for i in range(frames)]
    truth = in_crop(region, side) > 127
    for found in difference_masks(pairs, [Crop(side, PLACE)] * frames):
        assert found.mask.shape == found.difference.shape == (side, side)
        assert set(np.unique(found.mask)) == {0, 255}
        both, either = np.sum((found.mask > 0) & truth), np.sum((found.mask > 0) | truth)
        assert both / either > 0.75
        assert abs(found.confidence - both / either) < 0.25
        assert cv2.connectedComponents(found.mask)[0] == 2
        assert np.array_equal(binarise(found.difference, found.threshold), found.mask)


def test_identical_pairs_and_merely_noisy_ones_give_no_mask(face_photo: UInt8) -> None:
    image = window(face_photo)
    crops = [Crop(200, PLACE)] * 3
    same = difference_masks([Pair(image, image)] * 3, crops)
    assert all(not found.mask.any() and found.confidence == 0 for found in same)
    apart = difference_masks([Pair(noisy(image, 2 * i), noisy(image, 2 * i + 1)) for i in range(3)], crops)
    assert all(not found.mask.any() and found.confidence == 0 for found in apart)


def test_padding_is_never_masked(face_photo: UInt8) -> None:
    """The frame ends in the left third of the window; what is continued from its edge differs too."""
    image = window(face_photo)
    edge = SIDE // 3
    image[:, :edge] = image[:, edge : edge + 1]
    fake = forged(image, ellipse())
    fake[:, :edge] = fake[:, edge : edge + 1]
    pad = round((edge / SIDE - MIDDLE) / 1.3 * WIDE * 200)
    pair = Pair(noisy(fake, 0), noisy(image, 1), (edge / SIDE, 0.0, 0.0, 0.0))
    found = difference_masks([pair], [Crop(200, PLACE, (pad, 0, 0, 0))])[0]
    assert not found.mask[:, :pad].any()
    assert not found.difference[:, :pad].any()
    assert found.mask[90:130, 80:120].all()


def test_a_forgery_that_reaches_the_edge_of_a_frame_that_shows_the_face_alone_is_found(face_photo: UInt8) -> None:
    """The frame is 1.2 times as wide as the face, and most of its rim was forged too."""
    low = (WIDE - 1.2) / 2 / WIDE
    first = round(low * SIDE)
    there = slice(first, SIDE - first)
    region = np.zeros((SIDE, SIDE), np.uint8)
    region[first : first + round(0.5 * SIDE), there] = 255

    def framed(image: UInt8) -> UInt8:
        part, around = image[there, there], (first,) * 4
        return np.asarray(cv2.copyMakeBorder(part, *around, cv2.BORDER_REPLICATE), np.uint8)

    image = window(face_photo)
    pairs = [
        Pair(framed(noisy(forged(image, region), 2 * i)), framed(noisy(image, 2 * i + 1)), (low,) * 4) for i in range(8)
    ]
    pad = round((low - MIDDLE) / 1.3 * WIDE * 200)
    truth = in_crop(region, 200) > 127
    for found in difference_masks(pairs, [Crop(200, PLACE, (pad,) * 4)] * 8):
        both, either = np.sum((found.mask > 0) & truth), np.sum((found.mask > 0) | truth)
        assert both / either > 0.75


def test_masks_do_not_depend_on_who_else_is_in_the_process(face_photo: UInt8) -> None:
    image = window(face_photo)
    pairs = [Pair(noisy(forged(image, ellipse()), i), noisy(image, 50 + i)) for i in range(4)]
    first, again = (difference_masks(pairs, [Crop(200, PLACE)] * 4) for _ in range(2))
    assert all(
        np.array_equal(a.mask, b.mask) and a.confidence == b.confidence for a, b in zip(first, again, strict=True)
    )
    assert difference_masks([], []) == []


def test_energies_are_as_written_down(face_photo: UInt8) -> None:
    """The energies against a plain account of them: interleaved, whole frames at a time."""
    image = window(face_photo)
    pairs = [Pair(noisy(forged(image, ellipse()), i), noisy(image, 50 + i)) for i in range(6)]
    signed = [(pair.fake.astype(np.float32) - pair.original) @ evidence._TO_YCC.T for pair in pairs]
    halved = np.stack([one.reshape(96, 2, 96, 2, 3).mean(axis=(1, 3)) for one in signed])
    squares = np.stack([(one**2).reshape(96, 2, 96, 2, 3).mean(axis=(1, 3)) for one in signed])
    means, within, _ = evidence._differences(pairs, 96)
    assert np.allclose(means, halved, atol=1e-4)
    rest = np.maximum(squares - halved**2, 0)
    assert np.allclose(within[:, 0], rest[..., 0], atol=1e-2)
    assert np.allclose(within[:, 1], rest[..., 1] + rest[..., 2], atol=1e-2)
    wide = np.pad(halved, ((2, 2), (0, 0), (0, 0), (0, 0)), mode="edge")
    over_time = sum(weight * wide[at : at + 6] for at, weight in enumerate((1, 2, 3, 2, 1))) / 9
    steady = halved.mean(axis=0)[None].repeat(6, axis=0)
    plain = []
    for maps, sigma, after in [
        (halved, 0.7, 0.0), (halved, 1.5, 0.75), (halved, 3.6, 1.8), (over_time, 1.0, 0.6),
        (steady, 1.2, 0.6), (steady, 3.2, 1.6),
    ]:  # fmt: skip
        energy = np.stack([cv2.GaussianBlur(one, (0, 0), sigma) ** 2 for one in maps.astype(np.float32)])
        both = np.stack([energy[..., 0], energy[..., 1] + energy[..., 2]], axis=-1)
        both = np.stack([cv2.GaussianBlur(one, (0, 0), after) for one in both]) if after else both
        plain += [both[..., 0], both[..., 1]]
    floors = np.array(evidence.FLOORS)[:, None, None]
    rim, part = [np.arange(number, 9000, 7) for number in range(6)], np.s_[5:90, 8:80]
    levels, at_rim = evidence._log_energies(means, within, rim, part)
    found, wanted = np.exp(levels) - floors, np.stack(plain).transpose(1, 0, 2, 3)
    assert np.allclose(found[:, 2:], wanted[:, :, *part], rtol=1e-3, atol=1e-3)
    assert np.allclose(np.exp(at_rim[2:, -9:]) - floors[2:, 0], wanted[-1].reshape(12, -1)[:, rim[-1][-9:]], rtol=1e-3)


@given(st.integers(1, 400), st.integers(1, 12), st.integers(0, 1000))
def test_medians_equal_those_of_numpy(size: int, frames: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, frame = rng.normal(size=(3, size)).astype(np.float32), np.sort(rng.integers(0, frames, size))
    count = int(rng.integers(1, size + 1))
    assert robust.median_of_least(values[0], count) == np.median(np.sort(values[0])[:count])
    for number, found in enumerate(robust.medians(values, frame, frames).T):
        own = values[:, frame == number]
        assert np.array_equal(found, np.median(own, axis=1) if own.shape[1] > 60 else np.zeros(3))


def test_fit_features_are_means_over_their_places(face_photo: UInt8) -> None:
    image = window(face_photo)
    pairs = [Pair(noisy(forged(image, ellipse()), i), noisy(image, 50 + i), (0.25, 0.0, 0.0, 0.0)) for i in range(3)]
    found, crop = find_evidence(pairs), Crop(200, PLACE)
    region = cv2.resize(ellipse(), (96, 96), interpolation=cv2.INTER_AREA) > 127
    rows = masks.fit_features(found, [region] * 3, [crop] * 3)
    for number, row in enumerate(rows):
        looked_at = found.seen[number] & masks._inside(crop, 96)
        inside = region & looked_at
        ring = (cv2.dilate(inside.astype(np.uint8), masks._RING) > 0) & looked_at & ~inside
        odds = np.clip(found.log_odds[number], -5, 5)
        share = 1 / (1 + np.exp(-odds))
        energy = np.clip(found.standing[number, [4, 5, 8, 9]].max(axis=0), -1, 6)
        plain = {
            "expected IoU by the odds": share[inside].sum() / (inside.sum() + share[looked_at & ~inside].sum()),
            "odds inside": odds[inside].mean(),
            "odds around": odds[ring].mean(),
            "odds across the border": odds[inside & ~(cv2.erode(inside.astype(np.uint8), masks._RING) > 0)].mean()
            - odds[ring].mean(),
            "log area": np.log(inside.sum() / looked_at.sum()),
            "energy inside": energy[inside].mean(),
            "energy around": energy[ring].mean(),
            "strongest energy": np.quantile(energy[looked_at], 0.98),
            "steadiness": 1.0,
        }
        for name, value in plain.items():
            assert row[masks.FIT_FEATURES.index(name)] == pytest.approx(value, abs=1e-4), name
    nothing = masks.fit_features(found, [np.zeros_like(region)] * 3, [crop] * 3)
    assert not nothing.any()


@given(side=st.integers(1, 20), seed=st.integers(0, 1000))
def test_the_grid_survives_packing_and_its_map_is_an_exclusive_or(side: int, seed: int) -> None:
    grid = np.random.default_rng(seed).random((side, side)) < 0.4
    assert np.array_equal(unpack_grid(pack_grid(grid), side), grid)
    pairs = similarity_map(grid)
    assert np.array_equal(pairs, pairs.T)
    assert not pairs.diagonal().any()
    assert pairs.sum() == 2 * grid.sum() * (~grid).sum()


@given(cells=st.integers(1, 16), block=st.integers(2, 9), seed=st.integers(0, 1000))
@settings(max_examples=40)
def test_a_cell_is_set_where_half_of_it_is_masked(cells: int, block: int, seed: int) -> None:
    mask = (np.random.default_rng(seed).random((cells * block, cells * block)) < 0.5).astype(np.uint8) * 255
    share = (mask > 0).reshape(cells, block, cells, block).mean(axis=(1, 3))
    assert np.array_equal(mask_grid(mask, cells), share >= 0.5)
