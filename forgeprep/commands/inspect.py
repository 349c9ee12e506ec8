"""``forgeprep inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forgeprep.commands.flags import ANY, Debug, Json, Out
from forgeprep.commands.groups import single

if TYPE_CHECKING:
    from forgeprep.report.summary import Summary

READ_MEMORY = 4 << 30
"""What looking at a run may take: its records are held whole, its shards a few dozen rows at a time."""


def inspect(
    out: Out,
    sheet: Annotated[
        Path | None, typer.Option(help="Write a contact sheet, a PNG, to this file. [default: none]", **ANY)
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show counts per split, method and drop reason."""
    from forgeprep.commands.terminal import console, print_json
    from forgeprep.media import guard

    if as_json:
        with guard.memory(READ_MEMORY):
            print_json(_document(*_look(out)))
    else:
        show_counts(out)
    if sheet is not None:
        from forgeprep.report.sheet import contact_sheet

        with guard.memory(READ_MEMORY):
            contact_sheet(out, sheet)
        if not as_json:
            console.print(f"contact sheet: {sheet}", markup=False)


app = single(inspect, examples="forgeprep inspect shards\nforgeprep inspect shards --sheet sheet.png")


def show_counts(out: Path) -> None:
    """Print what a run holds, and what is doubtful about it."""
    from forgeprep.commands.summary_tables import summary_tables
    from forgeprep.commands.terminal import console, print_table
    from forgeprep.media import guard

    with guard.memory(READ_MEMORY):
        summary, warnings = _look(out)
        for table in summary_tables(summary):
            print_table(table)
        for line in warnings:
            console.print(f"warning: {line}", markup=False)


def _look(out: Path) -> tuple[Summary, list[str]]:
    from forgeprep.report.doubt import doubts_of
    from forgeprep.report.pairs import coding_warnings, look_at_clips
    from forgeprep.report.summary import summarise

    return summarise(out), [*coding_warnings(look_at_clips(out)), *doubts_of(out)]


def _document(summary: Summary, warnings: list[str]) -> dict[str, Any]:
    """The same for programs; all samples are counted, and all clips that lost some are there."""
    from dataclasses import asdict

    return {
        "out": str(summary.out),
        "shards": summary.shards,
        "shards_planned": summary.planned_shards,
        "damaged": summary.damaged,
        "total": {**asdict(summary.total), "planned": summary.total.planned},
        "counts": [
            {**kind._asdict(), **asdict(counts), "planned": counts.planned} for kind, counts in summary.counts.items()
        ],
        "drops": dict(summary.drops),
        "pairings": dict(summary.pairings),
        "exchanged": summary.exchanged,
        "short_clips": summary.short,
        "files": [
            {"split": split, "format": shape, **asdict(files)} for (split, shape), files in summary.files.items()
        ],
        "warnings": warnings,
    }
