"""The sections of the report that are about decoded samples: contact sheets, noise residuals, similarity maps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import numpy as np

from forgeprep.report import charts
from forgeprep.report.draw import CELL, HEADINGS
from forgeprep.report.html import Markup, join, picture, table, tag
from forgeprep.report.measure import LOWEST, Measures, method_order
from forgeprep.report.pictures import PER_REASON, WIDEN, NoiseFigures, Pictures, Shown

SHOWN_METHODS = 40
"""The page shows pictures of so many methods at most."""

MAPS = 6
"""So many similarity maps are shown at most."""


def sheets(pictures: Pictures, measures: Measures) -> Markup:
    """Samples of each method with all their pictures, the worst first."""
    if not pictures.sheets:
        return tag("p", "There are no pictures to show.")
    note = (
        f"Pictures were decoded for {len(pictures.looked_at):,} of {measures.rows.total():,} samples, drawn evenly "
        f"over the run by a hash of their names; up to {PER_REASON} of each method are shown."
    )
    if measures.confidence:
        note += (
            f" Besides, of each method, the {LOWEST} clips whose least confidence is lowest. Shown first are up to "
            f"{PER_REASON} of the lowest confidence and {PER_REASON} of the most stray of all decoded. Stray is the "
            f"share of the difference's energy outside the mask's main region widened by {100 * WIDEN:.0f} % of the "
            "crop (of the mask's area, where there is no difference): high where the mask misses something, or the "
            "pair does not fit."
        )
    parts = [tag("p", note)]
    # Reals, which have nothing bad to show, come last.
    methods = sorted(pictures.sheets, key=lambda name: (name == "real", name))
    for method in methods[:SHOWN_METHODS]:
        parts.append(tag("h3", method))
        parts += [_sample(shown) for shown in pictures.sheets[method]]
    if len(methods) > SHOWN_METHODS:
        parts.append(tag("p", f"{len(methods) - SHOWN_METHODS:,} more methods are not shown."))
    return join(parts)


def _sample(shown: Shown) -> Markup:
    cells = [_cell(shown, name) for name in HEADINGS if name in shown.cells and name != "similarity"]
    grid = tag("div", join(cells), "cells")
    caption = tag("figcaption", join([tag("b", shown.why), " · " + " · ".join(_words(shown))]))
    return tag("figure", join([caption, grid]), "sample")


def _words(shown: Shown) -> list[str]:
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


def _cell(shown: Shown, name: str) -> Markup:
    heading, meaning = HEADINGS[name]
    exact = name == "similarity"
    side = shown.values["similarity_side"] ** 2 if exact else CELL
    alt = f"{heading} ({meaning}) of {shown.pick.sample_id}"
    image = picture(shown.cells[name], alt, side, "exact" if exact else "")
    return tag("div", join([image, heading]))


def noise(pictures: Pictures, measures: Measures) -> Markup:
    """The residual's figures by method and compression, as the two-stream detector's paper compares them."""
    groups: dict[tuple[str, str], list[NoiseFigures]] = defaultdict(list)
    for shown in pictures.looked_at:
        # Those of lowest confidence would tilt the figures.
        if shown.noise is not None and shown.pick.even:
            groups[shown.values["compression"] or "", shown.pick.method].append(shown.noise)
    if not groups:
        return tag("p", lack("noise", "noise residuals", measures))
    keys = sorted(groups, key=lambda key: (key[0], method_order(key[1])))
    note = (
        f"Of {sum(map(len, groups.values())):,} samples drawn evenly; values on the scale of 0 to 255. A residual's "
        "mean is near 0, so that its mean absolute value and its variance tell more. The filter's sigma, which differs "
        "between compressions, sets their level: compare methods within a compression. Dots are means over samples, "
        "bars reach from 10 % to 90 % of them."
    )
    figures: list[tuple[str, Callable[[NoiseFigures], float]]] = [
        ("mean", lambda f: f.mean),
        ("mean absolute value", lambda f: f.absolute),
        ("variance", lambda f: f.variance),
    ]
    drawn = [
        tag("figure", join([tag("figcaption", name), Markup(_chart(name, keys, groups, value))]))
        for name, value in figures
    ]
    heads = ["method", "compression", ">samples", ">mean", ">mean absolute", ">variance", ">in the mask", ">outside"]
    rows = [[method, compression or "-", *_noise_cells(groups[compression, method])] for compression, method in keys]
    content = table("noise-table", "mean over samples; the last two are variances, of fakes", heads, rows)
    return join([tag("p", note), tag("div", join(drawn), "charts"), content])


def _chart(
    name: str,
    keys: list[tuple[str, str]],
    groups: dict[tuple[str, str], list[NoiseFigures]],
    value: Callable[[NoiseFigures], float],
) -> str:
    rows: list[charts.Range] = []
    for compression, method in keys:
        values = [value(figures) for figures in groups[compression, method]]
        low, high = (float(q) for q in np.quantile(values, [0.1, 0.9]))
        rows.append((" ".join(part for part in (compression, method) if part), low, float(np.mean(values)), high))
    return charts.ranges(rows, f"{name} of the noise residual by compression and method")


def _noise_cells(figures: list[NoiseFigures]) -> list[str]:
    inside = [f.inside for f in figures if f.inside is not None]
    outside = [f.outside for f in figures if f.outside is not None]
    columns = [[f.absolute for f in figures], [f.variance for f in figures], inside, outside]
    mean = f"{np.mean([f.mean for f in figures]):.4f}"
    return [f"{len(figures):,}", mean, *(f"{np.mean(c):.2f}" if c else "-" for c in columns)]


def similarity(pictures: Pictures, measures: Measures) -> Markup:
    """Some similarity maps, large, beside the faces that they are of."""
    ranked = [
        [shown for shown in sheet[::-1] if "similarity" in shown.cells] for sheet in list(pictures.sheets.values())
    ]
    chosen = [sheet[0] for sheet in ranked if sheet][:MAPS]
    if not chosen:
        return tag("p", lack("similarity", "similarity maps", measures))
    side = chosen[0].values["similarity_side"]
    note = (
        f"The crop is a grid of {side} x {side} cells; row i, column j of the map says whether cells i and j differ, "
        "one forged and one not (white). The map of a real is black."
    )
    names = ("image", "overlay", "similarity")
    parts = [tag("p", note)]
    for shown in chosen:
        cells = [_cell(shown, name) for name in names if name in shown.cells]
        caption = tag("figcaption", join([tag("b", shown.pick.method), " · " + shown.pick.sample_id]))
        parts.append(tag("figure", join([caption, tag("div", join(cells), "cells large")]), "sample"))
    return join(parts)


def lack(stage: str, what: str, measures: Measures) -> str:
    """Why there is nothing to show of what a stage adds."""
    if measures.rows and stage not in measures.marks:
        return f"The run has no {what}: its stages lack '{stage}'."
    return f"There are no {what} to show."
