"""How a fake lies on its original: which of its frames shows which of the original, at what scale and position.

Small gray pictures (*thumbs*) are compared, by differences that are limited to a level. A forged face exceeds that
level in any position, so it does not influence where the rest fits best.

Which frame shows which is told by :mod:`forgeprep.ops.timing`. A frame of the original that no frame of the fake shows
has no partner.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from forgeprep.media.frames import Frame, UInt8, to_8_bits
from forgeprep.media.regions import Box, IntBox
from forgeprep.media.scale import area_mean
from forgeprep.ops.pieces import Pieces, lines_around
from forgeprep.ops.timing import COVERING, REACH, Order, Thumbs, find_order

Levels = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
Frames = Callable[[], Iterator[Frame]]
"""Opens a clip again and yields its frames."""

LINES = 36
CAP = 12
"""Rows of a thumb, and the limit of a difference in levels of 255."""
PROBE = 120
"""Frames from which the geometry is found."""
SAME_TAKE, FLOOR = 0.6, 9.0
"""Two frames show the same moment if they differ by less than this share of what the original itself changes within
:data:`STRIDE` frames, or by less than the floor (squared levels, which the strongest compression leaves)."""
STRIDE = 16
ROW = 48
"""Frames in a row that tell whether a fake is shifted in time."""
LEAST_SIMILARITY = 0.8
_COLOUR = {"yuv": (1, 2), "rgb": (0, 2)}
"""The planes that tell a colour, beside luma."""


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
        sure: whether the same some frames earlier or later is clearly worse.
        covering: the share of the frames, of the clip that has fewer, that have a partner.
    """

    placement: Placement
    partner: dict[int, int]
    offset: int
    rate: float
    agreeing: float = 1.0
    sure: bool = True
    covering: float = 1.0

    @property
    def is_order(self) -> bool:
        """Whether it is a way to play the original, not a collection of frames that look alike."""
        return self.sure and self.covering >= COVERING

    @property
    def is_exact(self) -> bool:
        """Whether frames have the numbers that they have in the original."""
        return self.offset == 0 and self.rate == 1.0


def thumb(frame: Frame, area: IntBox, size_wh: tuple[int, int]) -> UInt8:
    """A part of a frame's luma as a thumb, uint8 (LINES, W), in the limited range whatever the frame's is."""
    x0, y0, x1, y1 = area
    return frame.limited(area_mean(frame.y[y0:y1, x0:x1], size_wh))


def chroma_thumb(frame: Frame, size_wh: tuple[int, int]) -> UInt8 | None:
    """Two more values for each pixel of the whole frame's thumb that tell its colour, uint8 (LINES, W, 2).

    Of YUV the chroma, of RGB red and blue; None of gray pictures. They come of every few samples only, since they take
    no part where luma alone tells.
    """
    if frame.model == "gray":
        return None
    step = max(1, frame.planes[1].shape[0] // (4 * size_wh[1]))
    few = [to_8_bits(np.ascontiguousarray(frame.planes[i][::step, ::step]), frame.bits) for i in _COLOUR[frame.model]]
    return np.stack([area_mean(plane, size_wh) for plane in few], axis=-1)


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


def tells_time(index: int) -> bool:
    """Whether this frame is compared whatever frames are wanted: it takes a row of them to see a shift in time."""
    return index < ROW


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
    clips = _Clips(original, fake, (pair[0].size_wh, pair[1].size_wh))
    placements = [one for one in _placements(pair[0], pair[1]) if clips.shows(one)]
    pieces, inside = lines_around(forged, frames), frozenset(i for first, last in forged for i in range(first, last))
    if not placements:
        return None
    if len(placements) > 1:
        # The first frames say nothing of what comes after a period that lies beyond them.
        costs = [_cost(clips.laid(placement, fps, (), inside, PROBE)[0]) for placement in placements]
        placements = [placements[costs.index(min(costs))]]
    path, order = clips.laid(placements[0], fps, pieces, inside, None)
    rate = order.rate
    best: dict[int, tuple[bool, float, int]] = {}
    for fake_index, index, distance in path:
        best[index] = min(best.get(index, (True, math.inf, 0)), (fake_index in inside, distance, fake_index))
    partner = {index: fake_index for index, (*_, fake_index) in sorted(best.items())}
    lags = [round(fake_index - index * rate) for index, fake_index in partner.items()]
    offset = int(np.median(lags)) if lags else 0
    agreeing = _agreeing(path, inside, frames[1])
    return Alignment(placements[0], partner, offset, rate, agreeing, order.sure, order.covering)


@dataclass(frozen=True, slots=True)
class _Clips:
    """Original and fake, and the sizes of their frames; frames of another size are passed over."""

    original: Frames
    fake: Frames
    sizes: tuple[tuple[int, int], tuple[int, int]]

    def shows(self, placement: Placement) -> bool:
        """Whether enough of the fake's picture shows the original's."""
        x0, y0, x1, y1 = area_of(placement, *self.sizes)
        return min(x1 - x0, y1 - y0) >= 16

    def laid(
        self,
        placement: Placement,
        fps: tuple[float, float],
        pieces: Sequence[Pieces],
        forged: frozenset[int],
        limit: int | None,
    ) -> tuple[list[tuple[int, int, float]], Order]:
        """The most likely order, and (fake's index, original's index, their distance) of each frame with a partner."""
        size_wh, areas = thumb_size(self.sizes[0]), ((0, 0, *self.sizes[0]), area_of(placement, *self.sizes))
        limits = None if limit is None else 2 * limit + REACH, limit
        original, fake = (
            Thumbs.of((f.index, thumb(f, area, size_wh)) for f in islice(clip(), most) if f.size_wh == size)
            for clip, area, size, most in zip((self.original, self.fake), areas, self.sizes, limits, strict=True)
        )
        order = find_order(original, fake, fps, pieces, forged)
        everywhere = np.ones(original.levels.shape[1], bool)
        return [
            (
                int(fake.indices[at]),
                int(original.indices[place]),
                thumb_distance(original.levels[place], fake.levels[at], everywhere),
            )
            for at, place in enumerate(order.partner.tolist())
            if place >= 0
        ], order


def _cost(path: Sequence[tuple[int, int, float]]) -> float:
    return float(np.mean([distance for *_, distance in path])) if path else math.inf


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
