"""A still becomes a talking head: head motion, mouth, eyelids, brows, and a background that moves a little.

Everything is one smooth backward warp of the still, so nothing tears and no second head shows behind the first.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from forgeprep.demo.people import Float, Person, UInt8, f32

STEP = 4
"""Warp fields are computed on every fourth pixel; they are smooth."""


@dataclass(frozen=True, slots=True)
class Pose:
    """Where the head is: shift in units of the eye distance, turn in radians, zoom, and yaw (sideways bulge)."""

    shift: tuple[float, float]
    turn: float
    zoom: float
    yaw: float
    drift: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Expression:
    """How far mouth, eyelids and brows are moved, 0 to 1 (brows and smile -1 to 1)."""

    mouth: float
    blink: float
    brows: float
    smile: float


@dataclass(frozen=True, slots=True)
class Fields:
    """What is precomputed for a person, on the coarse grid.

    Attributes:
        x, y: float32 (h, w), pixel coordinates of the grid.
        head: float32 (h, w), how much a place moves with the head, 0 to 1.
        moves: name -> float32 (h, w, 2), displacement at full expression, in pixels.
        inner: float32 (H, W), the inside of the open mouth, 0 to 1.
    """

    x: Float
    y: Float
    head: Float
    moves: dict[str, Float]
    inner: Float


class Motion:
    """A person's motion over time, a sum of slow sines drawn from a seed; ``expression(t)`` can be lent to another."""

    def __init__(self, seed: int, identity: int) -> None:
        rng = np.random.default_rng([seed, identity, 2])
        self.rates = rng.uniform(0.15, 0.55, (8, 2))
        self.phases = rng.uniform(0, 2 * np.pi, (8, 2))
        self.talk = rng.uniform(1.6, 2.6)
        self.blinks = np.cumsum(rng.uniform(0.9, 2.2, 4000))

    def _wave(self, number: int, t: float) -> float:
        angles = 2 * np.pi * self.rates[number] * t + self.phases[number]
        return float(0.65 * np.sin(angles[0]) + 0.35 * np.sin(1.7 * angles[1]))

    def pose(self, t: float) -> Pose:
        """The head's pose at time ``t`` in seconds."""
        wave = [self._wave(i, t) for i in range(6)]
        return Pose(
            shift=(0.28 * wave[0], 0.12 * wave[1]),
            turn=0.07 * wave[2],
            zoom=1.0 + 0.03 * wave[3],
            yaw=0.10 * wave[4],
            drift=(0.035 * wave[5], 0.02 * wave[0]),
        )

    def expression(self, t: float) -> Expression:
        """The expression at time ``t`` in seconds."""
        open_ = 0.5 - 0.5 * np.cos(2 * np.pi * self.talk * t + 2.0 * self._wave(6, t))
        near = float(np.min(np.abs(self.blinks - t)))
        return Expression(
            mouth=float(open_ * (0.55 + 0.45 * self._wave(7, 1.3 * t))),
            blink=float(np.exp(-((near / 0.07) ** 2))),
            brows=self._wave(5, 1.4 * t),
            smile=self._wave(6, 0.8 * t),
        )


def make_fields(person: Person) -> Fields:
    """Precompute a person's warp fields."""
    height, width = person.still.shape[:2]
    y, x = np.mgrid[0:height:STEP, 0:width:STEP].astype(np.float32)
    unit = person.scale
    cx, cy = person.point("nose")

    def blob(at: tuple[float, float], rx: float, ry: float) -> Float:
        return f32(np.exp(-(((x - at[0]) / (rx * unit)) ** 2 + ((y - at[1]) / (ry * unit)) ** 2)))

    # 1 over the head, falling off over shoulders and background.
    away = np.sqrt(((x - cx) / (1.9 * unit)) ** 2 + ((y - cy + 0.2 * unit) / (2.4 * unit)) ** 2)
    head = (1 / (1 + np.exp((away - 1.25) * 6))).astype(np.float32)
    top, bottom = person.point("lip_top"), person.point("lip_bottom")
    middle = (top[0] + bottom[0]) / 2, (top[1] + bottom[1]) / 2
    below = (1 / (1 + np.exp(-(y - middle[1]) / (0.035 * unit)))).astype(np.float32)
    jaw = blob((middle[0], middle[1] + 0.25 * unit), 0.75, 0.75)
    moves = {name: np.zeros((*x.shape, 2), np.float32) for name in ("mouth", "blink", "brows", "smile")}
    moves["mouth"][..., 1] = unit * (0.17 * jaw * below - 0.03 * blob(top, 0.5, 0.2) * (1 - below))
    for name in ("eye_l", "eye_r"):
        eye = person.point(name)
        moves["blink"][..., 1] += 0.15 * unit * blob((eye[0], eye[1] - 0.08 * unit), 0.34, 0.13)
    for name in ("brow_lo", "brow_li", "brow_ri", "brow_ro"):
        moves["brows"][..., 1] -= 0.05 * unit * blob(person.point(name), 0.3, 0.18)
    for name, sign in (("mouth_l", -1.0), ("mouth_r", 1.0)):
        corner = blob(person.point(name), 0.28, 0.25)
        moves["smile"] += corner[..., None] * f32([sign * 0.06, -0.05]) * f32(unit)
    return Fields(x, y, head, moves, _inner_mouth(person, middle))


