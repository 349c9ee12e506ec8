"""Planes that are scaled down."""

from __future__ import annotations

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from forgeprep.media.scale import area_mean


@given(
    st.integers(1, 70), st.integers(1, 40), st.integers(1, 30), st.integers(1, 30), st.integers(0, 40), st.integers(0)
)
def test_area_means_are_opencvs(columns: int, rows: int, across: int, down: int, more: int, seed: int) -> None:
    """Whole factors and others, also of a part of a plane, of few levels so that halves come up."""
    width, height = columns * across + more % 3, rows * down + more % 5
    plane = np.random.default_rng(seed).integers(0, 256 if seed % 2 else 2, (height, width + 3), dtype=np.uint8)[:, 3:]
    plain = cv2.resize(plane, (columns, rows), interpolation=cv2.INTER_AREA)
    whole = (width % columns, height % rows) == (0, 0) and min(across, down) >= 3
    # Sums in another order are rounded otherwise now and then.
    assert np.abs(plain.astype(int) - area_mean(plane, (columns, rows))).max() <= (0 if whole else 1)


def test_hardly_any_area_mean_is_rounded_otherwise() -> None:
    plane = np.random.default_rng(0).integers(0, 256, (692, 700), dtype=np.uint8)
    for size in (192, 192), (569, 320), (64, 600):
        plain = cv2.resize(plane, size, interpolation=cv2.INTER_AREA)
        assert np.mean(plain != area_mean(plane, size)) < 3e-4
