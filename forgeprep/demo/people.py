"""The people of the demo dataset: stills derived from two real portraits that ship inside Python packages.

The portraits are scikit-image's ``astronaut`` and matplotlib's ``grace_hopper.jpg``. A person is a mirrored, recoloured
and geometrically changed copy of one of them, set into a frame of the wanted size.
"""

from __future__ import annotations

import functools
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

UInt8 = npt.NDArray[np.uint8]
Float = npt.NDArray[np.float32]

POINTS = tuple(
    "eye_l eye_r nose nose_base mouth_l mouth_r lip_top lip_bottom chin jaw_l jaw_r jawlow_l jawlow_r "  # noqa: SIM905
    "temple_l temple_r brow_lo brow_li brow_ri brow_ro front_l front_c front_r".split()
)
"""Names of the anchor points; l and r are the viewer's left and right."""

# Measured by hand on the portraits, in their own pixels.
_ASTRONAUT = [
    (203, 101), (247, 103), (223, 127), (223, 132), (202, 140), (246, 139), (223, 140), (223, 152), (225, 178),
    (183, 140), (267, 140), (197, 165), (253, 165), (184, 105), (269, 105), (190, 90), (213, 92), (238, 93),
    (262, 94), (195, 83), (223, 81), (258, 84),
]  # fmt: skip
_HOPPER = [
    (223, 190), (307, 187), (270, 229), (268, 251), (226, 279), (307, 276), (266, 271), (266, 290), (266, 325),
    (191, 268), (341, 263), (215, 313), (322, 311), (182, 192), (359, 190), (188, 173), (252, 173), (284, 173),
    (353, 171), (201, 136), (266, 135), (328, 137),
]  # fmt: skip


def f32(values: npt.ArrayLike) -> Float:
    """Numbers as a float32 array."""
    return np.asarray(values, np.float32)


FACE_SHARE = 0.42
"""Side of a face detector's box over the height of the frame."""


@dataclass(frozen=True, slots=True)
class Person:
    """A still of a person, ready to be animated.

    Attributes:
        still: uint8 (H, W, 3) RGB, of the frame's size.
        points: float32 (22, 2), the anchor points :data:`POINTS` as x, y in the still's pixels.
    """

    still: UInt8
    points: Float

    def point(self, name: str) -> tuple[float, float]:
        """An anchor point by name, x and y."""
        x, y = self.points[POINTS.index(name)]
        return float(x), float(y)

    @property
    def scale(self) -> float:
        """Distance between the eyes, the unit of everything that is drawn on the face."""
        (x0, y0), (x1, y1) = self.point("eye_l"), self.point("eye_r")
        return float(np.hypot(x1 - x0, y1 - y0))


@functools.cache
def _portraits() -> tuple[tuple[UInt8, Float, float], ...]:
    """The two portraits: picture, anchor points, side of the HOG detector's box."""
    astronaut = _picture_of("skimage", "data/astronaut.png")
    hopper = _picture_of("matplotlib", "mpl-data/sample_data/grace_hopper.jpg")
    return (astronaut, f32(_ASTRONAUT), 88.0), (hopper, f32(_HOPPER), 170.0)


