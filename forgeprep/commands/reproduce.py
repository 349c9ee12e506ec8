"""``forgeprep reproduce``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forgeprep.commands.flags import (
    EXECUTION,
    INPUT,
    LOCAL,
    OUTPUT,
    Debug,
    Gpus,
    Json,
    complete_models,
    completing,
    parse_local,
)
from forgeprep.commands.groups import single

if TYPE_CHECKING:
    from forgeprep.training.reproduce.fill import Filler
    from forgeprep.training.reproduce.plan import Asked
    from forgeprep.training.reproduce.table import Table

TRAININGS = "Trainings"
EXAMPLES = """
forgeprep reproduce
forgeprep reproduce pixel-level 1 --shards shards/ffpp-raw --seeds 3
forgeprep reproduce two-stream VII --quick --only semantic
"""


def _papers() -> Sequence[str]:
    from forgeprep.training.reproduce.table import PAPERS

    return PAPERS


def reproduce(
    paper: Annotated[
        str | None,
        typer.Argument(
            help="A paper; without one, all tables are listed.", metavar="PAPER", autocompletion=completing(_papers)
        ),
    ] = None,
    table: Annotated[
        str | None,
        typer.Argument(
            help="A table of it; without one, its tables are shown with the data they need.", metavar="TABLE"
        ),
    ] = None,
    shards: Annotated[
        list[str] | None,
        typer.Option(
            help="Shards of a data set of the table; a folder alone is taken for the data sets that it holds. May be "
            "repeated. [default: none; with --quick a demo is made]",
            metavar="[NAME=]DIR",
            rich_help_panel=INPUT,
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(help="Folder to fill. [default: reproduced/PAPER-TABLE]", rich_help_panel=OUTPUT, **LOCAL),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="A small version in minutes; its figures are not comparable.", rich_help_panel=TRAININGS
        ),
    ] = False,
    seeds: Annotated[
        int, typer.Option(help="How often each training is made.", min=1, max=100, rich_help_panel=TRAININGS)
    ] = 1,
    model: Annotated[
        str | None,
        typer.Option(
            help="Another forgery model, to stand in the table of the paper. [default: the table's]",
            metavar="TEXT",
            rich_help_panel=TRAININGS,
            autocompletion=complete_models,
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Fill these cells alone; * stands for any letters. May be repeated. [default: all]",
            metavar="ROW[/COLUMN]",
            rich_help_panel=TRAININGS,
        ),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="A setting of all trainings. May be repeated. [default: the table's]",
            metavar="NAME=VALUE",
            rich_help_panel=TRAININGS,
        ),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            help="Pretrained weights of a backbone: xception, vgg16, efficientnet_b0 or slowfast_r50. May be repeated. "
            "[default: none]",
            metavar="NAME=FILE",
            rich_help_panel=TRAININGS,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the cells and stop. [default: off]", rich_help_panel=EXECUTION)
    ] = False,
    gpus: Gpus = None,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Threads that decode what is judged. [default: as in training]",
            metavar="INTEGER",
            rich_help_panel=EXECUTION,
        ),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make a table of a paper, beside what was published.

    Each cell is a training, or two, and what it says of a data set. The same command goes on after a stop, cell by
    cell. Data sets that are not given are named with the command that makes them, and the other cells are filled.
    """
    from forgeprep.commands.terminal import document
    from forgeprep.commands.training import pairs_of, refuse_file, require_training
    from forgeprep.errors import UsageError

    require_training()
    from forgeprep.training.reproduce.plan import Asked, cells_of, check_models, unfolded, with_model
    from forgeprep.training.reproduce.table import get_table, tables

    if table is None:
        if any((shards, quick, model, only, setting, weights, dry_run, to)):
            raise UsageError("give a PAPER and a TABLE; 'forgeprep reproduce' lists them")
        found = list(tables().values())
        with document(as_json) as told:
            if paper is None:
                told["tables"] = _list(found)
            else:
                told["tables"] = _show([one for one in found if one.paper == paper] or [get_table(paper, "")])
        return
    chosen = get_table(str(paper), table)
    folder = to or Path("reproduced") / f"{chosen.paper}-{chosen.table}{'-quick' if quick else ''}"
    refuse_file("--to", folder)
    patterns = tuple(only or ())
    if model is not None:
        # Where it is a row of its own, the paper's rows are there to be compared with.
        crossed = chosen.each is not None or any(row.learn for row in chosen.rows)
        chosen, patterns = with_model(chosen, model), patterns or (() if crossed else (model,))
    asked = Asked(folder, {}, quick, seeds, patterns, pairs_of("--set", setting or []), _weights(weights or []))
    # Before anything is made, as far as the rows are known without the shards.
    check_models(chosen, asked, cells_of(chosen, () if chosen.each else patterns))
    with document(as_json) as told:
        there, notes = _data(chosen, shards or [], folder, quick=quick, dry_run=dry_run)
        chosen, asked = unfolded(chosen, there), replace(asked, shards=there)
        told |= _fill(chosen, asked, notes, gpus=gpus, workers=workers, dry_run=dry_run)


