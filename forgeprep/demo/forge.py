"""The four forgeries, really performed on the target's frames.

Each is a texture and a region in the coordinates of the target's still, animated with the target's head motion, and
blended into the target's frame. Outside the region a forged frame is the target's frame, bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from forgeprep.demo.animate import Expression, Fields, Motion, backward_maps, render
from forgeprep.demo.people import Float, Person, UInt8, f32, spread

METHODS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures")

TRUTH_ALPHA = 0.05
"""A pixel counts as forged where the forged picture makes up more than this share of it."""

_CHEEKS = ("temple_r", "jaw_r", "jawlow_r", "chin", "jawlow_l", "jaw_l", "temple_l")
_OVAL = ("front_l", "front_c", "front_r", *_CHEEKS)
_INNER = ("brow_lo", "brow_li", "brow_ri", "brow_ro", *_CHEEKS)


@dataclass(frozen=True, slots=True)
class Forgery:
    """A forgery of one target with one source.

    Attributes:
        method: one of :data:`METHODS`.
        texture: uint8 (H, W, 3), what is rendered inside the region, in the target still's coordinates.
        alpha: float32 (H, W), 0 to 1, the region with its soft edge, in the same coordinates.
    """

    method: str
    texture: UInt8
    alpha: Float


def make_forgery(method: str, target: Person, source: Person) -> Forgery:
    """Prepare a forgery: warp, blend and recolour what will be animated."""
    makers = {
        "FaceSwap": _face_swap,
        "Deepfakes": _deepfakes,
        "Face2Face": _face2face,
        "NeuralTextures": _neural_textures,
    }
    return makers[method](target, source)


def forge_frame(
    forgery: Forgery, frame: UInt8, target: Person, fields: Fields, own: Motion, lent: Motion, t: float
) -> tuple[UInt8, np.ndarray[tuple[int, ...], np.dtype[np.bool_]]]:
    """One forged frame and its truth.

    Args:
        forgery: what to blend in.
        frame: the target's frame at time ``t`` with its sensor noise, uint8 (H, W, 3).
        target: the person in it, with ``fields`` and motion ``own``.
        lent: the source's motion, whose expression the re-enactments take.
        t: seconds.

    Returns:
        The forged frame and bool (H, W), True where it was altered.
    """
    expression = _expression(forgery.method, own.expression(t), lent.expression(t))
    maps = backward_maps(target, fields, own.pose(t), expression)
    alpha = cv2.remap(forgery.alpha, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    y0, y1, x0, x1 = _bounds(alpha > TRUTH_ALPHA)
    window = (maps[0][y0:y1, x0:x1], maps[1][y0:y1, x0:x1])
    drawn = render(forgery.texture, fields, window, expression).astype(np.float32)
    # A renderer's brightness wavers a little from frame to frame.
    drawn *= 1 + 0.008 * np.sin(2 * np.pi * 1.3 * t + 1.0)
    share = np.where(alpha > TRUTH_ALPHA, alpha, 0)[y0:y1, x0:x1, None]
    forged = frame.copy()
    mixed = frame[y0:y1, x0:x1] * (1 - share) + drawn * share
    forged[y0:y1, x0:x1] = np.clip(mixed.round(), 0, 255).astype(np.uint8)
    return forged, alpha > TRUTH_ALPHA


def _expression(method: str, own: Expression, lent: Expression) -> Expression:
    if method == "Face2Face":
        return lent
    if method == "NeuralTextures":
        return replace(own, mouth=lent.mouth, smile=lent.smile)
    return own


def _face_swap(target: Person, source: Person) -> Forgery:
    """Identity by graphics: the source's face on the target's shape, Poisson-blended (Perez et al. 2003)."""
    hull = _polygon(target, _OVAL, grow=1.0)
    warped = _warped_onto(target, source)
    y0, y1, x0, x1 = _bounds(hull > 0)
    centre = (x0 + (x1 - x0) // 2, y0 + (y1 - y0) // 2)
    # A copy, because OpenCV writes into the mask.
    blended = cv2.seamlessClone(warped, target.still, hull.copy(), centre, cv2.NORMAL_CLONE)
    return Forgery("FaceSwap", np.asarray(blended, np.uint8), _feathered(hull, 0.03 * target.scale))


def _deepfakes(target: Person, source: Person) -> Forgery:
    """Identity by a network: the source's face through 64 x 64 pixels, colours matched, blended on a rectangle."""
    (left, _), (right, _) = target.point("temple_l"), target.point("temple_r")
    top, bottom = target.point("brow_li")[1] - 0.30 * target.scale, target.point("chin")[1] - 0.10 * target.scale
    x0, x1, y0, y1 = round(left), round(right), round(top), round(bottom)
    warped = _warped_onto(target, source)
    box = warped[y0:y1, x0:x1]
    code = cv2.resize(box, (64, 64), interpolation=cv2.INTER_AREA)
    decoded = cv2.resize(code, (x1 - x0, y1 - y0), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    aim = target.still[y0:y1, x0:x1].astype(np.float32)
    decoded = (decoded - decoded.mean((0, 1))) * (aim.std((0, 1)) / (decoded.std((0, 1)) + 1e-3)) + aim.mean((0, 1))
    texture = target.still.copy()
    texture[y0:y1, x0:x1] = np.clip(decoded, 0, 255).astype(np.uint8)
    region = np.zeros(texture.shape[:2], np.uint8)
    region[y0:y1, x0:x1] = 255
    return Forgery("Deepfakes", texture, _feathered(region, 0.07 * target.scale))


def _face2face(target: Person, source: Person) -> Forgery:
    """Expression by graphics: the target's own face fitted, relit by a smooth estimate of the light, drawn again."""
    del source  # only its expression is lent, frame by frame
    height, width = target.still.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    cx, cy = target.point("nose")
    unit = target.scale
    light = 1.0 + 0.05 * (x - cx) / unit - 0.05 * (y - cy) / unit + 0.035
    texture = np.clip(_resampled(target.still, 0.55) * light[..., None] + [3.0, 0.0, -3.0], 0, 255).astype(np.uint8)
    return Forgery("Face2Face", texture, _feathered(_polygon(target, _INNER, grow=0.94), 0.04 * unit))


def _neural_textures(target: Person, source: Person) -> Forgery:
    """Mouth by a network: the lower face drawn again, a little soft and a little off in tone."""
    del source  # only its mouth is lent, frame by frame
    unit = target.scale
    top, bottom = target.point("nose_base"), target.point("chin")
    (left, _), (right, _) = target.point("mouth_l"), target.point("mouth_r")
    centre = round((left + right) / 2), round((top[1] + bottom[1]) / 2)
    axes = round((right - left) * 0.72), round((bottom[1] - top[1]) * 0.50)
    region = np.zeros(target.still.shape[:2], np.uint8)
    cv2.ellipse(region, centre, axes, 0, 0, 360, 255, -1)
    texture = _resampled(target.still, 0.5) * f32([1.045, 1.02, 0.99]) + f32([3.0, 3.0, 4.0])
    return Forgery("NeuralTextures", np.clip(texture, 0, 255).astype(np.uint8), _feathered(region, 0.06 * unit))


def _resampled(picture: UInt8, factor: float) -> Float:
    small = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, picture.shape[1::-1], interpolation=cv2.INTER_CUBIC), np.float32)