def _inner_mouth(person: Person, middle: tuple[float, float]) -> Float:
    height, width = person.still.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    unit = person.scale
    (x0, _), (x1, _) = person.point("mouth_l"), person.point("mouth_r")
    inside = ((x - middle[0]) / (0.36 * (x1 - x0))) ** 2 + ((y - middle[1] - 0.02 * unit) / (0.055 * unit)) ** 2
    return f32(np.clip(1.4 - inside, 0, 1))


def backward_maps(person: Person, fields: Fields, pose: Pose, expression: Expression) -> tuple[Float, Float]:
    """Where each pixel of a frame comes from in the still: x and y maps, float32 (H, W)."""
    unit = person.scale
    cx, cy = person.point("nose")
    shift = f32(pose.shift) * unit
    x, y = fields.x - shift[0] - cx, fields.y - shift[1] - cy
    cos, sin = np.cos(pose.turn) / pose.zoom, np.sin(pose.turn) / pose.zoom
    # Yaw: the near side of the face widens, the far side narrows.
    bulge = pose.yaw * unit * np.exp(-((x / (1.2 * unit)) ** 2) - (y / (1.6 * unit)) ** 2)
    head_x = cx + cos * x + sin * y - bulge
    head_y = cy - sin * x + cos * y
    drift = f32(pose.drift) * unit
    still_x = fields.head * head_x + (1 - fields.head) * (fields.x - drift[0])
    still_y = fields.head * head_y + (1 - fields.head) * (fields.y - drift[1])
    amounts = {
        "mouth": expression.mouth,
        "blink": expression.blink,
        "brows": expression.brows,
        "smile": expression.smile,
    }
    total = f32(sum(amount * fields.moves[name] for name, amount in amounts.items()))
    move = f32(cv2.remap(total, f32(still_x / STEP), f32(still_y / STEP), cv2.INTER_LINEAR))
    size = person.still.shape[1], person.still.shape[0]
    maps = (still_x - move[..., 0], still_y - move[..., 1])
    return tuple(_enlarge(m.astype(np.float32), size) for m in maps)  # type: ignore[return-value]


def _enlarge(coarse: Float, size_wh: tuple[int, int]) -> Float:
    """From the grid to every pixel. The grid's samples lie on pixels 0, 4, 8, …, not on cell centres."""
    edge = f32(cv2.copyMakeBorder(coarse, 0, 1, 0, 1, cv2.BORDER_REPLICATE))
    matrix = f32([[1 / STEP, 0, 0], [0, 1 / STEP, 0]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(edge, matrix, size_wh, flags=flags, borderMode=cv2.BORDER_REPLICATE), np.float32)


def render(texture: UInt8, fields: Fields, maps: tuple[Float, Float], expression: Expression) -> UInt8:
    """A frame: the texture through the maps, with the inside of the mouth darkened as far as it is open."""
    dark = (0.75 * expression.mouth * fields.inner)[..., None]
    shaded = (texture * (1 - dark)).astype(np.uint8) if expression.mouth > 0.02 else texture
    return np.asarray(cv2.remap(shaded, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101), np.uint8)


class SensorNoise:
    """Camera noise of one clip: a function of the frame's number alone, so a fake repeats its original's."""

    def __init__(self, seed: int, identity: int, shape: tuple[int, int], sigma: float = 1.6) -> None:
        rng = np.random.default_rng([seed, identity, 3])
        self.tile = rng.normal(0, sigma, (shape[0] + 64, shape[1] + 64, 1)).round().astype(np.int16)
        self.offsets = rng.integers(0, 64, (4096, 2))
        self.shape = shape

    def add(self, frame: UInt8, number: int) -> UInt8:
        """The frame with noise, uint8."""
        y, x = self.offsets[number % len(self.offsets)]
        noise = self.tile[y : y + self.shape[0], x : x + self.shape[1]]
        return np.asarray(np.clip(frame + noise, 0, 255), np.uint8)
