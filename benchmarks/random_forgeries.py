"""Forgeries of regions that no way of ``forgeries.py`` has, for fitting: so that its shapes are not what is learned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from forgeries import WAYS, Style, Target, UInt8, _grown, _hull, _roll, _soft, _unit, _whole, _with_forehead

BASES = "swap-warp", "swap-hull", "expression", "mouth", "resynthesis", "tone", "blur", "swap-box"


def random_way(seed: int) -> Callable[[Target, Style], tuple[Any, UInt8]]:
    """A way of forging: one or two regions around landmarks, redrawn as some other way does, relit or softened."""

    def forge(target: Target, style: Style) -> tuple[Any, UInt8]:
        rng = np.random.default_rng(seed)
        base = str(rng.choice(BASES))
        region = np.zeros(target.frame.shape[:2], np.uint8)
        for _ in range(int(rng.integers(1, 3))):
            _add_region(region, target, rng)
        if base == "tone":
            shift = (8 * style.strength * rng.normal(0, 1, 3)).astype(np.float32)
            return target.frame.astype(np.float32) * (1 + 0.05 * style.strength * rng.normal()) + shift, region
        if base == "blur":
            return _soft(target.frame, 0.3 + 0.4 * style.strength), region
        return WAYS[base](target, style)[0], region

    return forge


def _add_region(region: UInt8, target: Target, rng: np.random.Generator) -> None:
    """A polygon of landmarks that lie together, an ellipse near one, or the face in another size."""
    points, unit, kind = _with_forehead(target.points), _unit(target.points), rng.random()
    if kind < 0.45:
        number, middle = int(rng.integers(4, 14)), int(rng.integers(len(points)))
        near = np.argsort(np.linalg.norm(points - points[middle], axis=1))[: int(rng.integers(number, 4 * number))]
        picked = rng.choice(near, min(number, len(near)), replace=False)
        outline = cv2.convexHull(_grown(points[picked], float(rng.uniform(0.9, 1.5))).round().astype(np.int32))
        cv2.fillConvexPoly(region, outline, 255)
    elif kind < 0.9:
        middle = points[int(rng.integers(len(points)))] + rng.normal(0, 0.15, 2) * unit
        across, down = rng.uniform(0.18, 0.9, 2) * unit
        turned = _roll(target.points) + float(rng.uniform(0, 180))
        cv2.ellipse(region, _whole(middle), (round(across), round(down)), turned, 0, 360, 255, -1)
    else:
        np.maximum(region, _hull(target, points, float(rng.uniform(0.7, 1.25))), out=region)
