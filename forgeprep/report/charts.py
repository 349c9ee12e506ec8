"""Small charts as inline SVG, without a library: they scale with the page and carry their figures as text."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

BLUE, GRID, INK, FAINT = "#2457a6", "#d5dae1", "#1b1f24", "#5b6471"

Range = tuple[str, float, float, float]
"""A row of a range chart: label, low end, middle, high end."""


def histogram(counts: Sequence[int], title: str) -> str:
    """Bars side by side, without axes: the shape of a distribution, for a table's cell."""
    width, height = 200, 36
    step, top = width / max(1, len(counts)), max([*counts, 1])
    bars = "".join(
        # A single value among thousands is still seen.
        f'<rect x="{n * step + 0.5:.1f}" y="{height - tall:.1f}" width="{step - 1:.1f}" height="{tall:.1f}"/>'
        for n, count in enumerate(counts)
        if count and (tall := max(1.5, count / top * (height - 2)))
    )
    axis = f'<path d="M0 {height}H{width}" stroke="{GRID}" stroke-width="1.5"/>'
    return _svg(width, height + 1, title, f'{axis}<g fill="{BLUE}">{bars}</g>', "histogram")


def ranges(rows: Sequence[Range], title: str) -> str:
    """A dot with whiskers for each row, over a common axis."""
    width, label, line, foot = 460, 170, 22, 26
    low, high = _limits([value for row in rows for value in row[1:]])
    height = len(rows) * line + foot

    def x(value: float) -> float:
        return label + 8 + (value - low) / (high - low) * (width - label - 30)

    parts = []
    for tick in ticks(low, high):
        parts.append(f'<path d="M{x(tick):.1f} 0V{height - foot + 4}" stroke="{GRID}"/>')
        parts.append(_text(x(tick), height - 6, f"{tick:g}", "middle", FAINT))
    for number, (name, start, middle, end) in enumerate(rows):
        y = number * line + line / 2
        parts.append(_text(label, y + 4, _short(name), "end", INK))
        parts.append(f'<path d="M{x(start):.1f} {y}H{x(end):.1f}" stroke="{BLUE}" stroke-width="3" opacity=".45"/>')
        parts.append(f'<circle cx="{x(middle):.1f}" cy="{y}" r="4.5" fill="{BLUE}"/>')
    return _svg(width, height, title, "".join(parts), "ranges")


def spans(length: float, forged: Sequence[Sequence[float]], title: str) -> str:
    """Spans of time as blocks on a bar of ``length`` seconds."""
    width, height = 200, 14
    scale = width / max(length, max((end for _, end in forged), default=0), 1e-9)
    blocks = "".join(
        f'<rect x="{start * scale:.1f}" y="0" width="{max(1.5, (end - start) * scale):.1f}" height="{height}"/>'
        for start, end in forged
    )
    back = f'<rect width="{width}" height="{height}" fill="{GRID}"/>'
    return _svg(width, height, title, f'{back}<g fill="#b3261e">{blocks}</g>', "spans")


def share(part: float, title: str) -> str:
    """A bar filled from the left by ``part``, 0 to 1."""
    width, height = 120, 10
    back = f'<rect width="{width}" height="{height}" fill="{GRID}"/>'
    return _svg(
        width, height, title, f'{back}<rect width="{part * width:.1f}" height="{height}" fill="{BLUE}"/>', "share"
    )


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


def _floor_log10(value: float) -> int:
    return int(f"{value:e}".partition("e")[2])


def _limits(values: Sequence[float]) -> tuple[float, float]:
    low, high = min([*values, 0.0]), max([*values, 0.0])
    return (low, high + 0.04 * (high - low)) if high > low else (low, low + 1)


def _short(name: str) -> str:
    return name if len(name) < 26 else name[:24] + "…"


def _text(x: float, y: float, text: str, anchor: str, colour: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'


def _svg(width: float, height: float, title: str, body: str, kind: str) -> str:
    return (
        f'<svg class="{kind}" role="img" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}">'
        f"<title>{escape(title)}</title>{body}</svg>"
    )
