"""The plan of millions of clips: as :func:`forgeprep.pipeline.plan.make_plan` makes it, a shard's clips at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from forgeprep.pipeline.plan import Plan, Select, cost_of, group_of, pack_rows, spread, with_headers
from forgeprep.pipeline.plan_rows import ShardRows
from forgeprep.schemas.clip_lines import PlainLines
from forgeprep.schemas.clip_table import NONE, ClipTable, order_of
from forgeprep.schemas.clips import SPLITS, Clip, Split
from forgeprep.shards.names import shard_name
from forgeprep.stages.base import Group

_BATCH = 10_000


def plan_table(
    table: ClipTable,
    root: Path,
    select: Select,
    shard_size: int,
    progress: Callable[[int], None],
    dataset: str | None,
    shards: int | None,
) -> Plan:
    """The plan of a table's clips, which is sorted; its columns take in what the headers say."""
    read_headers(table, root, progress)
    groups = _Groups(table, select)

    def made() -> Iterator[ShardRows]:
        for split in SPLITS:
            numbers = groups.of_split(split)
            # By their place in the order of names: the names of all would take as much as the table.
            parts = spread(dict(enumerate(groups.costs(numbers))), shard_size, shards)
            for number, part in enumerate(parts):
                rows = ShardRows(shard_name(dataset, split, number), split)
                for at in part:
                    groups.write(numbers[at], rows)
                yield rows

    return pack_rows(made())


def read_headers(table: ClipTable, root: Path, progress: Callable[[int], None]) -> None:
    """Fill in what the headers say of the clips whose number of frames is not known."""
    unknown = np.flatnonzero(table.numbers("frame_count") == 0)
    for start in range(0, len(unknown), _BATCH):
        rows = unknown[start : start + _BATCH].tolist()
        read = with_headers([table[row] for row in rows], root, lambda count, start=start: progress(start + count))  # type: ignore[misc]
        for row, clip in zip(rows, read, strict=True):
            table.set_header(row, clip.frame_count, clip.error)


class _Groups:
    """The source groups of a table, by number; a group's clips are made when it is asked for."""

    def __init__(self, table: ClipTable, select: Select) -> None:
        self.table, self.select = table, select
        self._kind = table.numbers("kind")
        split = np.array([SPLITS.index(kind.split) for kind in table.kinds] or [0])[self._kind]
        source = table.names("source_id")
        self._order = np.lexsort((split, source))
        ordered, ordered_split = source[self._order], split[self._order]
        new = (ordered[1:] != ordered[:-1]) | (ordered_split[1:] != ordered_split[:-1])
        self._starts = np.concatenate([[0], np.flatnonzero(new) + 1, [len(ordered)]])[: None if len(ordered) else 1]
        self._split = ordered_split[self._starts[:-1]]
        self._source = ordered[self._starts[:-1]]
        self._group_of = np.empty(len(table), np.int32)
        self._group_of[self._order] = np.repeat(np.arange(len(self._split)), np.diff(self._starts))
        names = table.names("clip_id")
        self._by_name = np.argsort(names, kind="stable")
        self._names = names[self._by_name]
        self._original = self._rows(table.names("original_id"))
        self._plain = self._find_plain()
        self._frames: dict[tuple[int, ...], tuple[int, ...]] = {}
        self._line = PlainLines(table)
        self._labels = [kind.label for kind in table.kinds]

    def _rows(self, names: np.ndarray) -> np.ndarray:
        """The rows of clips by their names; NONE where there is no such clip."""
        at = np.minimum(np.searchsorted(self._names, names), max(0, len(self._names) - 1))
        return np.where((names != NONE) & (self._names[at] == names), self._by_name[at], NONE)

    def _find_plain(self) -> np.ndarray:
        """Of each group, whether it is of single pictures that are labelled as a whole: then its frames are known."""
        plain = (self.table.numbers("frame_count") == 1) & (self.table.numbers("extra") < 0)
        plain &= np.where(self._original == NONE, True, plain[self._original])
        # Nor is any of it compared with a real of another group.
        plain &= (self._original == NONE) | (self._group_of[self._original] == self._group_of)
        return np.asarray(np.logical_and.reduceat(plain[self._order], self._starts[:-1]) if len(plain) else plain)

    def of_split(self, split: Split) -> list[int]:
        """The numbers of the groups of a split, in the order of their source_ids."""
        numbers = np.flatnonzero(self._split == SPLITS.index(split))
        found: list[int] = numbers[order_of(self.table, self._source[numbers])].tolist()
        return found

    def costs(self, numbers: Sequence[int]) -> Iterator[int]:
        """Frames wanted over all clips of these groups."""
        for number in numbers:
            frames = self._plain_frames(number)
            rows = int(self._starts[number + 1] - self._starts[number])
            yield cost_of(self.group(number)) if frames is None else len(frames) * rows

    def write(self, number: int, rows: ShardRows) -> None:
        """Add a group to the rows of its shard."""
        frames = self._plain_frames(number)
        if frames is None:
            rows.add(self.group(number))
            return
        found = self._rows_of(number)
        found.sort(key=lambda row: self._labels[self._kind[row]])
        source = self.table.text(int(self._source[number]))
        rows.add_plain(source, frames, [self._line(row) for row in found])

    def _rows_of(self, number: int) -> list[int]:
        rows: list[int] = self._order[self._starts[number] : self._starts[number + 1]].tolist()
        return rows

    def _plain_frames(self, number: int) -> tuple[int, ...] | None:
        """The frames wanted of each clip of a plain group: those of all that hold the same kinds; None of others."""
        if not self._plain[number]:
            return None
        kinds = tuple(sorted({*self._kind[self._rows_of(number)].tolist()}))
        if kinds not in self._frames:
            group = self.group(number)
            if group.own:
                self._plain[number] = False
                return None
            self._frames[kinds] = group.frames
        return self._frames[kinds]

    def group(self, number: int) -> Group:
        """A group with its clips."""
        rows = self._rows_of(number)
        clips = [self.table[row] for row in rows]
        return group_of(clips, self.select, list(self._references(number, rows, clips)))

    def _references(self, number: int, rows: list[int], clips: list[Clip]) -> Iterator[Clip]:
        """Reals of other groups that fakes of this one are compared with."""
        found: dict[int, None] = {}
        for row, clip in zip(rows, clips, strict=True):
            original = int(self._original[row])
            if original != NONE:
                found[original] = None
            for name in clip.candidates or ():
                key = self.table.number(name)
                if key != NONE:
                    found.update(dict.fromkeys(r for r in self._rows(np.array([key])).tolist() if r != NONE))
        yield from (self.table[row] for row in found if self._group_of[row] != number)
