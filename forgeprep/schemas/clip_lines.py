"""The clips of a table as lines of JSON, thousands at once, without making a :class:`Clip` of any."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from dataclasses import fields
from json.encoder import encode_basestring_ascii as quoted
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from forgeprep.schemas.clip_table import NONE, RARE, ClipKind, ClipTable, Int64, people_of
from forgeprep.schemas.clips import BOXES, Clip

_AT_ONCE = 1 << 13
"""Rows whose lines are in memory at a time."""
_LEAF = 0xFFFFFFFF
_PLACES = ("clip_id", "path", "source_id", "original_id", "companions", "identities", "size_bytes", "frame_count")
_Pieces = Sequence[Any]
"""Texts, or arrays of a text for each row, that follow each other in a line."""


class PlainLines(NamedTuple):
    """Clips that have none of the rarer attributes, as a plan holds them; arrays of as many texts.

    Attributes:
        clip_id, source_id: as of the clips.
        clip: all of each, as JSON.
        inputs: what tells its files and guesses, as JSON.
    """

    clip_id: pa.StringArray
    source_id: pa.StringArray
    clip: pa.StringArray
    inputs: pa.StringArray


class Parts(NamedTuple):
    """The parts of a table's names.

    Attributes:
        plain, quoted: as they are, and as they stand in JSON, by their numbers.
        empty: the number of the part that stands for no folder; less than all where there is none.
    """

    plain: pa.StringArray
    quoted: pa.StringArray
    empty: int

    @classmethod
    def of(cls, table: ClipTable) -> Parts:
        """Those of a table; to make them takes longer than a thousand lines."""
        parts = table.parts()
        empty = pc.index(parts, "").as_py()
        # Of nearly all datasets, they stand in JSON as they are.
        if pc.all(pc.match_substring_regex(parts, r"^[ !#-\[\]-~]*$"), min_count=0).as_py():
            return cls(parts, parts, empty)
        return cls(parts, pa.array([quoted(text)[1:-1] for text in parts.to_pylist()], pa.string()), empty)


def plain_lines(table: ClipTable, parts: Parts, rows: Int64) -> PlainLines:
    """The lines of some rows: the same, to the byte, as by way of a :class:`Clip`; ``parts`` are the table's."""
    kind, tag = table.numbers("kind", rows), table.numbers("tag", rows)
    names = {column: table.names(column, rows) for column in ("clip_id", "path", "source_id", "original_id")}
    companion, original = table.names("companion", rows), names["original_id"]
    name, path, source = (_named(parts, names[column]) for column in ("clip_id", "path", "source_id"))
    size, count = (pa.array(table.numbers(column, rows)).cast(pa.string()) for column in ("size_bytes", "frame_count"))
    tags = [*map(quoted, table.tags)]
    values = {
        "clip_id": name,
        "path": path,
        "source_id": source,
        "original_id": _named(parts, original, none="null"),
        "companions": ["{", _each([f"{one}: " for one in tags], tag), *_named(parts, companion), "}"],
        "identities": ["[", *_people(table, parts, rows), "]"],
        "size_bytes": [size],
        "frame_count": [count],
    }
    templates = [_template_of(one) for one in table.kinds]
    clip: list[Any] = []
    for number, place in enumerate(_PLACES):
        clip += [_each([template[number] for template in templates], kind), *values[place]]
    clip.append(_each([template[-1] for template in templates], kind))
    guessed = _each([", true]" if one.guessed else ", false]" for one in table.kinds], kind)
    lent = np.isin(tag, [number for number, one in enumerate(table.tags) if one == BOXES])
    lent_file = _named(parts, np.where(lent, companion, NONE), before=', "') if lent.any() else []
    inputs = [
        "[", *name, ", ", *path, ", ", size, ", [", _each(tags, tag), "]", *lent_file, ", [", *_named(parts, original),
        "]", guessed,
    ]  # fmt: skip
    clip_id, source_id = (_joined(_named(parts, names[column], plain=True)) for column in ("clip_id", "source_id"))
    return PlainLines(clip_id, source_id, _joined(clip), _joined(inputs))