app = single(reproduce, examples=EXAMPLES)


def _list(found: Sequence[Table]) -> list[dict[str, Any]]:
    """Every table: what it needs, and how many trainings it takes; returns what ``--json`` prints."""
    from forgeprep.commands.terminal import add_cells, console, light_table, print_table

    for paper in dict.fromkeys(one.paper for one in found):
        own = [one for one in found if one.paper == paper]
        shown = light_table(f"{paper}: {own[0].citation}", ["table"], ["trainings"], ["what", "shards of"])
        for one in own:
            add_cells(shown, one.table, _cost(one), one.title, ", ".join(one.data))
        print_table(shown)
    console.print("'forgeprep reproduce PAPER' tells how to make the shards; --seeds N takes N times the trainings.")
    return [_facts(one) for one in found]


def _facts(table: Table) -> dict[str, Any]:
    cost = _cost(table)
    return {
        "paper": table.paper, "table": table.table, "title": table.title, "data": list(table.data),
        "trainings": int(cost) if cost.isdigit() else None,
    }  # fmt: skip


def _show(found: Sequence[Table]) -> list[dict[str, Any]]:
    """The tables of a paper, with the commands that make their shards; returns what ``--json`` prints."""
    from forgeprep.commands.terminal import console
    from forgeprep.training.reproduce.plan import cells_of, commands_for, unfolded

    console.print(found[0].citation, markup=False)
    facts = []
    for one in found:
        console.print(f"\n{one.paper} {one.table}: {one.title}", markup=False, style="bold")
        console.print(f"    {one.number} Trainings: {_cost(one)}.", markup=False)
        cells = cells_of(unfolded(one, {}))
        rows = list(dict.fromkeys(cell.row.name for cell in cells))
        columns = list(dict.fromkeys(f"{cell.block.title}: {cell.column}" for cell in cells))
        commands = commands_for(one, one.data)
        console.print(f"    rows: {', '.join(rows)}", markup=False)
        console.print(f"    columns: {', '.join(columns)}", markup=False)
        for line in (*one.notes, *commands):
            console.print(f"    {line}", markup=False)
        facts.append({**_facts(one), "rows": rows, "columns": columns, "notes": list(one.notes), "commands": commands})
    return facts


def _cost(table: Table) -> str:
    """How many trainings a table takes with one seed."""
    from forgeprep.errors import UsageError
    from forgeprep.training.pretrained import LAYOUTS
    from forgeprep.training.reproduce.plan import Asked, cells_of, trainings_of, unfolded

    # As if all files were given: with weights and without are two trainings.
    asked = Asked(Path(), {}, weights=dict.fromkeys(LAYOUTS, Path("FILE")))
    try:
        cells = cells_of(unfolded(table, {}))
        chains = [trainings_of(table, asked, cell.row, cell.train, 0) for cell in cells]
    except UsageError:  # A row needs what this version lacks.
        return "?"
    return str(len({training.run for chain in chains for training in chain}))


def _data(
    table: Table, given: Sequence[str], to: Path, *, quick: bool, dry_run: bool
) -> tuple[dict[str, Path], list[str]]:
    """The folder of each data set, and notes; what is missing is told with its command, or made with ``--quick``."""
    from forgeprep.commands.flags import parse_path
    from forgeprep.commands.terminal import console
    from forgeprep.errors import UsageError
    from forgeprep.training.reproduce.plan import assigned, commands_for
    from forgeprep.training.reproduce.quick import quick_shards

    pairs: list[tuple[str | None, Path]] = []
    for text in given:
        name, equals, path = text.partition("=")
        known = bool(equals) and "/" not in name
        pairs.append((name, parse_path(path)) if known else (None, parse_path(text)))
    found, notes = assigned(table, pairs, quick=quick)
    missing = [name for name in table.data if name not in found]
    if quick and not dry_run:
        return quick_shards(table, found, to, lambda line: console.print(line, markup=False)), notes
    if quick:  # Those of an earlier start.
        found |= {name: to / "shards" / name for name in missing if (to / "shards" / name / "run.json").is_file()}
    if missing and not quick:
        lines = commands_for(table, missing)
        if not found and not dry_run:
            raise UsageError(
                f"{table.name}: give --shards for {', '.join(missing)} (or --quick); make them with: {'; '.join(lines)}"
            )
        for name, line in zip(missing, lines, strict=True):
            console.print(f"no shards of {name}: cells that need them stay empty; make them with: {line}", markup=False)
    return found, notes


