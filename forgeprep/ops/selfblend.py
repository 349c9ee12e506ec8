"""Self-blended images: a real face laid onto itself, a fake whose mask is known exactly.

After the description in "Detecting Deepfakes with Self-Blended Images" (Shiohara and Yamasaki, CVPR 2022): of one real
crop two versions are made, a *source* and a *target*. One of them is changed in colour and sharpness, the source is
also moved a little. The source is laid onto the target within the hull of the face's landmarks, which is bent, grown or
shrunk, softened, and weakened by a ratio. What is left to be seen is what all face swaps have in common: the border of
a blend, and two parts that do not match.

The numbers are forgeprep's own. Lengths are shares of the crop's or the hull's side, so that crops of all sizes get
blends of one kind.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from forgeprep.media.frames import UInt8
from forgeprep.ops.perturb import pixels

Float = npt.NDArray[np.float32]

RATIOS = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)
"""Shares of the source in the middle of a blend, one of which is drawn."""
LEAST_POINTS = 20
"""Landmarks with fewer points have no hull of the whole face: five points span eyes and mouth alone."""
LEAST_SHARE = 0.01
"""A blend that covers less of the crop than this is none."""
_WORK = 160
"""Side at which the soft mask is made: it has no finer detail, and costs the same on crops of all sizes."""
_FAINT = 0.04
"""What is fainter counts as nothing: the far tail of a blur changes no level."""


@dataclass(frozen=True, slots=True)
class Blend:
    """A self-blended image. Everywhere ``image = (target (255 - alpha) + source alpha + 127) // 255``, in integers.

    Attributes:
        image: uint8 (H, W, 3) RGB.
        alpha: uint8 (H, W): the share of the source in each pixel, of 255; 0 outside of the mask.
        source: what lies inside, uint8 (H, W, 3).
        target: what lies outside, uint8 (H, W, 3): there the image is the same bit by bit.
    """

    image: UInt8
    alpha: UInt8
    source: UInt8
    target: UInt8

    @property
    def mask(self) -> UInt8:
        """255 where the source has a share, else 0; uint8 (H, W)."""
        return np.where(self.alpha > 0, 255, 0).astype(np.uint8)


def self_blend(
    image: UInt8, points: npt.ArrayLike, rng: np.random.Generator, *, change_target: bool = False
) -> Blend | None:
    """Blend a real face onto itself.

    Args:
        image: the crop, uint8 (H, W, 3) RGB.
        points: the face's landmarks in the crop, (N, 2) x and y, from the centre of the upper left pixel; at least
            :data:`LEAST_POINTS`, which may lie outside of the crop.
        rng: all chance.
        change_target: let the target be changed in place of the source in half of the blends, as the paper does; its
            real counterpart then is :attr:`Blend.target`. Without, what lies outside of the mask is the crop itself.

    Returns:
        The blend; None where hardly any of the face is on the crop.
    """
    height, width = image.shape[:2]
    alpha = _alpha(np.asarray(points, np.float64), (width, height), rng)
    turned = change_target and rng.random() < 0.5
    changed = change(image, rng)
    source, target = (image, changed) if turned else (changed, image)
    source = _moved(source, rng)
    if np.count_nonzero(alpha) < LEAST_SHARE * alpha.size:
        return None
    return Blend(mix(source, target, alpha), alpha, source, target)


def mix(source: UInt8, target: UInt8, alpha: UInt8) -> UInt8:
    """The source over the target, each uint8 (H, W, 3), by shares of 255, uint8 (H, W)."""
    share = alpha[..., None].astype(np.uint16)
    # At most 255 * 255 + 127, which 16 bits hold.
    return ((target * (255 - share) + source * share + np.uint16(127)) // np.uint16(255)).astype(np.uint8)


def change(image: UInt8, rng: np.random.Generator) -> UInt8:
    """A crop as another camera or program would show it: other colours, and softer or sharper; uint8 (H, W, 3)."""
    image = _recoloured(image, rng)
    if rng.random() < 0.5:
        return pixels.downscale(image, factor=float(rng.uniform(0.25, 0.6)))
    return pixels.sharpen(image, amount=float(rng.uniform(0.3, 1.2)), sigma=0.006)


def _recoloured(image: UInt8, rng: np.random.Generator) -> UInt8:
    """Other hue, saturation, contrast, brightness and white, all in one linear map of the three channels."""
    angle, gray = math.radians(rng.uniform(-8, 8)), np.full((3, 3), 1 / 3)
    saturation, contrast = (math.exp(rng.uniform(-most, most)) for most in (0.3, 0.15))
    # A turn about the axis of grays, by Rodrigues' formula: grays stay.
    across = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    hue = math.cos(angle) * (np.eye(3) - gray) + math.sin(angle) * across
    linear = contrast * (gray + saturation * hue)
    offset = (1 - contrast) * image.mean() + rng.uniform(-15, 15) + rng.uniform(-10, 10, 3)
    return np.asarray(cv2.transform(image, np.column_stack([linear, offset])), np.uint8)


def _moved(image: UInt8, rng: np.random.Generator) -> UInt8:
    """Moved and scaled by a few hundredths, so that what should go on across the border does not."""
    height, width = image.shape[:2]
    scale = math.exp(rng.uniform(-0.05, 0.05))
    x, y = rng.uniform(-0.03, 0.03) * width, rng.uniform(-0.015, 0.015) * height
    centre = (width - 1) / 2, (height - 1) / 2
    matrix = np.array([[scale, 0, x + (1 - scale) * centre[0]], [0, scale, y + (1 - scale) * centre[1]]])
    moved = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(moved, np.uint8)


def _alpha(points: npt.NDArray[np.float64], size_wh: tuple[int, int], rng: np.random.Generator) -> UInt8:
    """The share of the source in each pixel, uint8 (H, W): the hull of the points, bent, softened and weakened."""
    width, height = size_wh
    scale = _WORK / max(size_wh)
    work = max(8, round(width * scale)), max(8, round(height * scale))
    hull = cv2.convexHull(((points + 0.5) * scale - 0.5).astype(np.float32))
    extent = hull.reshape(-1, 2)
    side = float(np.max(extent.max(axis=0) - extent.min(axis=0)))
    soft = np.zeros((work[1], work[0]), np.float32)
    cv2.fillConvexPoly(soft, np.rint(hull).astype(np.int32), 1.0)
    soft = _bent(soft, side, rng)
    ratio = float(rng.choice(RATIOS))
    # Blurred once and cut off, it has shrunk (or grown, if the cut is at nothing); blurred again, it is soft.
    inner, outer = (side * float(share) for share in rng.uniform((0.005, 0.01), (0.04, 0.06)))
    level = float(rng.choice((0.02, 0.98)))
    soft = np.where(_blurred(soft, inner) > level, np.float32(1), np.float32(0))
    soft = _blurred(soft, outer)
    soft = np.asarray(cv2.resize(soft, size_wh, interpolation=cv2.INTER_LINEAR), np.float32)
    soft = np.clip((soft / max(float(soft.max()), 1e-6) - _FAINT) / (1 - _FAINT), 0, 1)
    return np.asarray(np.rint(soft * (255 * ratio)), np.uint8)


def _bent(mask: Float, side: float, rng: np.random.Generator) -> Float:
    """Elastic deformation: each pixel comes from a place near by, neighbours from like ones."""
    height, width = mask.shape
    # Few random vectors, grown smoothly: the outline bends in waves of a fifth to half of the face.
    cells = int(rng.integers(4, 9))
    reach = side * float(rng.uniform(0.02, 0.08))
    field = rng.uniform(-reach, reach, (cells, cells, 2)).astype(np.float32)
    field = np.asarray(cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return np.asarray(cv2.remap(mask, x + field[..., 0], y + field[..., 1], cv2.INTER_LINEAR), np.float32)


def _blurred(mask: Float, sigma: float) -> Float:
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), max(sigma, 0.3), borderType=cv2.BORDER_REPLICATE), np.float32)
