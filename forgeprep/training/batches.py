"""Which samples come in which batch, where some have to come together: a real with its fakes, or with its blend.

A *unit* is what is never torn apart: a sample; a real and its fakes at the same frame (``pairs``); either with a
self-blended image of the real. Units are shuffled as samples are (:func:`forgeprep.training.data.epoch_order`), and put
into batches whole.

A batch is an array of *codes*. The code of a sample that comes for the first time is its number. A code also says the
how-manieth time it is, so that each time another part is cut out, and whether its blend is meant, see :class:`Codes`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from forgeprep.errors import UsageError
from forgeprep.text import counted
from forgeprep.training.data import WINDOW, epoch_order
from forgeprep.training.recipe import Recipe
from forgeprep.training.sample_index import Ints, SampleIndex, read_columns

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Codes:
    """Codes taken apart: the samples' numbers, which time each comes (from 0), and whether its blend is meant."""

    numbers: Ints
    times: Ints
    blends: Bools

    @classmethod
    def of(cls, codes: Ints, count: int) -> Codes:
        """Of an index of so many samples."""
        turn = codes // count
        return cls(codes % count, turn // 2, turn % 2 == 1)


@dataclass(frozen=True, slots=True)
class Units:
    """Samples that come together: ``members`` holds their numbers, unit ``i`` those from ``starts[i]``.

    The first of a unit is a real, unless it is alone. ``spread`` is over how many row groups a unit lies, on average.
    """

    members: Ints
    starts: Ints
    spread: float = 1.0


@dataclass(frozen=True, slots=True)
class Batches:
    """The batches of a training's epochs.

    Attributes:
        index: the samples.
        recipe: how they are drawn.
        units: what comes together; None where each sample comes by itself.
        blendable: the reals of which a blend can be made; None where none is asked for.
        largest: the most samples that may come together, in any epoch.
        notes: what the user should know of what is left out, a line each.
    """

    index: SampleIndex
    recipe: Recipe
    units: Units | None = None
    blendable: Bools | None = None
    largest: int = 1
    notes: tuple[str, ...] = field(default=())

    def of_epoch(self, epoch: int, ranks: int = 1, rank: int = 0) -> list[Ints]:
        """The batches of an epoch for a rank, as codes: one pass, or as many as ``steps`` takes.

        Raises:
            UsageError: a batch cannot hold what has to come together.
        """
        recipe, share = self.recipe, max(1, self.recipe.batch // ranks)
        if self.largest > share:
            each = f"{share} on each of {ranks} processes" if ranks > 1 else str(share)
            raise UsageError(
                f"batch: {each} cannot hold the {self.largest} samples that come together (a real, its fakes, its "
                f"blend); give --set batch={self.largest * ranks} or more"
            )
        times = np.zeros(len(self.index), np.int64)
        batches: list[Ints] = []
        turn = 0
        while turn == 0 or (recipe.steps is not None and len(batches) < recipe.steps):
            dealt = self._turn(epoch * 10_000 + turn, times, share, ranks, rank)
            batches += dealt
            turn += 1
            if not dealt:
                break
        return batches[: recipe.steps]

    def _turn(self, epoch: int, times: Ints, share: int, ranks: int, rank: int) -> list[Ints]:
        recipe = self.recipe
        if self.units is None:
            order = epoch_order(
                self.index, seed=recipe.seed, epoch=epoch, real_repeat=recipe.real_repeat, balance=recipe.balance
            )
            starts = np.arange(len(order) + 1)
        else:
            order, starts = _shuffled(self.units, self.index, recipe.seed, epoch)
        codes = order + 2 * len(self.index) * _times(order, times)
        if self.blendable is not None:
            rng = np.random.default_rng([recipe.seed, epoch, 3])
            codes, starts = _with_blends(codes, starts, self.blendable, recipe.selfblend, rng)
        if self.units is not None:
            codes, starts = _without_lone(codes, starts)
        return deal_units(codes, starts, share, ranks=ranks, rank=rank)


def make_batches(index: SampleIndex, recipe: Recipe, *, where: str) -> Batches:
    """The batches that a recipe makes of samples; ``where`` names the shards in messages.

    Raises:
        UsageError: there are no landmarks to blend by, no pairs, or the samples are sequences of frames where pairs
            are asked for.
    """
    notes: list[str] = []
    blendable = _blendable(index, where) if recipe.selfblend else None
    if blendable is not None:
        reals = int(np.count_nonzero(index.label == 0))
        lost = reals - int(np.count_nonzero(blendable))
        if lost:
            told = f"{lost:,} of {counted(reals, 'real')} in train get no blend"
            notes.append(f"{where}: selfblend: {told}: without landmarks, or a face of a fake")
    units = _pair_units(index, where, notes, blends=blendable is not None) if recipe.pairs else None
    return Batches(index, recipe, units, blendable, _largest(units, blendable), tuple(notes))


def _largest(units: Units | None, blendable: Bools | None) -> int:
    """The most members of a unit, its blend counted."""
    if units is None:
        return 1 if blendable is None else 2
    sizes = np.diff(units.starts)
    if blendable is not None:
        sizes = sizes + np.add.reduceat(blendable[units.members], units.starts[:-1])
    return int(sizes.max())


def deal_units(codes: Ints, starts: Ints, batch: int, *, ranks: int = 1, rank: int = 0) -> list[Ints]:
    """The batches of a rank, each as many whole units as fit into ``batch``.

    Units lie one after the other in ``codes``, unit ``i`` from ``starts[i]``; none is larger than ``batch``. All ranks
    get as many batches; what is left, less than a batch a rank and what the fullest rank has more, comes in none.
    """
    bounds = [(len(starts) - 1) * number // ranks for number in range(ranks + 1)]
    cuts = [_cuts(starts[a : b + 1], batch) for a, b in itertools.pairwise(bounds)]
    count = min(len(one) - 1 for one in cuts)
    own = cuts[rank]
    return [codes[own[at] : own[at + 1]] for at in range(count)]


def _cuts(starts: Ints, batch: int) -> list[int]:
    """Where batches of units begin and end, in samples; the last one only if it is full."""
    cuts = [int(starts[0])]
    while cuts[-1] < starts[-1]:
        # The last unit that still ends within the batch.
        end = int(starts[np.searchsorted(starts, cuts[-1] + batch, side="right") - 1])
        if end == starts[-1] and end - cuts[-1] < batch:
            break
        cuts.append(end)
    return cuts


def _shuffled(units: Units, index: SampleIndex, seed: int, epoch: int) -> tuple[Ints, Ints]:
    """All units in another order: over row groups, and in windows of about as many as samples alone have."""
    rng = np.random.default_rng([seed, epoch])
    groups = index.group[units.members[units.starts[:-1]]]
    rank_of = rng.permutation(int(index.group.max()) + 1)
    window = rank_of[groups] // max(1, round(WINDOW / units.spread))
    order = np.lexsort((rng.random(len(groups)), window))
    return _taken(units.members, units.starts, order)


def _taken(values: Ints, starts: Ints, order: Ints) -> tuple[Ints, Ints]:
    """Units in another order, or some of them: their members one after the other, and where each begins."""
    sizes = np.diff(starts)[order]
    ends = np.concatenate([[0], np.cumsum(sizes)])
    places = np.arange(ends[-1]) - np.repeat(ends[:-1], sizes) + np.repeat(starts[:-1][order], sizes)
    return values[places], ends


def _times(order: Ints, seen: Ints) -> Ints:
    """How often each sample of the order came before it, also in earlier orders; ``seen`` is counted on."""
    by_number = np.argsort(order, kind="stable")
    ordered = order[by_number]
    first = np.flatnonzero(np.diff(ordered, prepend=-1))
    times = np.empty(len(order), np.int64)
    times[by_number] = np.arange(len(order)) - np.repeat(first, np.diff([*first, len(order)]))
    times += seen[order]
    np.add.at(seen, order, 1)
    return times


def _with_blends(
    codes: Ints, starts: Ints, blendable: Bools, share: float, rng: np.random.Generator
) -> tuple[Ints, Ints]:
    """The units, some reals followed by their blends."""
    count = len(blendable)
    drawn = blendable[codes % count] & (rng.random(len(codes)) < share)
    more = np.concatenate([[0], np.cumsum(drawn)])
    return np.insert(codes, np.flatnonzero(drawn) + 1, codes[drawn] + count), starts + more[starts]


def _without_lone(codes: Ints, starts: Ints) -> tuple[Ints, Ints]:
    """Without the units of one sample, which no blend was drawn for."""
    return _taken(codes, starts, np.flatnonzero(np.diff(starts) > 1))


def _pair_units(index: SampleIndex, where: str, notes: list[str], *, blends: bool) -> Units:
    """A real and its fakes at the same frame and face; with ``blends``, reals without fakes too, each alone."""
    if index.parts is not None or index.frames:
        raise UsageError("pairs: a model of sequences learns from clips; pairs are made of single frames")
    table = read_columns(index, ["clip_id", "original_id", "frame_index", "original_frame", "track_id"])
    fake = index.label == 1
    clip = pc.if_else(pa.array(fake), table["original_id"].combine_chunks(), table["clip_id"].combine_chunks())
    frame = pc.if_else(pa.array(fake), table["original_frame"].combine_chunks(), table["frame_index"].combine_chunks())
    known = pc.and_(pc.is_valid(clip), pc.is_valid(frame)).to_numpy(zero_copy_only=False)
    keys = pa.table({"clip": pc.fill_null(clip, ""), "frame": pc.fill_null(frame, -1), "track": table["track_id"]})
    number = _numbered(keys)
    order = np.lexsort((index.label, number))
    order = order[known[order]]
    starts = np.flatnonzero(np.diff(number[order], prepend=-1, append=-1))
    first, sizes = order[starts[:-1]], np.diff(starts)
    real = index.label[first] == 0
    fakes = np.add.reduceat(index.label[order], starts[:-1]) if len(order) else sizes
    whole = real & (fakes > 0) & (sizes == fakes + 1)
    kept = whole | (real & (sizes == 1)) if blends else whole
    if not kept.any():
        raise UsageError(f"{where}: pairs: no real of train has a fake at the same frame; leave pairs=true out")
    members, ends = _taken(order, starts, np.flatnonzero(kept))
    lost = len(index) - int(np.sum(sizes[whole]))
    if lost:
        fakes_lost = int(np.sum(index.label)) - int(np.sum(fakes[whole]))
        told = f"{counted(lost - fakes_lost, 'real')} and {counted(fakes_lost, 'fake')} of train have no partner"
        rest = "such reals come where a blend of theirs is drawn, the fakes do not" if blends else "they are left out"
        notes.append(f"{where}: pairs: {told} at the same frame: {rest}")
    unit = np.repeat(np.arange(len(ends) - 1), np.diff(ends))
    spread = len(np.unique(index.group[members] + unit * (int(index.group.max()) + 1))) / (len(ends) - 1)
    return Units(members, ends, spread)


def _numbered(keys: pa.Table) -> Ints:
    """The same number for equal rows, and only for these."""
    number = np.zeros(keys.num_rows, np.int64)
    for column in keys.columns:
        codes = column.combine_chunks().dictionary_encode()
        codes = codes.combine_chunks() if isinstance(codes, pa.ChunkedArray) else codes
        own = codes.indices.to_numpy().astype(np.int64)
        number = np.unique(number * (own.max(initial=0) + 1) + own, return_inverse=True)[1]
    return number


def _blendable(index: SampleIndex, where: str) -> Bools:
    """Which samples are reals of real clips with landmarks of the whole face; of a sequence all frames.

    Raises:
        UsageError: none is.
    """
    if index.parts is not None:
        of_frames = _blendable(index.parts[0], where)
        return np.asarray(of_frames[index.parts[1]].all(axis=1))
    good = np.zeros(len(index), np.bool_)
    schemes: Sequence[str] = ()
    if "landmark_scheme" in index.columns:
        table = read_columns(index, ["landmark_scheme", "original_id"])
        schemes = sorted(str(name) for name in pc.unique(table["landmark_scheme"]).to_pylist() if name is not None)
        whole = [name for name in schemes if name not in _few_points()]
        has = pc.is_in(table["landmark_scheme"], value_set=pa.array(whole, pa.string()))
        good = pc.and_(has, pc.is_null(table["original_id"])).to_numpy() & (index.label == 0)
    if not good.any():
        have = f"they have {', '.join(schemes)}" if schemes else "they have none"
        raise UsageError(
            f"{where}: selfblend: reals of train need landmarks of the whole face, and {have}; make the shards with "
            "--landmarks dlib-68 (or dlib-81, face-alignment)"
        )
    return np.asarray(good)


def _few_points() -> set[str]:
    """The schemes that have too few points to blend by."""
    from forgeprep.faces.landmarkers import LANDMARKERS
    from forgeprep.ops.selfblend import LEAST_POINTS

    schemes = [one.scheme for one in LANDMARKERS.usable().values()]
    return {scheme.name for scheme in schemes if scheme.count < LEAST_POINTS}
