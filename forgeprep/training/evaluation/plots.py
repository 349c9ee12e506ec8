"""Pictures of an evaluation and of a training: curves, confusion, a matrix of runs, sample predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

QUICK = 1
"""How hard zlib tries on a PNG: to try harder takes longer than all drawing, and saves a third of a small file."""


def save(figure: Figure, file: Path, dpi: int) -> None:
    """Write a figure as a PNG, at so many pixels an inch."""
    figure.savefig(file, dpi=dpi, pil_kwargs={"compress_level": QUICK})


def draw_curves(evaluations: Sequence[Mapping[str, Any]], file: Path) -> None:
    """The ROC curves of all runs on all sets."""
    figure = Figure(figsize=(5.5, 5.5), layout="constrained")
    axes: Axes = figure.subplots()
    for evaluation in evaluations:
        for name, found in evaluation["sets"].items():
            if found["curve"]:
                label = f"{Path(evaluation['run']).name} on {Path(name).name}: AUC {found['frames']['auc']:.3f}"
                axes.plot(*found["curve"], label=label)
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8)
    axes.set(xlabel="reals called fake", ylabel="fakes called fake", xlim=(0, 1), ylim=(0, 1.005), aspect="equal")
    axes.set_title("ROC by frame")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right", fontsize=8)
    save(figure, file, 120)


def draw_confusion(n_way: Mapping[str, Any], file: Path) -> None:
    """A confusion matrix, as shares of the true class."""
    counts = np.asarray(n_way["confusion"], float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    _heat(n_way["classes"], n_way["classes"], shares, file, "true class", "found class", "confusion, per cent")


def draw_matrix(runs: Sequence[str], heads: Sequence[str], values: npt.NDArray[np.float64], file: Path) -> None:
    """AUC of each run on each method."""
    _heat(runs, heads, values, file, "trained", "tested", "AUC by frame, per cent")


def draw_cross(found: Mapping[str, Any], file: Path) -> None:
    """The matrix of a protocol: AUC, ACC and EER, with the rows' averages.

    What has no figure is hatched; a frame marks what a row was trained on, an asterisk an average that leaves out
    cells without a figure.
    """
    rows, columns = [row["name"] for row in found["rows"]], found["columns"]
    heads = [*columns, "average", "others"]
    wide = len(heads) > 5
    panel = (2.2 + 0.8 * len(heads), 1.6 + 0.42 * len(rows))
    size = (panel[0], 3 * panel[1]) if wide else (3 * panel[0], panel[1])
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(3, 1) if wide else figure.subplots(1, 3)
    figure.suptitle(f"{found['protocol']}: {found['model']}, split {found['split']}; per cent, by frame")
    scales = {"auc": ("AUC", "Blues", 0.5, 1.0), "acc": ("ACC", "Blues", 0.5, 1.0), "eer": ("EER", "Blues_r", 0.0, 0.5)}
    lines = [[entry for kind in ("cells", "averages") for entry in found[kind] if entry["row"] == row] for row in rows]
    for axes, (name, (title, colours, low, high)) in zip(panels, scales.items(), strict=True):
        values = np.array([[np.nan if e[name] is None else e[name] for e in line] for line in lines], float)
        axes.imshow(values, cmap=colours, vmin=low, vmax=high, aspect="auto")
        axes.set_xticks(range(len(heads)), heads, rotation=30, ha="right", fontsize=8)
        axes.set_yticks(range(len(rows)), rows, fontsize=8)
        axes.set(xlabel="tested", ylabel="trained", title=title)
        axes.axvline(len(columns) - 0.5, color="white", linewidth=6)
        dark = (values - low) / (high - low) > 0.6 if name != "eer" else (high - values) / (high - low) > 0.6
        for (i, j), value in np.ndenumerate(values):
            text = (lines[i][j].get("mark") or "-").replace(" ", "\n") if np.isnan(value) else f"{100 * value:.1f}"
            if j >= len(columns) and 0 < lines[i][j]["cells"] < lines[i][j]["of"]:
                text += "*"
            if np.isnan(value):
                box = Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor="0.93", edgecolor="0.75", hatch="////", linewidth=0)
                axes.add_patch(box)
            if j < len(columns) and rows[i] == columns[j]:
                frame = Rectangle((j - 0.46, i - 0.44), 0.92, 0.88, fill=False, edgecolor="C1", linewidth=1.4, zorder=3)
                axes.add_patch(frame)
            colour = "white" if dark[i, j] else "black"
            axes.text(j, i, text, ha="center", va="center", fontsize=7 if np.isnan(value) else 8, color=colour)
    save(figure, file, 120)


def draw_training(log: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Loss by step, and AUC on val by epoch."""
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = [entry for entry in log if "loss" in entry]
    figure_of = "val_map" if any("val_map" in entry for entry in log) else "val_auc"
    judged = [entry for entry in log if figure_of in entry]
    names = [name for name in (steps[0] if steps else {}) if name not in ("step", "epoch", "images_s", "time")]
    for name in names:
        values = np.array([entry.get(name, np.nan) for entry in steps], float)
        left.plot([entry["step"] for entry in steps], values, label=name, linewidth=1.4 if name == "loss" else 0.8)
    left.set(xlabel="step", title="loss", ylim=(0, None))
    if names:
        left.legend(fontsize=8)
    right.plot([entry["step"] for entry in judged], np.array([entry[figure_of] for entry in judged], float), marker="o")
    right.set(xlabel="step", title="AUC on val" if figure_of == "val_auc" else "mAP on val", ylim=(0, 1.02))
    right.axhline(0.5, color="0.7", linewidth=0.8)
    save(figure, file, 120)


