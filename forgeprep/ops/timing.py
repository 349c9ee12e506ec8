"""Which frame of a fake shows the moment of which frame of its original, told by all that moves.

Thumbs, small gray pictures of whole frames, are compared cell by cell. A cell counts by how much it moves in the
original, over how far both clips differ in it at the same moment. So a background that stands still says nothing, a
face drawn again little, and the outline of a head much. Nothing has to be known of where faces are.

A fake's frames are assumed to show the original's frames in order, some of them twice or not at all. The most likely
order is found by dynamic programming (Viterbi 1967) within a band around a line.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from forgeprep.media.frames import UInt8
from forgeprep.ops.pieces import Pieces

Float = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

MAX_OFFSET = 30
SLACK = 15
"""Frames by which a fake may be shifted, and by which it may drift further because of lost or doubled frames."""
REACH = MAX_OFFSET + SLACK
MOST = 40
"""Limit of a cell's difference in levels of 255."""
ROUNDING = 0.3
"""Squared levels by which cells differ even where nothing does."""
LEARNED_ON = 1024
"""So many frames, at most, tell how much each cell counts."""
FEWEST, NEXT, TELLING = 4, 4, 4
"""A lag is judged by so many frames at least; beyond this many frames only its multiples are tried; and by one cell of
so many, those that move most."""
SPAN = 16
"""Where a part was drawn anew, a lag is judged by frames that lie so far apart at least."""
MOST_NOISE = 4.0
"""Squared levels that may be coding noise in cells that stand still."""
OWN, FEWEST_OWN = 6, 40
"""Levels by which both clips may differ in a cell's median if it belongs to the rest, and how many such cells tell."""
_FORGED = 0.25
"""The weight of a frame that is known to be forged."""
_SURE = 10.0
"""The weight of a frame's evidence: of the logarithm of how much less alike the other frames are."""
_SWITCH, _FURTHER, _OFF_BEAT, _UNPAIRED, _STRANGE = 10.0, 0.2, 6.0, 5.0, 40.0
"""Costs of a lost or doubled frame, of each further one at the same position, of one that the frame rates explain but
at another frame than expected, of a frame that would lie before the original's first or after its last, and of such a
one that is known to be the original's."""
_BETTER, _BETTER_A_FRAME = 20.0, 0.1
"""By so much, in all and for each frame, an order has to be better than one without lost or doubled frames."""
_OTHER_RATE = 3.0
"""And an order of another rate for each frame, where both clips have as many: what strong compression leaves of a
picture that stands still looks most like the frames behind a key frame, which half the rate uses twice."""
_STILL = 4.0
"""Squared levels of a cell's variance that may be noise."""
COVERING = 0.6
"""Of two takes that hardly share a moment, at most about half of the frames find a partner."""
_ROUNDS = 2
_NEAR = 3
"""Frames by which an order may be off before it counts as another one."""


@dataclass(frozen=True, slots=True)
class Thumbs:
    """Frames in small: their indices, int64 (n,), rising, and their levels, uint8 (n, cells)."""

    indices: Indices
    levels: UInt8

    @staticmethod
    def of(thumbs: Iterable[tuple[int, UInt8]]) -> Thumbs:
        """Of pairs of index and picture."""
        pairs = list(thumbs)
        levels = np.stack([picture.ravel() for _, picture in pairs]) if pairs else np.zeros((0, 1), np.uint8)
        return Thumbs(np.array([index for index, _ in pairs], np.int64), levels)

    def __len__(self) -> int:
        return len(self.indices)


@dataclass(frozen=True, slots=True)
class Line:
    """About where the fake's frames are: frame ``i`` shows the original's ``floor(i / rate + phase)``."""

    rate: float
    phase: float

    def __call__(self, index: int) -> int:
        """About which frame of the original a frame of the fake shows."""
        return math.floor(index / self.rate + self.phase)


@dataclass(frozen=True, slots=True)
class Order:
    """The most likely order.

    Attributes:
        partner: for each of the fake's frames the place of its partner among the original's thumbs; -1 without one.
        rate: frames of the fake for each frame of the original.
        sure: whether any other is clearly worse.
        covering: the share of the frames, of the clip that has fewer, that have a partner.
    """

    partner: Indices
    rate: float
    sure: bool
    covering: float


