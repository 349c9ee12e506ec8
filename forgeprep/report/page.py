"""One self-contained HTML page about a run: what it holds, what was lost, and the pairs that look worst."""

from __future__ import annotations

import base64
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from forgeprep.report import charts, measure
from forgeprep.report.draw import draw_sheet
from forgeprep.report.sheet import SheetRow, load_rows
from forgeprep.report.summary import Counts, Summary, size_text, summarise
from forgeprep.schemas.drops import REASONS
from forgeprep.shards.encode import encode_image
from forgeprep.shards.records import atomic_write_bytes, iter_records

LEAST_CONFIDENT, MOST_STRAY = 3, 2
"""Rows of a group's contact sheet, chosen by each."""
SHOWN = 25
"""Longer tables end after so many rows."""


@dataclass(slots=True)
class Block:
    """A part of the page: heading, text, and what follows; ``cells`` are rows of a table, the first its heading.

    ``numbers`` is how many of the last columns are numbers; ``svg`` and ``picture`` (a data URI) have ``alt`` as text.
    """

    title: str
    text: str = ""
    cells: list[list[str]] = field(default_factory=list)
    numbers: int = 0
    svg: str = ""
    picture: str = ""
    alt: str = ""


def write_report(out: Path, file: Path) -> None:
    """Write the page. It needs no other file and no network; everything from the dataset is escaped.

    Raises:
        UsageError: the folder holds no run.
        VerifyError: a shard is damaged.
        StorageError: the page cannot be written.
    """
    import jinja2

    summary = summarise(out)
    run = json.loads((out / "run.json").read_bytes())
    clips = [clip for _, record in iter_records(out) if record is not None for clip in record["clips"]]
    table = measure.value_table(out)
    figures = measure.measured(out, table)
    sections = {
        "Coverage": _coverage(summary, clips),
        "Pairs": _pairs(clips),
        "Masks": _masks(table, figures),
        "Faces": _faces(table),
        "Noise residual": _noise(figures),
        "Worst pairs": _worst(table, figures),
    }
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(files("forgeprep.report").joinpath("page.html").read_text(encoding="utf-8"))
    page = template.render(
        out=out.name,
        facts=_facts(run, summary),
        sections={title: blocks for title, blocks in sections.items() if blocks},
    )
    atomic_write_bytes(file, page.encode())


def _facts(run: Mapping[str, Any], summary: Summary) -> dict[str, str]:
    config, total = run.get("config") or {}, summary.total
    planned = summary.planned_shards
    facts = {
        "dataset": str(config.get("dataset")),
        "stages": ", ".join(map(str, run.get("stages") or ())),
        "samples": f"{total.written:,} written, {total.dropped:,} dropped, {total.clips:,} clips",
        "shards": f"{summary.shards:,}" + (f" of {planned:,}" if planned and planned != summary.shards else ""),
        "size": size_text(sum(part.bytes for part in summary.files.values())),
        "fingerprint": str(run.get("fingerprint"))[:16],
    }
    for stage, params in (config.get("params") or {}).items():
        facts[f"{stage}:"] = ", ".join(f"{name} {value}" for name, value in params.items() if value is not None) or "-"
    return facts


def _coverage(summary: Summary, clips: list[dict[str, Any]]) -> list[Block]:
    head = ["split", "compression", "method", "clips", "empty clips", "planned", "written", "dropped"]
    rows = [
        [kind.split, kind.compression or "-", kind.method or "real", *_numbers(counts)]
        for kind, counts in summary.counts.items()
    ]
    rows.append(["all", "", "", *_numbers(summary.total)])
    blocks = [Block("Samples", "Planned samples were written or dropped, always.", [head, *rows], 5)]
    if summary.drops:
        drops = [[reason, REASONS.get(reason, ""), f"{count:,}"] for reason, count in summary.drops.most_common()]
        blocks.append(Block("Drops", "", [["reason", "meaning", "samples"], *drops], 1))
    short = [clip for clip in summary.short if not clip["written"]]
    if short:
        lines = [[clip["clip_id"], clip["error"] or "", f"{clip['dropped']:,}"] for clip in short[:SHOWN]]
        text = _more(len(short), "clips gave no sample")
        blocks.append(Block("Clips without a sample", text, [["clip", "error", "dropped"], *lines], 1))
    topped = sum(clip["topped_up"] for clip in clips)
    blocks[0].text += f" {topped:,} frames stand in for wanted ones that showed no face." if topped else ""
    return blocks


