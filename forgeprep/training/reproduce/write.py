"""A filled table as JSON, as Markdown and as a picture: ours, and the paper's figure beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from forgeprep.io.atomic import atomic_write_bytes
from forgeprep.io.json_files import write_json
from forgeprep.training.evaluation.document import md_table
from forgeprep.training.models import get_model, model_names
from forgeprep.training.reproduce.plan import Asked
from forgeprep.training.reproduce.table import Row, Table, published_figure

AVERAGE = "average"


def document(
    table: Table, asked: Asked, cells: Sequence[Mapping[str, Any]], notes: Sequence[str] = ()
) -> dict[str, Any]:
    """All of a table, as ``table.json`` holds it. Figures are shares, but for ``published``: per cent, as printed.

    Args:
        table: unfolded.
        asked: what the user asked for.
        cells: of :meth:`forgeprep.training.reproduce.fill.Filler.fill`.
        notes: what has to be known besides the table's own notes.
    """
    found = {(cell["row"], cell["block"], cell["column"]): cell for cell in cells}
    stands_in = {old: new for old, new in table.quick.models.items() if asked.quick}
    quick = [QUICK_NOTE] if asked.quick else []
    quick += stand_ins(stands_in)
    changed = [f"Settings that are not the paper's: {_pairs(asked.settings)}."] if asked.settings else []
    changed += [f"Pretrained: {layout} from {file}." for layout, file in asked.weights.items()]
    changed += _from_scratch(table, asked)
    blocks: list[dict[str, Any]] = []
    for block in table.blocks:
        rows = []
        for row in table.rows:
            of_model = _of_model(row)
            line = [dict(found[row.name, block.title, column]) for column in block.columns]
            for cell, column in zip(line, block.columns, strict=True):
                cell |= _spread(cell["values"]) | {"published": published_figure(row, block, column, of_model)}
            if block.average:
                line.append(_average(row, line) | {"published": published_figure(row, block, AVERAGE, of_model)})
            rows.append({"row": row.name, "cells": line})
        heads = [*block.columns, *([AVERAGE] if block.average else [])]
        blocks.append({"title": block.title, "figure": block.figure, "columns": heads, "rows": rows})
    given = [c["published"] for block in blocks for row in block["rows"] for c in row["cells"]]
    if not any(value is not None for value in given):
        changed.append("Published figures: none stand in our notes for this table, so nothing is beside ours.")
    return {
        "paper": table.paper,
        "table": table.table,
        "citation": table.citation,
        "title": table.title,
        "number": table.number,
        "quick": asked.quick,
        "stands_in": stands_in,
        "split": table.split,
        "seeds": asked.seeds,
        "settings": dict(asked.settings),
        "shards": {name: str(out) for name, out in asked.shards.items()},
        "missing": [name for name in table.data if name not in asked.shards],
        "notes": [*quick, *notes, *table.notes, *changed],
        "blocks": blocks,
    }


QUICK_NOTE = (
    "QUICK: a few steps on a demo of synthetic forgeries. These figures are not comparable with published ones."
)


def stand_ins(models: Mapping[str, str]) -> list[str]:
    """A line for each model that another one stands in for."""
    return [f"In the place of {old}, {new} was trained." for old, new in models.items()]


def write_table(found: Mapping[str, Any], to: Path) -> list[Path]:
    """Write ``table.json`` and ``table.md``; returns the files."""
    files = [to / "table.json", to / "table.md"]
    write_json(files[0], found)
    atomic_write_bytes(files[1], table_markdown(found).encode())
    return files


def table_markdown(found: Mapping[str, Any]) -> str:
    """The table as Markdown: each cell ours, with the deviation over seeds, and the paper's in brackets."""
    lines = [f"# {heading(found)}", "", f"{found['citation']} {found['number']}", ""]
    lines += [part for note in (*found["notes"], how_to_read(found)) for part in (note, "")]
    for block in found["blocks"]:
        lines += [f"## {block['title']}", "", *md_table(*table_of(block))]
    reasons = unfilled(found)
    if reasons:
        lines += ["## Not filled", "", *(f"- {reason}" for reason in reasons), ""]
    return "\n".join(lines).rstrip() + "\n"


