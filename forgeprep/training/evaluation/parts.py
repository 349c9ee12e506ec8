"""What documents of evaluations are made of: tables, headings and lines, for a terminal and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

UNDEFINED = "undefined"
"""What stands for a figure that needs both classes where there is one; never 0, 0.5 or nan."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of texts: the head of each column, and rows of as many cells, the first of which names the row."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


Part = Table | str
"""A table, a heading (``## Title``), or a line of text."""


def markdown(parts: Sequence[Part]) -> str:
    """The parts as Markdown."""
    lines: list[str] = []
    for part in parts:
        lines += md_table(part.heads, part.rows) if isinstance(part, Table) else [part, ""]
    return "\n".join(lines)


def md_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table, and an empty one."""
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows), ""]


def per_cent(value: float | None) -> str:
    """A share as text in per cent; a dash where there is none."""
    return "-" if value is None or math.isnan(value) else f"{100 * value:.2f}"


def short_names(paths: Sequence[Path | str]) -> list[str]:
    """A short name for each folder: its own, with a number before it where several have the same."""
    names = [Path(path).name or Path(path).resolve().name for path in paths]
    return [name if names.count(name) == 1 else f"{number}-{name}" for number, name in enumerate(names)]


def defined(value: float | None) -> str:
    """A share as text in per cent, or that it is undefined."""
    return UNDEFINED if value is None or math.isnan(value) else f"{100 * value:.2f}"