def _numbers(counts: Counts) -> list[str]:
    return [f"{n:,}" for n in (counts.clips, counts.empty, counts.planned, counts.written, counts.dropped)]


def _pairs(clips: list[dict[str, Any]]) -> list[Block]:
    fakes = [clip for clip in clips if clip["label"] == 1 and clip["pair_similarity"] is not None]
    if not fakes:
        return []
    similarity = np.array([clip["pair_similarity"] for clip in fakes])
    whole = sum(len(clip["segments"] or ()) == 1 for clip in fakes)
    unchanged = sum(clip["visual_change"] is False for clip in fakes)
    text = (
        f"{len(fakes):,} fakes were laid on their originals. Correlation outside the faces: median "
        f"{np.median(similarity):.4f}, lowest {similarity.min():.4f}. {unchanged:,} show no visible change, "
        f"{whole:,} are forged in one span."
    )
    odd = sorted((clip for clip in fakes if _is_odd(clip)), key=lambda clip: (clip["pair_similarity"], clip["clip_id"]))
    if not odd:
        return [Block("Verified pairs", text + " All lie frame for frame and pixel on pixel.")]
    head = ["clip", "forged spans (s)", "visible", "offset", "rate", "scale", "shift", "similarity"]
    rows = [
        [
            clip["clip_id"],
            _spans(clip["segments"]),
            {True: "yes", False: "no", None: "unknown"}[clip["visual_change"]],
            str(clip["offset"]),
            f"{clip['rate']:.4g}",
            f"{clip['scale']:.4g}",
            ", ".join(f"{v:.4g}" for v in clip["shift"]),
            f"{clip['pair_similarity']:.4f}",
        ]
        for clip in odd[:SHOWN]
    ]
    text += " " + _more(len(odd), "were shifted, scaled, not in one span, or unlike their original")
    return [Block("Verified pairs", text, [head, *rows], 5)]


def _is_odd(clip: Mapping[str, Any]) -> bool:
    moved = (clip["offset"], clip["rate"], clip["scale"]) != (0, 1.0, 1.0) or any(clip["shift"])
    return (
        moved or clip["visual_change"] is not True or len(clip["segments"] or ()) != 1 or clip["pair_similarity"] < 0.95
    )


def _spans(segments: list[list[float]] | None) -> str:
    if segments is None:
        return "too faint to tell"
    return ", ".join(f"{start:.2f}–{end:.2f}" for start, end in segments[:4]) + (" …" if len(segments) > 4 else "")


def _masks(table: pa.Table, figures: list[dict[str, Any]]) -> list[Block]:
    blocks = []
    for title, column, label in (
        ("Area", "mask_fraction", "share of the crop that is forged"),
        ("Confidence", "mask_confidence", "mask_confidence"),
        ("Agreement with the dataset's own masks", "mask_agreement", "IoU of difference mask and provided mask"),
    ):
        values = measure.by_group(table, column, fakes_only=True)
        if values:
            alt = f"{title}: " + ", ".join(f"{group} {np.median(v):.2f}" for group, v in values.items())
            blocks.append(Block(title, svg=charts.ridges(values, label, (0.0, 1.0)), alt=alt))
    if blocks and "mask_agreement" in table.column_names:
        agreement = measure.by_group(table, "mask_agreement", fakes_only=True)
        if agreement:
            rows = [[g, f"{len(v):,}", f"{v.mean():.3f}", f"{v.min():.3f}"] for g, v in agreement.items()]
            blocks[-1].cells = [["method", "samples", "mean IoU", "lowest"], *rows]
            blocks[-1].numbers = 3
    stray = _figures_by_group(figures, "stray")
    if stray:
        text = "Share of the crop where the difference exceeds the mask's threshold outside the mask: specks left out."
        rows = [[g, f"{len(v):,}", f"{100 * v.mean():.3f} %", f"{100 * v.max():.3f} %"] for g, v in stray.items()]
        blocks.append(Block("Stray pixels", text, [["method", "samples", "mean", "highest"], *rows], 3))
    return blocks


