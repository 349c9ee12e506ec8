"""The plan of millions of clips: as :func:`forgeprep.pipeline.plan.make_plan` makes it, a shard's clips at a time."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from forgeprep.pipeline.plan import Plan, Select, cost_of, group_of, pack_rows, read_headers, spread_evenly
from forgeprep.pipeline.plan_rows import ShardRows
from forgeprep.schemas.clip_lines import Parts, plain_lines
from forgeprep.schemas.clip_table import NONE, ClipTable, Int64, order_of
from forgeprep.schemas.clips import SPLITS, Clip, Split
from forgeprep.shards.names import shard_name
from forgeprep.stages.base import Group, Wanted

_BITS = 62
"""Kinds that a number of 64 bits tells apart."""


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
    unknown = np.flatnonzero(table.numbers("frame_count") == 0)
    paths = [table.text(name) for name in table.names("path", unknown).tolist()]
    for row, read in zip(unknown.tolist(), read_headers(paths, root, progress), strict=True):
        table.set_header(row, *read)
    groups = _Groups(table, select)

    def made() -> Iterator[ShardRows]:
        for split in SPLITS:
            numbers = groups.of_split(split)
            # By their place in the order of names: the names of all would take as much as the table.
            for number, part in enumerate(spread_evenly(groups.costs(numbers), shard_size, shards)):
                rows = ShardRows(shard_name(dataset, split, number), split)
                groups.write(numbers[part], rows)
                yield rows

    return pack_rows(made())


class _Groups:
    """The source groups of a table, by number; a group's clips are made when it is asked for."""

    def __init__(self, table: ClipTable, select: Select) -> None:
        self.table, self._select = table, select
        self._kind = table.numbers("kind")
        split = np.array([SPLITS.index(kind.split) for kind in table.kinds] or [0], np.int8)[self._kind]
        label = np.array([kind.label for kind in table.kinds] or [0], np.int8)[self._kind]
        source = table.names("source_id")
        self._order = np.lexsort((label, split, source)).astype(np.int32)
        ordered, ordered_split = source[self._order], split[self._order]
        new = (ordered[1:] != ordered[:-1]) | (ordered_split[1:] != ordered_split[:-1])
        self._starts = np.concatenate([[0], np.flatnonzero(new) + 1])[: len(ordered)]
        self._sizes = np.diff(self._starts, append=len(ordered))
        self._split = ordered_split[self._starts]
        self._source = ordered[self._starts]
        self._group_of = np.empty(len(table), np.int32)
        self._group_of[self._order] = np.repeat(np.arange(len(self._sizes)), self._sizes)
        names = table.names("clip_id")
        self._by_name = np.argsort(names, kind="stable").astype(np.int32)
        self._names = names[self._by_name]
        self._original = self._rows(table.names("original_id"))
        self._parts = Parts.of(table)
        self._wanted: dict[int, Wanted] = {}
        self._choices: dict[tuple[int, ...], tuple[int, ...]] = {}
        # Of each group the number of its frames among the choices; NONE where it has more to tell.
        self._choice = self._chosen(self._find_plain())
        self._compressions = [(kind.compression, kind.method) for kind in table.kinds]

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
        return np.asarray(np.logical_and.reduceat(plain[self._order], self._starts) if len(plain) else plain)

    def _chosen(self, plain: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
        """Of each plain group a number for its frames, in ``_choices``: those of all that hold the same kinds."""
        numbers, choice = np.flatnonzero(plain), np.full(len(plain), NONE, np.int32)
        examples, of_number = np.unique(self._kinds_in()[numbers], return_index=True, return_inverse=True)[1:]
        found = []
        for number in numbers[examples].tolist():
            wanted = self.group(number)
            frames = None if wanted.own else wanted.frames
            found.append(NONE if frames is None else self._choices.setdefault(frames, len(self._choices)))
        choice[numbers] = np.array(found or [NONE], np.int32)[of_number]
        return choice

    def _kinds_in(self) -> Int64:
        """Of each group a number, the same for all that hold the same kinds."""
        kinds, found = self._kind[self._order], np.zeros(len(self._sizes), np.int64)
        for start in range(0, len(self.table.kinds), _BITS):
            at = kinds - start
            bits = np.where((at >= 0) & (at < _BITS), np.int64(1) << np.clip(at, 0, _BITS - 1).astype(np.int64), 0)
            of_group = np.unique(np.bitwise_or.reduceat(bits, self._starts), return_inverse=True)[1]
            found = np.unique(found * (1 + of_group.max()) + of_group, return_inverse=True)[1]
        return found

    def of_split(self, split: Split) -> Int64:
        """The numbers of the groups of a split, in the order of their source_ids."""
        numbers = np.flatnonzero(self._split == SPLITS.index(split))
        return numbers[order_of(self.table, self._source[numbers])]

    def costs(self, numbers: Int64) -> Int64:
        """Frames wanted over all clips of these groups."""
        choice = self._choice[numbers]
        frames = np.array([*map(len, self._choices), 0])[choice]
        found = frames * self._sizes[numbers]
        for at in np.flatnonzero(choice == NONE).tolist():
            found[at] = cost_of(self.group(int(numbers[at])))
        return found

    def write(self, numbers: Int64, rows: ShardRows) -> None:
        """Add groups to the rows of their shard."""
        plain = self._choice[numbers] != NONE
        for alike in np.split(numbers, np.flatnonzero(plain[1:] != plain[:-1]) + 1):
            if self._choice[alike[0]] == NONE:
                for number in alike.tolist():
                    rows.add(self.group(number))
            else:
                self._write_plain(alike, rows)

    def _write_plain(self, numbers: Int64, rows: ShardRows) -> None:
        sizes, choices = self._sizes[numbers], [*self._choices]
        ends = np.cumsum(sizes)
        found = self._order[np.arange(ends[-1]) + np.repeat(self._starts[numbers] - ends + sizes, sizes)]
        frames = [choices[choice] for choice in self._choice[numbers].tolist()]
        kinds = [self._compressions[kind] for kind in self._kind[found].tolist()]
        rows.add_plain(plain_lines(self.table, self._parts, found), sizes, frames, kinds)

    def _rows_of(self, number: int) -> list[int]:
        rows: list[int] = self._order[self._starts[number] : self._starts[number] + self._sizes[number]].tolist()
        return rows

    def group(self, number: int) -> Group:
        """A group with its clips."""
        rows = self._rows_of(number)
        clips = [self.table[row] for row in rows]
        return group_of(clips, functools.partial(self._frames, number), list(self._references(number, rows)))

    def _frames(self, number: int, count: int, group: Group) -> Wanted:
        """The frames wanted of a group: asked for twice, and dear to choose where they are labelled."""
        if number not in self._wanted:
            self._wanted[number] = self._select(count, group)
        return self._wanted[number]

    def _references(self, number: int, rows: list[int]) -> Iterator[Clip]:
        """Reals of other groups that fakes of this one are compared with."""
        found: dict[int, None] = {}
        for row in rows:
            names = np.array(self.table.extra(row).get("candidates", ()), np.int64)
            options = [int(self._original[row]), *self._rows(names).tolist()]
            found.update(dict.fromkeys(option for option in options if option != NONE))
        yield from (self.table[row] for row in found if self._group_of[row] != number)
