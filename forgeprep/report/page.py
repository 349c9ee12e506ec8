"""The report of a run: one HTML page that needs nothing else, for people to judge the run by."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgeprep.io.atomic import atomic_write_bytes
from forgeprep.report import charts
from forgeprep.report.html import Markup, facts, join, page, table, tag
from forgeprep.report.measure import BINS, Histogram, Measures, measure
from forgeprep.report.pairs import LOW_SIMILARITY, SHOWN, Clips, coding_warnings, duration_s, look_at_clips
from forgeprep.report.perturbations import perturbations
from forgeprep.report.pictures import Pictures, look_at_pictures
from forgeprep.report.samples import lack, noise, sheets, similarity
from forgeprep.report.summary import Kind, Summary, size_text, split_order, summarise
from forgeprep.schemas.drops import REASONS
from forgeprep.shards.records import read_run

SHOWN_DOUBTS = 5
"""So many lines about doubtful masks stand at the top of the page; all stand beside the figures of masks."""

BARS = 25
"""Bars of a small histogram."""


@dataclass(frozen=True, slots=True)
class Findings:
    """All that the page is made of."""

    run: dict[str, Any]
    summary: Summary
    clips: Clips
    measures: Measures
    pictures: Pictures


def write_report(out: Path, file: Path | None = None) -> Path:
    """Write the report of a run, finished or not, and return its path. The same run gives the same page.

    Statistics are of all samples; pictures are decoded for some hundred only. Damaged shards are named on the page.

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
    measures = measure(out)
    return Findings(read_run(out), summary, look_at_clips(out), measures, look_at_pictures(measures.picks))


def render_page(found: Findings) -> str:
    """The page as HTML."""
    parts: list[tuple[str, str, Callable[[Findings], Markup]]] = [
        ("samples", "Samples", _samples),
        ("coverage", "Coverage", _coverage),
        ("masks", "Masks", _masks),
        ("agreement", "Agreement of masks", _agreement),
        ("sheets", "Contact sheets", lambda f: sheets(f.pictures, f.measures)),
        ("pairs", "Pairs", _pairs),
        ("segments", "Forged segments", _segments),
        ("boxes", "Face boxes", _boxes),
        *([("perturbations", "Perturbations", _perturbations)] if "perturb" in found.measures.marks else []),
        ("noise", "Noise residual", lambda f: noise(f.pictures, f.measures)),
        ("similarity", "Similarity maps", lambda f: similarity(f.pictures, f.measures)),
    ]
    dataset = (found.run.get("config") or {}).get("dataset") or "run"
    sections = [(anchor, title, make(found)) for anchor, title, make in parts]
    return page(f"{dataset}: report of a forgeprep run", _header(found, str(dataset)), sections)


def _header(found: Findings, dataset: str) -> Markup:
    summary, total = found.summary, found.summary.total
    planned = summary.planned_shards
    alerts = []
    if planned is not None and summary.shards < planned:
        left = (found.run.get("requested") or 0) - found.clips.requested
        alerts.append(
            f"This run is unfinished: {summary.shards:,} of {planned:,} shards are made, {max(0, left):,} frames were "
            "not tried yet. The page shows what is there."
        )
    if not found.measures.rows:
        alerts.append("This run has no samples (0 rows).")
    if summary.damaged:
        alerts.append(f"Damaged records: {', '.join(summary.damaged)}; run again to remake these shards.")
    alerts += coding_warnings(found.clips)
    alerts += found.measures.doubts[:SHOWN_DOUBTS]
    if (more := len(found.measures.doubts) - SHOWN_DOUBTS) > 0:
        alerts.append(f"The masks of {more:,} more methods are doubtful: see Masks.")
    alerts += [f"Not readable: {problem}" for problem in (found.measures.problems + found.pictures.problems)[:10]]
    shards = f"{summary.shards:,}" if planned is None else f"{summary.shards:,} of {planned:,}"
    figures = facts(
        [
            ("samples", f"{found.measures.rows.total():,}"),
            ("clips", f"{total.clips:,}"),
            ("dropped", f"{total.dropped:,}"),
            ("shards", shards),
            ("size", size_text(sum(files.bytes for files in summary.files.values()))),
        ]
    )
    title = tag("h1", f"{dataset}: report of a run")
    where = tag("p", f"{summary.out} · stages: {', '.join(map(str, found.run.get('stages') or [])) or 'none'}", "faint")
    return join([title, where, *(tag("p", alert, "alert") for alert in alerts), figures, _settings(found.run)])


