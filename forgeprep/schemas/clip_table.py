"""Millions of clips in columns: a tenth of the memory that as many :class:`Clip` objects take.

Names of clips and files repeat their folders, so each is kept as two numbers, of its folder and of what follows the
last slash. A clip is made again each time it is asked for.
"""

from __future__ import annotations

import itertools
import operator
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, NamedTuple, TypeVar, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from forgeprep.schemas.clips import Clip, Forgery, Split

Int64 = npt.NDArray[np.int64]
NONE = -1
_T = TypeVar("_T")
_NAMES = ("clip_id", "path", "source_id", "original_id", "companion")
_HELD = frozenset({"dataset", "split", "label", "forgery", "method", "family", "compression", "guessed", "companions",
                   "identities", "size_bytes", "frame_count", *_NAMES})  # fmt: skip
RARE = {field.name: field.default for field in fields(Clip) if field.name not in _HELD}
"""The other attributes of a clip: kept only where they are not the default."""
_rare_of = operator.attrgetter(*RARE)
_COMMON = tuple(RARE.values())


class ClipKind(NamedTuple):
    """What many clips have in common."""

    dataset: str
    split: Split
    label: int
    forgery: Forgery
    method: str | None
    family: str | None
    compression: str | None
    guessed: bool


class _Names:
    """Names as numbers of 64 bits: a number of the folder, and one of what follows the last slash."""

    def __init__(self) -> None:
        # As one text: millions of strings take thrice the memory.
        self._text_of_all = bytearray()
        self._ends = array("i", [0])
        self._numbers: dict[str, int] = {}

    def text(self, name: int) -> str:
        """The name that a number of :meth:`names` stands for."""
        return self._text(name) or ""

    def part(self, number: int) -> str:
        """A folder, or what follows the last slash, by either half of a number of :meth:`names`."""
        return self._text_of_all[self._ends[number] : self._ends[number + 1]].decode()

    def intern(self, text: str) -> int:
        """The number of a folder, or of what follows the last slash; :meth:`part` is the way back."""
        number = self._numbers.get(text)
        if number is None:
            number = self._numbers[text] = self.keep(text)
        return number

    def keep(self, text: str) -> int:
        """As :meth:`intern`, of a text that the caller takes in once: it is not kept in mind."""
        self._text_of_all += text.encode()
        self._ends.append(len(self._text_of_all))
        return len(self._ends) - 2

    def parts(self) -> pa.StringArray:
        """All parts of names, by their numbers. From then on no clip can be taken in."""
        self._forget()
        buffers = pa.py_buffer(self._ends), pa.py_buffer(self._text_of_all)
        return pa.StringArray.from_buffers(len(self._ends) - 1, *buffers)

    def _forget(self) -> None:
        """Let go of what only serves to take in more."""
        self._numbers = {}

    def _key(self, name: str | None) -> int:
        if name is None:
            return NONE
        folder, _, leaf = name.rpartition("/")
        return self.intern(folder) << 32 | self.intern(leaf)

    def _text(self, name: int) -> str | None:
        if name == NONE:
            return None
        folder, leaf = self.part(name >> 32), self.part(name & 0xFFFFFFFF)
        return f"{folder}/{leaf}" if folder else leaf


