"""A clip's sampled frames as a line of time: which stretches are forged, which unknown, and proposals of spans on it.

Time is counted in frames: frame i takes up [i, i + 1). Each sampled frame stands for the stretch around it, up to the
middle between it and the next; where neighbours are more than :data:`JOIN` of the clip's usual steps apart, the stretch
between them is unknown. So is all that a dataset leaves out of the spans that it annotates.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forgeprep.training.temporal.figures import tiou

Floats = npt.NDArray[np.float64]
Proposals = list[tuple[float, float, float]]

JOIN = 4
"""Frames that were dropped leave a gap; up to so many usual steps it is bridged."""
KNOWN = 0.5
"""A proposal whose known share is smaller is neither learnt nor judged."""
LEVELS = 10
ALPHA, NEAR, FAR = 0.4, 0.5, 0.9
"""Of soft suppression, as in the reference: Gaussian width, and the tIoU above which short and long ones fade."""
KEPT = 100


@dataclass(frozen=True, slots=True)
class Timeline:
    """Frames of a clip in order.

    Attributes:
        clip_id: the clip.
        frames: index of each sampled frame, rising.
        labels: 0 real, 1 fake, of each.
        cells: float (N, 2), the stretch that each stands for.
    """

    clip_id: str
    frames: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    cells: Floats

    @property
    def extent(self) -> tuple[float, float]:
        """Where the clip begins and ends, as far as it was sampled."""
        return float(self.cells[0, 0]), float(self.cells[-1, 1])

    def spans(self) -> list[tuple[float, float]]:
        """The forged spans: runs of frames labelled fake, without an unknown stretch between them."""
        return runs(self.cells, self.labels > 0)

    def known_share(self, start: float, end: float) -> float:
        """How much of a stretch is known, 0 to 1."""
        inside = np.minimum(self.cells[:, 1], end) - np.maximum(self.cells[:, 0], start)
        return float(np.maximum(inside, 0).sum() / max(end - start, 1e-9))


def make_timeline(
    clip_id: str, frames: Sequence[int], labels: Sequence[int], told: Sequence[Sequence[int]] | None = None
) -> Timeline:
    """The line of frames in any order; where a frame comes twice, as with two faces, it is fake if one is.

    ``told`` are the spans of which the dataset says something, as (first frame, number of frames, …); None: all.
    """
    at, place = np.unique(np.asarray(frames, np.int64), return_inverse=True)
    label = np.zeros(len(at), np.int64)
    np.maximum.at(label, place, np.asarray(labels, np.int64))
    steps = np.diff(at)
    usual = float(np.median(steps)) if len(steps) else 1.0
    centre = at + 0.5
    cells = np.stack([centre - usual / 2, centre + usual / 2], axis=1)
    joined = steps <= JOIN * usual
    middle = (centre[1:] + centre[:-1]) / 2
    cells[:-1, 1][joined] = middle[joined]
    cells[1:, 0][joined] = middle[joined]
    for first, end in _merged([(span[0], span[0] + span[1]) for span in told or ()]):
        inside = (at >= first) & (at < end)
        cells[inside] = np.clip(cells[inside], first, end)
    return Timeline(clip_id, at, label, cells)


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans that touch put together."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def runs(cells: Floats, chosen: npt.NDArray[np.bool_]) -> list[tuple[float, float]]:
    """Chosen cells, those that touch put together."""
    found: list[tuple[float, float]] = []
    for (start, end), take in zip(cells.tolist(), chosen.tolist(), strict=True):
        if take and found and abs(found[-1][1] - start) < 1e-6:
            found[-1] = (found[-1][0], end)
        elif take:
            found.append((start, end))
    return found


def targets(line: Timeline, scale: int) -> dict[str, npt.NDArray[np.float32] | npt.NDArray[np.bool_]]:
    """What a boundary-matching network of T cells learns of a clip, see :class:`forgeprep.training.models.bmn.Bmn`.

    A boundary is the three cells around it; ``overlap`` is the best tIoU of each proposal with a span.
    """
    begin, end = line.extent
    spans = (np.asarray(line.spans(), float).reshape(-1, 2) - begin) * scale / (end - begin)
    edges = np.arange(scale)[:, None] + np.array([0.0, 1.0])
    near = [
        np.max(
            [np.clip(np.minimum(edges[:, 1], at + 1.5) - np.maximum(edges[:, 0], at - 1.5), 0, 1) for at in spans[:, n]]
            or [np.zeros(scale)],
            axis=0,
        )
        for n in (0, 1)
    ]
    length, start = np.mgrid[1 : scale + 1, :scale]
    inside = length + start <= scale
    proposals = np.stack([start[inside], (start + length)[inside]], axis=1)
    overlap = np.zeros((scale, scale), np.float32)
    if len(spans):
        overlap[inside] = tiou(proposals, spans).max(axis=1)
    scaled = (line.cells - begin) * scale / (end - begin)
    share = np.clip(np.minimum(edges[:, 1:], scaled[:, 1]) - np.maximum(edges[:, :1], scaled[:, 0]), 0, 1).sum(axis=1)
    known = share >= KNOWN
    summed = np.concatenate([[0.0], np.cumsum(share)])
    pairs = np.zeros((scale, scale), bool)
    pairs[inside] = summed[proposals[:, 1]] - summed[proposals[:, 0]] >= KNOWN * (proposals[:, 1] - proposals[:, 0])
    return {
        "start": near[0].astype(np.float32), "end": near[1].astype(np.float32), "overlap": overlap, "known": known,
        "known_pairs": pairs,
    }  # fmt: skip


def spread(line: Timeline, values: Floats, scale: int) -> npt.NDArray[np.float32]:
    """Values of the sampled frames (N, C) at the middles of T cells, (C, T), linear in between."""
    begin, end = line.extent
    at = begin + (np.arange(scale) + 0.5) * (end - begin) / scale
    return np.stack([np.interp(at, line.frames + 0.5, column) for column in values.T]).astype(np.float32)


def proposals_of_maps(line: Timeline, start: Floats, end: Floats, maps: Floats) -> Proposals:
    """Proposals of a network's probabilities: starts and ends that are peaks or above half the largest, each pair.

    Args:
        line: the clip.
        start, end: (T,).
        maps: (2, T, T).
    """
    scale = len(start)
    begin, finish = line.extent
    step = (finish - begin) / scale
    found = []
    for s in _peaks(start):
        for e in _peaks(end):
            # A span that ends with the clip has its end in the last cell; all others in the cell before or after it.
            for stop in {e, scale} if e == scale - 1 else {e}:
                if stop > s:
                    score = start[s] * end[e] * maps[0, stop - s - 1, s] * maps[1, stop - s - 1, s]
                    found.append((begin + s * step, begin + stop * step, float(score)))
    return suppress(found, finish - begin)


def proposals_of_scores(line: Timeline, scores: Floats) -> Proposals:
    """Proposals of one score a frame: runs above each of ten levels.

    A run's own score is Otsu's: how far its mean rises above that of the rest, times twice the root of the shares of
    both, so that neither a lone peak nor nearly all of the clip is best; 1 for a clear-cut half.
    """
    low, high = float(scores.min()), float(scores.max())
    if high <= low:
        return []
    found: dict[tuple[float, float], float] = {}
    for level in low + (high - low) * (np.arange(LEVELS) + 0.5) / LEVELS:
        for start, end in runs(line.cells, scores >= level):
            inside = (line.frames + 0.5 >= start) & (line.frames + 0.5 < end)
            share = float(inside.mean())
            if 0 < share < 1:
                rise = float(scores[inside].mean() - scores[~inside].mean())
                found[start, end] = 2 * max(0.0, rise) * math.sqrt(share * (1 - share))
    begin, finish = line.extent
    return suppress([(start, end, score) for (start, end), score in found.items()], finish - begin)


def suppress(proposals: Iterable[tuple[float, float, float]], length: float) -> Proposals:
    """Soft suppression: the best is kept, what overlaps it fades, and so on; the 100 best, of falling score."""
    left = sorted(proposals, key=lambda p: (-p[2], p[0], p[1]))
    spans, scores = np.array([p[:2] for p in left], float).reshape(-1, 2), np.array([p[2] for p in left], float)
    kept: Proposals = []
    while len(spans) and len(kept) < KEPT:
        best = int(np.argmax(scores))
        (start, end), score = spans[best], float(scores[best])
        kept.append((float(start), float(end), score))
        spans, scores = np.delete(spans, best, axis=0), np.delete(scores, best)
        overlap = tiou([(start, end)], spans)[0]
        fades = overlap > NEAR + (FAR - NEAR) * (end - start) / max(length, 1e-9)
        scores = np.where(fades, scores * np.exp(-(overlap**2) / ALPHA), scores)
    return kept


def on_known_frames(line: Timeline, proposals: Proposals) -> Proposals:
    """Proposals that lie on known frames, for the most part; of the others nothing can be said."""
    return [p for p in proposals if line.known_share(p[0], p[1]) >= KNOWN]


def _peaks(values: Floats) -> list[int]:
    padded = np.concatenate([[-np.inf], values, [-np.inf]])
    peak = (values > padded[:-2]) & (values > padded[2:])
    return np.flatnonzero(peak | (values > 0.5 * values.max())).tolist()