def _settings(run: dict[str, Any]) -> Markup:
    config = dict(run.get("config") or {})
    rows = [(name, value) for name, value in config.items() if name != "params"]
    rows += [(f"{stage}: {name}", v) for stage, own in (config.get("params") or {}).items() for name, v in own.items()]
    rows += [(f"version of {name}", value) for name, value in (run.get("versions") or {}).items()]
    rows += [("fingerprint", run.get("fingerprint", "-")), ("dataset's folder", run.get("root", "-"))]
    shown = [(name, "-" if v is None else ", ".join(map(str, v)) if isinstance(v, list) else v) for name, v in rows]
    content = table("settings-table", "from run.json", ["setting", "value"], shown)
    return tag("details", join([tag("summary", "Settings and versions"), content]))


def _samples(found: Findings) -> Markup:
    if not found.measures.rows:
        return tag("p", "There are no samples.")
    rows = found.measures.rows
    splits = sorted({kind.split for kind in rows}, key=split_order)
    cells: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    for kind in sorted(rows, key=_kind_order):
        cells[_names(kind)][kind.split] += rows[kind]
    lines = [[*names, *(f"{own[s]:,}" for s in splits), f"{own.total():,}"] for names, own in cells.items()]
    heads = ["compression", "method", "label", *(f">{split}" for split in splits), ">all"]
    sums = [sum(own[split] for own in cells.values()) for split in splits]
    foot = ["all", "", "", *(f"{n:,}" for n in (*sums, rows.total()))]
    note = "The label is the sample's own: frames of a fake before or after its forgery count as real."
    return join([tag("p", note), table("samples-table", "rows of the shards", heads, lines, foot=foot)])


def _coverage(found: Findings) -> Markup:
    if not found.summary.counts:
        return tag("p", "No shard is made yet, so no clip is accounted for.")
    drops = found.summary.drops
    reasons = [reason for reason, _ in sorted(drops.items(), key=lambda item: (-item[1], item[0]))]
    meanings = [(reason, f"{drops[reason]:,}", REASONS.get(reason, "")) for reason in reasons]
    parts = [
        tag("p", "Every planned sample was written, or dropped for a reason. An empty clip gave no sample at all."),
        _coverage_table(found, reasons, "coverage-table", ["compression", "method"], lambda kind: _names(kind)[:2]),
        _coverage_table(found, reasons, "splits-table", ["split"], lambda kind: (kind.split,)),
    ]
    if meanings:
        parts.append(table("drops-table", "why samples were dropped", ["reason", ">samples", "meaning"], meanings))
    if found.clips.topped_up:
        parts.append(tag("p", f"{found.clips.topped_up:,} frames stand in for wanted ones that showed no face."))
    return join([*parts, _empty_clips(found.clips)])


