"""A filled table as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from forgeprep.training.reproduce.write import QUICK_NOTE, heading, how_to_read, stand_ins

_CELL = 1.15, 0.52
"""Width and height of a cell in inches."""
_LETTERS = 13
"""Of the title, in an inch."""


def draw_table(found: Mapping[str, Any], file: Path) -> None:
    """Each cell: ours above, coloured by its value, the paper's below it in grey; what is empty is hatched."""
    blocks = found["blocks"]
    sizes = [(len(block["columns"]), len(block["rows"])) for block in blocks]
    names = max((len(row["row"]) for block in blocks for row in block["rows"]), default=8)
    width = 1.0 + 0.085 * names + _CELL[0] * max((wide for wide, _ in sizes), default=1)
    heights = [0.75 + _CELL[1] * high for _, high in sizes]
    width, note = max(6.0, width), QUICK_NOTE if found["quick"] else how_to_read(found)
    told = [f"{found['paper']} {found['table']}: {found['title']}", note, *stand_ins(found["stands_in"])]
    # What does not fit in a line would be cut off at both ends.
    lines = [line for text in told for line in wrap(text, int(_LETTERS * width))]
    figure = Figure(figsize=(width, 0.8 + 0.15 * len(lines) + sum(heights)), layout="constrained")
    panels = figure.subplots(len(blocks), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, block in zip(panels, blocks, strict=True):
        _draw_block(axes, block)
    colour = "tab:red" if found["quick"] else "black"
    figure.suptitle("\n".join(lines), fontsize=9, color=colour)
    figure.savefig(file, dpi=110, metadata={"Title": heading(found)})


def _draw_block(axes: Axes, block: Mapping[str, Any]) -> None:
    rows, heads = block["rows"], block["columns"]
    means = [[c["mean"] for c in row["cells"]] for row in rows]
    values = np.array([[np.nan if mean is None else mean for mean in line] for line in means], float)
    values = values.reshape(len(rows), len(heads))
    axes.imshow(values, cmap="Blues", vmin=0, vmax=1.25, aspect="auto")
    axes.set_xticks(range(len(heads)), heads, fontsize=8)
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(rows)), [row["row"] for row in rows], fontsize=8)
    axes.tick_params(length=0)
    axes.set_title(block["title"], fontsize=9, loc="left", fontweight="bold")
    for edge in range(1, len(rows)):
        axes.axhline(edge - 0.5, color="white", linewidth=1.5)
    axes.set(xlim=(-0.5, len(heads) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    for (i, j), value in np.ndenumerate(values):
        cell = rows[i]["cells"][j]
        if np.isnan(value):
            hatched = Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor="0.95", edgecolor="0.8", hatch="////", linewidth=0)
            axes.add_patch(hatched)
            text = _short(cell["mark"])
        else:
            deviation = "" if cell["deviation"] is None else f" ± {100 * cell['deviation']:.1f}"
            text = f"{100 * value:.1f}{deviation}"
        dark = not np.isnan(value) and value > 0.85
        size = 6.5 if np.isnan(value) else 8.5
        high = i if cell["published"] is None else i - 0.17
        axes.text(j, high, text, ha="center", va="center", fontsize=size, color="white" if dark else "black")
        if cell["published"] is not None:
            grey = "0.85" if dark else "0.15"
            told = f"paper {cell['published']:.2f}"
            axes.text(j, i + 0.25, told, ha="center", va="center", fontsize=6.5, color=grey)


def _short(mark: str | None) -> str:
    return "\n".join(wrap(mark or "-", 22, max_lines=2, placeholder=" …"))
