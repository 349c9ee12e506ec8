"""How far figures would move with other people: bootstrap intervals over source groups and over identities.

Frames of one clip, and an original and its fakes, resemble each other. So it is not samples that are drawn again, but
what is independent: whole source groups (the cluster bootstrap), or the people in them.

A sample that shows several people (a fake of A with the face of B) has the product of their draws as its weight, as in
Owen and Eckles, "Bootstrapping data arrays of arbitrary order" (2012). Where each group shows one person, who is in no
other, both ways are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from forgeprep.training.evaluation.curves import Curve, Floats, Ints

DRAWS = 1000
CONFIDENCE = 0.95
FEW, FEWEST = 10, 5
"""With fewer units than the first, an interval is too narrow, which is said; with fewer than the second it is none."""
_ELEMENTS = 1 << 22
"""Weights held at a time: 32 MB."""

Units = Sequence[tuple[str, ...]]
"""What each sample belongs to: the name of its source group alone, or those of the people in it."""


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """How intervals are found: so many draws from a seed, and the share of them that lies inside."""

    draws: int = DRAWS
    seed: int = 0
    confidence: float = CONFIDENCE

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return {"draws": self.draws, "seed": self.seed, "confidence": self.confidence, "method": "percentile"}


def weightings(units: Units, order: Ints, bootstrap: Bootstrap) -> Iterator[Floats]:
    """Weights (b, N) in the given order of samples, chunk by chunk; ``bootstrap.draws`` rows in all.

    In each row, as many units are drawn as there are, with replacement; the same units give the same draws.
    """
    kinds = {kind: number for number, kind in enumerate(dict.fromkeys(units))}
    names = {name: number for number, name in enumerate(sorted({name for kind in kinds for name in kind}))}
    # A column more, always 1, for kinds that have fewer units than the longest.
    longest = max(map(len, kinds), default=0)
    codes = np.array([[names[n] for n in kind] + [len(names)] * (longest - len(kind)) for kind in kinds], np.int64)
    of_sample = np.array([kinds[kind] for kind in units], np.int64)[order]
    rng = np.random.default_rng(bootstrap.seed)
    chunk = max(1, _ELEMENTS // max(1, len(of_sample), len(names)))
    for start in range(0, bootstrap.draws, chunk):
        count = min(chunk, bootstrap.draws - start)
        drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=count)
        drawn = np.concatenate([drawn, np.ones((count, 1), np.int64)], axis=1)
        yield drawn[:, codes].prod(axis=2)[:, of_sample].astype(float)


def intervals(curve: Curve, units: Units, bootstrap: Bootstrap) -> dict[str, Any]:
    """The interval of each figure of :meth:`Curve.figures`.

    Returns:
        ``units``: how many there are; ``figures``: name -> [low, high], null where most draws leave it undefined;
        ``note``: what is to be known of them, or null.
    """
    number = len({name for kind in units for name in kind})
    if number < FEWEST:
        return {"units": number, "figures": {}, "note": f"undefined, {number} are too few"}
    parts = [curve.figures(weights) for weights in weightings(units, curve.order, bootstrap)]
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}
    if curve.has_both:
        # ACC of reals alone is another figure than that of both.
        found = {name: np.where(np.isnan(found["auc"]), np.nan, values) for name, values in found.items()}
    few = f"{number} are few, so these are too narrow" if number < FEW else None
    return {
        "units": number,
        "figures": {name: percentiles(values, bootstrap.confidence) for name, values in found.items()},
        "note": few,
    }


def difference(first: Curve, second: Curve, units: Units, figure: str, bootstrap: Bootstrap) -> list[float] | None:
    """The interval of the second curve's figure less the first's; both have the same samples and get the same draws.

    None where there are too few units, or most draws leave a figure undefined.
    """
    if len({name for kind in units for name in kind}) < FEWEST:
        return None
    pairs = zip(weightings(units, first.order, bootstrap), weightings(units, second.order, bootstrap), strict=True)
    gaps = [second.figures(theirs)[figure] - first.figures(ours)[figure] for ours, theirs in pairs]
    return percentiles(np.concatenate(gaps), bootstrap.confidence) if gaps else None


def percentiles(values: Floats, confidence: float) -> list[float] | None:
    """The middle share of the draws in which a figure is defined; None where more than half leave it undefined."""
    known = values[np.isfinite(values)]
    if 2 * len(known) <= len(values):
        return None
    tail = (1 - confidence) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return [float(low), float(high)]
