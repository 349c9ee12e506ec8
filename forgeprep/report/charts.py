"""The geometry of the report's small charts. The templates draw it as SVG, which scales with the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

Range = tuple[str, float, float, float]
"""A row of a range chart: label, low end, middle, high end."""

_LABEL_WIDTH, _LINE, _FOOT = 170, 22, 26


class Block(NamedTuple):
    """A rectangle in a chart, in its units."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Histogram:
    """Bars side by side."""

    kind: ClassVar[str] = "histogram"
    title: str
    width: int
    height: int
    bars: list[Block]


class RangeRow(NamedTuple):
    """A row of a range chart in the chart's units."""

    name: str
    y: float
    start: float
    middle: float
    end: float


@dataclass(frozen=True, slots=True)
class Ranges:
    """A dot with whiskers for each row; ``ticks`` are the places and labels of the common axis."""

    kind: ClassVar[str] = "ranges"
    title: str
    width: int
    height: int
    label_width: int
    ticks: list[tuple[float, str]]
    rows: list[RangeRow]


@dataclass(frozen=True, slots=True)
class Spans:
    """Spans of time as blocks on a bar."""

    kind: ClassVar[str] = "spans"
    title: str
    width: int
    height: int
    blocks: list[Block]


@dataclass(frozen=True, slots=True)
class Share:
    """A bar that is filled from the left."""

    kind: ClassVar[str] = "share"
    title: str
    width: int
    height: int
    filled: float


CHARTS = (Histogram, Ranges, Spans, Share)


def histogram(counts: Sequence[int], title: str) -> Histogram:
    """The shape of a distribution, without axes, for a table's cell."""
    width, height = 200, 36
    step, top = width / max(1, len(counts)), max([*counts, 1])
    # A single value among thousands is still seen.
    heights = [max(1.5, count / top * (height - 2)) for count in counts]
    bars = [
        _block(number * step + 0.5, height - tall, step - 1, tall)
        for number, (count, tall) in enumerate(zip(counts, heights, strict=True))
        if count
    ]
    return Histogram(title, width, height + 1, bars)


def ranges(rows: Sequence[Range], title: str) -> Ranges:
    """A dot with whiskers for each row, over a common axis."""
    width = 460
    low, high = _limits([value for row in rows for value in row[1:]])

    def x(value: float) -> float:
        return round(_LABEL_WIDTH + 8 + (value - low) / (high - low) * (width - _LABEL_WIDTH - 30), 1)

    placed = [
        RangeRow(_short(name), number * _LINE + _LINE / 2, x(start), x(middle), x(end))
        for number, (name, start, middle, end) in enumerate(rows)
    ]
    axis = [(x(tick), f"{tick:g}") for tick in ticks(low, high)]
    return Ranges(title, width, len(rows) * _LINE + _FOOT, _LABEL_WIDTH, axis, placed)


def spans(length: float, forged: Sequence[Sequence[float]], title: str) -> Spans:
    """Spans of time, as (start, end) in seconds, on a bar of ``length`` seconds."""
    width, height = 200, 14
    scale = width / max(length, max((end for _, end in forged), default=0), 1e-9)
    blocks = [_block(start * scale, 0, max(1.5, (end - start) * scale), height) for start, end in forged]
    return Spans(title, width, height, blocks)


def share(part: float, title: str) -> Share:
    """A bar filled from the left by ``part``, 0 to 1."""
    width = 120
    return Share(title, width, 10, round(part * width, 1))


def ticks(low: float, high: float) -> list[float]:
    """Round values between two limits, about five.

    >>> ticks(0.0, 2.3)
    [0.0, 0.5, 1.0, 1.5, 2.0]
    """
    rough = (high - low) / 5
    power = 10.0 ** _floor_log10(rough)
    step = next(step for step in (power, 2 * power, 5 * power, 10 * power) if step >= rough * 0.99)
    first = -int(-low // step) if low > 0 else int(low / step)
    return [round(n * step, 10) for n in range(first, int(high / step) + 1) if low <= n * step <= high]


def _block(x: float, y: float, width: float, height: float) -> Block:
    """Rounded to a tenth of a pixel: the page stays small."""
    return Block(round(x, 1), round(y, 1), round(width, 1), round(height, 1))


def _floor_log10(value: float) -> int:
    return int(f"{value:e}".partition("e")[2])


def _limits(values: Sequence[float]) -> tuple[float, float]:
    low, high = min([*values, 0.0]), max([*values, 0.0])
    return (low, high + 0.04 * (high - low)) if high > low else (low, low + 1)


def _short(name: str) -> str:
    return name if len(name) < 26 else name[:24] + "…"
