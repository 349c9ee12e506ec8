"""What a run holds, in numbers: from its tables and records alone, no picture is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from forgeprep.schemas.clips import SPLITS
from forgeprep.schemas.drops import DROP_SCHEMA, reasons_of_run
from forgeprep.shards.records import iter_records, read_run
from forgeprep.shards.remedies import again, rebuild, without_record

SENSES: dict[int | None, str] = {0: "real", 1: "forged", None: "not known"}
"""What ``visual_label`` and ``audio_label`` mean, in words."""


class Kind(NamedTuple):
    """What samples are counted by; ``method`` is None for reals."""

    split: str
    compression: str | None
    method: str | None
    label: int


def method_name(method: str | None, label: int) -> str:
    """The name by which samples are grouped: the method, or "real"."""
    return (method or "fake") if label else "real"


def method_order(name: str) -> tuple[bool, str]:
    """A sort key: "real" first."""
    return name != "real", name


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
        """Count a row of ``meta/clips.pq``."""
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
        remedy: what to do where shards are not made or damaged.
        counts: samples by split, compression, method and label.
        drops: reason -> samples.
        meanings: reason -> what it means.
        short: rows of ``meta/clips.pq`` of clips that lost samples or gave none, those that lost most first.
        files: (split, format) -> what lies on the disk.
        pairings: how fakes came to their originals, one of :data:`forgeprep.schemas.clips.PAIRINGS` -> fakes.
        exchanged: fakes whose first guess was exchanged for another candidate.
        warned: clip and what did not go as its dataset says, by clip.
        senses: counts by whether clips are forged where they are seen, and heard; empty where of none is known whether
            its sound is.
    """

    out: Path
    planned_shards: int | None = None
    damaged: list[str] = field(default_factory=list)
    remedy: str = "run again"
    counts: dict[Kind, Counts] = field(default_factory=dict)
    drops: Counter[str] = field(default_factory=Counter)
    meanings: dict[str, str] = field(default_factory=dict)
    short: list[dict[str, Any]] = field(default_factory=list)
    files: dict[tuple[str, str], Files] = field(default_factory=dict)
    shards: int = 0
    pairings: Counter[str] = field(default_factory=Counter)
    exchanged: int = 0
    warned: list[tuple[str, str]] = field(default_factory=list)
    senses: dict[tuple[int | None, int | None], Counts] = field(default_factory=dict)

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
    known: set[str] = set()
    # The records, not the merged tables: these are there only once the last shard is made.
    for shard, record in iter_records(out):
        if record is None:
            summary.damaged.append(shard)
            continue
        summary.shards += 1
        known |= {file["path"] for file in record["files"]}
        summary.drops.update(drop[reason] for drop in record["drops"])
        _add_clips(summary, record["clips"])
        for file in record["files"]:
            files = summary.files.setdefault((record["split"], file["format"]), Files())
            files.shards += 1
            files.rows += file["rows"]
            files.bytes += file["bytes"]
    summary.counts = dict(sorted(summary.counts.items(), key=lambda item: _order(item[0])))
    summary.files = dict(sorted(summary.files.items(), key=lambda item: (split_order(item[0][0]), item[0][1])))
    lost = summary.damaged or summary.planned_shards is None or summary.shards < summary.planned_shards
    if lost and any(without_record(out, known).values()):
        summary.remedy = f"records are missing, as in a copy without state/: {rebuild(out)}"
    else:
        summary.remedy = again(run, out) or "take the run from a copy"
    summary.warned.sort()
    if all(heard is None for _, heard in summary.senses):
        summary.senses.clear()
    summary.senses = dict(sorted(summary.senses.items(), key=str))
    summary.short.sort(key=lambda clip: (-clip["dropped"], clip["written"], clip["clip_id"]))
    return summary


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
        summary.warned += [(clip["clip_id"], text) for text in clip["warnings"] or ()]
        summary.senses.setdefault((clip["visual_label"], clip["audio_label"]), Counts()).add(clip)
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