class ClipTable(_Names, Sequence[Clip]):
    """Clips in columns, in any order; a sequence of :class:`Clip` that :meth:`append` makes longer.

    Attributes:
        kinds: what :attr:`kind` counts.
        tags: what the column tag counts: kinds of companions.
        kind: of each clip, the number of its :class:`ClipKind`.
        size_bytes, frame_count: as of the clips.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kinds: list[ClipKind] = []
        self._kinds: dict[ClipKind, int] = {}
        self._people, self._people_ends = array("i"), array("i", [0])
        self._groups: dict[tuple[str, ...], int] = {}
        self._tags: dict[str, int] = {}
        self.tags: list[str] = []
        self._extra: list[dict[str, Any]] = []
        self._columns = {name: array("q") for name in (*_NAMES, "size_bytes")}
        self._small = {name: array("i") for name in ("kind", "people", "tag", "extra", "frame_count")}

    def __len__(self) -> int:
        return len(self._small["kind"])

    def _forget(self) -> None:
        super()._forget()
        self._groups = {}

    def append(self, clip: Clip) -> None:
        """Take a clip in, at the end."""
        kind = ClipKind(clip.dataset, clip.split, clip.label, clip.forgery, clip.method, clip.family, clip.compression,
                        clip.guessed)  # fmt: skip
        one = len(clip.companions) == 1
        extra = _rarer(clip, self._key) | ({"companions": clip.companions} if len(clip.companions) > 1 else {})
        values = {
            "clip_id": self._key(clip.clip_id), "path": self._key(clip.path), "source_id": self._key(clip.source_id),
            "original_id": self._key(clip.original_id), "size_bytes": clip.size_bytes, "kind": self.kind_number(kind),
            "companion": self._key(next(iter(clip.companions.values())) if one else None),
            "people": self.people_number(tuple(clip.identities)),
            "tag": self.tag_number(next(iter(clip.companions))) if one else NONE, "frame_count": clip.frame_count,
        }  # fmt: skip
        for name, value in {**values, "extra": self._keep(extra) if extra else NONE}.items():
            (self._columns[name] if name in self._columns else self._small[name]).append(value)

    def extend(self, columns: Mapping[str, npt.NDArray[Any]], rare: Mapping[int, dict[str, Any]]) -> None:
        """Take in many clips at once.

        Args:
            columns: names by :meth:`intern`, folder << 32 | leaf; kinds, people and tags by their numbers; and
                size_bytes and frame_count. A value for each clip.
            rare: rarer attributes of some, by their places among these.
        """
        extra = np.full(len(columns["kind"]), NONE, np.int32)
        for row, own in rare.items():
            extra[row] = self._keep(own)
        for name, values in {**columns, "extra": extra}.items():
            column = self._columns[name] if name in self._columns else self._small[name]
            column.frombytes(np.ascontiguousarray(values, column.typecode).tobytes())

    def kind_number(self, kind: ClipKind) -> int:
        """The number that stands for a kind."""
        return _number(kind, self._kinds, self.kinds)

    def people_number(self, people: tuple[str, ...]) -> int:
        """The number that stands for these people; :meth:`people` is the way back."""
        number = self._groups.get(people)
        if number is None:
            number = self._groups[people] = len(self._people_ends) - 1
            self._people.extend(map(self.intern, people))
            self._people_ends.append(len(self._people))
        return number

    def tag_number(self, tag: str) -> int:
        """The number that stands for a kind of companion."""
        return _number(tag, self._tags, self.tags)

    @overload
    def __getitem__(self, index: int) -> Clip: ...
    @overload
    def __getitem__(self, index: slice) -> list[Clip]: ...
    def __getitem__(self, index: int | slice) -> Clip | list[Clip]:
        if isinstance(index, slice):
            return [self._clip(number) for number in range(len(self))[index]]
        return self._clip(range(len(self))[index])

    def __iter__(self) -> Iterator[Clip]:
        return map(self._clip, range(len(self)))

    def _clip(self, row: int) -> Clip:
        columns, small = self._columns, self._small
        kind, tag = self.kinds[small["kind"][row]], small["tag"][row]
        companions = {} if tag == NONE else {self.tags[tag]: self.text(columns["companion"][row])}
        clip = Clip(
            self.text(columns["clip_id"][row]), kind.dataset, self.text(columns["path"][row]), kind.split,
            self.text(columns["source_id"][row]), self._text(columns["original_id"][row]), kind.label,
            kind.forgery, kind.method, kind.family, kind.compression, kind.guessed, None, companions,
            list(self.people(small["people"][row])), size_bytes=columns["size_bytes"][row],
            frame_count=small["frame_count"][row],
        )  # fmt: skip
        extra = small["extra"][row]
        for name, value in self._extra[extra].items() if extra >= 0 else ():
            own = [*map(self.text, value)] if name == "candidates" else value
            object.__setattr__(clip, name, own)
        return clip

    def names(self, column: str, rows: Int64 | None = None) -> Int64:
        """A column of names as numbers, of all rows or some: equal where the names are, :data:`NONE` for none."""
        return self._column(column, rows).astype(np.int64)

    def numbers(self, column: str, rows: Int64 | None = None) -> npt.NDArray[Any]:
        """A column of numbers: kind, people, frame_count, size_bytes, tag, or extra, negative for an empty one."""
        return self._column(column, rows).copy()

    def _column(self, column: str, rows: Int64 | None) -> npt.NDArray[Any]:
        data = self._columns[column] if column in self._columns else self._small[column]
        found = np.frombuffer(data, data.typecode)
        return found if rows is None else found[rows]

    def people(self, number: int) -> tuple[str, ...]:
        """The people that a number of the column people stands for."""
        return tuple(map(self.part, self._people[self._people_ends[number] : self._people_ends[number + 1]]))

    def rare_rows(self) -> list[int]:
        """The rows that have rarer attributes."""
        return np.flatnonzero(self.numbers("extra") >= 0).tolist()

    def extra(self, row: int) -> dict[str, Any]:
        """The rarer attributes of a clip that are set, as spans, frames, error, and candidates as numbers of names."""
        number = self._small["extra"][row]
        return self._extra[number] if number >= 0 else {}

    def take(self, rows: npt.NDArray[np.int64]) -> None:
        """Keep these rows alone, in this order."""
        for columns in (self._columns, self._small):
            for name, column in columns.items():
                kept = np.frombuffer(column, column.typecode)[rows]
                columns[name] = array(column.typecode, kept.tobytes())

    def set_header(self, row: int, frame_count: int, error: str | None) -> None:
        """What the container's header says of a clip, or why it cannot be read."""
        self._small["frame_count"][row] = frame_count
        if error is not None:
            self._small["extra"][row] = self._keep({**self.extra(row), "error": error})

    def _keep(self, extra: dict[str, Any]) -> int:
        self._extra.append(extra)
        return len(self._extra) - 1


