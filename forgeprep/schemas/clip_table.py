"""Millions of clips in columns: a tenth of the memory that as many :class:`Clip` objects take.

Names of clips and files repeat their folders, so each is kept as two numbers, of its folder and of what follows the
last slash. A clip is made anew each time it is asked for.
"""

from __future__ import annotations

import json
import operator
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from json.encoder import encode_basestring_ascii as quoted
from typing import Any, NamedTuple, TypeVar, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from forgeprep.schemas.clips import BOXES, Clip, Forgery, Split

Int64 = npt.NDArray[np.int64]
NONE = -1
_LETTERS = 26
"""Enough to tell the folders of most datasets from each other: ``forgerynet/train/image/16/``."""
_T = TypeVar("_T")
_NAMES = ("clip_id", "path", "source_id", "original_id", "companion")
_HELD = frozenset({"dataset", "split", "label", "forgery", "method", "family", "compression", "guessed", "companions",
                   "identities", "size_bytes", "frame_count", *_NAMES})  # fmt: skip
_RARE = {field.name: field.default for field in fields(Clip) if field.name not in _HELD}
"""The other attributes of a clip: kept only where they are not the default."""
_rare_of = operator.attrgetter(*_RARE)
_COMMON = tuple(_RARE.values())


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


class PlainLine(NamedTuple):
    """A clip that has none of the rarer attributes, as a plan holds it.

    Attributes:
        clip_id, compression, method: as of the clip.
        clip: all of it, as JSON.
        inputs: what tells its files and guesses, as JSON.
    """

    clip_id: str
    compression: str | None
    method: str | None
    clip: str
    inputs: str


