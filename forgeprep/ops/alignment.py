"""Aligned crops: a face is turned, scaled and moved so that its eyes, nose and mouth lie where a template has them.

One similarity (turn, one scale, shift) is fitted to the points by least squares. The same matrix is used for the
picture, its original, masks and landmarks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import numpy.typing as npt

from forgeprep.media.frames import Frame, UInt8
from forgeprep.media.regions import Box, IntBox, crop_gray, crop_rgb
from forgeprep.ops.geometry import Matrix, inverse, through

Points = npt.NDArray[np.float64]
MOST_SHRUNK = 1.5
"""A crop that is reduced by more is averaged first, so that fine patterns do not alias."""
_RIM = 3
"""Pixels around the part of a frame that a crop needs, for the interpolation."""


@dataclass(frozen=True, slots=True)
class Template:
    """Where an aligned face's parts lie.

    Attributes:
        places: part of the face -> x, y in shares of the crop's side, without the margin that ``--enlarge`` adds.
        face: side of the crop without margin over the side of a usual face box; measured with dlib's points.
        size: side of the crop in pixels where the user names none; None for about the frame's own resolution.
        least: so many parts have to be known.
        points: scheme of landmarks -> part -> points, where they are others than the scheme's own.
        plain: whether pixels are taken by linear interpolation alone, however much they are reduced.
    """

    places: Mapping[str, tuple[float, float]]
    face: float
    size: int | None = None
    least: int = 5
    points: Mapping[str, Mapping[str, tuple[int, ...]]] = field(default_factory=dict)
    plain: bool = False


_NEAR = {"right_eye": (37,), "left_eye": (44,), "nose": (30,), "right_mouth": (49,), "left_mouth": (55,)}
_IN_112 = {
    "right_eye": (30.2946, 51.6963), "left_eye": (65.5318, 51.5014), "nose": (48.0252, 71.7366),
    "right_mouth": (33.5493, 92.3655), "left_mouth": (62.7299, 92.2041),
}  # fmt: skip

TEMPLATES: dict[str, Template] = {
    # Five points of ArcFace's 112 x 112 crops. DeepfakeBench takes a point of each eyelid for the eyes, and of the lips
    # those beside the corners of the mouth; crops are like its own only with these.
    "deepfakebench": Template(
        {part: ((x + 8) / 112, y / 112) for part, (x, y) in _IN_112.items()},
        face=1.33, size=256, points={"ibug-68": _NEAR, "dlib-81": _NEAR}, plain=True,
    ),
    "gend": Template(
        {
            "right_eye": (0.34, 0.46), "left_eye": (0.66, 0.46), "nose": (0.5, 0.64),
            "right_mouth": (0.37, 0.82), "left_mouth": (0.63, 0.82),
        },
        face=1.31,
    ),
    # Medians over 15 clips of real people, in shares of the face box, made symmetric: what upright crops show on
    # average (benchmarks/landmarks.py). By the distance of the eyes there, the other templates know their ``face``.
    "mean-face": Template(
        {
            "right_eye": (0.29, 0.298), "left_eye": (0.71, 0.298), "nose": (0.5, 0.54), "nose_base": (0.5, 0.621),
            "right_mouth": (0.33, 0.747), "left_mouth": (0.67, 0.747),
        },
        face=1.0, least=3,
    ),
}  # fmt: skip
"""What ``--align`` takes."""


@dataclass(frozen=True, slots=True)
class Aligned:
    """How an aligned crop is cut.

    Attributes:
        matrix: from the frame's pixels to the crop's.
        side: of the crop in pixels.
        plain: see :class:`Template`.
        reach: in samples of several frames, the box that holds the crops of all of them.
    """

    matrix: Matrix
    side: int
    plain: bool = False
    reach: IntBox | None = None

    @property
    def scale(self) -> float:
        """Pixels of the crop for one of the frame."""
        return math.hypot(self.matrix[0, 0], self.matrix[1, 0])

    @property
    def corners(self) -> Points:
        """The crop's corners in the frame, clockwise from the upper left, from the centre of its first pixel."""
        low, high = -0.5, self.side - 0.5
        return through(inverse(self.matrix), [(low, low), (high, low), (high, high), (low, high)])

    @property
    def box(self) -> IntBox:
        """The smallest upright box of whole pixels that holds the crop, or the crops of several frames."""
        if self.reach is not None:
            return self.reach
        corners = self.corners + 0.5
        (x0, y0), (x1, y1) = np.floor(corners.min(axis=0) + 1e-6), np.ceil(corners.max(axis=0) - 1e-6)
        return int(x0), int(y0), int(x1), int(y1)

    def square(self, margin: float) -> Box:
        """The upright square with the crop's middle and its side over ``margin``: the face box that it stands for."""
        x, y = self.corners.mean(axis=0) + 0.5
        half = self.side / self.scale / margin / 2
        return float(x - half), float(y - half), float(x + half), float(y + half)

    def placed(self, scale: float, shift: tuple[float, float]) -> Aligned:
        """The same crop out of a frame in which all lies at ``scale`` times its place, plus ``shift``."""
        linear = self.matrix[:, :2] / scale
        # Pixels count from their centres, places from the corner.
        start = self.matrix[:, 2] + linear @ (0.5 - np.array(shift) - 0.5 * scale)
        reach = self.reach
        if reach is not None:
            (x0, y0), (x1, y1) = scale * np.array(reach, np.float64).reshape(2, 2) + np.array(shift)
            reach = math.floor(x0), math.floor(y0), math.ceil(x1), math.ceil(y1)
        return Aligned(np.column_stack([linear, start]), self.side, self.plain, reach)


