"""The clips of a table as lines of JSON, without making a :class:`Clip` of each: a third of the time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from json.encoder import encode_basestring_ascii as quoted
from typing import NamedTuple

from forgeprep.schemas.clip_table import NONE, RARE, ClipKind, ClipTable
from forgeprep.schemas.clips import BOXES, Clip

_PLACES = dict.fromkeys(("clip_id", "path", "source_id", "original_id", "size_bytes", "frame_count"), "%s")
_PLACES |= {"companions": "{%s}", "identities": "[%s]"}


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


class PlainLines:
    """Makes the lines of a table's clips that have none of the rarer attributes."""

    def __init__(self, table: ClipTable) -> None:
        self._table = table
        self._templates = [_template_of(kind) for kind in table.kinds]

    def __call__(self, row: int) -> PlainLine:
        """The line of a row: the same, to the byte, as by way of a :class:`Clip`."""
        table = self._table
        columns, small, text = table._columns, table._small, table.text
        number = small["kind"][row]
        kind, clip_id = table.kinds[number], text(columns["clip_id"][row])
        name, path, source = quoted(clip_id), quoted(text(columns["path"][row])), columns["source_id"][row]
        original, tag, size = columns["original_id"][row], small["tag"][row], columns["size_bytes"][row]
        real = "" if original == NONE else quoted(text(original))
        tags = file = ""
        if tag != NONE:
            tags, file = quoted(table._tag_names[tag]), quoted(text(columns["companion"][row]))
        people = ", ".join(map(quoted, table._people[small["people"][row]]))
        clip = self._templates[number] % (
            name, path, quoted(text(source)), real or "null", tags and f"{tags}: {file}", people, size,
            small["frame_count"][row],
        )  # fmt: skip
        lent = f", {file}" if tag != NONE and table._tag_names[tag] == BOXES else ""
        inputs = f"[{name}, {path}, {size}, [{tags}]{lent}, [{real}], {'true' if kind.guessed else 'false'}]"
        return PlainLine(clip_id, kind.compression, kind.method, clip, inputs)


def _template_of(kind: ClipKind) -> str:
    values = {**RARE, **kind._asdict()}
    parts = [
        f'"{field.name}": ' + (_PLACES.get(field.name) or json.dumps(values[field.name]).replace("%", "%%"))
        for field in fields(Clip)
    ]
    return "{" + ", ".join(parts) + "}"


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