class ClipTable(Sequence[Clip]):
    """Clips in columns, in any order; a sequence of :class:`Clip` that :meth:`append` makes longer.

    Attributes:
        kinds: what :attr:`kind` counts.
        kind: of each clip, the number of its :class:`ClipKind`.
        size_bytes, frame_count: as of the clips.
    """

    def __init__(self) -> None:
        self.kinds: list[ClipKind] = []
        self._kinds: dict[ClipKind, int] = {}
        self._texts: list[str] = []
        self._numbers: dict[str, int] = {}
        self._people: list[tuple[str, ...]] = []
        self._groups: dict[tuple[str, ...], int] = {}
        self._tags: dict[str, int] = {}
        self._tag_names: list[str] = []
        self._extra: dict[int, dict[str, Any]] = {}
        self._extras = 0
        self._templates: list[str] = []
        # A folder and a name are one number of 64 bits.
        self._columns = {name: array("q") for name in (*_NAMES, "size_bytes")}
        self._small = {name: array("i") for name in ("kind", "people", "tag", "extra", "frame_count")}

    def __len__(self) -> int:
        return len(self._small["kind"])

    def append(self, clip: Clip) -> None:
        """Take a clip in, at the end."""
        columns, small, key = self._columns, self._small, self._key
        columns["clip_id"].append(key(clip.clip_id))
        columns["path"].append(key(clip.path))
        columns["source_id"].append(key(clip.source_id))
        columns["original_id"].append(key(clip.original_id))
        columns["size_bytes"].append(clip.size_bytes)
        # A plain tuple first: it is equal to the kind, and made in a third of the time.
        kind = (clip.dataset, clip.split, clip.label, clip.forgery, clip.method, clip.family, clip.compression,
                clip.guessed)  # fmt: skip
        number = self._kinds.get(kind)  # type: ignore[call-overload]
        small["kind"].append(_number(ClipKind(*kind), self._kinds, self.kinds) if number is None else number)
        small["people"].append(_number(tuple(clip.identities), self._groups, self._people))
        small["frame_count"].append(clip.frame_count)
        tag, file = next(iter(clip.companions.items())) if len(clip.companions) == 1 else (None, None)
        columns["companion"].append(key(file))
        small["tag"].append(NONE if tag is None else _number(tag, self._tags, self._tag_names))
        extra = _rarer(clip)
        if len(clip.companions) > 1:
            extra["companions"] = clip.companions
        small["extra"].append(self._keep(extra) if extra else NONE)

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
        kind = self.kinds[small["kind"][row]]
        clip = Clip(
            self._text(columns["clip_id"][row]) or "", kind.dataset, self._text(columns["path"][row]) or "", kind.split,
            self._text(columns["source_id"][row]) or "", self._text(columns["original_id"][row]), kind.label,
            kind.forgery, kind.method, kind.family, kind.compression, kind.guessed, None, self._companions(row),
            list(self._people[small["people"][row]]), size_bytes=columns["size_bytes"][row],
            frame_count=small["frame_count"][row],
        )  # fmt: skip
        extra = small["extra"][row]
        for name, value in self._extra[extra].items() if extra >= 0 else ():
            object.__setattr__(clip, name, value)
        return clip

    def _companions(self, row: int) -> dict[str, str]:
        tag = self._small["tag"][row]
        return {} if tag == NONE else {self._tag_names[tag]: self._text(self._columns["companion"][row]) or ""}

    def names(self, column: str) -> Int64:
        """A column of names as numbers: equal where the names are, :data:`NONE` where there is none."""
        return np.frombuffer(self._columns[column], np.int64).copy()

    def numbers(self, column: str) -> npt.NDArray[np.int32]:
        """A column of numbers: kind, people, frame_count, or extra, which is negative where :meth:`extra` is empty."""
        return np.frombuffer(self._small[column], np.int32).copy()

    def number(self, name: str) -> int:
        """The number that stands for a name in :meth:`names`; :data:`NONE` if no clip has it."""
        folder, _, leaf = name.rpartition("/")
        first, last = self._numbers.get(folder), self._numbers.get(leaf)
        return NONE if first is None or last is None else first << 32 | last

    def text(self, name: int) -> str:
        """The name that a number of :meth:`names` stands for."""
        return self._text(name) or ""

    def people(self) -> list[tuple[str, ...]]:
        """What the column people counts."""
        return self._people

    def extra(self, row: int) -> dict[str, Any]:
        """The rarer attributes of a clip that are set, as its candidates, spans, frames and error."""
        number = self._small["extra"][row]
        return self._extra[number] if number >= 0 else {}

    def plain_line(self, row: int) -> PlainLine:
        """A clip without rarer attributes; quicker than by way of a :class:`Clip`, and the same to the byte."""
        columns, small = self._columns, self._small
        number = small["kind"][row]
        kind, template = self.kinds[number], self._template(number)
        clip_id, original = self._text(columns["clip_id"][row]) or "", self._text(columns["original_id"][row])
        name, path, real = quoted(clip_id), quoted(self.text(columns["path"][row])), original and quoted(original)
        tag, size = small["tag"][row], columns["size_bytes"][row]
        kinds = file = with_file = ""
        if tag != NONE:
            kinds, file = quoted(self._tag_names[tag]), quoted(self.text(columns["companion"][row]))
            with_file = f"{kinds}: {file}"
        people = ", ".join(map(quoted, self._people[small["people"][row]]))
        clip = template % (
            name, path, quoted(self.text(columns["source_id"][row])), real or "null", with_file, people, size,
            small["frame_count"][row],
        )  # fmt: skip
        lent = f", {file}" if tag != NONE and self._tag_names[tag] == BOXES else ""
        inputs = f"[{name}, {path}, {size}, [{kinds}]{lent}, [{real or ''}], {'true' if kind.guessed else 'false'}]"
        return PlainLine(clip_id, kind.compression, kind.method, clip, inputs)

    def _template(self, number: int) -> str:
        """The JSON of a kind's clips, with a place for each of the attributes that differ."""
        if number >= len(self._templates):
            self._templates += map(_template_of, self.kinds[len(self._templates) :])
        return self._templates[number]

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

    def _key(self, name: str | None) -> int:
        if name is None:
            return NONE
        folder, _, leaf = name.rpartition("/")
        numbers = self._numbers
        first = numbers.get(folder)
        if first is None:
            first = self._intern(folder)
        last = numbers.get(leaf)
        if last is None:
            last = self._intern(leaf)
        return first << 32 | last

    def _intern(self, text: str) -> int:
        number = self._numbers[text] = len(self._texts)
        self._texts.append(text)
        return number

    def _text(self, name: int) -> str | None:
        if name == NONE:
            return None
        folder = self._texts[name >> 32]
        leaf = self._texts[name & 0xFFFFFFFF]
        return f"{folder}/{leaf}" if folder else leaf

    def _keep(self, extra: dict[str, Any]) -> int:
        self._extra[self._extras] = extra
        self._extras += 1
        return self._extras - 1


