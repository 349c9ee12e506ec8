"""What a run holds, in numbers: from its tables and records alone, no picture is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from forgeprep.report.terminal import add_cells, light_table
from forgeprep.schemas.clips import PAIRINGS, SPLITS
from forgeprep.schemas.drops import DROP_SCHEMA, reasons_of_run
from forgeprep.shards.records import iter_records, read_run

if TYPE_CHECKING:
    from rich.table import Table

SHOWN_CLIPS = 15
"""The table of short clips ends after so many."""


class Kind(NamedTuple):
    """What samples are counted by; ``method`` is None for reals."""

    split: str
    compression: str | None
    method: str | None
    label: int


@dataclass(slots=True)
class Counts:
    """Clips, those without a single sample, and samples (faces) written and dropped."""

    clips: int = 0
    empty: int = 0
    written: int = 0
    dropped: int = 0

    @property
    def planned(self) -> int:
        """Samples planned: all of them were written or dropped."""
        return self.written + self.dropped

    def add(self, clip: dict[str, Any]) -> None:
        """Count a row of ``clips.parquet``."""
        self.clips += 1
        self.empty += not clip["written"]
        self.written += clip["written"]
        self.dropped += clip["dropped"]


@dataclass(slots=True)
class Files:
    """Shards of one split in one format."""

    shards: int = 0
    rows: int = 0
    bytes: int = 0


@dataclass(slots=True)
class Summary:
    """A run in numbers.

    Attributes:
        out: the run's folder.
        planned_shards: shards that the run shall have; None where ``run.json`` does not say.
        damaged: shards whose record is damaged.
        counts: samples by split, compression, method and label.
        drops: reason -> samples.
        meanings: reason -> what it means.
        short: rows of ``clips.parquet`` of clips that lost samples or gave none, those that lost most first.
        files: (split, format) -> what lies on the disk.
        pairings: how fakes came to their originals, one of :data:`forgeprep.schemas.clips.PAIRINGS` -> fakes.
        exchanged: fakes whose first guess was exchanged for another candidate.
    """

    out: Path
    planned_shards: int | None = None
    damaged: list[str] = field(default_factory=list)
    counts: dict[Kind, Counts] = field(default_factory=dict)
    drops: Counter[str] = field(default_factory=Counter)
    meanings: dict[str, str] = field(default_factory=dict)
    short: list[dict[str, Any]] = field(default_factory=list)
    files: dict[tuple[str, str], Files] = field(default_factory=dict)
    shards: int = 0
    pairings: Counter[str] = field(default_factory=Counter)
    exchanged: int = 0

    @property
    def total(self) -> Counts:
        """The sums over all kinds."""
        values = self.counts.values()
        names = ("clips", "empty", "written", "dropped")
        return Counts(*(sum(getattr(v, name) for v in values) for name in names))


def summarise(out: Path) -> Summary:
    """Count what a run, finished or not, has so far.

    Raises:
        UsageError: the folder holds no run.
    """
    run = read_run(out)
    planned = run.get("shards")
    summary = Summary(out, planned if isinstance(planned, int) else None)
    summary.meanings = {name: reason.meaning for name, reason in reasons_of_run(run).items()}
    reason = DROP_SCHEMA.get_field_index("reason")
    # The records, not the merged tables: these are there only once the last shard is made.
    for shard, record in iter_records(out):
        if record is None:
            summary.damaged.append(shard)
            continue
        summary.shards += 1
        summary.drops.update(drop[reason] for drop in record["drops"])
        _add_clips(summary, record["clips"])
        for file in record["files"]:
            files = summary.files.setdefault((record["split"], file["format"]), Files())
            files.shards += 1
            files.rows += file["rows"]
            files.bytes += file["bytes"]
    summary.counts = dict(sorted(summary.counts.items(), key=lambda item: _order(item[0])))
    summary.files = dict(sorted(summary.files.items(), key=lambda item: (split_order(item[0][0]), item[0][1])))
    summary.short.sort(key=lambda clip: (-clip["dropped"], clip["written"], clip["clip_id"]))
    return summary


def render(summary: Summary) -> list[Table]:
    """The summary as tables for a terminal; tables without rows are left out."""
    counted = _samples_table(summary), _pairings_table(summary), _drops_table(summary)
    tables = [*counted, _short_table(summary), _files_table(summary)]
    return [table for table in tables if table is not None]


def size_text(count: float) -> str:
    """A number of bytes for people.

    >>> size_text(1_234_567)
    '1.2 MB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _add_clips(summary: Summary, clips: Iterable[dict[str, Any]]) -> None:
    for clip in clips:
        kind = Kind(clip["split"], clip["compression"], clip["method"], clip["label"])
        summary.counts.setdefault(kind, Counts()).add(clip)
        if clip["pairing"] is not None:
            summary.pairings[clip["pairing"]] += 1
            summary.exchanged += clip["pairing"] == "guessed" and len(clip["guesses"] or ()) > 1
        if clip["dropped"] or clip["error"] is not None or not clip["written"]:
            summary.short.append(clip)


def _order(kind: Kind) -> tuple[object, ...]:
    return split_order(kind.split), kind.compression or "", kind.label, kind.method or ""


def split_order(split: str) -> tuple[int, str]:
    """Sort by it: train, val, test, then others by name."""
    return (SPLITS.index(split) if split in SPLITS else len(SPLITS)), split


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
        notes.append(f"{summary.shards} of {summary.planned_shards} shards are made; run again for the rest")
    if summary.damaged:
        notes.append(f"damaged records: {', '.join(summary.damaged)}; run again to remake these shards")
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
    table.caption = f"and {more:,} more: see clips.parquet and drops.parquet" if more > 0 else None
    return table


def _files_table(summary: Summary) -> Table | None:
    if not summary.files:
        return None
    table = light_table("files", ["split", "format"], ["shards", "rows", "size"])
    for (split, shape), files in summary.files.items():
        add_cells(table, split, shape, f"{files.shards:,}", f"{files.rows:,}", size_text(files.bytes))
    return table
