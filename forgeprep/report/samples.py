"""The sections of the report that are about decoded samples: contact sheets, noise residuals, similarity maps."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from forgeprep.ops.mask_signs import WIDEN
from forgeprep.report import charts
from forgeprep.report.choose import WORST, Group
from forgeprep.report.findings import Findings
from forgeprep.report.panels import SIDE, Panel
from forgeprep.report.pictures import BESIDE, REASONS, NoiseFigures, Pictures, Shown
from forgeprep.report.signs import SIGNS, Sign, Signs, badness
from forgeprep.report.summary import method_order
from forgeprep.report.tables import Table, numbers, texts

MAPS = 6
"""The most similarity maps on the page."""

Facts = dict[str, object]
_Groups = dict[tuple[str, str], list[NoiseFigures]]


class Picture(NamedTuple):
    """A square picture, PNG or JPEG, ``side`` pixels wide; ``exact`` ones are not scaled up."""

    data: bytes
    heading: str
    alt: str
    side: int
    exact: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """A sample on the page: its title, its name and figures, and its pictures.

    ``anchor`` is its id, "" for none; ``data`` is what the page's script filters and sorts by.
    """

    title: str
    words: list[str]
    pictures: list[Picture]
    anchor: str = ""
    data: dict[str, object] = field(default_factory=dict)


class Method(NamedTuple):
    """The samples of a method at one compression, the worst first."""

    anchor: str
    name: str
    samples: list[Figure]


class NamedChart(NamedTuple):
    """A chart with a caption."""

    name: str
    chart: charts.Ranges


def sheets(found: Findings) -> Facts:
    """Samples of each method with all their pictures, the worst first."""
    pictures, panels = found.pictures, found.pictures.panels
    names = anchors(pictures)
    shown = [
        Method(f"g{number}", group.name, [_sample(one, panels, group, names[one.pick.sample_id]) for one in sheet])
        for number, (group, sheet) in enumerate(pictures.sheets.items())
    ]
    samples = [figure for method in shown for figure in method.samples]
    return {
        "methods": shown,
        "hidden": pictures.hidden,
        "per_reason": pictures.per_reason,
        "worst": WORST,
        "widen": round(100 * WIDEN),
        "choices": {
            key: list(dict.fromkeys(str(figure.data[key]) for figure in samples)) for key in ("method", "why", "split")
        },
        "count": len(samples),
    }


def anchors(pictures: Pictures) -> dict[str, str]:
    """sample_id -> the id of its figure: its group, the reason why it is shown, and its place among them."""
    found: dict[str, str] = {}
    for number, sheet in enumerate(pictures.sheets.values()):
        counts: Counter[str] = Counter()
        for shown in sheet:
            found[shown.pick.sample_id] = f"g{number}-{shown.why}-{counts[shown.why]}"
            counts[shown.why] += 1
    return found


def link_to(pictures: Pictures, group: Group, sign: Sign | None = None) -> str:
    """Where the pictures of a group are, or the one that shows a sign best; the gallery's where it is not shown."""
    if group not in pictures.sheets:
        return "#sheets"
    rated = [(badness(s.signs, sign), s.pick.sample_id) for s in pictures.sheets[group] if sign and s.signs]
    known = [(bad, sample_id) for bad, sample_id in rated if bad is not None]
    if not known:
        return f"#g{list(pictures.sheets).index(group)}"
    return f"#{anchors(pictures)[max(known)[1]]}"


def _sample(shown: Shown, panels: Sequence[Panel], group: Group, anchor: str) -> Figure:
    # Similarity maps have a section of their own.
    drawn = [panel for panel in panels if panel.name in shown.panels and panel.name != "similarity"]
    beside = [panel for panel in BESIDE if panel.name in shown.panels]
    place = next((number for number, panel in enumerate(drawn) if panel.name == "overlay"), None)
    if place is not None:
        drawn[place : place + 1] = [*beside[:1], drawn[place], *beside[1:]]
    signs = shown.signs or Signs(None, None, None)
    data = {"method": group.name, "why": REASONS[shown.why], "split": shown.values["split"]}
    data |= {name: f"{value:.4f}" for name in SIGNS if (value := getattr(signs, name)) is not None}
    if shown.values["label"] and shown.values.get("mask_fraction") is not None:
        data["area"] = f"{shown.values['mask_fraction']:.4f}"
    return Figure(REASONS[shown.why], _figures(shown), [_picture(shown, panel) for panel in drawn], anchor, data)


