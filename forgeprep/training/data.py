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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from forgeprep.errors import UsageError, VerifyError, unknown_name
from forgeprep.shards.clips import MARK as CLIPS
from forgeprep.shards.lookup import iter_values
from forgeprep.shards.read import decode_row, shard_paths, tar_rows
from forgeprep.storage import is_remote, parquet_source

WINDOW = 8
"""Row groups whose samples are mixed."""
HELD = 2 * WINDOW
"""Row groups in memory: a window that ends, and the next."""
TAR_GROUP = 64
"""Samples of a tar that count as a row group."""

KEPT = (
    "sample_id", "dataset", "clip_id", "frame_index", "label", "forgery", "method", "generator", "compression",
    "enlarge", "image", "mask", "noise",
)  # fmt: skip
_STAGES = {"mask": "mask", "noise": "noise"}

T = TypeVar("T")
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SampleIndex:
    """Where all samples of a split lie; arrays of one length, in the order of the shards.

    Attributes:
        paths: the shards.
        shard, first, second: place of each sample, see :class:`forgeprep.shards.lookup.Place`.
        group: number of its row group, over all shards.
        label: 0 real, 1 fake.
        method: number of its method in ``methods``, which begins with None, the reals.
        columns: what the shards hold.
        enlarge: crop over face box, of the first sample.
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

    def __len__(self) -> int:
        return len(self.label)


def load_index(
    outs: Sequence[Path],
    split: str,
    needs: Sequence[str] = (),
    *,
    only: Collection[str] | None = None,
    numbered: Sequence[str | None] = (None,),
) -> SampleIndex:
    """The samples of a split in the runs at ``outs``.

    Args:
        outs: folders of runs.
        split: train, val or test.
        needs: of ``mask`` and ``noise``; the shards have to hold them.
        only: fakes of these methods, and all reals.
        numbered: methods that have numbers already; others follow these.

    Raises:
        UsageError: no run, no sample, no such method, or a column is missing; the message names the stage to add.
        VerifyError: a shard is damaged.
    """
    paths = [path for out in outs for path in shard_paths(out, split)]
    if not paths:
        where = ", ".join(map(str, outs))
        raise UsageError(f"{where}: no shards of the split '{split}'; give the --out folder of a finished run")
    columns = frozenset.intersection(*(_columns(path) for path in paths))
    if CLIPS in columns:
        raise UsageError(
            f"{paths[0]}: its samples are clips of several frames (--clip-length); this detector learns from single "
            "frames: make shards without --clip-length"
        )
    for name in needs:
        if name not in columns:
            raise UsageError(
                f"{paths[0]}: has no column '{name}'; make the shards with --stages crop,…,{_STAGES[name]}"
            )
    rows: list[tuple[int, int, int, int, int, str | None]] = []
    groups, enlarge = 0, 0.0
    for number, path in enumerate(paths):
        last: tuple[int, int] | None = None
        for count, (place, values) in enumerate(iter_values(path, ["label", "method", "enlarge"])):
            group = (number, count // TAR_GROUP if path.suffix == ".tar" else place.first)
            groups += group != last
            last = group
            enlarge = enlarge or float(values["enlarge"])
            rows.append((number, place.first, place.second, groups - 1, values["label"], values["method"]))
    if not rows:
        raise UsageError(f"{', '.join(map(str, outs))}: the split '{split}' holds no sample")
    there = {row[5] for row in rows if row[5] is not None}
    if only is not None:
        for name in only:
            if name not in there:
                raise unknown_name("method", name, sorted(there))
        rows = [row for row in rows if row[5] is None or row[5] in only]
        there &= set(only)
    methods = (*numbered, *sorted(there - set(numbered)))
    codes = {name: code for code, name in enumerate(methods)}
    table = np.array([(*row[:5], codes[row[5]]) for row in rows], np.int64)
    shard, first, second, group_of, label, method = table.T
    return SampleIndex(tuple(paths), shard, first, second, group_of, label, method, methods, columns, enlarge)


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
        self.columns = tuple(name for name in columns if name in index.columns)
        self._groups: OrderedDict[tuple[int, int], Future[pa.Table]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.index)

    def read(self, numbers: Iterable[int]) -> list[dict[str, Any]]:
        """Rows with pictures as uint8 arrays; ``number`` is the sample's, ``method_number`` its method's.

        Raises:
            VerifyError: a shard is damaged; ``forgeprep verify`` tells more.
        """
        return [self._row(int(number)) for number in numbers]

    def _row(self, number: int) -> dict[str, Any]:
        index = self.index
        path = index.paths[index.shard[number]]
        first, second = int(index.first[number]), int(index.second[number])
        if path.suffix == ".tar":
            row = next(tar_rows(path, None, part=(first, second)))
            row = {name: row.get(name) for name in self.columns}
        else:
            row = self._group(int(index.shard[number]), first).slice(second, 1).to_pylist()[0]
        row = decode_row(row, path)
        return row | {"number": number, "method_number": int(index.method[number])}

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


def _columns(path: Path) -> frozenset[str]:
    if path.suffix == ".tar":
        row = next(tar_rows(path, None), {})
        return frozenset(row)
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
