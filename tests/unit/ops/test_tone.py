"""A change of tone of the whole picture is undone before masks are made; a forged part never makes one."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forgeprep.media.colour import part_rgb, yuv_from_rgb
from forgeprep.media.frames import Frame, UInt8
from forgeprep.ops.evidence import Pair
from forgeprep.ops.masks import Crop, difference_masks
from forgeprep.ops.pairing import CAP
from forgeprep.ops.tone import luma_in_tone, tone_of, with_tone
from forgeprep.stages.crop.outside import HALVED
from tests.unit.ops.test_masks import ellipse, forged, in_crop, noisy, window


def curve(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[UInt8], UInt8]:
    levels = np.clip(np.rint(255 * change(np.arange(256) / 255)), 0, 255).astype(np.uint8)
    return lambda picture: np.asarray(cv2.LUT(picture, levels), np.uint8)


def gray(picture: UInt8) -> UInt8:
    return np.asarray(cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)


def mixed(matrix: npt.ArrayLike) -> Callable[[UInt8], UInt8]:
    return lambda picture: np.asarray(np.clip(np.rint(picture @ np.transpose(matrix)), 0, 255), np.uint8)


def turned_hues(picture: UInt8) -> UInt8:
    """As OpenCV's users turn hues, in whole steps of two degrees."""
    hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV).astype(int)
    hsv[..., 0] = (hsv[..., 0] + 4) % 180
    hsv[..., 1] = np.clip(hsv[..., 1] * 1.2, 0, 255)
    return np.asarray(cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB), np.uint8)


def lost_tag(picture: UInt8) -> UInt8:
    """Decoded by the matrix of BT.601, but made by that of BT.709."""
    frame = Frame(0, 0.0, tuple(cv2.split(yuv_from_rgb(picture, "bt709", False))), "yuv", (0, 0))
    return part_rgb(frame, (0, 0, *frame.size_wh))


TONES = {
    "brighter": curve(lambda x: x + 0.05),
    "contrast": curve(lambda x: (x - 0.5) * 1.15 + 0.5),
    "gray": gray,
    "cast": mixed(np.diag([1.05, 1, 0.93])),
    "hues": turned_hues,
    "lost tag": lost_tag,
}


@pytest.mark.parametrize("name", TONES)
def test_masks_are_those_of_the_same_fake_in_its_own_tone(face_photo: UInt8, name: str) -> None:
    original = window(face_photo)
    fake, again = (noisy(picture, seed) for picture, seed in ((forged(original, ellipse()), 1), (original, 2)))
    crops = [Crop(240, (0.175, 0.175, 0.825, 0.825))] * 2
    own, other, nothing = (
        difference_masks([Pair(picture, original), Pair(noisy(picture, 3, 1), original)], crops)
        for picture in (fake, TONES[name](fake), TONES[name](again))
    )
    truth = in_crop(ellipse(), 240) > 0
    for found, usual in zip(other, own, strict=True):
        mask = found.mask > 0
        assert (mask & truth).sum() / (mask | truth).sum() > 0.8
        assert (mask & (usual.mask > 0)).sum() / (mask | (usual.mask > 0)).sum() > 0.85
    assert not any(one.mask.any() for one in nothing)


@given(gain=st.floats(0.8, 1.2), more=st.floats(-15, 15), share=st.floats(0, 0.3), seed=st.integers(0, 99))
@settings(max_examples=60)
def test_gain_and_offset_are_found_whatever_a_minority_shows(gain: float, more: float, share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    known = rng.uniform(40, 200, (600, 3)).astype(np.float32)
    fake = (known * gain + more + rng.normal(0, 0.7, known.shape)).astype(np.float32)
    fake[: int(share * len(fake))] = rng.uniform(0, 255, (int(share * len(fake)), 3))
    tone = tone_of(known, fake)
    probe = np.array([[[60, 90, 180], [190, 120, 50]]], np.uint8)
    wanted = np.clip(probe * gain + more, 0, 255)
    if tone is None:
        # A change that coding could have made.
        assert np.abs(known * (gain - 1) + more).max(axis=1).mean() < 8
    else:
        assert np.abs(with_tone(probe, tone) - wanted).max() <= 2


def test_luma_of_other_hues_is_told_by_colours(face_photo: UInt8) -> None:
    original = window(face_photo)
    hued = turned_hues(turned_hues(original))
    yuv = cv2.cvtColor(original, cv2.COLOR_RGB2YUV).reshape(-1, 3).astype(np.float32)
    luma = cv2.cvtColor(hued, cv2.COLOR_RGB2GRAY).ravel().astype(np.float32)
    told = luma_in_tone(yuv, luma, ellipse().ravel() == 0)
    before, after = (np.square(np.minimum(np.abs(one - luma), CAP)).mean() for one in (yuv[:, 0], told))
    assert after < HALVED * before


def test_another_picture_is_no_change_of_tone() -> None:
    rng = np.random.default_rng(0)
    assert tone_of(*rng.uniform(0, 255, (2, 600, 3)).astype(np.float32)) is None
    same = rng.uniform(0, 255, (600, 3)).astype(np.float32)
    assert tone_of(same, same + rng.normal(0, 1.0, same.shape).astype(np.float32)) is None