def lags(original: Thumbs, fake: Thumbs, cells: Indices | None = None, noise: float = ROUNDING) -> dict[int, float]:
    """How much less alike frames are that lie apart, by how many frames the original's is later.

    0 is the likeness of frames with the same index; the scale is logarithmic. Where a lag has less, those with the same
    index are not the same moment. Lags of which few frames tell are left out. ``cells`` are those that may tell, by
    more than so many squared levels of ``noise``.
    """
    if len(original) < FEWEST or len(fake) < FEWEST:
        return {}
    moved = original.levels.var(axis=0, dtype=np.float32)
    cells = np.arange(len(moved)) if cells is None else cells
    cells = cells[np.argsort(moved[cells])[-max(1, len(cells) // TELLING) :]]
    a, b, weights = original.levels[:, cells], fake.levels[:, cells], moved[cells] / (moved[cells] + _STILL)

    def unlike(at: Indices, fake_at: Indices) -> float:
        apart = _apart(a[at], b[fake_at]) + noise
        return float(np.dot(weights, np.log(apart)) / max(float(weights.sum()), 1e-6))

    place = {index: at for at, index in enumerate(original.indices.tolist())}
    fake_place = {index: at for at, index in enumerate(fake.indices.tolist())}
    found: dict[int, float] = {}
    for lag in (more for more in range(-REACH, REACH + 1) if more and (abs(more) <= NEXT or more % NEXT == 0)):
        pairs, same = [], []
        for index, fake_at in fake_place.items():
            at = place.get(index + lag)
            own = index if index in place else index + lag
            if at is not None and own in fake_place:
                pairs.append((at, fake_at))
                same.append((place[own], fake_place[own]))
        if len(pairs) >= FEWEST:
            found[lag] = unlike(*np.array(pairs).T) - unlike(*np.array(same).T)
    return found


def lags_of_rest(original: Thumbs, fake: Thumbs) -> dict[int, float]:
    """The same, told only by cells that both show at the same level most of the time: not by a head drawn anew, a logo.

    None of a few frames in a row, in which all moves alike. Nothing where there are few such cells.
    """
    if min(len(original), len(fake)) < FEWEST:
        return {}
    levels = original.levels, fake.levels
    cells = np.flatnonzero(np.abs(np.median(levels[0], axis=0) - np.median(levels[1], axis=0)) <= OWN)
    _, at, fake_at = np.intersect1d(original.indices, fake.indices, return_indices=True)
    if len(cells) < FEWEST_OWN or len(at) < FEWEST:
        return {}
    # What coding leaves of cells that stand still: less than that tells nothing of those that move.
    noise = float(np.median(_apart(levels[0][at][:, cells], levels[1][fake_at][:, cells])))
    found = lags(original, fake, cells, ROUNDING + min(noise, MOST_NOISE))
    first, last = original.indices[at[0]], original.indices[at[-1]]
    return {lag: value for lag, value in found.items() if last - first - abs(lag) >= SPAN}


def _apart(a: UInt8, b: UInt8) -> Float:
    """How far apart cells are on average over frames, uint8 (n, cells) each, in squared levels, float32 (cells,)."""
    return np.asarray(np.square(np.minimum(cv2.absdiff(a, b), MOST), dtype=np.float32).mean(axis=0), np.float32)


def find_order(
    original: Thumbs, fake: Thumbs, fps: tuple[float, float], pieces: Sequence[Pieces], forged: frozenset[int]
) -> Order:
    """The most likely order of a fake's frames.

    Args:
        original: all frames of the original.
        fake: all frames of the fake; none of both may be empty.
        fps: frames a second of original and fake, as the files say; 0 where they do not.
        pieces: lines that it may follow besides those that follow from rates and lengths.
        forged: its frames that are known to be forged.
    """
    rates = _rates(fps, (len(original), len(fake)))
    certainty = np.array([_FORGED if index in forged else 1.0 for index in fake.indices.tolist()], np.float32)
    # Outside the periods of a fake that was edited there, each frame is one of the original's.
    alone = np.where(certainty == 1.0, _STRANGE if pieces else _UNPAIRED, _UNPAIRED * certainty).astype(np.float32)
    search = _Search(original, fake, certainty, alone)
    usual, *others = (search.exact([Line(rate, phase) for phase in _phases(rate)]) for rate in rates)
    found = min((search.around(line) for line in (usual.line, *(one.line for one in others), *pieces)), key=_by_cost)
    if not pieces:
        # Even where hardly anything moves, some frames look more like a neighbour of their own.
        better = _BETTER + _BETTER_A_FRAME * len(fake)
        ends = search.exact([Line(1.0, max(0, len(original) - len(fake)))])
        exact = min((usual, ends, *others), key=_by_cost)
        if exact.cost - found.cost < better:
            found = exact
        if len(original) == len(fake):
            better = better if found.line.rate == 1.0 else _BETTER + _OTHER_RATE * len(fake)
            found = usual if usual.cost - found.cost < better else found
    return Order(found.partner, found.line.rate, search.is_sure(found), search.covering(found))


def _rates(fps: tuple[float, float], frames: tuple[int, int]) -> list[float]:
    """Frames of the fake for each of the original, as far as rates and lengths tell; the likeliest first."""
    told = fps[1] / fps[0] if fps[0] > 0 and fps[1] > 0 else 1.0
    told = told if abs(told - 1) > 0.01 else 1.0
    longer = frames[1] / frames[0]
    same_time = told != 1.0 and abs(longer / told - 1) < 0.03
    rates: list[float] = []
    for rate in (told if same_time else 1.0, 1.0, told, longer, 2.0, 0.5):
        if 0.3 < rate < 3.4 and all(abs(rate / other - 1) > 0.01 for other in rates):
            rates.append(rate)
    return rates


def _phases(rate: float) -> tuple[float, ...]:
    """Where a line of a rate may begin, in parts of a frame."""
    return (0.0,) if rate == 1.0 else (0.02, 0.26, 0.5, 0.74, 0.98)


@dataclass(frozen=True, slots=True)
class _Found:
    """An order around a line: places of the partners, its cost, and how much each cell counts by it."""

    line: Line | Pieces
    partner: Indices
    cost: float
    weights: Float


def _by_cost(found: _Found) -> float:
    return found.cost


@dataclass(slots=True)
class _Search:
    """Finds orders and what they cost; ``certainty`` says how much each of the fake's frames counts, and ``unpaired``
    what it costs alone.
    """

    original: Thumbs
    fake: Thumbs
    certainty: Float
    unpaired: Float
    moved: Float = field(init=False)

    def __post_init__(self) -> None:
        used = np.linspace(0, len(self.original) - 1, min(len(self.original), LEARNED_ON)).astype(int)
        moved = self.original.levels[used].astype(np.float32).var(axis=0)
        self.moved = np.asarray(moved / (moved + _STILL), np.float32)

    def exact(self, lines: Iterable[Line | Pieces]) -> _Found:
        """Of the orders that follow a line exactly the cheapest."""
        return min((self._along(line) for line in lines), key=_by_cost)

    def _along(self, line: Line | Pieces) -> _Found:
        partner = self._places(np.array([line(index) for index in self.fake.indices.tolist()], np.int64))
        return self._found(line, partner, 0.0)

    def around(self, line: Line | Pieces) -> _Found:
        """The cheapest order around a line."""
        found = self._along(line)
        # How much each cell counts follows from the order, and the order from that.
        for _ in range(_ROUNDS):
            costs, centres = self._costs(line, found.weights)
            states, price = _viterbi(costs, centres.tolist(), self.fake.indices.tolist(), line.rate, self.certainty)
            found = self._found(line, self._places(centres - REACH + np.array(states)), price)
        return found

    def _found(self, line: Line | Pieces, partner: Indices, price: float) -> _Found:
        paired = np.flatnonzero(partner >= 0)
        if len(paired) < FEWEST:
            return _Found(line, partner, math.inf, np.ones_like(self.moved))
        # Forged frames may show another moment: as long as there are others, these tell how alike both are.
        known = paired[self.certainty[paired] == 1.0]
        told = known if len(known) >= FEWEST else paired
        used = told[np.linspace(0, len(told) - 1, min(len(told), LEARNED_ON)).astype(int)]
        weights, apart = _weights(self.original.levels[partner[used]], self.fake.levels[used])
        unlike = float((self.moved * np.log(apart)).sum() / max(float(self.moved.sum()), 1e-6))
        alone = float(self.unpaired[partner < 0].sum())
        return _Found(line, partner, _SURE * float(self.certainty.sum()) * unlike + alone + price, weights)

    def is_sure(self, found: _Found) -> bool:
        """Whether the same order some frames earlier or later is clearly worse."""
        costs, centres = self._costs(found.line, found.weights)
        paired = np.flatnonzero(found.partner >= 0)
        indices = self.original.indices[found.partner[paired]]
        state = indices - centres[paired] + REACH
        for more in (lag for lag in range(-REACH, REACH + 1) if abs(lag) >= _NEAR):
            # Of frames that would be alone then, nothing is known.
            other = np.clip(state + more, 0, 2 * REACH)
            there = (self._places(indices + more) >= 0) & (other == state + more)
            worse = (costs[paired, other] - costs[paired, np.clip(state, 0, 2 * REACH)])[there]
            if 2 * len(worse) >= len(paired) and worse.sum() < _BETTER:
                return False
        return bool(len(paired))

    def covering(self, found: _Found) -> float:
        """The share of the frames, of the clip that has fewer, that have a partner."""
        return len(np.unique(found.partner[found.partner >= 0])) / min(len(self.original), len(self.fake))

    def _places(self, indices: Indices) -> Indices:
        """Where the original's frames are among its thumbs; -1 for those that are not there."""
        places = np.searchsorted(self.original.indices, indices)
        there = places < len(self.original)
        there[there] = self.original.indices[places[there]] == indices[there]
        return np.where(there, places, -1)

    def _costs(self, line: Line | Pieces, weights: Float) -> tuple[Float, Indices]:
        """What each of the original's frames around a line costs, float32 (frames, 2 REACH + 1), and the line."""
        centres = np.array([line(index) for index in self.fake.indices.tolist()], np.int64)
        band = np.arange(-REACH, REACH + 1)
        costs = np.full((len(centres), len(band)), np.nan, np.float32)
        for start in range(0, len(centres), 64):
            rows = slice(start, start + 64)
            places = self._places((centres[rows, None] + band).ravel())
            used = np.flatnonzero(places >= 0)
            if len(used):
                first, last = places[used].min(), places[used].max() + 1
                apart = _distances(self.original.levels[first:last], self.fake.levels[rows], weights)
                costs[rows].ravel()[used] = apart[used // len(band), places[used] - first]
        costs += 0.05 * float(weights.sum())
        least = np.nanmin(costs, axis=1, keepdims=True, initial=np.inf)
        found = _SURE * self.certainty[:, None] * np.log(costs / np.where(np.isfinite(least), least, 1.0))
        return np.where(np.isnan(found), self.unpaired[:, None], found), centres


def _weights(original: UInt8, fake: UInt8) -> tuple[Float, Float]:
    """How much each cell counts, and how far it differs in squared levels, float32 (cells,) each.

    Told by frames of the same moments, uint8 (n, cells) each.
    """
    levels = original.astype(np.float32)
    apart = np.minimum(np.square(levels - fake), MOST * MOST).mean(axis=0) + np.float32(ROUNDING)
    moved = levels.var(axis=0)
    return np.asarray(moved / (moved + apart) / apart, np.float32), np.asarray(apart, np.float32)


def _distances(original: UInt8, fake: UInt8, weights: Float) -> Float:
    """Weighted sums of squared differences of all of the fake's thumbs to all of the original's, float32 (m, n)."""
    middle = original.mean(axis=0, dtype=np.float32)
    scale = np.sqrt(weights)
    a, b = (np.clip(levels - middle, -MOST, MOST) * scale for levels in (original, fake))
    found = np.square(b).sum(axis=1)[:, None] + np.square(a).sum(axis=1)[None, :] - 2 * b @ a.T
    return np.asarray(np.maximum(found, 0), np.float32)


def _viterbi(
    costs: Float, centres: Sequence[int], indices: Sequence[int], rate: float, certainty: Float
) -> tuple[list[int], float]:
    """The state of each frame on the cheapest path, and the price of its moves; cheap where frames count little, since
    forged ones may be slower or faster.

    State ``j`` stands for the original's frame ``centre - REACH + j``.
    """
    states = costs.shape[1]
    state = np.arange(states)
    best = costs[0].astype(np.float64)
    back = np.zeros(costs.shape, np.int32)
    prices: dict[tuple[int, int], npt.NDArray[np.float64]] = {}
    for number in range(1, len(costs)):
        step = centres[number] - centres[number - 1], indices[number] - indices[number - 1]
        if step not in prices:
            prices[step] = _prices(step[0] + state[None, :] - state[:, None], step[1] / rate)
        total = best[:, None] + prices[step] * min(certainty[number - 1], certainty[number])
        back[number] = total.argmin(axis=0)
        best = total[back[number], state] + costs[number]
    path = [int(best.argmin())]
    for number in range(len(costs) - 1, 0, -1):
        path.append(int(back[number, path[-1]]))
    return path[::-1], float(best.min() - costs[np.arange(len(costs)), path[::-1]].sum())


def _prices(moved: Indices, expected: float) -> npt.NDArray[np.float64]:
    """What it costs to move by so many of the original's frames from one of the fake's to the next."""
    easy = (moved >= math.floor(expected)) & (moved <= math.ceil(expected))
    price = np.where(easy, _OFF_BEAT, _SWITCH + _FURTHER * np.abs(moved - expected))
    np.fill_diagonal(price, 0.0)
    return np.where(moved < 0, np.inf, price)
