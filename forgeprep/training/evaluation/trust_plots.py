"""Pictures of calibration and of robustness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from forgeprep.ops.perturb.catalogue import SEVERITIES
from forgeprep.training.evaluation.plots import save


def draw_reliability(curves: Mapping[str, Mapping[str, Any]], file: Path, level: str) -> None:
    """Share of fakes against score, and how many samples have which score.

    Args:
        curves: name -> what :func:`forgeprep.training.evaluation.calibration.calibration` found.
        file: a PNG.
        level: what is counted: frames or clips.
    """
    figure = Figure(figsize=(5.2, 6.4), layout="constrained")
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8)
    for name, found in curves.items():
        bins = found["bins"]
        scores = [one["score"] for one in bins]
        label = f"{name}: ECE {100 * found['ece']:.1f} %, Brier {found['brier']:.3f}"
        [line] = axes.plot(scores, [one["fakes"] for one in bins], marker="o", markersize=4, label=label)
        middles = [(one["low"] + one["high"]) / 2 for one in bins]
        width = bins[0]["high"] - bins[0]["low"]
        below.bar(middles, [one["samples"] for one in bins], width, alpha=0.5, color=line.get_color())
    axes.set(ylabel="share of fakes", xlim=(0, 1), ylim=(0, 1.02), title=f"reliability by {level.removesuffix('s')}")
    figure.legend(fontsize=7, loc="outside lower center")
    below.set(xlabel="score", ylabel=level)
    save(figure, file, 120)


def draw_robustness(runs: Mapping[str, Sequence[Mapping[str, Any]]], file: Path) -> None:
    """AUC and flip rate by severity, a panel for each perturbation; those without a severity have a panel together.

    Args:
        runs: name of a detector -> its rows of :func:`forgeprep.training.evaluation.robust.robustness`.
        file: a PNG.
    """
    rows = [row for found in runs.values() for row in found]
    names = sorted({row["perturbation"] for row in rows if row["severity"] is not None})
    others = sorted({row["perturbation"] for row in rows if row["severity"] is None})
    panels = [*names, *([""] if others else [])]
    across = min(6, len(panels))
    down = -(-len(panels) // across)
    figure = Figure(figsize=(2.2 * across + 1.4, 2.1 * down + 1.3), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False, sharey=True)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, name in zip(grid.flat, panels, strict=False):
        for number, found in enumerate(runs.values()):
            own = [row for row in found if (row["perturbation"] == name if name else row["severity"] is None)]
            if own:
                _panel(axes, own, others if not name else None, f"C{number}")
        axes.set_title(name or "several at once", fontsize=9)
        axes.set_ylim(-0.02, 1.02)
        axes.tick_params(labelsize=7)
    lines = [grid[0, 0].plot([], [], color=f"C{n}", marker="o", markersize=3)[0] for n in range(len(runs))]
    dashed = grid[0, 0].plot([], [], color="0.4", linestyle="--", marker="x", markersize=4)[0]
    figure.legend(
        [*lines, dashed],
        [*(f"{name}: AUC" for name in runs), "flip rate"],
        loc="outside lower center",
        ncols=min(3, len(runs) + 1),
        fontsize=8,
    )
    figure.suptitle("perturbed samples by severity; severity 0 is the same samples, clean", fontsize=10)
    save(figure, file, 110)


def _panel(axes: Axes, rows: Sequence[Mapping[str, Any]], others: Sequence[str] | None, colour: str) -> None:
    """A detector's line in a panel; of ``others``, which have no severity, a mark for each."""
    if others is not None:
        places = [others.index(row["perturbation"]) for row in rows]
        axes.plot(places, _values(rows, "auc"), "o", color=colour, markersize=4)
        axes.plot(places, _values(rows, "flip_rate"), "x", color=colour, markersize=5)
        axes.set_xticks(range(len(others)), [name.replace("+", "+\n") for name in others], fontsize=6)
        axes.set_xlim(-0.5, len(others) - 0.5)
        return
    # Of a single severity, too, a line from the clean samples.
    at = [0, *(row["severity"] for row in rows)]
    axes.plot(at, [*_values(rows[:1], "clean_auc"), *_values(rows, "auc")], color=colour, marker="o", markersize=3)
    axes.plot(at, [0, *_values(rows, "flip_rate")], color=colour, marker="x", markersize=4, linestyle="--")
    axes.set_xticks([0, *SEVERITIES])
    axes.set_xlim(-0.3, SEVERITIES[-1] + 0.3)


def _values(rows: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    return [np.nan if row[name] is None else float(row[name]) for row in rows]
