"""The report of a run: one HTML page that needs nothing else, from which people see whether the run is good."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgeprep.io.atomic import atomic_write_bytes
from forgeprep.report import samples, sections
from forgeprep.report.findings import Findings
from forgeprep.report.measure import measure
from forgeprep.report.pairs import look_at_clips
from forgeprep.report.panels import picture_columns
from forgeprep.report.pictures import look_at_pictures
from forgeprep.report.render import render, source
from forgeprep.report.summary import size_text, summarise
from forgeprep.report.tables import Table, texts
from forgeprep.report.verdict import lost_clips, verdict_of
from forgeprep.report.worst import LISTED, write_csv
from forgeprep.shards.records import read_run

Facts = dict[str, object]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page; the template of its anchor's name draws its facts."""

    anchor: str
    title: str
    facts: Facts


SECTIONS: dict[str, tuple[str, Callable[[Findings], Facts]]] = {
    "sheets": ("Pictures", samples.sheets),
    "worst": ("Most doubtful samples", sections.worst),
    "samples": ("Samples", sections.samples),
    "coverage": ("Coverage", sections.coverage),
    "masks": ("Masks", sections.masks),
    "agreement": ("Agreement of masks", sections.agreement),
    "pairs": ("Pairs", sections.pairs),
    "spans": ("Detected spans", sections.spans),
    "boxes": ("Face boxes", sections.boxes),
    "perturbations": ("Perturbations", sections.perturbations),
    "noise": ("Noise residual", samples.noise),
    "similarity": ("Similarity maps", samples.similarity),
}
"""Anchor -> title, and the function that gathers what its template shows."""


def write_page(found: Findings, file: Path, table: Path | None = None) -> Path:
    """Write the page, and the CSV file where a ``table`` is given; returns the page's file.

    The same findings give the same page. The columns of the CSV are :data:`forgeprep.report.worst.HEADER`.

    Raises:
        StorageError: a file cannot be written.
    """
    if table is not None:
        write_csv(found.measures.worst, table)
    atomic_write_bytes(file, render_page(found).encode())
    return file


def gather(out: Path, listed: int = LISTED) -> Findings:
    """Read what the page shows, of a run that is finished or not; the ``listed`` most doubtful samples come one by one.

    Statistics cover all samples; pictures are decoded for some hundred only. Damaged shards are among the findings.

    Raises:
        UsageError: the folder holds no run.
    """
    summary, run = summarise(out), read_run(out)
    measures = measure(out, listed, lost_clips(summary.short))
    return Findings(run, summary, look_at_clips(out), measures, look_at_pictures(measures.picks, picture_columns(run)))


def render_page(found: Findings) -> str:
    """The page as HTML."""
    absent = {"perturbations": "perturb" not in found.measures.marks, "worst": not found.measures.worst}
    shown = [name for name in SECTIONS if not absent.get(name)]
    return render(
        "page.html.j2",
        found=found,
        dataset=str((found.run.get("config") or {}).get("dataset") or "run"),
        stages=found.run.get("stages") or [],
        verdict=verdict_of(found),
        figures=_figures(found),
        settings=_settings(found.run),
        sections=[Section(name, SECTIONS[name][0], SECTIONS[name][1](found)) for name in shown],
        style=source("style.css"),
        script=source("page.js"),
    )


def _figures(found: Findings) -> list[tuple[str, str]]:
    summary, total = found.summary, found.summary.total
    planned = summary.planned_shards
    return [
        ("samples", f"{found.measures.rows.total():,}"),
        ("clips", f"{total.clips:,}"),
        ("dropped", f"{total.dropped:,}"),
        ("shards", f"{summary.shards:,}" if planned is None else f"{summary.shards:,} of {planned:,}"),
        ("size", size_text(sum(files.bytes for files in summary.files.values()))),
    ]


def _settings(run: dict[str, Any]) -> Table:
    config = dict(run.get("config") or {})
    rows = [(name, value) for name, value in config.items() if name != "params"]
    rows += [(f"{stage}: {name}", v) for stage, own in (config.get("params") or {}).items() for name, v in own.items()]
    rows += [(f"version of {name}", value) for name, value in (run.get("versions") or {}).items()]
    rows += [("fingerprint", run.get("fingerprint", "-")), ("dataset's folder", run.get("root", "-"))]
    shown = [(name, "-" if v is None else ", ".join(map(str, v)) if isinstance(v, list) else v) for name, v in rows]
    return Table("settings-table", "from run.json", texts("setting", "value"), shown)
