"""A table of the report, before it is HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple


class Head(NamedTuple):
    """The heading of a column, and what the column holds: numbers are set to the right, names stay on one line."""

    name: str
    kind: Literal["text", "name", "number", "chart"] = "text"


class Link(NamedTuple):
    """Words that lead to another place of the page, ``#`` and its id."""

    words: str
    href: str


MOST_ROWS = 400
"""The most rows of a table that are shown; below it stands how many are left out."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        anchor: its id on the page.
        caption: what it shows.
        heads: a heading for each column.
        rows: values, links and charts, one for each column; the first is the heading of its row.
        foot: a last row of sums, or None.
    """

    anchor: str
    caption: str
    heads: Sequence[Head]
    rows: Sequence[Sequence[object]]
    foot: Sequence[object] | None = None

    @property
    def shown(self) -> Sequence[Sequence[object]]:
        """The rows that the page shows."""
        return self.rows[:MOST_ROWS]

    @property
    def left_out(self) -> int:
        """How many it does not."""
        return len(self.rows) - len(self.shown)


def texts(*names: str) -> list[Head]:
    """Headings of columns of text."""
    return [Head(name) for name in names]


def numbers(*names: str) -> list[Head]:
    """Headings of columns of numbers."""
    return [Head(name, "number") for name in names]