def _coverage_table(
    found: Findings, reasons: list[str], anchor: str, heads: list[str], key: Callable[[Kind], tuple[str, ...]]
) -> Markup:
    """What became of the planned samples, summed over all that ``key`` gives the same names."""
    sums: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    columns = ["clips", "empty", "planned", "written", "dropped"]
    for kind in sorted(found.summary.counts, key=_kind_order):
        counts = found.summary.counts[kind]
        sums[key(kind)].update({name: getattr(counts, name) for name in columns})
        # Reasons are words of a closed list, and none of the columns' names is among them.
        sums[key(kind)].update({reason: found.clips.drops[kind, reason] for reason in reasons})
    columns += reasons
    lines = [[*names, *(f"{own[c]:,}" for c in columns), _written_bar(own)] for names, own in sums.items()]
    total = sum(sums.values(), Counter[str]())
    foot = ["all", *[""] * (len(heads) - 1), *(f"{total[c]:,}" for c in columns), _written_bar(total)]
    caption = f"samples by {' and '.join(heads)}"
    return table(anchor, caption, [*heads, *(f">{c}" for c in columns), "*share written"], lines, foot=foot)


def _written_bar(counts: Counter[str]) -> Markup:
    share = counts["written"] / max(1, counts["planned"])
    return Markup(charts.share(share, f"{share:.1%} written"))


def _empty_clips(clips: Clips) -> Markup:
    if not clips.empty_count:
        return tag("p", "Every clip gave at least one sample.")
    names = ("requested", "decoded", "detected", "dropped")
    rows = [(clip["clip_id"], *(f"{clip[name]:,}" for name in names), clip["error"] or "") for clip in clips.empty]
    heads = ["clip", *(f">{name}" for name in names), "error"]
    return table("empty-table", _counted("clips without a sample", clips.empty_count), heads, rows)


def _masks(found: Findings) -> Markup:
    if not found.measures.area:
        return tag("p", lack("mask", "masks", found.measures))
    note = (
        "Of fakes. The area is the manipulated share of the crop; the confidence says how far the region stands out of "
        "compression noise (1: clearly), is 1 for provided masks, and is not known of literal ones."
    )
    area = _distributions("area-table", "mask area, share of the crop", found.measures.area)
    parts = [*(tag("p", line, "alert") for line in found.measures.doubts), tag("p", note), area]
    if found.measures.confidence:
        parts.append(_distributions("confidence-table", "confidence", found.measures.confidence))
    return join(parts)


def _agreement(found: Findings) -> Markup:
    if not found.measures.agreement:
        return tag("p", "No sample has both a difference mask and one of the dataset's own, so there is no IoU.")
    note = "IoU of the mask made from the difference and the dataset's own, of the samples that have both."
    return join([tag("p", note), _distributions("agreement-table", "IoU", found.measures.agreement)])


def _boxes(found: Findings) -> Markup:
    if not found.measures.box:
        return tag("p", lack("crop", "face boxes", found.measures))
    note = "The longer side of the face box, in pixels of the frame; a crop is larger by the factor enlarge."
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in found.measures.detections.most_common())
    note += f" How the faces were found: {kinds}." if kinds else ""
    return join([tag("p", note), _distributions("boxes-table", "side of the face box, px", found.measures.box, 0)])


def _perturbations(found: Findings) -> Markup:
    return perturbations(found.measures.perturbations)


def _distributions(anchor: str, caption: str, spreads: dict[str, Histogram], digits: int = 3) -> Markup:
    rows = []
    top = max(spread.most for spread in spreads.values())
    for method in [name for name in ("real", *sorted(spreads.keys() - {"real"})) if name in spreads]:
        spread = spreads[method]
        shown = spread.bins[: max(1, round(top / spread.high * BINS))] if digits == 0 else spread.bins
        shape = charts.histogram(_merged(shown.tolist(), BARS), f"distribution of {caption}: {method}")
        values = [spread.least, *(spread.quantile(q) for q in (0.05, 0.5, 0.95)), spread.most, spread.mean]
        rows.append([method, f"{spread.count:,}", *(f"{value:,.{digits}f}" for value in values), Markup(shape)])
    end = f"{top:,.0f}" if digits == 0 else "1"
    heads = ["method", ">samples", ">least", ">5 %", ">median", ">95 %", ">most", ">mean", f"*0 to {end}"]
    return table(anchor, caption, heads, rows)