def _picture_of(package: str, place: str) -> UInt8:
    """A picture that a package brings; to import the package would take half a second in each process."""
    found = importlib.util.find_spec(package)
    assert found is not None
    assert found.origin is not None
    picture = cv2.imread(str(Path(found.origin).parent / place))
    assert picture is not None, place
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def make_person(number: int, seed: int, size_wh: tuple[int, int]) -> Person:
    """Person ``number``: even ones come from the first portrait, odd ones from the second."""
    rng = np.random.default_rng([seed, number, 1])
    portrait, points, box = _portraits()[number % 2]
    if (number // 2) % 2:
        portrait, points = _mirrored(portrait, points)
    still, points = _placed(portrait, points, FACE_SHARE * size_wh[1] / box, size_wh)
    still, points = _reshaped(still, points, rng)
    return Person(_recoloured(still, rng), points)


def _mirrored(portrait: UInt8, points: Float) -> tuple[UInt8, Float]:
    swapped = {name: name for name in POINTS}
    for name in POINTS:
        stem, _, side = name.rpartition("_")
        other = {"l": "r", "r": "l", "lo": "ro", "ro": "lo", "li": "ri", "ri": "li"}.get(side)
        if stem and other and f"{stem}_{other}" in swapped:
            swapped[name] = f"{stem}_{other}"
    order = [POINTS.index(swapped[name]) for name in POINTS]
    flipped = points[order].copy()
    flipped[:, 0] = portrait.shape[1] - 1 - flipped[:, 0]
    return np.ascontiguousarray(portrait[:, ::-1]), flipped


def _placed(portrait: UInt8, points: Float, scale: float, size_wh: tuple[int, int]) -> tuple[UInt8, Float]:
    """Scale the portrait and centre the face in the frame; what the portrait does not cover is blurred background."""
    centre = points[[POINTS.index("temple_l"), POINTS.index("temple_r"), POINTS.index("chin")]].mean(axis=0)
    move = f32([size_wh[0] / 2, size_wh[1] * 0.47]) - scale * centre
    matrix = f32([[scale, 0, move[0]], [0, scale, move[1]]])
    way = cv2.INTER_AREA if scale < 0.7 else cv2.INTER_CUBIC
    placed = cv2.warpAffine(portrait, matrix, size_wh, flags=way, borderMode=cv2.BORDER_REFLECT_101)
    covered = cv2.warpAffine(np.ones(portrait.shape[:2], np.float32), matrix, size_wh)
    soft = cv2.GaussianBlur(placed, (0, 0), size_wh[1] / 18)
    edge = cv2.GaussianBlur(cv2.erode(covered, np.ones((15, 15))), (0, 0), size_wh[1] / 60)[..., None]
    mixed = placed * edge + soft * (1 - edge)
    return mixed.round().astype(np.uint8), (scale * points + move).astype(np.float32)


def _reshaped(still: UInt8, points: Float, rng: np.random.Generator) -> tuple[UInt8, Float]:
    """Another face geometry: anchor points pushed about, the picture following smoothly (thin-plate-like blobs)."""
    unit = float(np.hypot(*(points[1] - points[0])))
    middle = points.mean(axis=0)
    wide, tall = rng.uniform(-0.07, 0.07), rng.uniform(-0.06, 0.06)
    push = (points - middle) * f32([wide, tall])
    mouth = [POINTS.index(name) for name in ("mouth_l", "mouth_r", "lip_top", "lip_bottom")]
    push[mouth] += f32([0, rng.uniform(-0.05, 0.05) * unit])
    push[:2] += f32([[-1, 0], [1, 0]]) * rng.uniform(-0.03, 0.03) * unit
    flow = spread(points, push, still.shape[:2], 0.55 * unit)
    y, x = np.mgrid[: still.shape[0], : still.shape[1]].astype(np.float32)
    warped = cv2.remap(still, x - flow[..., 0], y - flow[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    rows = np.clip(points[:, 1].round().astype(int), 0, still.shape[0] - 1)
    columns = np.clip(points[:, 0].round().astype(int), 0, still.shape[1] - 1)
    return np.asarray(warped, np.uint8), (points + flow[rows, columns]).astype(np.float32)


def spread(points: Float, values: Float, shape: tuple[int, int], radius: float) -> Float:
    """A smooth field that takes about ``values`` at ``points`` and fades to 0 away from them, float32 (H, W, 2)."""
    step = 4
    y, x = np.mgrid[0 : shape[0] : step, 0 : shape[1] : step].astype(np.float32)
    total = np.full(x.shape, 0.3, np.float32)
    field = np.zeros((*x.shape, 2), np.float32)
    for (px, py), value in zip(points, values, strict=True):
        weight = np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * radius**2))
        total += weight
        field += weight[..., None] * value
    return np.asarray(cv2.resize(field / total[..., None], shape[::-1], interpolation=cv2.INTER_CUBIC), np.float32)


def _recoloured(still: UInt8, rng: np.random.Generator) -> UInt8:
    gain = rng.uniform(0.85, 1.08) * (1 + rng.uniform(-0.07, 0.07, 3))
    hsv = cv2.cvtColor(still, cv2.COLOR_RGB2HSV).astype(np.float32)
    hsv[..., 1] *= rng.uniform(0.75, 1.1)
    hsv[..., 0] = (hsv[..., 0] + rng.uniform(-4, 4)) % 180
    rgb = cv2.cvtColor(np.clip(hsv, 0, 255).astype(np.uint8), cv2.COLOR_HSV2RGB).astype(np.float32)
    return np.clip(rgb * gain + rng.uniform(-8, 8), 0, 255).round().astype(np.uint8)