def _weights(given: Sequence[str]) -> dict[str, Path]:
    from forgeprep.errors import UsageError
    from forgeprep.io.settings import name_and_value

    found = {}
    for text in given:
        name, value = name_and_value("--weights", text)
        if name in found:
            raise UsageError(f"--weights {name} is given twice; leave one out")
        found[name] = parse_local(value)
        if not found[name].is_file():
            raise UsageError(f"--weights {name}: {value} is not there")
    return found


def _fill(
    table: Table, asked: Asked, notes: Sequence[str], *, gpus: int | None, workers: int | None, dry_run: bool
) -> dict[str, Any]:
    """Fill the cells, and write and print the table; after each cell it is written as far as it is."""
    from forgeprep.commands.terminal import console
    from forgeprep.commands.training import device_of, train_with_bar
    from forgeprep.training.reproduce.draw import draw_table
    from forgeprep.training.reproduce.fill import NOT_YET, Filler
    from forgeprep.training.reproduce.plan import first_reason
    from forgeprep.training.reproduce.write import document, write_table

    def after(cells: list[dict[str, Any]]) -> None:
        write_table(document(table, asked, cells, notes), asked.to)

    filler = Filler(
        table, asked, lambda training: train_with_bar(training, gpus), device_of(gpus), workers,
        lambda line: console.print(line, markup=False), after,
    )  # fmt: skip
    if dry_run:
        return _print_cells(filler)
    cells = filler.fill()
    if not any(cell["values"] for cell in cells):
        raise first_reason(cell["mark"] for cell in cells if cell["mark"] != NOT_YET)
    found = document(table, asked, cells, notes)
    draw_table(found, asked.to / "table.png")
    _print(found)
    files = [str(file) for file in (*write_table(found, asked.to), asked.to / "table.png")]
    for file in files:
        console.print(f"written: {file}", markup=False)
    return {"to": str(asked.to), "files": files, **found}


def _print_cells(filler: Filler) -> dict[str, Any]:
    """``--dry-run``: each cell, what it is trained and tested on, and whether that is done."""
    from forgeprep.commands.terminal import add_cells, console, light_table, print_table
    from forgeprep.training.reproduce.fill import state_of
    from forgeprep.training.reproduce.plan import cells_of

    shown = light_table(f"{filler.table.name}: cells", ["row", "column", "trained on", "tested on", "state"], [])
    runs: dict[Path, None] = {}
    cells: list[dict[str, Any]] = []
    for cell in cells_of(filler.table, filler.asked.only):
        if cell.chosen:
            own, state = state_of(filler.table, filler.asked, cell)
            runs |= dict.fromkeys(own)
            column = f"{cell.block.title}: {cell.column}"
            add_cells(shown, cell.row.name, column, ", ".join(cell.train), cell.data, state)
            about = {"row": cell.row.name, "block": cell.block.title, "column": cell.column}
            cells.append({**about, "trained_on": list(cell.train), "tested_on": cell.data, "state": state})
    print_table(shown)
    console.print(f"{len(runs)} training{'s' * (len(runs) != 1)}, in {filler.asked.to / 'trainings'}", markup=False)
    return {"to": str(filler.asked.to), "trainings": [str(run) for run in runs], "cells": cells}


def _print(found: Mapping[str, Any]) -> None:
    """The table in a terminal."""
    from forgeprep.commands.terminal import add_cells, console, light_table, print_table
    from forgeprep.training.reproduce.write import heading, how_to_read, table_of, unfilled

    console.print(heading(found), markup=False, style="bold")
    for block in found["blocks"]:
        heads, rows = table_of(block)
        shown = light_table(block["title"], heads[:1], heads[1:])
        for row in rows:
            add_cells(shown, *row)
        print_table(shown)
    for line in (how_to_read(found), *found["notes"], *(f"not filled: {text}" for text in unfilled(found))):
        console.print(line, markup=False)
