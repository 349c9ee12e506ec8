"""Samples for training: where they lie, in which order they come, and how they are read.

The order is a function of the seed, the epoch, and how many ranks share it; nothing is drawn while reading. So a
training goes on in the middle of an epoch, and no sample is lost or comes twice. Row groups are shuffled, then samples
in windows of a few row groups: a process holds these, and reads each about once.
"""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from forgeprep.datasets.taxonomy import LEVELS, class_at
from forgeprep.errors import UsageError, VerifyError, unknown_name
from forgeprep.io.storage import is_remote, parquet_source
from forgeprep.shards.random_access import iter_values
from forgeprep.shards.read import decode_row, shard_paths, tar_rows
from forgeprep.shards.sequences import MARK as CLIPS
from forgeprep.shards.sequences import split_frames

WINDOW = 8
"""Row groups whose samples are mixed."""
HELD = 2 * WINDOW
"""Row groups in memory: a window that ends, and the next."""
TAR_GROUP = 64
"""Samples of a tar that count as a row group."""

KEPT = (
    "sample_id", "dataset", "clip_id", "frame_index", "label", "forgery", "method", "generator", "compression",
    "enlarge", "image", "mask", "mask_magnitude", "noise",
)  # fmt: skip
_STAGES = {"mask": "mask", "mask_magnitude": "mask", "noise": "noise"}
_TREE = ("label", "forgery", "generator", "method")
_OF_CLIPS = (CLIPS, "padded")

T = TypeVar("T")
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SampleIndex:
    """Where all samples of a split lie; arrays of one length, in the order of the shards.

    Attributes:
        paths: the shards.
        shard, first, second: place of each sample, see :class:`forgeprep.shards.random_access.Place`.
        group: number of its row group, over all shards.
        label: 0 real, 1 fake.
        method: number of its method in ``methods``, which begins with None, the reals.
        columns: what the shards hold.
        enlarge: crop over face box, the least of all samples.
        classes: the classes at each level of the label tree, real first.
        parts: where a clip is made of rows: the frames' own index, and the numbers there of each clip's, (N, T).
        frames: where a row is a clip already: so many of its frames are taken, evenly spread; repeated if it has fewer.
        crop_size: side in pixels that all crops of the split have; None where they differ, as at native resolution.
    """

    paths: tuple[Path, ...]
    shard: Ints
    first: Ints
    second: Ints
    group: Ints
    label: Ints
    method: Ints
    methods: tuple[str | None, ...]
    columns: frozenset[str]
    enlarge: float
    classes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    frames: int = 0
    parts: tuple[SampleIndex, Ints] | None = None
    crop_size: int | None = None

    def __len__(self) -> int:
        return len(self.label)


