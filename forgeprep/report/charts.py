"""The report's charts, as SVG to be set into the page."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Values = npt.NDArray[np.float64]

INK, FAINT = "#1b1f24", "#6b7280"
COLOURS = ("#6b7280", "#d1495b", "#2e86ab", "#edae49", "#3d9970", "#8d6cab", "#e07a5f", "#4a5a6a")
"""The first is of reals."""
BINS = 48


def ridges(values: Mapping[str, Values], label: str, limits: tuple[float, float]) -> str:
    """One histogram a group, under each other on one axis; the median is a line, and written at the right."""
    figure, axes = _figure(7.2, 0.75 + 0.42 * len(values))
    edges = np.linspace(*limits, BINS + 1)
    middle = (edges[:-1] + edges[1:]) / 2
    for row, (group, numbers) in enumerate(values.items()):
        counts, _ = np.histogram(np.clip(numbers, *limits), edges)
        base, colour = -float(row), _colour(group, list(values))
        axes.fill_between(middle, base, base + 0.85 * counts / max(1, counts.max()), step="mid", color=colour, lw=0)
        median = float(np.median(numbers))
        axes.plot([np.clip(median, *limits)] * 2, [base, base + 0.85], color=INK, lw=1)
        axes.text(limits[1], base + 0.3, f"  {median:.3g}   n = {len(numbers):,}", fontsize=8, color=FAINT)
    axes.set_yticks([0.3 - row for row in range(len(values))], list(values), fontsize=9, color=INK)
    axes.set_xlim(*limits)
    axes.set_ylim(0.1 - len(values) + 0.85, 1.0)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(f"{label}   (line: median, written at the right)", fontsize=9, color=FAINT)
    return _svg(figure)


def cloud(points: Mapping[str, tuple[Values, Values]], x_label: str, y_label: str) -> str:
    """A point a sample: colour by method, shape by compression; the large marks are the groups' medians."""
    figure, axes = _figure(7.2, 4.0)
    compressions = sorted({group.partition(" · ")[2] for group in points})
    for group, (x, y) in points.items():
        colour, marker = _colour(group, list(points)), "osD^"[compressions.index(group.partition(" · ")[2]) % 4]
        axes.scatter(x, y, s=9, color=colour, marker=marker, alpha=0.35, lw=0)
        middle = np.median(x), np.median(y)
        axes.scatter(*middle, s=80, color=colour, marker=marker, edgecolor="white", lw=1.5, label=group, zorder=3)
    axes.set_xlabel(x_label, fontsize=9, color=FAINT)
    axes.set_ylabel(y_label, fontsize=9, color=FAINT)
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return _svg(figure)


def _colour(group: str, groups: list[str]) -> str:
    """Reals are gray; a method has the same colour at every compression."""
    method = group.split(" · ")[0]
    methods = sorted({name.split(" · ")[0] for name in groups} - {"real"})
    return COLOURS[0] if method == "real" else COLOURS[1 + methods.index(method) % (len(COLOURS) - 1)]


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color("#d0d5dc")
    axes.tick_params(colors=FAINT, labelsize=8)
    return figure, axes


def _svg(figure: Figure) -> str:
    """The picture's text without the XML head; equal figures give equal bytes."""
    import matplotlib as mpl

    sink = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "forgeprep", "font.family": "sans-serif"}):
        figure.savefig(sink, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = sink.getvalue()
    return text[text.index("<svg") :]