def draw_timelines(clips: Sequence[tuple[Any, npt.NDArray[np.float64], Mapping[str, Any]]], file: Path) -> None:
    """Clips as lines of time: what is forged and what unknown, the score of each frame, and the best proposals.

    Args:
        clips: a :class:`forgeprep.training.temporal.timeline.Timeline`, a score for each of its frames, and way ->
            proposals. Of more than eight, those that are spread over all with a span are drawn.
        file: a PNG.
    """
    forged = [clip for clip in clips if clip[0].spans()] or list(clips)
    shown = [forged[at] for at in np.unique(np.linspace(0, len(forged) - 1, min(8, len(forged))).astype(int))]
    top = max((float(np.max(scores)) for _, scores, _ in shown), default=1.0) or 1.0
    figure = Figure(figsize=(9, 0.6 + 1.25 * max(1, len(shown))), layout="constrained")
    grid = figure.subplots(max(1, len(shown)), 1, squeeze=False)[:, 0]
    for axes, (line, scores, ways) in zip(grid, shown, strict=False):
        for start, end in line.spans():
            axes.axvspan(start, end, color="tab:red", alpha=0.25, linewidth=0)
        for stop, start in zip(line.cells[:-1, 1], line.cells[1:, 0], strict=True):
            if start - stop > 1e-6:
                axes.axvspan(stop, start, color="0.85", hatch="//", linewidth=0)
        axes.plot(line.frames + 0.5, scores / top, color="black", linewidth=0.9, marker=".", markersize=3)
        for number, (way, proposals) in enumerate(ways.items()):
            for start, end, _ in proposals[:1]:
                axes.plot([start, end], [-0.2 - 0.2 * number] * 2, color=f"C{number}", linewidth=3, label=way)
        axes.set(ylim=(-0.3 - 0.2 * len(ways), 1.05), xlim=line.extent, yticks=[0, 1])
        axes.set_title(line.clip_id, fontsize=7, loc="left", pad=2)
        axes.tick_params(labelsize=7)
    if shown:
        grid[0].legend(fontsize=7, loc="upper right", ncols=3)
    figure.suptitle(
        f"score by frame (1 is {top:.2f}); forged red, unknown hatched; below, the best proposal of each way",
        fontsize=9,
    )
    save(figure, file, 100)


def _heat(
    rows: Sequence[str],
    columns: Sequence[str],
    values: npt.NDArray[np.float64],
    file: Path,
    left: str,
    below: str,
    title: str,
) -> None:
    figure = Figure(figsize=(2.2 + 0.85 * len(columns), 1.6 + 0.5 * len(rows)), layout="constrained")
    axes: Axes = figure.subplots()
    axes.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(columns)), columns, rotation=30, ha="right", fontsize=8)
    axes.set_yticks(range(len(rows)), rows, fontsize=8)
    axes.set(xlabel=below, ylabel=left, title=title)
    for (i, j), value in np.ndenumerate(values):
        text = "-" if np.isnan(value) else f"{100 * value:.1f}"
        axes.text(j, i, text, ha="center", va="center", fontsize=8, color="white" if value > 0.6 else "black")
    save(figure, file, 120)