def _merged(counts: list[int], bars: int) -> list[int]:
    """Counts in at most ``bars`` bins of equal width."""
    width = -(-len(counts) // bars)
    return [sum(counts[start : start + width]) for start in range(0, len(counts), width)]


def _pairs(found: Findings) -> Markup:
    clips = found.clips
    if not clips.pairs:
        return tag("p", f"No fake was laid on an original ({clips.unpaired:,} fakes without one).")
    ranks = [f"{clips.similarity.quantile(q):.3f}" for q in (0.05, 0.5)]
    rows = [
        ("fakes laid on their original", f"{clips.pairs:,}"),
        ("fakes that were not", f"{clips.unpaired:,}"),
        ("similarity outside the faces: least", f"{clips.similarity.least:.3f}"),
        ("similarity outside the faces: 5 % below", ranks[0]),
        ("similarity outside the faces: median", ranks[1]),
        *((name, f"{count:,}") for name, count in sorted(clips.oddities.items(), key=lambda item: (-item[1], item[0]))),
    ]
    note = f"Listed is what does not lie frame on frame and pixel on pixel, or has a similarity below {LOW_SIMILARITY}."
    parts = [tag("p", note), table("pairs-table", "pairs", ["what", ">value"], rows)]
    if not clips.odd:
        return join([*parts, tag("p", "No pair is unusual.")])
    heads = ["clip", ">offset", ">rate", ">scale", ">similarity", ">segments", "visual change", "unusual"]
    odd = [
        (
            clip["clip_id"],
            _number(clip["offset"]),
            _number(clip["rate"]),
            _number(clip["scale"]),
            _number(clip["pair_similarity"], 3),
            "-" if clip["segments"] is None else len(clip["segments"]),
            {True: "yes", False: "no", None: "-"}[clip["visual_change"]],
            ", ".join(signs),
        )
        for signs, clip in clips.odd
    ]
    return join([*parts, table("odd-table", _counted("unusual pairs", clips.odd_count), heads, odd)])


def _segments(found: Findings) -> Markup:
    clips = found.clips
    if not clips.segments:
        return tag("p", "No fake has forged segments on record.")
    counts = sorted({count for own in clips.segments.values() for count in own}, key=lambda n: (n is None, n or 0))
    heads = ["method", *(">not known" if n is None else f">{n}" for n in counts)]
    rows = [(method, *(f"{own[n]:,}" for n in counts)) for method, own in sorted(clips.segments.items())]
    note = "When a clip is forged, as seen in its differences. 0: nowhere; not known: the differences are too faint."
    parts = [tag("p", note), table("segments-table", "clips by number of forged segments", heads, rows)]
    if not clips.partial:
        return join([*parts, tag("p", "Every clip with segments is forged from end to end.")])
    partial = []
    for clip in clips.partial:
        spans = clip["segments"]
        length = duration_s(clip) or max(end for _, end in spans)
        words = ", ".join(f"{start:.2f} to {end:.2f}" for start, end in spans[:6]) + (", …" if len(spans) > 6 else "")
        bar = charts.spans(length, spans, f"forged: {words} s of {length:.2f} s")
        partial.append((clip["clip_id"], f"{length:.2f}", words, Markup(bar)))
    caption = _counted("clips forged in parts", clips.partial_count)
    return join([*parts, table("partial-table", caption, ["clip", ">seconds", "forged, s", "*over the clip"], partial)])


def _counted(what: str, count: int) -> str:
    return f"{what}: {count:,}" + (f", the first {SHOWN}" if count > SHOWN else "")


def _number(value: float | None, digits: int | None = None) -> str:
    return "-" if value is None else f"{value:g}" if digits is None else f"{value:.{digits}f}"


def _names(kind: Kind) -> tuple[str, str, str]:
    return kind.compression or "-", kind.method or "real", "fake" if kind.label else "real"


def _kind_order(kind: Kind) -> tuple[Any, ...]:
    return kind.compression or "", kind.label, kind.method or "", *split_order(kind.split)
