"""Cells that vote: a part of a picture that was drawn anew does not outvote the rest, and a shift shows all over."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from forgeprep.media.frames import UInt8
from forgeprep.ops.agreement import agreeing, differs_around, displacement
from forgeprep.ops.timing import Thumbs, lags, lags_of_rest

HIGH, WIDE = 36, 64
HEAD = slice(6, 36), slice(22, 42)
KEEP = np.ones((HIGH, WIDE), bool)
KEEP[12:26, 25:39] = False


def scene(seed: int, moved: tuple[float, float] = (0.0, 0.0), scale: float = 1.0) -> UInt8:
    """A textured picture, drawn larger than a thumb and laid where it should be, or not."""
    large = _texture(seed)
    middle = np.array([WIDE, HIGH]) * 7.5
    shift = middle * (1 - scale) + 15 * np.array(moved)
    laid = cv2.warpAffine(large, np.array([[scale, 0, shift[0]], [0, scale, shift[1]]]), (960, 540), borderMode=2)
    noise = np.random.default_rng(seed + 99).normal(0, 1, (HIGH, WIDE))
    return np.clip(cv2.resize(laid, (WIDE, HIGH), interpolation=cv2.INTER_AREA) + noise, 0, 255).astype(np.uint8)


@cache
def _texture(seed: int) -> npt.NDArray[np.float32]:
    noise = np.random.default_rng(seed).uniform(0, 255, (540, 960)).astype(np.float32)
    smooth = np.asarray(cv2.GaussianBlur(noise, (0, 0), 15), np.float32)
    return np.asarray(np.clip((smooth - smooth.mean()) * 12 + 128, 0, 255), np.float32)


def with_part(picture: UInt8, other: UInt8, *parts: tuple[slice, slice]) -> UInt8:
    changed = picture.copy()
    for part in parts:
        changed[part] = other[part]
    return changed


def test_a_head_and_a_logo_do_not_outvote_the_rest() -> None:
    original, other = scene(1), scene(2)
    head = with_part(original, other, HEAD)
    logo = with_part(original, np.full_like(original, 230), (slice(1, 9), slice(1, 16)))
    assert min(agreeing(original, fake, KEEP) for fake in (head, logo)) > 0.7
    assert agreeing(original, other, KEEP) < 0.15
    assert agreeing(np.full_like(original, 90), np.full_like(original, 90), KEEP) == 0.0
    assert differs_around(original, head, KEEP)
    assert not any(differs_around(original, fake, KEEP) for fake in (logo, other, original))


@pytest.mark.parametrize(
    ("moved", "scale", "least", "most"),
    [((0.0, 0.0), 1.0, 0.0, 0.05), ((0.2, 0.2), 1.0, 0.15, 0.4), ((0.0, 0.0), 1.04, 0.15, 1.0)],
)
def test_a_picture_that_lies_elsewhere_is_told(
    moved: tuple[float, float], scale: float, least: float, most: float
) -> None:
    pairs = [(scene(seed), with_part(scene(seed, moved, scale), scene(seed + 50), HEAD), KEEP) for seed in range(4)]
    found = displacement(pairs)
    assert found is not None
    assert least <= found <= most
    assert displacement([]) is None


def test_the_rest_tells_the_moment_where_a_head_was_drawn_anew() -> None:
    """A body that moves a little under another, livelier head: all cells together hardly tell, the rest does."""
    rng, original, fake = np.random.default_rng(5), [], []
    for x in 0.8 * np.cumsum(cv2.GaussianBlur(rng.normal(0, 1, (60, 1)), (0, 0), sigmaX=0.1, sigmaY=2)):
        picture = scene(3, (float(x), 0.0))
        original.append(picture)
        lively = np.clip(scene(4, (float(rng.normal(0, 2)), 0.0)).astype(int) + 40, 0, 255).astype(np.uint8)
        fake.append(with_part(picture, lively, HEAD))
    for shift in (0, 3):
        pair = Thumbs.of(enumerate(original)), Thumbs.of(enumerate(fake[shift:]))
        rest = lags_of_rest(*pair)
        assert min(rest, key=lambda lag: rest[lag]) == 3 if shift else min(rest.values()) > 0.02
    pair = Thumbs.of(enumerate(original)), Thumbs.of(enumerate(fake))
    everything, own = lags(*pair), lags_of_rest(*pair)
    assert min(own.values()) > min(everything.values())