def input_lines(table: ClipTable) -> Iterator[tuple[int, pa.StringArray | None]]:
    """Of each clip, in JSON, its name, file, size and what companions it has.

    Yields:
        the number of the first row and the lines from there on, or None for a single row with more to tell.
    """
    tags = [f", [{quoted(tag)}]]" for tag in table.tags]
    parts = Parts.of(table)
    single = [row for row in table.rare_rows() if not {"frames", "companions"}.isdisjoint(table.extra(row))]
    starts = sorted({*range(0, len(table), _AT_ONCE), *single, *(row + 1 for row in single)} - {len(table)})
    alone = {*single}
    for start, stop in zip(starts, [*starts[1:], len(table)], strict=True):
        if start in alone:
            yield start, None
            continue
        rows = np.arange(start, stop)
        name, path = (_named(parts, table.names(column, rows)) for column in ("clip_id", "path"))
        size, tag = pa.array(table.numbers("size_bytes", rows)).cast(pa.string()), table.numbers("tag", rows)
        yield start, _joined(["[", *name, ", ", *path, ", ", size, _each(tags, tag, none=", []]")])


def fact_lines(table: ClipTable) -> Iterator[pa.StringArray]:
    """Of each clip, in JSON, what the dataset says of it: its kind, its original and, of few, rarer attributes."""
    kinds = [json.dumps(one._asdict()) for one in table.kinds]
    parts = Parts.of(table)
    for start in range(0, len(table), _AT_ONCE):
        rows = np.arange(start, min(start + _AT_ONCE, len(table)))
        original = _named(parts, table.names("original_id", rows), none="null")
        yield _joined(["[", _each(kinds, table.numbers("kind", rows)), ", ", *original, "]"])
    yield pa.array([json.dumps([int(row), table.extra(row)]) for row in table.rare_rows()], pa.string())


def _people(table: ClipTable, parts: Parts, rows: Int64) -> _Pieces:
    """The people of clips in JSON, one after the other."""
    numbers, starts, sizes = people_of(table, rows)
    pieces: list[Any] = []
    for at in range(int(sizes.max(initial=0))):
        there = sizes > at
        person = numbers[np.where(there, starts + at, 0)]
        texts = parts.quoted.take(pa.array(person, mask=~there)).fill_null("")
        begin, end = ('"' if at == 0 else ', "', '"')
        pieces += [_each(["", begin], there.astype(int)), texts, _each(["", end], there.astype(int))]
    return pieces


@functools.cache
def _template_of(kind: ClipKind) -> list[str]:
    """What stands before, between and behind the places in the line of a clip of this kind."""
    values = {**RARE, **kind._asdict()}
    parts, text = [], "{"
    for field in fields(Clip):
        text += f'"{field.name}": '
        if field.name in _PLACES:
            parts.append(text)
            text = ", "
        else:
            text += json.dumps(values[field.name]) + ", "
    return [*parts, text.removesuffix(", ") + "}"]


def _named(parts: Parts, names: Int64, none: str = "", before: str = '"', *, plain: bool = False) -> _Pieces:
    """Names as texts that follow each other: folder, slash and what follows, in quotes; ``none`` for no name."""
    texts, begin, end = (parts.plain, "", "") if plain else (parts.quoted, before, '"')
    folders, leaves, missing = names >> 32, names & _LEAF, names == NONE
    bare = folders == parts.empty
    if not missing.any() and not bare.any():
        return [begin, texts.take(pa.array(folders)), "/", texts.take(pa.array(leaves)), end]
    first, last = (texts.take(pa.array(at, mask=missing)).fill_null("") for at in (folders, leaves))
    slash = _each(["", "/"], np.where(missing | bare, 0, 1))
    return [_each([begin, none], missing.astype(int)), first, slash, last, _each([end, ""], missing.astype(int))]


def _each(texts: Sequence[str], numbers: Int64, none: str = "") -> pa.StringArray:
    """A text for each number; ``none`` for :data:`NONE`."""
    return pa.array([*texts, none], pa.string()).take(pa.array(np.where(numbers == NONE, len(texts), numbers)))


def _joined(pieces: _Pieces) -> pa.StringArray:
    return pc.binary_join_element_wise(*pieces, "")


def text_of(lines: pa.StringArray) -> memoryview:
    """All lines as one text, with nothing between them."""
    _, offsets, texts = lines.buffers()
    ends = np.frombuffer(offsets, np.int32)[lines.offset : lines.offset + len(lines) + 1]
    return memoryview(texts)[ends[0] : ends[-1]] if texts is not None else memoryview(b"")