def heading(found: Mapping[str, Any]) -> str:
    """What stands above everything."""
    quick = ", QUICK: not comparable" if found["quick"] else ""
    return f"{found['paper']} {found['table']}: {found['title']}{quick}"


def how_to_read(found: Mapping[str, Any]) -> str:
    """A line on what stands in a cell."""
    seeds = f", mean and standard deviation of {found['seeds']} trainings" if found["seeds"] > 1 else ""
    return f"Per cent, split {found['split']}: ours{seeds}, and in brackets what was published."


def table_of(block: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a block, as texts."""
    rows = [[row["row"], *map(cell_text, row["cells"])] for row in block["rows"]]
    return ["", *block["columns"]], rows


def cell_text(cell: Mapping[str, Any]) -> str:
    """Ours, and in brackets the paper's."""
    text = "-" if cell["mean"] is None else f"{100 * cell['mean']:.2f}"
    if cell["deviation"] is not None:
        text += f"±{100 * cell['deviation']:.2f}"
    star = "*" if cell.get("partial") else ""
    return text + star + ("" if cell["published"] is None else f" ({cell['published']:.2f})")


def unfilled(found: Mapping[str, Any]) -> list[str]:
    """Why cells are empty, a line for each reason with what it concerns."""
    reasons: dict[str, dict[str, None]] = {}
    for block in found["blocks"]:
        for row in block["rows"]:
            for cell in row["cells"]:
                if cell["mark"] not in (None, "undefined"):
                    reasons.setdefault(cell["mark"], {})[f"{row['row']}/{cell['column']}"] = None
    return [f"{reason}: {_some(list(names))}" for reason, names in reasons.items()]


def _some(names: Sequence[str]) -> str:
    """The names as a list; those of the shares γ hold commas themselves."""
    between = "; " if any("," in name for name in names) else ", "
    return between.join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _spread(values: Sequence[float]) -> dict[str, float | None]:
    """Mean and sample deviation."""
    return {
        "mean": float(np.mean(values)) if values else None,
        "deviation": float(np.std(values, ddof=1)) if len(values) > 1 else None,
    }


def _average(row: Row, line: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean over a row's columns, seed by seed; ``partial`` where columns are empty that the paper's are not."""
    there = [cell["values"] for cell in line if cell["values"]]
    seeds = min(map(len, there), default=0)
    values = [float(np.mean([own[seed] for own in there])) for seed in range(seeds)]
    partial = any(not cell["values"] and cell["mark"] != "undefined" for cell in line)
    mark = None if values else next((cell["mark"] for cell in line), None)
    return {
        "row": row.name, "column": AVERAGE, "values": values, "mark": mark, "partial": bool(values) and partial,
        **_spread(values),
    }  # fmt: skip


def _from_scratch(table: Table, asked: Asked) -> list[str]:
    """A line on the rows that begin from random weights, though they could take pretrained ones."""
    lines: dict[str, dict[str, None]] = {}
    for row in table.rows:
        model = table.quick.models.get(row.model, row.model) if asked.quick else row.model
        record = get_model(model).weights if model in model_names() else None
        if record is not None and row.weights == "optional" and record.layouts not in asked.weights:
            lines.setdefault(record.layouts, {})[row.name] = None
    return [
        f"From random weights, for no --weights {layout}=FILE was given: {_some(list(rows))}."
        for layout, rows in lines.items()
    ]


def _of_model(row: Row) -> Mapping[str, Any]:
    if row.published != "model" or row.model not in model_names():
        return {}
    return get_model(row.model).published_figures()


def _pairs(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in settings.items())
