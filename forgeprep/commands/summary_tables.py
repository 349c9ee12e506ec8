"""What a run holds, as tables for a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from forgeprep.commands.terminal import add_cells, light_table
from forgeprep.report.summary import SENSES, Counts, Summary, size_text
from forgeprep.schemas.clips import PAIRINGS
from forgeprep.shards.names import table_path
from forgeprep.text import counted

if TYPE_CHECKING:
    from rich.table import Table

SHOWN_CLIPS = 15
"""The table of short clips ends after so many."""


def summary_tables(summary: Summary) -> list[Table]:
    """The summary as tables for a terminal; tables without rows are left out."""
    counted = _samples_table(summary), _pairings_table(summary), _drops_table(summary)
    tables = [*counted, _short_table(summary), _senses_table(summary), _warned_table(summary), _files_table(summary)]
    return [table for table in tables if table is not None]


def _samples_table(summary: Summary) -> Table:
    numbers = ["clips", "empty", "planned", "written", "dropped"]
    table = light_table("coverage", ["split", "compression", "method"], numbers)
    split = None
    for kind, counts in summary.counts.items():
        if split not in (None, kind.split):
            table.add_section()
        split = kind.split
        add_cells(table, kind.split, kind.compression or "-", kind.method or "real", *_numbers(counts))
    table.add_section()
    add_cells(table, "all", "", "", *_numbers(summary.total))
    notes = ["planned samples were written or dropped; an empty clip gave none"]
    if summary.planned_shards is not None and summary.shards < summary.planned_shards:
        planned = counted(summary.planned_shards, "shard is", "shards are")
        notes.append(f"{summary.shards:,} of {planned} made; {summary.remedy}")
    if summary.damaged:
        notes.append(f"damaged records: {', '.join(summary.damaged)}; {summary.remedy}")
    table.caption = "\n".join(notes)
    return table


def _numbers(counts: Counts) -> tuple[str, ...]:
    return tuple(f"{n:,}" for n in (counts.clips, counts.empty, counts.planned, counts.written, counts.dropped))


def _pairings_table(summary: Summary) -> Table | None:
    if not summary.pairings.keys() - {"stated", "none"}:
        return None
    table = light_table("originals", ["pairing"], ["fakes"], ["meaning"])
    for name, meaning in PAIRINGS.items():
        if name in summary.pairings:
            add_cells(table, name, f"{summary.pairings[name]:,}", meaning)
    table.caption = (
        f"{summary.exchanged:,} of the guesses are not the likeliest candidate" if summary.exchanged else None
    )
    return table


def _drops_table(summary: Summary) -> Table | None:
    if not summary.drops:
        return None
    table = light_table("drops", ["reason"], ["samples"], ["meaning"])
    for reason, count in sorted(summary.drops.items(), key=lambda item: (-item[1], item[0])):
        add_cells(table, reason, f"{count:,}", summary.meanings.get(reason, ""))
    return table


def _short_table(summary: Summary) -> Table | None:
    if not summary.short:
        return None
    numbers = ["requested", "decoded", "detected", "written", "dropped"]
    table = light_table("clips that lost samples", ["clip"], numbers, ["error"])
    for clip in summary.short[:SHOWN_CLIPS]:
        add_cells(table, clip["clip_id"], *(f"{clip[name]:,}" for name in numbers), clip["error"] or "")
    more = len(summary.short) - SHOWN_CLIPS
    table.caption = (
        f"and {more:,} more: see {' and '.join(_relative(summary.out, name) for name in ('clips', 'drops'))}"
        if more > 0
        else None
    )
    return table


def _senses_table(summary: Summary) -> Table | None:
    if not summary.senses:
        return None
    table = light_table("seen and heard", ["seen", "heard"], ["clips", "written", "dropped"])
    for (seen, heard), counts in summary.senses.items():
        numbers = (f"{n:,}" for n in (counts.clips, counts.written, counts.dropped))
        add_cells(table, SENSES[seen], SENSES[heard], *numbers)
    return table


def _warned_table(summary: Summary) -> Table | None:
    if not summary.warned:
        return None
    table = light_table("clips that are not as their dataset says", ["clip"], [], ["warning"])
    for clip_id, text in summary.warned[:SHOWN_CLIPS]:
        add_cells(table, clip_id, text)
    more = len(summary.warned) - SHOWN_CLIPS
    table.caption = f"and {more:,} more: see {_relative(summary.out, 'clips')}" if more > 0 else None
    return table


def _relative(out: Path, table: str) -> str:
    return table_path(out, table).relative_to(out).as_posix()


def _files_table(summary: Summary) -> Table | None:
    if not summary.files:
        return None
    table = light_table("files", ["split", "format"], ["shards", "rows", "size"])
    for (split, shape), files in summary.files.items():
        add_cells(table, split, shape, f"{files.shards:,}", f"{files.rows:,}", size_text(files.bytes))
    return table
