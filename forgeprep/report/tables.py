"""A table of the report, before it is HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple


class Head(NamedTuple):
    """The heading of a column, and what the column holds: numbers are set to the right."""

    name: str
    kind: Literal["text", "number", "chart"] = "text"


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        anchor: its id on the page.
        caption: what it shows.
        heads: a heading for each column.
        rows: values and charts, one for each column; the first is the heading of its row.
        foot: a last row of sums, or None.
    """

    anchor: str
    caption: str
    heads: Sequence[Head]
    rows: Sequence[Sequence[object]]
    foot: Sequence[object] | None = None


def texts(*names: str) -> list[Head]:
    """Headings of columns of text."""
    return [Head(name) for name in names]


def numbers(*names: str) -> list[Head]:
    """Headings of columns of numbers."""
    return [Head(name, "number") for name in names]
