"""The samples of a run by number, decoded: ``forgeprep.load(out)["train"][0]``. Needs no torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, overload

from forgeprep.errors import unknown_name
from forgeprep.io.storage import spare_pandas, to_path
from forgeprep.schemas.splits import SPLITS, split_name
from forgeprep.shards.read import shard_paths
from forgeprep.training.data import Samples as Numbered
from forgeprep.training.sample_index import load_index

Row = dict[str, Any]


class Samples(Sequence[Row]):
    """The samples of a split in the order of the shards; several processes and threads may read the same.

    A row is a dict: pictures are uint8 arrays, (H, W, 3) RGB or (H, W) gray, None where the sample has none; all other
    columns are as they are stored. In runs of sequences, what differs between frames is a list.

    Samples that lie near each other are read together: read them in order, or in that of
    :func:`forgeprep.training.data.epoch_order`.

    Args:
        out: the folder of a finished run, here or remote.
        split: train, val (or validation) or test.
        columns: what is read of a sample; all by default. Reading fewer pictures takes less time.
        methods: fakes of these methods, and all reals; all by default.

    Attributes:
        places: where the samples lie, see :class:`forgeprep.training.sample_index.SampleIndex`.
        columns: the columns of a row.

    Raises:
        UsageError: there is no such run, split, column or method.
        VerifyError: a shard is damaged.
    """

    def __init__(
        self,
        out: str | os.PathLike[str],
        split: str = "train",
        columns: Sequence[str] | None = None,
        *,
        methods: Sequence[str] | None = None,
    ) -> None:
        self.places = load_index([to_path(out)], split_name(split), only=methods)
        for name in columns or ():
            if name not in self.places.columns:
                raise unknown_name("column of this run", name, sorted(self.places.columns))
        self.columns = tuple(sorted(self.places.columns) if columns is None else columns)
        self._numbered: tuple[int, Numbered] | None = None

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, number: int) -> Row: ...
    @overload
    def __getitem__(self, number: slice) -> list[Row]: ...
    def __getitem__(self, number: int | slice) -> Row | list[Row]:
        """A row, or a list of them."""
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        place = number + len(self) if number < 0 else number
        if not 0 <= place < len(self):
            raise IndexError(f"{number}: there are {len(self):,} samples")
        row = self._reader().read([place])[0]
        return {name: row[name] for name in self.columns}

    def __getstate__(self) -> Row:
        return {**self.__dict__, "_numbered": None}

    def _reader(self) -> Numbered:
        """The reader of this process: what it holds is not handed over to those that it starts."""
        if self._numbered is None or self._numbered[0] != os.getpid():
            self._numbered = (os.getpid(), Numbered(self.places, self.columns))
        return self._numbered[1]


@overload
def load(
    out: str | os.PathLike[str], split: None = None, columns: Sequence[str] | None = None
) -> dict[str, Samples]: ...
@overload
def load(out: str | os.PathLike[str], split: str, columns: Sequence[str] | None = None) -> Samples: ...
def load(
    out: str | os.PathLike[str], split: str | None = None, columns: Sequence[str] | None = None
) -> Samples | dict[str, Samples]:
    """The samples of a run.

    Args:
        out: the folder of a finished run, here or remote.
        split: train, val or test; None for a dict of all that there are.
        columns: what is read of a sample; all by default.

    Raises:
        UsageError: there is no such run, split or column.
        VerifyError: a shard is damaged.
    """
    spare_pandas()
    if split is not None:
        return Samples(out, split, columns)
    there: list[str] = [name for name in SPLITS if shard_paths(to_path(out), name)]
    return {name: Samples(out, name, columns) for name in there or ("train",)}