def _figures(shown: Shown) -> list[str]:
    values = shown.values
    words = [shown.pick.sample_id, values["split"]]
    if values.get("perturbation"):
        words.append(values["perturbation"])
    for name in SIGNS if shown.signs is not None else ():
        if (value := getattr(shown.signs, name)) is not None:
            words.append(f"{name} {value:.2f}")
    if values["label"] and values.get("mask_fraction") is not None:
        words.append(f"area {values['mask_fraction']:.1%}")
    if values.get("mask_agreement") is not None:
        words.append(f"IoU with the dataset's own {values['mask_agreement']:.2f}")
    return words


def _picture(shown: Shown, panel: Panel) -> Picture:
    alt = f"{panel.heading} ({panel.meaning}) of {shown.pick.sample_id}"
    data = shown.panels[panel.name]
    if panel.name == "similarity":
        return Picture(data, panel.heading, alt, shown.values["similarity_side"] ** 2, exact=True)
    return Picture(data, panel.heading, alt, SIDE)


def noise(found: Findings) -> Facts:
    """The residual's figures by method and compression, as the two-stream detector's paper compares them."""
    groups: _Groups = defaultdict(list)
    for shown in found.pictures.looked_at:
        # The samples of lowest confidence would bias the figures.
        if shown.noise is not None and shown.pick.even:
            groups[shown.values["compression"] or "", shown.pick.group.method].append(shown.noise)
    if not groups:
        return {"table": None}
    groups = {key: groups[key] for key in sorted(groups, key=lambda key: (key[0], method_order(key[1])))}
    figures: dict[str, Callable[[NoiseFigures], float]] = {
        "mean": lambda f: f.mean,
        "mean absolute value": lambda f: f.absolute,
        "variance": lambda f: f.variance,
    }
    rows = [[method, compression or "-", *_noise_row(own)] for (compression, method), own in groups.items()]
    heads = [
        *texts("method", "compression"),
        *numbers("samples", "mean", "mean absolute", "variance", "in the mask", "outside"),
    ]
    return {
        "samples": sum(map(len, groups.values())),
        "charts": [NamedChart(name, _noise_chart(name, groups, value)) for name, value in figures.items()],
        "table": Table("noise-table", "mean over samples; the last two are variances, of fakes", heads, rows),
    }


def _noise_chart(name: str, groups: _Groups, value: Callable[[NoiseFigures], float]) -> charts.Ranges:
    rows: list[charts.Range] = []
    for (compression, method), figures in groups.items():
        values = [value(one) for one in figures]
        low, high = (float(q) for q in np.quantile(values, [0.1, 0.9]))
        rows.append((" ".join(part for part in (compression, method) if part), low, float(np.mean(values)), high))
    return charts.ranges(rows, f"{name} of the noise residual by compression and method")


def _noise_row(figures: list[NoiseFigures]) -> list[str]:
    inside = [f.inside for f in figures if f.inside is not None]
    outside = [f.outside for f in figures if f.outside is not None]
    columns = [[f.absolute for f in figures], [f.variance for f in figures], inside, outside]
    mean = f"{np.mean([f.mean for f in figures]):.4f}"
    return [f"{len(figures):,}", mean, *(f"{np.mean(c):.2f}" if c else "-" for c in columns)]


def similarity(found: Findings) -> Facts:
    """Some similarity maps, large, beside the faces that they are of."""
    ranked = [
        [shown for shown in reversed(sheet) if "similarity" in shown.panels] for sheet in found.pictures.sheets.values()
    ]
    chosen = [sheet[0] for sheet in ranked if sheet][:MAPS]
    if not chosen:
        return {"maps": None}
    return {
        "side": chosen[0].values["similarity_side"],
        "maps": [_map(shown, found.pictures.panels) for shown in chosen],
    }


def _map(shown: Shown, panels: Sequence[Panel]) -> Figure:
    names = ("image", "overlay", "similarity")
    drawn = [panel for panel in panels if panel.name in names and panel.name in shown.panels]
    return Figure(shown.pick.group.name, [shown.pick.sample_id], [_picture(shown, panel) for panel in drawn])
