"""How a fake lies on its original: which of its frames shows which of the original, at what scale and position.

Small gray pictures (*thumbs*) are compared, by differences that are limited to a level. A forged face exceeds that
level in any position, so it does not influence where the rest fits best.

A fake's frames are assumed to show the original's frames in order, some of them twice or not at all. The most likely
order is found by dynamic programming (Viterbi 1967) within a band around a line. A frame of the original that no frame
of the fake shows has no partner.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from forgeprep.media.frames import Frame, UInt8
from forgeprep.media.regions import Box, IntBox
from forgeprep.ops.geometry import area_mean
from forgeprep.ops.pieces import Pieces, lines_around

Levels = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
Frames = Callable[[], Iterator[Frame]]
"""Opens a clip anew and yields its frames."""

LINES = 36
CAP = 12
"""Rows of a thumb, and the limit of a difference in levels of 255."""
MAX_OFFSET = 30
SLACK = 15
"""Frames by which a fake may be shifted, and by which it may drift further because of lost or doubled frames."""
PROBE = 120
"""Frames from which the geometry and the rate are found."""
SAME_TAKE, FLOOR = 0.6, 9.0
"""Two frames show the same moment if they differ by less than this share of what the original itself changes within
:data:`STRIDE` frames, or by less than the floor (squared levels, which the strongest compression leaves)."""
STRIDE = 16
LEAST_SIMILARITY = 0.8
_FORGED = 0.25
"""The weight of a frame that is known to be forged."""
_SWITCH, _FURTHER, _OFF_BEAT, _SURE = 10.0, 0.2, 3.0, 20.0
"""Costs of a lost or doubled frame, of each further one at the same position, and of one that the frame rates explain
but at another frame than expected; and the weight of a thumb's difference."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the original's picture lies in the fake's: ``fake_xy = original_xy * scale + shift``, in pixels."""

    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)

    def box(self, box: Box) -> Box:
        """A box of the original in the fake's pixels."""
        (dx, dy), s = self.shift, self.scale
        return box[0] * s + dx, box[1] * s + dy, box[2] * s + dx, box[3] * s + dy

    def points(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Where points of the original's frame, float64 (n, 2) from its first pixel's centre, lie in the fake's."""
        return np.asarray((points + 0.5) * self.scale + np.array(self.shift) - 0.5, np.float64)

    @property
    def is_identity(self) -> bool:
        """Whether both pictures lie pixel on pixel."""
        return self.scale == 1.0 and self.shift == (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Alignment:
    """Which frame of a fake shows which of its original.

    Attributes:
        placement: the geometry.
        partner: original's frame index -> fake's frame index; frames without a partner are missing.
        offset: the fake's index minus the original's times ``rate``, rounded; the median over the frames.
        rate: frames of the fake for each frame of the original.
        agreeing: of the fake's frames outside its forged periods, the share that shows the original's; 1 where no
            periods are known.
    """

    placement: Placement
    partner: dict[int, int]
    offset: int
    rate: float
    agreeing: float = 1.0


def thumb(frame: Frame, area: IntBox, size_wh: tuple[int, int]) -> UInt8:
    """A part of a frame's luma as a thumb, uint8 (LINES, W)."""
    x0, y0, x1, y1 = area
    return area_mean(frame.y[y0:y1, x0:x1], size_wh)


def thumb_size(size_wh: tuple[int, int]) -> tuple[int, int]:
    """Width and height of the thumbs of an original of this size."""
    return max(8, round(LINES * size_wh[0] / size_wh[1])), LINES


def area_of(placement: Placement, original_wh: tuple[int, int], fake_wh: tuple[int, int]) -> IntBox:
    """The part of the fake's frame that shows the original's picture."""
    x0, y0, x1, y1 = (round(side) for side in placement.box((0, 0, *original_wh)))
    return max(0, x0), max(0, y0), min(fake_wh[0], x1), min(fake_wh[1], y1)


def outside(faces: Iterable[Box], frame_wh: tuple[int, int], size_wh: tuple[int, int]) -> Mask:
    """The pixels of a thumb that lie outside all faces enlarged 1.4 times, bool (H, W)."""
    keep = np.ones(size_wh[::-1], bool)
    for x0, y0, x1, y1 in faces:
        more = 0.2 * (x1 - x0)
        across, down = size_wh[0] / frame_wh[0], size_wh[1] / frame_wh[1]
        rows = slice(max(0, math.floor((y0 - more) * down)), max(0, math.ceil((y1 + more) * down)))
        keep[rows, max(0, math.floor((x0 - more) * across)) : max(0, math.ceil((x1 + more) * across))] = False
    return keep


def thumb_distance(a: UInt8, b: UInt8, keep: Mask) -> float:
    """Mean squared difference of two thumbs in squared levels, each difference limited to :data:`CAP`."""
    if not keep.any():
        return 0.0
    level = cv2.min(cv2.absdiff(a, b), CAP).astype(np.float32)[keep]  # type: ignore[call-overload]
    return float(np.dot(level, level) / level.size)


def is_checked(index: int) -> bool:
    """Whether the pairing is checked at this frame of the original: at every :data:`STRIDE`-th."""
    return index % STRIDE == STRIDE // 2


def correlation(a: UInt8, b: UInt8, keep: Mask) -> float:
    """Correlation of two thumbs over ``keep``, -1 to 1; 1 where one of them has a single level only."""
    if not keep.any():
        return 1.0
    x, y = (t[keep].astype(np.float64) for t in (a, b))
    x, y = x - x.mean(), y - y.mean()
    power = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / power if power > 1e-6 * x.size else 1.0


def align(
    original: Frames,
    fake: Frames,
    fps: tuple[float, float],
    forged: Sequence[tuple[int, int]] = (),
    frames: tuple[int, int] = (0, 0),
) -> Alignment | None:
    """Find how a fake lies on its original, from both clips as a whole.

    Args:
        original: opens the original.
        fake: opens the fake.
        fps: frames a second of original and fake, as the files say.
        forged: the fake's forged periods, where they are known and it may be longer or shorter in them than its
            original: first frame, frame after the last.
        frames: how many frames original and fake have; only with ``forged``.

    Returns:
        None if no scale and shift lays one picture on the other. The caller checks frame by frame whether both
        then show the same.
    """
    pair = _Pictures.of(original), _Pictures.of(fake)
    if pair[0] is None or pair[1] is None:
        return None
    pictures = pair[0], pair[1]
    tried: list[tuple[float, int, Placement, _Line | Pieces]] = []
    pieces, inside = lines_around(forged, frames), frozenset(i for first, last in forged for i in range(first, last))
    lines: list[_Line | Pieces] = [*_lines(fps), *pieces]
    for placement in _placements(*pictures):
        for line in lines:
            path, cost = _path(original, fake, placement, line, pictures, PROBE, inside)
            if path:
                tried.append((cost, len(tried), placement, line))
    if not tried:
        return None
    *_, placement, line = min(tried, key=lambda t: t[:2])
    path, cost = _path(original, fake, placement, line, pictures, None, inside)
    # The first frames say nothing of what comes after a period that lies beyond them.
    for other in (one for one in pieces if one is not line):
        found = _path(original, fake, placement, other, pictures, None, inside)
        if found[1] < cost:
            (path, cost), line = found, other
    rate = line.rate
    best: dict[int, tuple[bool, float, int]] = {}
    for fake_index, index, distance in path:
        best[index] = min(best.get(index, (True, math.inf, 0)), (fake_index in inside, distance, fake_index))
    partner = {index: fake_index for index, (*_, fake_index) in sorted(best.items())}
    lags = [round(fake_index - index * rate) for index, fake_index in partner.items()]
    offset = int(np.median(lags)) if lags else 0
    return Alignment(placement, partner, offset, rate, _agreeing(path, inside, frames[1]))


def _agreeing(path: Sequence[tuple[int, int, float]], forged: frozenset[int], frames: int) -> float:
    """The share of the frames outside periods that look like their partner; the forged ones do not count."""
    if not forged or frames <= len(forged):
        return 1.0
    return sum(distance <= FLOOR for index, _, distance in path if index not in forged) / (frames - len(forged))


@dataclass(frozen=True, slots=True)
class _Pictures:
    """Size of a clip's frames, and the box that is not black in all of the first ones."""

    size_wh: tuple[int, int]
    content: IntBox

    @staticmethod
    def of(clip: Frames) -> _Pictures | None:
        rows: Levels | None = None
        columns: Levels | None = None
        first: tuple[int, int] | None = None
        for frame in islice(clip(), PROBE // 2):
            first = first or frame.size_wh
            if frame.size_wh != first:
                break
            across, down = (cv2.reduce(frame.y, axis, cv2.REDUCE_AVG).ravel() for axis in (0, 1))
            columns = across if columns is None else np.maximum(columns, across)
            rows = down if rows is None else np.maximum(rows, down)
        if rows is None or columns is None:
            return None
        (x0, x1), (y0, y1) = _lit(columns), _lit(rows)
        return _Pictures((columns.size, rows.size), (x0, y0, x1, y1))


_BLACK = 20
"""Mean luma up to which a row counts as black: 16, and what ringing adds."""


def _lit(levels: Levels) -> tuple[int, int]:
    lit = np.flatnonzero(levels > max(_BLACK, 0.75 * 16 + 0.25 * float(np.median(levels))))
    if lit.size < levels.size // 3:
        return 0, levels.size
    return int(lit[0]), int(lit[-1]) + 1


def _placements(original: _Pictures, fake: _Pictures) -> list[Placement]:
    """The candidates: all of a picture, or its part that is not black, on all or that part of the other."""
    found: list[Placement] = []
    whole = (0, 0, *original.size_wh), (0, 0, *fake.size_wh)
    for a, b in (
        (whole[0], whole[1]),
        (whole[0], fake.content),
        (original.content, fake.content),
        (original.content, whole[1]),
    ):
        placement = _placement(a, b, fake.size_wh)
        if placement is not None and placement not in found:
            found.append(placement)
    return found


def _placement(a: IntBox, b: IntBox, fake_wh: tuple[int, int]) -> Placement | None:
    """The scale and shift that lay box ``a`` on box ``b``, if there are any."""
    (aw, ah), (bw, bh) = ((x1 - x0, y1 - y0) for x0, y0, x1, y1 in (a, b))
    across, down = bw / aw, bh / ah
    # The found edge of a black bar may be some pixels off; a side without bars is exact.
    if abs(across * ah - bh) > 5 and abs(down * aw - bw) > 5:
        return None
    scale = across if bw == fake_wh[0] else down if bh == fake_wh[1] else (across + down) / 2
    if abs(scale - 1) * max(aw, ah) < 3:
        scale = 1.0
    width, height = aw * scale, ah * scale
    left, top = (b[0] + b[2] - width) / 2, (b[1] + b[3] - height) / 2
    # Bars are whole pixels, and mostly alike on both sides.
    left, top = (
        (side - size) / 2 if abs((side - size) / 2 - start) <= 2 else start
        for side, size, start in ((fake_wh[0], width, left), (fake_wh[1], height, top))
    )
    return Placement(scale, (round(left) - a[0] * scale, round(top) - a[1] * scale))


@dataclass(frozen=True, slots=True)
class _Line:
    """About where the fake's frames are: frame ``i`` shows the original's ``floor(i / rate + phase)``."""

    rate: float
    phase: float

    def __call__(self, index: int) -> int:
        return math.floor(index / self.rate + self.phase)


def _lines(fps: tuple[float, float]) -> list[_Line]:
    rate = fps[1] / fps[0] if fps[0] > 0 and fps[1] > 0 else 1.0
    same = [_Line(1.0, 0.0)]
    if abs(rate - 1) < 0.01 or not 0.3 < rate < 3.4:
        return same
    return same + [_Line(rate, phase) for phase in (0.02, 0.26, 0.5, 0.74, 0.98)]


def _path(
    original: Frames,
    fake: Frames,
    placement: Placement,
    line: _Line | Pieces,
    pictures: tuple[_Pictures, _Pictures],
    limit: int | None,
    forged: frozenset[int] = frozenset(),
) -> tuple[list[tuple[int, int, float]], float]:
    """The most likely order: (fake's index, original's index, their distance) for each frame that has a partner; and
    its cost, in squared levels for each frame.
    """
    reach = MAX_OFFSET + SLACK
    indices: list[int] = []
    rows: list[npt.NDArray[np.float32]] = []
    size_wh = thumb_size(pictures[0].size_wh)
    whole = (0, 0, *pictures[0].size_wh)
    area = area_of(placement, pictures[0].size_wh, pictures[1].size_wh)
    if area[2] - area[0] < 16 or area[3] - area[1] < 16:
        return [], math.inf
    sizes = pictures[0].size_wh, pictures[1].size_wh
    nearby = _NearbyThumbs(((f.index, thumb(f, whole, size_wh)) for f in original() if f.size_wh == sizes[0]), reach)
    for frame in (f for f in islice(fake(), limit) if f.size_wh == sizes[1]):
        indices.append(frame.index)
        rows.append(nearby.distances(thumb(frame, area, size_wh), line(frame.index)))
    if not rows:
        return [], math.inf
    distances = np.stack(rows)
    floor = float(np.median(distances.min(axis=1))) + 0.05
    centres = [line(index) for index in indices]
    # What is forged may look like another frame than the one that it stands for: it counts less.
    weights = np.array([_FORGED if index in forged else 1.0 for index in indices], np.float32)
    states, cost = _viterbi(distances * weights[:, None] * (_SURE / 2 / floor), centres, indices, line.rate)
    path = [
        (index, centre - reach + state, float(row[state]))
        for index, centre, state, row in zip(indices, centres, states, distances, strict=True)
    ]
    return [step for step in path if step[2] < CAP * CAP], cost * floor / (_SURE / 2) / len(path)


class _NearbyThumbs:
    """The original's thumbs around a frame whose index only grows."""

    def __init__(self, thumbs: Iterator[tuple[int, UInt8]], reach: int) -> None:
        self.thumbs = thumbs
        self.reach = reach
        self.held: deque[tuple[int, UInt8]] = deque()

    def distances(self, picture: UInt8, centre: int) -> npt.NDArray[np.float32]:
        """The distance of a thumb to each of the original's from ``centre - reach`` to ``centre + reach``."""
        first, last = centre - self.reach, centre + self.reach
        while not self.held or self.held[-1][0] < last:
            item = next(self.thumbs, None)
            if item is None:
                break
            self.held.append(item)
        while self.held and self.held[0][0] < first:
            self.held.popleft()
        row = np.full(2 * self.reach + 1, CAP * CAP, np.float32)
        for index, other in self.held:
            if first <= index <= last:
                level = cv2.min(cv2.absdiff(picture, other), CAP)  # type: ignore[call-overload]
                row[index - first] = cv2.norm(level, cv2.NORM_L2SQR) / level.size
        return row


def _viterbi(
    costs: npt.NDArray[np.float32], centres: Sequence[int], indices: Sequence[int], rate: float
) -> tuple[list[int], float]:
    """The state of each frame on the cheapest path, and its cost.

    State ``j`` stands for the original's frame ``centre - reach + j``.
    """
    states = costs.shape[1]
    state = np.arange(states)
    best = costs[0].astype(np.float64)
    back = np.zeros(costs.shape, np.int32)
    for number in range(1, len(costs)):
        moved = centres[number] - centres[number - 1] + state[None, :] - state[:, None]
        expected = (indices[number] - indices[number - 1]) / rate
        easy = (moved >= math.floor(expected)) & (moved <= math.ceil(expected))
        price = np.where(easy, _OFF_BEAT, _SWITCH + _FURTHER * np.abs(moved - expected))
        np.fill_diagonal(price, 0.0)
        total = np.where(moved < 0, np.inf, best[:, None] + price)
        back[number] = total.argmin(axis=0)
        best = total[back[number], state] + costs[number]
    path = [int(best.argmin())]
    for number in range(len(costs) - 1, 0, -1):
        path.append(int(back[number, path[-1]]))
    return path[::-1], float(best.min())
