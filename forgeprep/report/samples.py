"""The sections of the report that are about decoded samples: contact sheets, noise residuals, similarity maps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from forgeprep.report import charts
from forgeprep.report.findings import Findings
from forgeprep.report.measure import LOWEST, method_order
from forgeprep.report.panels import SIDE, Panel
from forgeprep.report.pictures import PER_REASON, WIDEN, NoiseFigures, Shown
from forgeprep.report.tables import Table, numbers, texts

SHOWN_METHODS = 40
"""The most methods of which the page shows pictures."""

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
    """A sample on the page: its title, its name and figures, and its pictures."""

    title: str
    words: list[str]
    pictures: list[Picture]


class Method(NamedTuple):
    """A method's samples, the worst first."""

    name: str
    samples: list[Figure]


class NamedChart(NamedTuple):
    """A chart with a caption."""

    name: str
    chart: charts.Ranges


def sheets(found: Findings) -> Facts:
    """Samples of each method with all their pictures, the worst first."""
    by_method, panels = found.pictures.sheets, found.pictures.panels
    # Reals, which have nothing bad to show, come last.
    methods = sorted(by_method, key=lambda name: (name == "real", name))
    shown = [Method(name, [_sample(one, panels) for one in by_method[name]]) for name in methods[:SHOWN_METHODS]]
    return {
        "methods": shown,
        "hidden": max(0, len(methods) - SHOWN_METHODS),
        "per_reason": PER_REASON,
        "lowest": LOWEST,
        "widen": round(100 * WIDEN),
    }


def _sample(shown: Shown, panels: Sequence[Panel]) -> Figure:
    # Similarity maps have a section of their own.
    drawn = [panel for panel in panels if panel.name in shown.panels and panel.name != "similarity"]
    return Figure(shown.why, _figures(shown), [_picture(shown, panel) for panel in drawn])


def _figures(shown: Shown) -> list[str]:
    values = shown.values
    words = [shown.pick.sample_id, values["split"]]
    if values.get("perturbation"):
        words.append(values["perturbation"])
    if values["label"] and values.get("mask_confidence") is not None:
        words.append(f"confidence {values['mask_confidence']:.2f}")
    if values["label"] and values.get("mask_fraction") is not None:
        words.append(f"area {values['mask_fraction']:.1%}")
    if shown.stray is not None:
        words.append(f"stray {shown.stray:.1%}")
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
            groups[shown.values["compression"] or "", shown.pick.method].append(shown.noise)
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
    return Figure(shown.pick.method, [shown.pick.sample_id], [_picture(shown, panel) for panel in drawn])
