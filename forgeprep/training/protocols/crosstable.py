"""The matrix of a protocol as JSON, Markdown and a heat map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from forgeprep.io.atomic import atomic_write_bytes
from forgeprep.io.json_files import write_json
from forgeprep.training.evaluation.document import md_table, per_cent, published_cross
from forgeprep.training.evaluation.metrics import more_metrics
from forgeprep.training.protocols.fill import figure_names, trained_facts
from forgeprep.training.protocols.layout import Layout

_TITLES = {"auc": "AUC by frame", "acc": "ACC by frame", "eer": "EER by frame", "clip_auc": "AUC by clip"}
AVERAGES = ("all", "others")
"""Means over all columns, as the papers give them, and over all but a row's own class."""


def titles() -> dict[str, str]:
    """The figures that have a table."""
    return {**_TITLES, **{metric.name: f"{metric.title or metric.name} by frame" for metric in more_metrics()}}


def document(layout: Layout, cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """All of the matrix, as ``matrix.json`` holds it: nothing of when or in how many goes it was made."""
    plan = layout.plan
    rows = [
        {
            "name": row.name,
            "mark": row.mark,
            "fakes": row.fakes,
            "reals": row.reals,
            **(dict.fromkeys(("step", "val_auc")) if row.mark else trained_facts(row.training)),
            "threshold": next((c["threshold"] for c in cells if c["row"] == row.name and c["mark"] is None), None),
        }
        for row in layout.rows
    ]
    figures = published_cross(plan.protocol, plan.base.model, sorted(set(layout.datasets)))
    return {
        "protocol": plan.protocol,
        "class_column": plan.column,
        "model": plan.base.model,
        "options": plan.base.options,
        "split": plan.split,
        "shards": {name: str(out) for name, out in layout.sets.items()},
        "columns": list(layout.classes),
        "rows": rows,
        "cells": [dict(cell) for cell in cells],
        "averages": [_average(cells, row.name, over) for row in layout.rows for over in AVERAGES],
        "published": {name: row for name, row in figures.items() if name in layout.classes},
    }


def write_matrix(found: Mapping[str, Any], to: Path) -> list[Path]:
    """Write ``matrix.json``, ``matrix.md`` and ``matrix.png``; returns the files."""
    from forgeprep.training.evaluation.plots import draw_cross

    files = [to / "matrix.json", to / "matrix.md", to / "matrix.png"]
    write_json(files[0], found)
    atomic_write_bytes(files[1], cross_markdown(found).encode())
    draw_cross(found, files[2])
    return files


def table_of(found: Mapping[str, Any], figure: str) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a figure's table, as texts: a marked cell says why it is empty."""
    cells = {(cell["row"], cell["column"]): cell for cell in found["cells"]}
    means = {(mean["row"], mean["over"]): mean for mean in found["averages"]}
    rows = []
    for row in found["rows"]:
        texts = [_text(cells[row["name"], name], figure) for name in found["columns"]]
        rows.append([row["name"], *texts, *(_mean_text(means[row["name"], over], figure) for over in AVERAGES)])
    return ["trained on", *found["columns"], "average", "others"], rows


def notes(found: Mapping[str, Any]) -> list[str]:
    """What has to be known to read the tables, a line each."""
    lines = [
        f"Rows: trained on; columns: tested on, split {found['split']}. Per cent; average: over all columns, others: "
        "over all but the row's own.",
    ]
    if found["class_column"] is not None:
        lines.append("Every row learns from, and every cell judges, the fakes of its class and all reals.")
    if any(mean["cells"] < mean["of"] for mean in found["averages"] if mean["cells"]):
        lines.append("*: the average leaves out cells without a figure.")
    if any(row["threshold"] not in (None, 0.5) for row in found["rows"]):
        lines.append("ACC: fake is what scores above the threshold that the row's training chose on val.")
    lines += [f"{row['name']} is not trained: {row['mark']}." for row in found["rows"] if row["mark"]]
    return lines


def cross_markdown(found: Mapping[str, Any]) -> str:
    """The tables as Markdown, and below that of AUC the published one, where the model's paper has one."""
    lines = [f"# {found['protocol']}: {found['model']}", "", *(part for note in notes(found) for part in (note, ""))]
    for figure, title in titles().items():
        lines += [f"## {title}", "", *md_table(*table_of(found, figure))]
        if figure == "auc" and found["published"]:
            lines += [published_title(found), "", *md_table(*published_table(found))]
    lines += ["## Samples", ""]
    counts = [
        [row["name"], f"{row['fakes']:,}", f"{row['reals']:,}", str(row["step"] or "-"), _threshold(row["threshold"])]
        for row in found["rows"]
    ]
    lines += md_table(["trained on", "fakes", "reals", "step", "fake above"], counts)
    return "\n".join(lines).rstrip() + "\n"


def published_title(found: Mapping[str, Any]) -> str:
    """What stands above the published table."""
    return f"Published AUC of {found['model']} (of the paper's samples, not of these):"


def published_table(found: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the paper's AUC, its columns in our order."""
    heads = [*found["columns"], "average"]
    rows = [
        [name, *(f"{row[head]:.2f}" if head in row else "-" for head in heads)]
        for name, row in found["published"].items()
    ]
    return ["trained on", *heads], rows


def _average(cells: Sequence[Mapping[str, Any]], row: str, over: str) -> dict[str, Any]:
    """Means over the cells of a row that have figures; ``cells`` of ``of``."""
    asked = [cell for cell in cells if cell["row"] == row and (over == "all" or cell["column"] != row)]
    there = [cell for cell in asked if cell["mark"] is None]
    means = {name: float(np.mean([cell[name] for cell in there])) if there else None for name in figure_names()}
    return {"row": row, "over": over, "cells": len(there), "of": len(asked), **means}


def _threshold(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _text(cell: Mapping[str, Any], figure: str) -> str:
    return str(cell["mark"]) if cell["mark"] else per_cent(cell[figure])


def _mean_text(mean: Mapping[str, Any], figure: str) -> str:
    return per_cent(mean[figure]) + ("*" if 0 < mean["cells"] < mean["of"] else "")
