"""A column of a shard: all that the rest of forgeprep has to know about it stands in one value.

What is data about a column (:data:`FACTS`) is written into a run's ``run.json``, so that a run stays readable where the
package of its stage is not installed; its functions then are missing, and what they would do is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from forgeprep.errors import UsageError
from forgeprep.schemas.renamed import SAMPLE_COLUMNS_RENAMED, current_name

UInt8 = npt.NDArray[np.uint8]

IMAGE_TYPE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
"""The Hugging Face ``Image`` struct: encoded picture and a file name."""

Kind = Literal["value", "image", "images"]
Packing = Literal["smooth", "runs", "residual"]
InSequence = Literal["each", "once", "same"]
Row = Mapping[str, Any]
Draw = Literal["stored", "none"] | Callable[[Any, Row], UInt8]

_NOT_IN_VERSION_0 = frozenset(
    {"mask_stray", "mask_jump", "landmark_scheme", "crop_matrix", "visual_label", "audio_label"}
)
"""Built-in columns that came later. Runs of version 0 list no columns: they have all others of their stages."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_SUFFIX = re.compile(r"[a-z][a-z0-9]{0,15}")
_TAKEN = frozenset({"json", "png", "jpg", "webp"})


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a shard.

    Attributes:
        name: the column.
        stage: the stage that adds it; "key" for what every sample has.
        type: its Arrow type.
        doc: what it holds, with unit and range.
        nullable: whether a sample may lack it.
        kind: ``image`` columns hold encoded pictures and get the Hugging Face ``Image`` feature; ``images``, lists. A
            stage gives a picture as uint8, (H, W, 3) RGB or (H, W) gray.
        as_run: whether the picture is encoded as ``--image-format`` says; else it is PNG, which loses nothing.
        packing: what helps PNG: ``smooth`` pictures resemble the row above, ``runs`` the byte before, a ``residual``
            repeats nothing.
        channels: 1 for gray, 3 for RGB; ``verify`` refuses the other. None: either.
        like_crop: whether the picture has the size of the crop.
        encode: of a binary column: the stage's value to bytes; None where the stage gives bytes.
        suffix: of a binary column: its member in a tar is ``KEY.NAME.SUFFIX``; ``hex`` stands for hexadecimal digits
            in ``KEY.json``, which only a column of forgeprep itself may have.
        check: ``(value, row)`` to what is wrong with a stored value, in a few words, or None; called by ``verify``. A
            picture is decoded; ``row`` has the sample's other values.
        in_sequence: where a sample has several frames, ``each`` has its own value, in a list; ``once``: the sample
            has one, that of the first forged frame, or else of the first; ``same``: one, which all frames must share.
        draw: how reports draw it: a picture as it is ``stored``, or ``none``, not at all; or a function,
            ``(value, row)`` to uint8 (H, W, 3) RGB or (H, W) gray, called as ``check``.
    """

    name: str
    stage: str
    type: pa.DataType
    doc: str
    nullable: bool = False
    kind: Kind = "value"
    as_run: bool = False
    packing: Packing = "smooth"
    channels: Literal[1, 3] | None = None
    like_crop: bool = False
    encode: Callable[[Any], bytes] | None = None
    suffix: str = "bin"
    check: Callable[[Any, Row], str | None] | None = None
    in_sequence: InSequence = "each"
    draw: Draw = "stored"

    @property
    def is_picture(self) -> bool:
        """Whether it holds pictures."""
        return self.kind != "value"

    @property
    def is_binary(self) -> bool:
        """Whether it holds bytes that are no picture, or lists of them."""
        return self.kind == "value" and _is_bytes(self.type.value_type if pa.types.is_list(self.type) else self.type)

    @property
    def is_drawn(self) -> bool:
        """Whether reports draw it."""
        return callable(self.draw) or (self.draw == "stored" and self.is_picture)


FACTS = (
    "name",
    "stage",
    "doc",
    "nullable",
    "kind",
    "as_run",
    "packing",
    "channels",
    "like_crop",
    "suffix",
    "in_sequence",
)
"""What of a column is data, besides its type and how it is drawn."""


def facts_of(column: Column) -> dict[str, Any]:
    """A column as JSON, without its functions."""
    drawn = "stored" if callable(column.draw) and column.is_picture else column.draw
    facts = {name: getattr(column, name) for name in FACTS}
    return facts | {"type": type_text(column.type), "draw": "none" if callable(drawn) else drawn}


def column_of(facts: Mapping[str, Any]) -> Column:
    """A column from :func:`facts_of`; what it does not say has its default. Raises ValueError where it is none."""
    known = {name: facts[name] for name in (*FACTS, "draw") if name in facts}
    if known.get("in_sequence") == "lead":
        known["in_sequence"] = "once"  # as schema version 1 called it
    return Column(**{**known, "type": type_of(facts["type"])})


def columns_of_run(run: Mapping[str, Any], known: Iterable[Column]) -> tuple[Column, ...]:
    """The columns of a run, of single frames, in file order.

    Args:
        run: its ``run.json``.
        known: the columns of forgeprep and of the stages that are installed: their functions are taken over.
    """
    here = {(column.stage, column.name): column for column in known}
    if run.get("columns") is None:
        stages = ("key", *run.get("stages", ()))
        known_then = [column for column in here.values() if column.name not in _NOT_IN_VERSION_0]
        return tuple(column for stage in stages for column in known_then if column.stage == stage)
    found = [column_of({**facts, "name": current_name(facts["name"])}) for facts in run["columns"]]
    return tuple(_with_functions(column, here.get((column.stage, column.name))) for column in found)


def _with_functions(column: Column, installed: Column | None) -> Column:
    if installed is None or installed.type != column.type or installed.kind != column.kind:
        return column
    return replace(column, encode=installed.encode, check=installed.check, draw=installed.draw)


def check_columns(columns: Sequence[Column], taken: Iterable[str], owner: str) -> None:
    """Raise UsageError where columns of a stage cannot be stored, or have a name that is ``taken``."""
    names = set(taken)
    for column in columns:
        place = f"{owner}: the column {column.name!r}"
        if not _NAME.fullmatch(column.name) or column.name in _TAKEN:
            raise UsageError(
                f"{place}: a name has small letters, digits and _, and is none of {', '.join(sorted(_TAKEN))}"
            )
        if column.name in SAMPLE_COLUMNS_RENAMED:
            raise UsageError(f"{place}: this is an older name of the column {current_name(column.name)!r}; rename it")
        if column.name in names:
            raise UsageError(f"{place}: another stage has a column of this name; rename it")
        if column.kind == "image" and column.type != IMAGE_TYPE:
            raise UsageError(f"{place}: a picture has the type forgeprep.schemas.columns.IMAGE_TYPE")
        if column.kind == "images":
            raise UsageError(f"{place}: a stage adds single pictures; the kind is 'image'")
        if column.is_binary and (not _SUFFIX.fullmatch(column.suffix) or column.suffix in {*_TAKEN, "hex"}):
            raise UsageError(f"{place}: the suffix {column.suffix!r} is taken, or no short word")
        if column.is_binary and pa.types.is_list(column.type):
            raise UsageError(f"{place}: bytes cannot stand in lists; use a column of type binary")
        try:
            type_text(column.type, nested=column.kind == "image")
        except ValueError as error:
            raise UsageError(f"{place}: {error}") from None
        names.add(column.name)


def sequence_column(column: Column) -> Column:
    """The column as shards of sequences have it."""
    if column.in_sequence != "each":
        return column
    kind: Kind = "images" if column.kind == "image" else "value"
    return replace(column, type=pa.list_(column.type), kind=kind, nullable=False)


def type_text(kind: pa.DataType, *, nested: bool = True) -> str:
    """An Arrow type as text, e.g. ``float``, ``int32[4]``, ``float[]`` or ``{bytes: binary, path: string}``.

    Raises ValueError for a type that JSON cannot hold, and without ``nested`` for bytes within lists or structs.
    """
    if pa.types.is_fixed_size_list(kind):
        return f"{type_text(kind.value_type, nested=nested)}[{kind.list_size}]"
    if pa.types.is_list(kind):
        return f"{type_text(kind.value_type, nested=nested)}[]"
    if pa.types.is_struct(kind):
        for field in kind:
            if not nested and _is_bytes(field.type):
                raise ValueError("bytes cannot stand in structs; use a column of type binary")
        return "{" + ", ".join(f"{field.name}: {type_text(field.type, nested=nested)}" for field in kind) + "}"
    text = str(kind)
    if text not in _PLAIN:
        raise ValueError(
            f"shards cannot hold the type {text}; known are {', '.join(_PLAIN)}, lists and structs of them"
        )
    return text


def type_of(text: str) -> pa.DataType:
    """The Arrow type that :func:`type_text` wrote. Raises ValueError for any other text."""
    kind, rest = _parse(text)
    if rest:
        raise ValueError(f"{text[:60]!r} is no type")
    return kind


_PLAIN = {
    str(kind): kind
    for kind in (
        pa.string(), pa.binary(), pa.bool_(), pa.float32(), pa.float64(),
        pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64(),
    )
}  # fmt: skip


def _parse(text: str) -> tuple[pa.DataType, str]:
    if text.startswith("{"):
        children, rest = [], text[1:]
        while not rest.startswith("}"):
            name, colon, rest = rest.removeprefix(", ").partition(": ")
            if not colon:
                raise ValueError(f"{text[:60]!r} is no type")
            child, rest = _parse(rest)
            children.append(pa.field(name, child))
        kind, rest = pa.struct(children), rest[1:]
    else:
        found = re.match(r"\w+", text)
        if found is None or found.group() not in _PLAIN:
            raise ValueError(f"{text[:60]!r} is no type")
        kind, rest = _PLAIN[found.group()], text[found.end() :]
    while ends := re.match(r"\[(\d{0,9})\]", rest):
        kind = pa.list_(kind, int(ends.group(1))) if ends.group(1) else pa.list_(kind)
        rest = rest[ends.end() :]
    return kind, rest


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))
