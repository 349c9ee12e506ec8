"""Figures of temporal localisation, by the convention of ActivityNet's evaluation, which ForgeryNet follows.

A span is (start, end), a proposal (start, end, score), on any one scale of time; tIoU is the length of the intersection
of two spans over that of their union. Clips are keyed by name; all that depends on order is ordered by score, then by
clip, start and end, so that neither the order of clips nor that of proposals matters.

- **AP at a tIoU**: the proposals of all clips together, from the highest score down, each take the span of their clip
  with the largest tIoU among those that no other has taken, if it is at least the threshold; else they are false. AP is
  the area under precision over recall, precision being made to fall only (its largest value at that recall or more).
- **mAP**: the mean of the AP at .5, .55, … .95.
- **AR@N**: of each clip the N best proposals. The recall at a tIoU is the share of all spans that one of them covers at
  that tIoU or more; AR is the mean over the same ten tIoUs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Spans = Mapping[str, Sequence[Sequence[float]]]
"""Clip to its (start, end), or (start, end, score)."""

TIOUS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
SHOWN = (0.5, 0.75, 0.9, 0.95)
COUNTS = (2, 5)
_HAIR = 1e-9
"""Ends are sums of binary fractions; a tIoU of exactly the threshold counts."""


def tiou(spans: npt.ArrayLike, others: npt.ArrayLike) -> Floats:
    """The tIoU of each of N spans with each of M others, (N, M); of two empty spans 0."""
    a, b = np.asarray(spans, float).reshape(-1, 2)[:, None], np.asarray(others, float).reshape(-1, 2)[None]
    shared = np.maximum(0, np.minimum(a[..., 1], b[..., 1]) - np.maximum(a[..., 0], b[..., 0]))
    union = (a[..., 1] - a[..., 0]) + (b[..., 1] - b[..., 0]) - shared
    return np.asarray(np.where(union > 0, shared / np.where(union > 0, union, 1), 0.0), np.float64)


def average_precision(truth: Spans, proposals: Spans, threshold: float) -> float:
    """AP at a tIoU; NaN where no clip has a span."""
    total = sum(len(spans) for spans in truth.values())
    if total == 0:
        return math.nan
    ranked = sorted((-p[2], clip, p[0], p[1]) for clip, found in proposals.items() for p in found)
    taken: dict[str, set[int]] = {}
    hits = np.zeros(len(ranked), bool)
    for number, (_, clip, start, end) in enumerate(ranked):
        spans = truth.get(clip, ())
        overlaps = tiou([(start, end)], [span[:2] for span in spans])[0] if spans else np.zeros(0)
        used = taken.setdefault(clip, set())
        free = [at for at in np.argsort(-overlaps, kind="stable").tolist() if at not in used]
        if free and overlaps[free[0]] >= threshold - _HAIR:
            used.add(free[0])
            hits[number] = True
    found = np.cumsum(hits)
    precision = found / np.arange(1, len(ranked) + 1)
    falling = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(falling[hits]) / total)


def average_recall(truth: Spans, proposals: Spans, count: int) -> float:
    """AR@``count``; NaN where no clip has a span."""
    best: list[float] = []
    for clip, spans in truth.items():
        top = sorted((-p[2], p[0], p[1]) for p in proposals.get(clip, ()))[:count]
        overlaps = tiou([span[:2] for span in spans], [p[1:] for p in top])
        best += overlaps.max(axis=1).tolist() if top else [0.0] * len(spans)
    if not best:
        return math.nan
    return float(np.mean([np.mean(np.asarray(best) >= threshold - _HAIR) for threshold in TIOUS]))


def recall_at(truth: Spans, proposals: Spans, count: int, threshold: float) -> float:
    """The share of spans that one of the ``count`` best proposals of their clip covers at that tIoU."""
    covered, total = 0, 0
    for clip, spans in truth.items():
        top = sorted((-p[2], p[0], p[1]) for p in proposals.get(clip, ()))[:count]
        total += len(spans)
        if top and spans:
            overlaps = tiou([span[:2] for span in spans], [p[1:] for p in top])
            covered += int(np.count_nonzero(overlaps.max(axis=1) >= threshold - _HAIR))
    return covered / total if total else math.nan


def temporal_figures(truth: Spans, proposals: Spans) -> dict[str, float]:
    """AP at :data:`SHOWN`, mAP, AR at :data:`COUNTS`, and the recall of the five best at a tIoU of .5."""
    each = {threshold: average_precision(truth, proposals, threshold) for threshold in TIOUS}
    figures = {f"ap@{threshold}": each[threshold] for threshold in SHOWN}
    figures["map"] = float(np.mean(list(each.values())))
    figures |= {f"ar@{count}": average_recall(truth, proposals, count) for count in COUNTS}
    return figures | {"recall@5 tiou .5": recall_at(truth, proposals, 5, 0.5)}