def _faces(table: pa.Table) -> list[Block]:
    sides = measure.box_sides(table)
    if not sides:
        return []
    top = float(np.ceil(max(v.max() for v in sides.values()) / 50) * 50)
    kinds = Counter(table["detection"].to_pylist())
    text = "How the faces were found: " + ", ".join(f"{kind} {count:,}" for kind, count in kinds.most_common()) + "."
    alt = "Side of the face box: " + ", ".join(f"{group} {np.median(v):.0f} px" for group, v in sides.items())
    return [Block("Box sizes", text, svg=charts.ridges(sides, "side of the face box in pixels", (0.0, top)), alt=alt)]


def _noise(figures: list[dict[str, Any]]) -> list[Block]:
    means, variances = (_figures_by_group(figures, name) for name in ("noise_mean", "noise_variance"))
    if not means:
        return []
    text = (
        "Mean and variance of each residual over its crop, in gray levels: where the groups lie apart, "
        "the residual alone tells them apart."
    )
    rows = [
        [g, f"{len(v):,}", f"{v.mean():.4f}", f"{variances[g].mean():.3f}", f"{variances[g].std():.3f}"]
        for g, v in means.items()
    ]
    head = ["method", "samples", "mean of means", "mean of variances", "their deviation"]
    svg = charts.cloud({g: (means[g], variances[g]) for g in means}, "mean of the residual", "variance of the residual")
    return [Block("Mean and variance", text, [head, *rows], 4, svg, alt="Residual mean against variance by method")]


def _figures_by_group(figures: Iterable[Mapping[str, Any]], name: str) -> dict[str, measure.Values]:
    found: dict[str, list[float]] = defaultdict(list)
    for one in figures:
        if name in one:
            found[one["group"]].append(one[name])
    return {group: np.asarray(found[group]) for group in sorted(found)}


def _worst(table: pa.Table, figures: list[dict[str, Any]]) -> list[Block]:
    """A contact sheet a group: the least confident masks, then those with most stray pixels among the measured."""
    if "mask_confidence" not in table.column_names or not len(table):
        return []
    stray = {one["sample_id"]: one["stray"] for one in figures if one.get("stray")}
    candidates: dict[str, list[tuple[float, str, str]]] = defaultdict(list)
    columns = (table[name].to_pylist() for name in ("label", "mask_confidence", "sample_id", "shard"))
    for group, label, confidence, sample_id, shard in zip(measure.group_names(table), *columns, strict=True):
        if label == 1:
            candidates[group].append((confidence, sample_id, shard))
    blocks = []
    for group, samples in sorted(candidates.items()):
        picks = _pick(samples, stray)
        rows = _sheet_rows(group, picks)
        sheet = draw_sheet(rows, "worst first")
        picture = base64.b64encode(encode_image(sheet, "jpeg", 88)).decode()
        text = f"{LEAST_CONFIDENT} with the lowest confidence first, then those with most stray pixels."
        blocks.append(
            Block(group, text, picture=f"data:image/jpeg;base64,{picture}", alt=f"{len(rows)} worst samples of {group}")
        )
    return blocks


def _pick(samples: list[tuple[float, str, str]], stray: Mapping[str, float]) -> dict[str, str]:
    """Sample -> its shard, worst first; one of a clip as long as there are others."""
    picks: dict[str, str] = {}
    for ranked, count in ((sorted(samples), LEAST_CONFIDENT), (_by_stray(samples, stray), MOST_STRAY)):
        for _ in range(count):
            clips = {_clip_of(sample_id) for sample_id in picks}
            left = [sample for sample in ranked if sample[1] not in picks]
            fresh = next((sample for sample in left if _clip_of(sample[1]) not in clips), None)
            for _, sample_id, shard in [fresh or left[0]] if left else []:
                picks[sample_id] = shard
    return picks


def _clip_of(sample_id: str) -> str:
    return sample_id.rsplit("/", 2)[0]


def _by_stray(samples: list[tuple[float, str, str]], stray: Mapping[str, float]) -> list[tuple[float, str, str]]:
    return sorted((s for s in samples if s[1] in stray), key=lambda s: -stray[s[1]])


def _sheet_rows(group: str, picks: dict[str, str]) -> list[SheetRow]:
    wanted: dict[Path, list[tuple[tuple[str, str], str]]] = defaultdict(list)
    for sample_id, shard in picks.items():
        wanted[Path(shard)].append(((group, ""), sample_id))
    rows = {row.sample["sample_id"]: row for row in load_rows(wanted)}
    return [rows[sample_id] for sample_id in picks]


def _more(count: int, what: str) -> str:
    return f"{count:,} {what}" + (f"; the first {SHOWN} are listed." if count > SHOWN else ".")
