"""The sections of the report that are made of figures: what their templates show."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from forgeprep.ops.perturb.catalogue import SEVERITIES
from forgeprep.report import charts
from forgeprep.report.choose import Group
from forgeprep.report.findings import Findings
from forgeprep.report.measure import BINS, Histogram
from forgeprep.report.pairs import LOW_SIMILARITY, SHOWN, Clips, duration_s
from forgeprep.report.samples import anchors
from forgeprep.report.signs import JUMP, LOW, STRAY
from forgeprep.report.summary import SENSES, Counts, Kind, method_order, split_order
from forgeprep.report.tables import Head, Link, Table, numbers, texts

BARS = 25
"""Bars of a small histogram."""

SHOWN_SPANS = 6
"""The most forged spans of a clip that are written out; its bar shows all."""

Facts = dict[str, object]


def samples(found: Findings) -> Facts:
    """Rows of the shards by compression, method, label and split."""
    rows = found.measures.rows
    if not rows:
        return {"table": None}
    splits = sorted({kind.split for kind in rows}, key=split_order)
    counts: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    for kind in sorted(rows, key=_kind_order):
        counts[_names(kind)][kind.split] += rows[kind]
    lines = [[*names, *(f"{own[s]:,}" for s in splits), f"{own.total():,}"] for names, own in counts.items()]
    heads = [*texts("compression", "method", "label"), *numbers(*splits, "all")]
    sums = [sum(own[split] for own in counts.values()) for split in splits]
    foot = ["all", "", "", *(f"{n:,}" for n in (*sums, rows.total()))]
    return {"table": Table("samples-table", "rows of the shards", heads, lines, foot)}


def coverage(found: Findings) -> Facts:
    """What became of all planned samples, and the clips that gave none."""
    drops = found.summary.drops
    reasons = [reason for reason, _ in sorted(drops.items(), key=lambda item: (-item[1], item[0]))]
    meanings = [(reason, f"{drops[reason]:,}", found.summary.meanings.get(reason, "")) for reason in reasons]
    heads = [Head("reason"), Head("samples", "number"), Head("meaning")]
    return {
        "by_method": _coverage_table(
            found, reasons, "coverage-table", ["compression", "method"], lambda kind: _names(kind)[:2]
        ),
        "by_split": _coverage_table(found, reasons, "splits-table", ["split"], lambda kind: (kind.split,)),
        "drops": Table("drops-table", "why samples were dropped", heads, meanings) if meanings else None,
        "empty": _empty_clips(found.clips),
        "lost": _lost_clips(found.summary.short),
        "senses": _senses(found.summary.senses),
        "warned": _warned_clips(found.summary.warned),
    }


def _senses(senses: Mapping[tuple[int | None, int | None], Counts]) -> Table | None:
    rows = [
        (SENSES[seen], SENSES[heard], f"{counts.clips:,}", f"{counts.written:,}", f"{counts.dropped:,}")
        for (seen, heard), counts in senses.items()
    ]
    heads = [*texts("seen", "heard"), *numbers("clips", "written", "dropped")]
    return Table("senses-table", "what is seen, and what is heard", heads, rows) if rows else None


def _warned_clips(warned: Sequence[tuple[str, str]]) -> Table | None:
    title = _counted("warnings of clips that are not as their dataset says", len(warned))
    heads = [Head("clip", "name"), Head("warning")]
    return Table("warned-table", title, heads, list(warned[:SHOWN])) if warned else None


def _coverage_table(
    found: Findings, reasons: list[str], anchor: str, heads: list[str], key: Callable[[Kind], tuple[str, ...]]
) -> Table:
    """What became of the planned samples, summed over all that ``key`` gives the same names."""
    sums: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    columns = ["clips", "empty", "planned", "written", "dropped"]
    for kind in sorted(found.summary.counts, key=_kind_order):
        counts = found.summary.counts[kind]
        sums[key(kind)].update({name: getattr(counts, name) for name in columns})
        # No reason has the name of one of these columns.
        sums[key(kind)].update({reason: found.clips.drops[kind, reason] for reason in reasons})
    columns += reasons
    lines = [[*names, *(f"{own[c]:,}" for c in columns), _written_bar(own)] for names, own in sums.items()]
    total = sum(sums.values(), Counter[str]())
    foot = ["all", *[""] * (len(heads) - 1), *(f"{total[c]:,}" for c in columns), _written_bar(total)]
    caption = f"samples by {' and '.join(heads)}"
    return Table(anchor, caption, [*texts(*heads), *numbers(*columns), Head("share written", "chart")], lines, foot)


def _written_bar(counts: Counter[str]) -> charts.Share:
    share = counts["written"] / max(1, counts["planned"])
    return charts.share(share, f"{share:.1%} written")


def _lost_clips(short: list[dict[str, Any]]) -> Table | None:
    lost = [clip for clip in short if clip["dropped"] and clip["written"]]
    names = ("requested", "written", "dropped")
    rows = [(clip["clip_id"], *(f"{clip[name]:,}" for name in names), clip["error"] or "") for clip in lost[:SHOWN]]
    heads = [Head("clip", "name"), *numbers(*names), Head("error")]
    return Table("lost-table", _counted("clips that lost samples", len(lost)), heads, rows) if rows else None


def _empty_clips(clips: Clips) -> Table | None:
    if not clips.empty_count:
        return None
    names = ("requested", "decoded", "detected", "dropped")
    rows = [(clip["clip_id"], *(f"{clip[name]:,}" for name in names), clip["error"] or "") for clip in clips.empty]
    heads = [Head("clip", "name"), *numbers(*names), Head("error")]
    return Table("empty-table", _counted("clips without a sample", clips.empty_count), heads, rows)


def worst(found: Findings) -> Facts:
    """The samples whose masks are most doubtful."""
    rows, shown = found.measures.worst, anchors(found.pictures)
    figures = ("mask_confidence", "mask_jump", "mask_stray", "mask_fraction")
    lines = [
        [
            f"{row['rank']:,}",
            Link(row["sample_id"], f"#{shown[row['sample_id']]}") if row["sample_id"] in shown else row["sample_id"],
            Group(row["method"] or "fake", row["compression"] or "").name,
            row["split"],
            *(_number(row[name], 3) for name in ("doubt", *figures)),
            ", ".join(row["signs"].split()) or "-",
        ]
        for row in rows
    ]
    heads = [
        Head("rank", "number"),
        Head("sample", "name"),
        *texts("method", "split"),
        *numbers("doubt", "confidence", "jump", "stray", "area"),
        Head("signs", "name"),
    ]
    return {
        "table": Table("worst-table", f"the {len(rows):,} most doubtful samples", heads, lines),
        "linked": sum(row["sample_id"] in shown for row in rows),
        "levels": {"confidence": LOW, "jump": JUMP, "stray": STRAY},
    }


def masks(found: Findings) -> Facts:
    """How large the masks of fakes are, and how sure."""
    measures = found.measures
    return {
        "area": _distributions("area-table", "mask area, share of the crop", measures.area),
        "confidence": _distributions("confidence-table", "confidence", measures.confidence),
        "jump": _distributions("jump-table", "jump of the area between neighbouring frames", measures.jump),
        "stray": _distributions("stray-table", "stray, share of the difference", measures.stray),
    }


def agreement(found: Findings) -> Facts:
    """How alike the masks that were made and those of the dataset are."""
    return {"table": _distributions("agreement-table", "IoU", found.measures.agreement)}


def boxes(found: Findings) -> Facts:
    """How large the faces are, and how they were found."""
    kinds = found.measures.detections.most_common()
    return {
        "table": _distributions("boxes-table", "side of the face box, px", found.measures.box, 0),
        "detections": ", ".join(f"{kind} {count:,}" for kind, count in kinds),
    }


def perturbations(found: Findings) -> Facts:
    """How many samples each perturbation was applied to."""
    counts = found.measures.perturbations
    rows: list[list[str]] = []
    for name in sorted({name.partition(":")[0] for _, name in counts if name}):
        own = [[counts[label, f"{name}:{severity}"] for severity in SEVERITIES] for label in (0, 1)]
        by_severity = [sum(pair) for pair in zip(*own, strict=True)]
        rows.append([name, *(f"{n:,}" for n in (*by_severity, sum(own[0]), sum(own[1])))])
    clean = [counts[label, None] for label in (0, 1)]
    rows.append(["clean", *([""] * len(SEVERITIES)), *(f"{n:,}" for n in clean)])
    severities = [f"severity {severity}" for severity in SEVERITIES]
    heads = [Head("perturbation"), *numbers(*severities, "reals", "fakes")]
    return {"table": Table("perturbations-table", "samples", heads, rows)}


def _distributions(anchor: str, caption: str, spreads: dict[str, Histogram], digits: int = 3) -> Table | None:
    """A row for each method; None where there is none."""
    if not spreads:
        return None
    rows: list[list[object]] = []
    top = max(spread.most for spread in spreads.values())
    for method in sorted(spreads, key=method_order):
        spread = spreads[method]
        shown = spread.bins[: max(1, round(top / spread.high * BINS))] if digits == 0 else spread.bins
        shape = charts.histogram(_merged(shown.tolist(), BARS), f"distribution of {caption}: {method}")
        values = [spread.least, *(spread.quantile(q) for q in (0.05, 0.5, 0.95)), spread.most, spread.mean]
        rows.append([method, f"{spread.count:,}", *(f"{value:,.{digits}f}" for value in values), shape])
    end = f"{top:,.0f}" if digits == 0 else "1"
    names = ("samples", "least", "5 %", "median", "95 %", "most", "mean")
    return Table(anchor, caption, [Head("method"), *numbers(*names), Head(f"0 to {end}", "chart")], rows)


def _merged(counts: list[int], bars: int) -> list[int]:
    """Counts in at most ``bars`` bins of equal width."""
    width = -(-len(counts) // bars)
    return [sum(counts[start : start + width]) for start in range(0, len(counts), width)]


def pairs(found: Findings) -> Facts:
    """How fakes lie on their originals, and the least usual pairs."""
    clips = found.clips
    if not clips.pairs:
        return {"pairs": None}
    rows = [
        ("fakes laid on their original", f"{clips.pairs:,}"),
        ("fakes that were not", f"{clips.unpaired:,}"),
        ("similarity outside the faces: least", f"{clips.similarity.least:.3f}"),
        ("similarity outside the faces: 5 % below", f"{clips.similarity.quantile(0.05):.3f}"),
        ("similarity outside the faces: median", f"{clips.similarity.quantile(0.5):.3f}"),
        *((name, f"{count:,}") for name, count in sorted(clips.oddities.items(), key=lambda item: (-item[1], item[0]))),
    ]
    return {
        "low_similarity": LOW_SIMILARITY,
        "pairs": Table("pairs-table", "pairs", [Head("what"), Head("value", "number")], rows),
        "unusual": _unusual_pairs(clips),
    }


def _unusual_pairs(clips: Clips) -> Table | None:
    if not clips.odd:
        return None
    names = ("offset", "rate", "scale", "similarity", "spans")
    rows = [
        (
            clip["clip_id"],
            _number(clip["offset"]),
            _number(clip["rate"]),
            _number(clip["scale"]),
            _number(clip["pair_similarity"], 3),
            "-" if clip["detected_spans"] is None else len(clip["detected_spans"]),
            {True: "yes", False: "no", None: "-"}[clip["visual_change"]],
            ", ".join(signs),
        )
        for signs, clip in clips.odd
    ]
    heads = [Head("clip", "name"), *numbers(*names), *texts("visual change", "unusual")]
    return Table("odd-table", _counted("unusual pairs", clips.odd_count), heads, rows)


def spans(found: Findings) -> Facts:
    """How many detected spans clips have, and the clips that are forged in parts."""
    clips = found.clips
    if not clips.spans:
        return {"counts": None}
    counts = sorted({count for own in clips.spans.values() for count in own}, key=lambda n: (n is None, n or 0))
    heads = [Head("method"), *numbers(*("not known" if n is None else f"{n}" for n in counts))]
    rows = [(method, *(f"{own[n]:,}" for n in counts)) for method, own in sorted(clips.spans.items())]
    return {
        "counts": Table("spans-table", "clips by number of detected spans", heads, rows),
        "partial": _partial_clips(clips),
    }


def _partial_clips(clips: Clips) -> Table | None:
    if not clips.partial:
        return None
    rows = []
    for clip in clips.partial:
        spans = clip["detected_spans"]
        length = duration_s(clip) or max(end for _, end in spans)
        words = ", ".join(f"{start:.2f} to {end:.2f}" for start, end in spans[:SHOWN_SPANS])
        words += ", …" if len(spans) > SHOWN_SPANS else ""
        bar = charts.spans(length, spans, f"forged: {words} s of {length:.2f} s")
        rows.append((clip["clip_id"], f"{length:.2f}", words, bar))
    heads = [Head("clip", "name"), Head("seconds", "number"), Head("forged, s"), Head("over the clip", "chart")]
    return Table("partial-table", _counted("clips forged in parts", clips.partial_count), heads, rows)


def _counted(what: str, count: int) -> str:
    return f"{what}: {count:,}" + (f", the first {SHOWN}" if count > SHOWN else "")


def _number(value: float | None, digits: int | None = None) -> str:
    return "-" if value is None else f"{value:g}" if digits is None else f"{value:.{digits}f}"


def _names(kind: Kind) -> tuple[str, str, str]:
    return kind.compression or "-", kind.method or "real", "fake" if kind.label else "real"


def _kind_order(kind: Kind) -> tuple[Any, ...]:
    return kind.compression or "", kind.label, kind.method or "", *split_order(kind.split)
