"""Samples for training: in which order they come, and how they are read.

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
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from forgeprep.errors import VerifyError
from forgeprep.io.storage import is_remote, parquet_source
from forgeprep.schemas.renamed import current_table, stored_names
from forgeprep.shards.formats import format_of
from forgeprep.shards.read import decode_row
from forgeprep.shards.sequences import MARK as SEQUENCES
from forgeprep.shards.sequences import split_frames
from forgeprep.training.sample_index import Ints, SampleIndex
from forgeprep.training.targets import row_by_target

WINDOW = 8
"""Row groups whose samples are mixed."""
HELD = 2 * WINDOW
"""Row groups in memory: a window that ends, and the next."""

KEPT = (
    "sample_id", "dataset", "clip_id", "frame_index", "label", "forgery", "method", "family", "compression",
    "enlarge", "image", "mask", "mask_magnitude", "noise",
)  # fmt: skip
_OF_SEQUENCES = (SEQUENCES, "padded")

T = TypeVar("T")


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
        wanted = dict.fromkeys((*columns, *_OF_SEQUENCES, index.target))
        self.columns = tuple(name for name in wanted if name in index.columns)
        self._frames = Samples(index.parts[0], columns) if index.parts is not None else None
        self._groups: OrderedDict[tuple[int, int], Future[pa.Table]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.index)

    def read(self, numbers: Iterable[int]) -> list[dict[str, Any]]:
        """Rows with pictures as uint8 arrays; ``number`` is the sample's, ``method_number`` its method's.

        A sequence is the row of its first forged frame, or of its first; ``frames`` holds the rows of all.

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
        if path.suffix == ".parquet":
            row = self._group(int(index.shard[number]), first).slice(second, 1).to_pylist()[0]
        else:
            row = format_of(path).read_at(path, (first, second), None)
            row = {name: row.get(name) for name in self.columns}
        row = row_by_target(decode_row(row, path), index.target)
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
    """A row of a sequence as that of its first forged frame, or of its first; ``frames`` holds ``count`` rows."""
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


def _read_group(path: Path, group: int, columns: Sequence[str]) -> pa.Table:
    try:
        with pq.ParquetFile(parquet_source(path), pre_buffer=is_remote(path)) as file:
            return current_table(file.read_row_group(group, stored_names(columns, file.schema_arrow.names)))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise VerifyError(f"{path}: {' '.join(str(error).split())}; forgeprep verify tells more") from error