_PLACES = dict.fromkeys(("clip_id", "path", "source_id", "original_id", "size_bytes", "frame_count"), "%s")
_PLACES |= {"companions": "{%s}", "identities": "[%s]"}


def _template_of(kind: ClipKind) -> str:
    values = {**_RARE, **kind._asdict()}
    parts = [
        f'"{field.name}": ' + (_PLACES.get(field.name) or json.dumps(values[field.name]).replace("%", "%%"))
        for field in fields(Clip)
    ]
    return "{" + ", ".join(parts) + "}"


def _rarer(clip: Clip) -> dict[str, Any]:
    values = _rare_of(clip)
    if values == _COMMON:
        return {}
    return {name: value for (name, usual), value in zip(_RARE.items(), values, strict=True) if value != usual}


def _number(value: _T, numbers: dict[_T, int], values: list[_T]) -> int:
    number = numbers.get(value)
    if number is None:
        number = numbers[value] = len(values)
        values.append(value)
    return number


def order_of(table: ClipTable, names: Int64) -> Int64:
    """How to sort names of a table, in parts by their first letters: all texts at once take as much as the table."""
    folders, of_name = np.unique(names >> 32, return_inverse=True)
    long = [text[:_LETTERS] if len(text) >= _LETTERS else None for text in (table._texts[f] for f in folders.tolist())]
    starts = [long[folder] or table.text(name)[:_LETTERS] for folder, name in zip(of_name, names.tolist(), strict=True)]
    firsts = sorted({*starts})
    rank = {start: number for number, start in enumerate(firsts)}
    numbers = np.array([rank[start] for start in starts], np.int32)
    del starts
    by_part = np.argsort(numbers, kind="stable")
    order = []
    for rows in np.split(by_part, np.cumsum(np.bincount(numbers, minlength=len(firsts)))[:-1]):
        texts = pa.array(map(table.text, names[rows].tolist()), pa.string(), size=len(rows))
        order.append(rows[pc.sort_indices(texts).to_numpy()])
    return np.concatenate(order) if order else by_part


def odd_texts(table: ClipTable, odd: Callable[[str], bool]) -> set[int]:
    """Numbers of the parts of names for which ``odd`` is true."""
    return {number for number, text in enumerate(table._texts) if odd(text)}


def folders_of(table: ClipTable) -> dict[str, int]:
    """Folder -> files of the clips in it, their companions too."""
    found: Counter[str] = Counter()
    for name in ("path", "companion"):
        names = table.names(name)
        numbers, counts = np.unique(names[names != NONE] >> 32, return_counts=True)
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            found[table._texts[number]] += count
    for row in np.flatnonzero(table.numbers("extra") >= 0).tolist():
        for path in table.extra(row).get("companions", {}).values():
            found[path.rpartition("/")[0]] += 1
    return dict(found)


def input_lines(table: ClipTable) -> Iterator[bytes | None]:
    """Of each clip, in JSON, its name, file, size and what companions it has; None where there is more to tell."""
    tags = [f"[{quoted(tag)}]" for tag in table._tag_names] + ["[]"]
    names, paths, sizes = (table._columns[name] for name in ("clip_id", "path", "size_bytes"))
    for name, path, size, tag, extra in zip(
        names, paths, sizes, table._small["tag"], table._small["extra"], strict=True
    ):
        if extra >= 0 and not {"frames", "companions"}.isdisjoint(table._extra[extra]):
            yield None
        else:
            yield f"[{quoted(table.text(name))}, {quoted(table.text(path))}, {size}, {tags[tag]}]".encode()