def _warped_onto(target: Person, source: Person) -> UInt8:
    """The source's still in the target's geometry: an affine fit of the anchor points, then what is left of them."""
    matrix, _ = cv2.estimateAffine2D(target.points, source.points, method=cv2.LMEDS)
    height, width = target.still.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    fitted = target.points @ matrix[:, :2].T + matrix[:, 2]
    rest = spread(target.points, (source.points - fitted).astype(np.float32), (height, width), 0.35 * target.scale)
    map_x = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2] + rest[..., 0]
    map_y = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2] + rest[..., 1]
    maps = map_x.astype(np.float32), map_y.astype(np.float32)
    return np.asarray(cv2.remap(source.still, *maps, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101), np.uint8)


def _polygon(person: Person, names: Sequence[str], *, grow: float) -> UInt8:
    points = np.array([person.point(name) for name in names], np.float32)
    middle = points.mean(axis=0)
    hull = cv2.convexHull((middle + grow * (points - middle)).round().astype(np.int32))
    region = np.zeros(person.still.shape[:2], np.uint8)
    cv2.fillConvexPoly(region, hull, 255)
    return region


def _feathered(region: UInt8, width: float) -> Float:
    """0 to 1, soft towards the inside, 0 outside the region."""
    inside = cv2.distanceTransform(region, cv2.DIST_L2, 5)
    return f32(np.clip(inside / max(1.0, 2 * width), 0, 1))


def _bounds(region: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