def _rarer(clip: Clip, key: Callable[[str], int]) -> dict[str, Any]:
    values = _rare_of(clip)
    if values == _COMMON:
        return {}
    found = {name: value for (name, usual), value in zip(RARE.items(), values, strict=True) if value != usual}
    if clip.candidates is not None:
        found["candidates"] = tuple(map(key, clip.candidates))
    return found


def _number(value: _T, numbers: dict[_T, int], values: list[_T]) -> int:
    number = numbers.get(value)
    if number is None:
        number = numbers[value] = len(values)
        values.append(value)
    return number


def order_of(table: ClipTable, names: Int64) -> Int64:
    """How to sort names of a table."""
    folders, of_folder = np.unique(names >> 32, return_inverse=True)
    texts = [f"{table.part(folder)}/" if table.part(folder) else "" for folder in folders.tolist()]
    order = sorted(range(len(texts)), key=texts.__getitem__)
    if any(texts[after].startswith(texts[before]) for before, after in itertools.pairwise(order)):
        # A folder lies in another one, or names have none: they are not in the order of their folders.
        return np.array(sorted(range(len(names)), key=[*map(table.text, names.tolist())].__getitem__), np.int64)
    leaves, of_leaf = np.unique(names & 0xFFFFFFFF, return_inverse=True)
    last = [table.part(leaf) for leaf in leaves.tolist()]
    ranks = _ranks(order)[of_folder] << 32 | _ranks(sorted(range(len(last)), key=last.__getitem__))[of_leaf]
    return np.argsort(ranks, kind="stable")


def _ranks(order: Sequence[int]) -> Int64:
    ranks = np.empty(len(order), np.int64)
    ranks[np.asarray(order, np.int64)] = np.arange(len(order))
    return ranks


def people_of(table: ClipTable, rows: Int64) -> tuple[npt.NDArray[np.int32], Int64, Int64]:
    """Numbers of persons, as :meth:`ClipTable.part` knows them; of each row where its people begin, and how many."""
    ends, groups = np.frombuffer(table._people_ends, np.int32), table.numbers("people", rows)
    starts = ends[groups].astype(np.int64)
    return np.frombuffer(table._people, np.int32), starts, ends[groups + 1] - starts


def folders_of(table: ClipTable) -> dict[str, int]:
    """Folder -> files of the clips in it, their companions too."""
    found: Counter[str] = Counter()
    for name in ("path", "companion"):
        names = table.names(name)
        numbers, counts = np.unique(names[names != NONE] >> 32, return_counts=True)
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            found[table.part(number)] += count
    for row in table.rare_rows():
        for path in table.extra(row).get("companions", {}).values():
            found[path.rpartition("/")[0]] += 1
    return dict(found)