def parts_of(template: Template, scheme: str, own: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The parts that a template can lay landmarks on: part -> points.

    Args:
        template: the template.
        scheme: name of the landmarks' scheme.
        own: its parts.
    """
    chosen = template.points.get(scheme, own)
    return {part: chosen[part] for part in template.places if part in chosen}


def align(
    points: Sequence[Points],
    parts: Mapping[str, tuple[int, ...]],
    template: Template,
    enlarge: float,
    size: int | None,
) -> Aligned:
    """The crop of a face by its landmarks in one frame, or of several frames by their mean.

    One of several frames is widened where the face would leave it: in each of them it has room for the template
    without its margin.

    Args:
        points: landmarks, float64 (n, 2), of each frame.
        parts: what of them is laid on the template, see :func:`parts_of`.
        template: the template.
        enlarge: side of the crop over its side without margin.
        size: side of the crop in pixels; None for the template's, or about the frames' own resolution.
    """
    places = np.array([template.places[part] for part in parts])
    own = np.array([[one[list(numbers)].mean(axis=0) for numbers in parts.values()] for one in points])
    unit = similarity(own.mean(axis=0), places)
    wide = enlarge
    if len(points) > 1:
        square = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]
        there = [through(unit, through(inverse(similarity(one, places)), square)) for one in own]
        wide = max(enlarge, 2 * float(np.abs(np.array(there) - 0.5).max()))
    scale = math.hypot(unit[0, 0], unit[1, 0])
    side = size or template.size or max(16, round(wide / scale))
    # Of shares of the inner square to pixels of the whole crop, which count from their centres in all templates.
    grown = unit * (side / wide)
    grown[:, 2] += side * (1 - 1 / wide) / 2
    return Aligned(grown, side, template.plain)


def similarity(points: Points, places: Points) -> Matrix:
    """The turn, scale and shift that bring points to places with the least squared error (Umeyama 1991)."""
    z, w = points @ np.array([1, 1j]), places @ np.array([1, 1j])
    middle = z.mean(), w.mean()
    turn = np.vdot(z - middle[0], w - middle[1]) / np.vdot(z - middle[0], z - middle[0]).real
    shift = middle[1] - turn * middle[0]
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def aligned_rgb(frame: Frame, crop: Aligned) -> UInt8:
    """Cut an aligned crop out of a frame, uint8 (side, side, 3) RGB; black outside the frame.

    Only the part of the frame that the crop shows is converted.
    """
    box = _part(crop)
    picture = crop_rgb(frame, box)
    step = 1 / crop.scale
    matrix = crop.matrix @ np.array([[1, 0, box[0]], [0, 1, box[1]], [0, 0, 1]])
    if step > MOST_SHRUNK and not crop.plain:
        width, height = (max(1, round(side / step)) for side in picture.shape[1::-1])
        across, down = picture.shape[1] / width, picture.shape[0] / height
        picture = np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        matrix = matrix @ np.array([[across, 0, across / 2 - 0.5], [0, down, down / 2 - 0.5], [0, 0, 1]])
    return np.asarray(cv2.warpAffine(picture, matrix, (crop.side, crop.side), flags=cv2.INTER_LINEAR), np.uint8)


def aligned_gray(frame: Frame, crop: Aligned) -> UInt8:
    """The same of a frame's luma, uint8 (side, side), by the nearest pixel: no level appears that is not there."""
    box = _part(crop)
    matrix = crop.matrix @ np.array([[1, 0, box[0]], [0, 1, box[1]], [0, 0, 1]])
    size = crop.side, crop.side
    return np.asarray(cv2.warpAffine(crop_gray(frame, box), matrix, size, flags=cv2.INTER_NEAREST), np.uint8)


def outside(crop: Aligned, box: IntBox) -> npt.NDArray[np.bool_] | None:
    """The crop's pixels whose middle lies outside a box of the frame, bool (side, side); None where all lie inside."""
    corners = crop.corners + 0.5
    x0, y0, x1, y1 = box
    if (corners >= (x0, y0)).all() and (corners <= (x1, y1)).all():
        return None
    back = inverse(crop.matrix)
    x, y = np.arange(crop.side)[None, :], np.arange(crop.side)[:, None]
    across, down = (row[0] * x + row[1] * y + row[2] + 0.5 for row in back)
    return np.asarray((across < x0) | (across > x1) | (down < y0) | (down > y1))


def _part(crop: Aligned) -> IntBox:
    """The part of the frame that a crop needs."""
    x0, y0, x1, y1 = replace(crop, reach=None).box
    return x0 - _RIM, y0 - _RIM, x1 + _RIM, y1 + _RIM
