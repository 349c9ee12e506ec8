"""``forgeprep compare``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forgeprep.commands.flags import Debug, Json, parse_path
from forgeprep.commands.groups import single
from forgeprep.text import counted

if TYPE_CHECKING:
    from rich.table import Table

    from forgeprep.report.compare import Comparison


def compare(
    a: Annotated[Path, typer.Argument(help="Folder of a run.", parser=parse_path, metavar="A")],
    b: Annotated[Path, typer.Argument(help="Folder of another run.", parser=parse_path, metavar="B")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Tell whether two runs are the same data.

    Settings, sample sets, and every column. Exit code 1 if they are not.
    """
    from forgeprep.media import guard
    from forgeprep.report.compare import compare as compare_runs

    with guard.memory(2 * guard.MEMORY):
        found = compare_runs(a, b)
    if as_json:
        print(found.to_json(), end="")
    else:
        _print(found, a, b)
    sys.exit(0 if found.same else 1)


app = single(compare, examples="forgeprep compare shards other\nforgeprep compare shards other --json > found.json")


def _print(found: Comparison, a: Path, b: Path) -> None:
    from forgeprep.commands.terminal import print_table

    _say(f"A: {a}\nB: {b}")
    same = found.fingerprints[0] == found.fingerprints[1]
    _say(f"fingerprints: {'equal' if same else 'differ'} ({found.fingerprints[0][:12]}, {found.fingerprints[1][:12]})")
    for line in found.settings:
        _say(f"    {line}")
    if found.drops:
        _say("drops: " + ", ".join(f"{reason} {x:,} -> {y:,}" for reason, (x, y) in found.drops.items()))
    for name, count, examples in (("A", found.only_a, found.examples_a), ("B", found.only_b, found.examples_b)):
        if count:
            _say(f"only in {name}: {counted(count, 'sample')}, e.g. {', '.join(examples[:2])}")
    for name, columns in (("A", found.columns_only_a), ("B", found.columns_only_b)):
        if columns:
            _say(f"columns only in {name}: {', '.join(columns)}")
    _say(f"samples in both: {found.common:,}")
    if found.columns:
        print_table(_table(found))
    if found.by_checksum:
        _say("all files have the same checksums on record; 'forgeprep verify' tells whether the bytes still match them")
    _say("same data" if found.same else f"not the same data: {_summary(found)}")


def _say(text: str) -> None:
    from forgeprep.commands.terminal import console

    console.print(text, markup=False)


def _table(found: Comparison) -> Table:
    from forgeprep.commands.terminal import add_cells, light_table

    numbers = ["samples", "largest", "mean", "IoU: mean", "least", "other size"]
    table = light_table("columns that differ", ["column"], numbers)
    for column in found.columns:
        values = (column.largest, column.mean, column.mean_iou, column.least_iou)
        shown = ("" if value is None else f"{value:.4g}" for value in values)
        add_cells(table, column.name, f"{column.samples:,}", *shown, f"{column.other_size:,}")
    table.caption = "largest and mean: absolute, of pixels in levels of 255"
    return table


def _summary(found: Comparison) -> str:
    parts = []
    if found.only_a or found.only_b:
        parts.append(f"{counted(found.only_a + found.only_b, 'sample is', 'samples are')} in one run alone")
    if found.columns_only_a or found.columns_only_b:
        alone = len(found.columns_only_a) + len(found.columns_only_b)
        parts.append(f"{counted(alone, 'column is', 'columns are')} in one run alone")
    if found.columns:
        most = counted(max(column.samples for column in found.columns), "sample")
        parts.append(f"{counted(len(found.columns), 'column differs', 'columns differ')} in {most} or less")
    return "; ".join(parts)
