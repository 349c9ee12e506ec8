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
from forgeprep.report.pairs import coding_warnings, look_at_clips
from forgeprep.report.panels import picture_columns
from forgeprep.report.pictures import look_at_pictures
from forgeprep.report.render import render
from forgeprep.report.summary import size_text, summarise
from forgeprep.report.tables import Table, texts
from forgeprep.shards.records import read_run
from forgeprep.text import counted

SHOWN_DOUBTS = 5
"""The most lines about doubtful masks at the top of the page; the section of masks shows all."""

SHOWN_PROBLEMS = 10
"""The most lines about unreadable files at the top of the page."""

Facts = dict[str, object]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page; the template of its anchor's name draws its facts."""

    anchor: str
    title: str
    facts: Facts


SECTIONS: dict[str, tuple[str, Callable[[Findings], Facts]]] = {
    "samples": ("Samples", sections.samples),
    "coverage": ("Coverage", sections.coverage),
    "masks": ("Masks", sections.masks),
    "agreement": ("Agreement of masks", sections.agreement),
    "sheets": ("Contact sheets", samples.sheets),
    "pairs": ("Pairs", sections.pairs),
    "spans": ("Detected spans", sections.spans),
    "boxes": ("Face boxes", sections.boxes),
    "perturbations": ("Perturbations", sections.perturbations),
    "noise": ("Noise residual", samples.noise),
    "similarity": ("Similarity maps", samples.similarity),
}
"""Anchor -> title, and the function that gathers what its template shows."""


def write_report(out: Path, file: Path | None = None) -> Path:
    """Write the report of a run, finished or not, and return its path. The same run gives the same page.

    Statistics cover all samples; pictures are decoded for some hundred only. The page names damaged shards.

    Args:
        out: the run's folder.
        file: the HTML file to write; default ``report/index.html`` in the run's folder.

    Raises:
        UsageError: the folder holds no run.
        StorageError: the file cannot be written.
    """
    file = out / "report" / "index.html" if file is None else file
    atomic_write_bytes(file, render_page(gather(out)).encode())
    return file


def gather(out: Path) -> Findings:
    """Read what the page shows."""
    summary = summarise(out)
    run, measures = read_run(out), measure(out)
    return Findings(run, summary, look_at_clips(out), measures, look_at_pictures(measures.picks, picture_columns(run)))


def render_page(found: Findings) -> str:
    """The page as HTML."""
    shown = [name for name in SECTIONS if name != "perturbations" or "perturb" in found.measures.marks]
    return render(
        "page.html.j2",
        found=found,
        dataset=str((found.run.get("config") or {}).get("dataset") or "run"),
        stages=found.run.get("stages") or [],
        alerts=_alerts(found),
        figures=_figures(found),
        settings=_settings(found.run),
        sections=[Section(name, SECTIONS[name][0], SECTIONS[name][1](found)) for name in shown],
    )


def _alerts(found: Findings) -> list[str]:
    """Warnings for the top of the page."""
    summary, measures = found.summary, found.measures
    planned = summary.planned_shards
    alerts = []
    if planned is not None and summary.shards < planned:
        left = (found.run.get("requested") or 0) - found.clips.requested
        alerts.append(
            f"This run is unfinished: {summary.shards:,} of {counted(planned, 'shard is', 'shards are')} made, "
            f"{counted(max(0, left), 'frame was', 'frames were')} not tried yet. The page shows what is there."
        )
    if not measures.rows:
        alerts.append("This run has no samples (0 rows).")
    if summary.damaged:
        alerts.append(f"Damaged records: {', '.join(summary.damaged)}; run again to remake these shards.")
    alerts += coding_warnings(found.clips)
    alerts += measures.doubts[:SHOWN_DOUBTS]
    if (more := len(measures.doubts) - SHOWN_DOUBTS) > 0:
        alerts.append(f"The masks of {more:,} more methods are doubtful: see Masks.")
    problems = measures.problems + found.pictures.problems
    return alerts + [f"Not readable: {problem}" for problem in problems[:SHOWN_PROBLEMS]]


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