def load_index(
    outs: Sequence[Path],
    split: str,
    needs: Sequence[str] = (),
    *,
    only: Collection[str] | None = None,
    kind: tuple[str, str] | None = None,
    numbered: Sequence[str | None] = (None,),
) -> SampleIndex:
    """The samples of a split in the runs at ``outs``.

    Args:
        outs: folders of runs.
        split: train, val or test.
        needs: of ``mask`` and ``noise``; the shards have to hold them.
        only: fakes of these methods, and all reals.
        kind: fakes with this value in this column (forgery, generator or method), and all reals.
        numbered: methods that have numbers already; others follow these.

    Raises:
        UsageError: no run, no sample, no such method, or a column is missing; the message names the stage to add.
        VerifyError: a shard is damaged.
    """
    paths = [path for out in outs for path in shard_paths(out, split)]
    if not paths:
        where = ", ".join(map(str, outs))
        raise UsageError(f"{where}: no shards of the split '{split}'; give the --out folder of a finished run")
    columns = check_columns(paths, needs)
    rows: list[tuple[int, int, int, int, int, str | None, bool]] = []
    kinds: dict[tuple[Any, ...], dict[str, Any]] = {}
    groups, enlarge = 0, float("inf")
    sizes: set[tuple[int, ...]] = set()
    for number, path in enumerate(paths):
        last: tuple[int, int] | None = None
        for count, (place, values) in enumerate(iter_values(path, ["enlarge", "image_size", *_TREE])):
            group = (number, count // TAR_GROUP if path.suffix == ".tar" else place.first)
            groups += group != last
            last = group
            enlarge = min(enlarge, float(values["enlarge"]))
            sizes.add(tuple(values["image_size"]))
            fits = kind is None or values["label"] == 0 or values[kind[0]] == kind[1]
            rows.append((number, place.first, place.second, groups - 1, values["label"], values["method"], fits))
            if fits:
                kinds.setdefault(tuple(values[name] for name in _TREE), values)
    if not rows:
        raise UsageError(f"{', '.join(map(str, outs))}: the split '{split}' holds no sample")
    there = {row[5] for row in rows if row[5] is not None}
    if only is not None:
        for name in only:
            if name not in there:
                raise unknown_name("method", name, sorted(there))
        rows = [row for row in rows if row[5] is None or row[5] in only]
    if kind is not None:
        rows = [row for row in rows if row[6]]
    there = {row[5] for row in rows if row[5] is not None}
    methods = (*numbered, *sorted(there - set(numbered)))
    codes = {name: code for code, name in enumerate(methods)}
    table = np.array([(*row[:5], codes[row[5]]) for row in rows], np.int64)
    shard, first, second, group_of, label, method = table.T
    classes = _classes([kind for kind in kinds.values() if kind["method"] in {None, *there}])
    width, *rest = sizes.pop() if len(sizes) == 1 else (0, 0)
    return SampleIndex(
        tuple(paths), shard, first, second, group_of, label, method, methods, columns, enlarge, classes,
        crop_size=width if rest == [width] and width else None,
    )  # fmt: skip


def read_values(index: SampleIndex, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Values of all samples of an index, in its order; columns that a shard lacks are left out.

    Raises:
        VerifyError: a shard is damaged.
    """
    at = 0
    for number, path in enumerate(index.paths):
        for place, values in iter_values(path, columns):
            wanted = at < len(index) and (number, place.first, place.second) == (
                index.shard[at], index.first[at], index.second[at],
            )  # fmt: skip
            if wanted:
                at += 1
                yield values


def clip_index(index: SampleIndex, *, frames: int, step: int = 1) -> SampleIndex:
    """The clips of an index: of each track every ``step``-th sample, ``frames`` of them, then the next so many.

    What is left at a track's end is covered by a clip that ends with it. A track that is too short for one clip gives
    one whose frames repeat; a single picture gives none. A clip is fake if any of its frames is.

    Raises:
        UsageError: all samples are single pictures.
    """
    tracks: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for number, values in enumerate(read_values(index, ["clip_id", "track_id", "frame_index"])):
        tracks.setdefault((values["clip_id"], values["track_id"]), []).append((values["frame_index"], number))
    long = (frames - 1) * step + 1
    members: list[list[int]] = []
    for track in tracks.values():
        numbers = [number for _, number in sorted(track)]
        if 1 < len(numbers) < long:
            members.append([numbers[at] for at in np.linspace(0, len(numbers) - 1, frames).round().astype(int)])
        starts = list(range(0, len(numbers) - long + 1, long)) if len(numbers) > 1 else []
        if starts and starts[-1] + long < len(numbers):
            starts.append(len(numbers) - long)
        members += [numbers[start : start + long : step] for start in starts]
    if not members:
        raise UsageError(f"{index.paths[0]}: holds single pictures alone; clips need frames of videos")
    table = np.array(sorted(members), np.int64)
    first = table[:, 0]
    return replace(
        index, shard=index.shard[first], first=index.first[first], second=index.second[first], group=index.group[first],
        label=index.label[table].max(axis=1), method=index.method[table].max(axis=1), parts=(index, table),
    )  # fmt: skip


def frames_alone(index: SampleIndex) -> SampleIndex:
    """The index, whose samples have to be single frames; raises UsageError for clip shards."""
    if CLIPS in index.columns:
        raise UsageError(
            f"{index.paths[0]}: its samples are clips of several frames (--sequence-length); this detector takes "
            "single frames: make shards without --sequence-length"
        )
    return index


def check_columns(paths: Sequence[Path], needs: Sequence[str]) -> frozenset[str]:
    """The columns that all of these shards hold.

    Raises:
        UsageError: one of ``needs`` is not among them; the message names the stage to add.
        VerifyError: a shard is damaged.
    """
    found = {path: _columns(path) for path in paths}
    if len({CLIPS in columns for columns in found.values()}) > 1:
        raise UsageError(f"{paths[0].parents[2]} and others: clips and single frames do not go together")
    for name in needs:
        for path, columns in found.items():
            if name not in columns:
                raise UsageError(
                    f"{path}: has no column '{name}'; make the shards with --stages crop,…,{_STAGES[name]}"
                )
    return frozenset.intersection(*found.values())


def epoch_order(index: SampleIndex, *, seed: int, epoch: int, real_repeat: float = 1.0, balance: bool = False) -> Ints:
    """Sample numbers in the order of an epoch: shuffled over row groups, and among those that lie near."""
    rng = np.random.default_rng([seed, epoch])
    repeats = _repeats(index, real_repeat, balance)
    whole = np.floor(repeats).astype(np.int64)
    whole += rng.random(len(index)) < repeats - whole
    numbers = np.repeat(np.arange(len(index)), whole)
    groups = index.group[numbers]
    rank_of = rng.permutation(int(index.group.max()) + 1)
    window = rank_of[groups] // WINDOW
    return numbers[np.lexsort((rng.random(len(numbers)), window))]


def deal(order: Ints, batch: int, *, ranks: int = 1, rank: int = 0, drop_last: bool = True) -> list[Ints]:
    """The batches of a rank, which gets a stretch of the order that lies together.

    With ``drop_last``, all ranks get as many batches of full size; what is left of the order, less than a batch a rank,
    comes in no batch. Without, every sample comes once.
    """
    bounds = [len(order) * number // ranks for number in range(ranks + 1)]
    part = order[bounds[rank] : bounds[rank + 1]]
    end = min(b - a for a, b in itertools.pairwise(bounds)) // batch * batch if drop_last else len(part)
    return [part[at : at + batch] for at in range(0, end, batch)]


class Samples:
    """The samples of an index by number, decoded. Threads may share one.

    Args:
        index: where the samples lie.
        columns: what is read of them.
    """

    def __init__(self, index: SampleIndex, columns: Sequence[str] = KEPT) -> None:
        self.index = index
        self.columns = tuple(name for name in (*columns, *_OF_CLIPS) if name in index.columns)
        self._frames = Samples(index.parts[0], columns) if index.parts is not None else None
        self._groups: OrderedDict[tuple[int, int], Future[pa.Table]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.index)

    def read(self, numbers: Iterable[int]) -> list[dict[str, Any]]:
        """Rows with pictures as uint8 arrays; ``number`` is the sample's, ``method_number`` its method's.

        A clip is the row of its first forged frame, or of its first; ``frames`` holds the rows of all.

        Raises:
            VerifyError: a shard is damaged; ``forgeprep verify`` tells more.
        """
        return [self._row(int(number)) for number in numbers]

    def _row(self, number: int) -> dict[str, Any]:
        index = self.index
        if index.parts is not None and self._frames is not None:
            frames = self._frames.read(index.parts[1][number].tolist())
            row = max(frames, key=lambda frame: int(frame["label"]))
            return row | {"number": number, "method_number": int(index.method[number]), "frames": frames}
        path = index.paths[index.shard[number]]
        first, second = int(index.first[number]), int(index.second[number])
        if path.suffix == ".tar":
            row = next(tar_rows(path, None, part=(first, second)))
            row = {name: row.get(name) for name in self.columns}
        else:
            row = self._group(int(index.shard[number]), first).slice(second, 1).to_pylist()[0]
        row = decode_row(row, path)
        row |= {"number": number, "method_number": int(index.method[number])}
        return _with_frames(row, index.frames) if index.frames else row

    def _group(self, shard: int, group: int) -> pa.Table:
        """A row group; of threads that ask for the same, one reads it and the others wait."""
        key = (shard, group)
        with self._lock:
            found = self._groups.get(key)
            mine = found is None
            if found is None:
                found = self._groups[key] = Future()
                if len(self._groups) > HELD:
                    self._groups.popitem(last=False)
        if mine:
            try:
                found.set_result(_read_group(self.index.paths[shard], group, self.columns))
            except BaseException as error:
                found.set_exception(error)
        return found.result()


def _with_frames(row: dict[str, Any], count: int) -> dict[str, Any]:
    """A row of a clip shard as that of its first forged frame, or of its first; ``frames`` holds ``count`` rows."""
    every = split_frames(row)
    frames = [every[at] for at in np.linspace(0, len(every) - 1, count).round().astype(int)]
    first: dict[str, Any] = max(frames, key=lambda frame: int(frame["label"]))
    own = {name: row[name] for name in ("sample_id", "label", "number", "method_number")}
    return first | own | {"frames": frames}


def load_batches(batches: Iterable[Ints], make: Callable[[Ints], T], threads: int) -> Iterator[T]:
    """What ``make`` makes of each batch, in order, some batches ahead; with 0 threads, when it is asked for.

    Threads, for what decodes pictures lets go of Python's lock: unlike processes they start at once, and no pixel is
    handed over (benchmarks/loader.py).
    """
    if threads == 0:
        yield from map(make, batches)
        return
    with ThreadPoolExecutor(threads, "forgeprep-load") as pool:
        ahead: deque[Future[T]] = deque()
        try:
            for batch in batches:
                ahead.append(pool.submit(make, batch))
                if len(ahead) > 2 * threads:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for one in ahead:
                one.cancel()


def without(columns: Collection[str]) -> tuple[str, ...]:
    """The columns of a sample but for these."""
    return tuple(name for name in KEPT if name not in columns)


def _repeats(index: SampleIndex, real_repeat: float, balance: bool) -> npt.NDArray[np.float64]:
    """How often each sample comes in an epoch, on average."""
    if not balance:
        return np.where(index.label == 0, real_repeat, 1.0)
    counts = np.bincount(index.method, minlength=len(index.methods)).astype(np.float64)
    fakes = int(np.count_nonzero(counts[1:]))
    shares = (
        np.where(np.arange(len(counts)) == 0, 0.5, 0.5 / max(1, fakes)) if counts[0] and fakes else np.ones_like(counts)
    )
    return (shares * len(index) / np.maximum(counts, 1))[index.method]


def _classes(kinds: Sequence[dict[str, Any]]) -> dict[str, tuple[str, ...]]:
    """The classes at each level; of ``label`` both always."""
    found = {}
    for level in LEVELS:
        names = {class_at(level, kind) for kind in kinds} | ({"fake"} if level == "label" else set())
        found[level] = ("real", *sorted(name for name in names if name is not None and name != "real"))
    return found


def _columns(path: Path) -> frozenset[str]:
    if path.suffix == ".tar":
        row = next(tar_rows(path, None), {})
        # A picture that is null has no file there; what the stage `mask` has made is told by its other columns.
        return frozenset(row) | ({"mask", "mask_magnitude"} if "mask_source" in row else set())
    try:
        return frozenset(pq.read_schema(parquet_source(path)).names)
    except (OSError, pa.ArrowException) as error:
        raise VerifyError(f"{path}: {' '.join(str(error).split())}; forgeprep verify tells more") from error


def _read_group(path: Path, group: int, columns: Sequence[str]) -> pa.Table:
    try:
        with pq.ParquetFile(parquet_source(path), pre_buffer=is_remote(path)) as file:
            return file.read_row_group(group, list(columns))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise VerifyError(f"{path}: {' '.join(str(error).split())}; forgeprep verify tells more") from error
