"""Figures of a run's samples, from their value columns only; memory does not grow with the number of samples."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from forgeprep.errors import VerifyError
from forgeprep.report import doubt
from forgeprep.report.summary import Kind
from forgeprep.shards.random_access import Place, iter_values
from forgeprep.shards.records import iter_records
from forgeprep.shards.sequences import MARK, is_sequence, split_frames

SAMPLED = 320
"""How many samples, over all methods, have their pictures decoded; a hash of their ids spreads them over the run."""

LOWEST = 6
"""How many more clips of each method are decoded: those whose lowest confidence is lowest."""

BINS = 4000
"""Bins of a histogram: fine enough for single pixels of face boxes."""

_CANDIDATES = 64
_KEYS = ("sample_id", "clip_id", "split", "compression", "method", "label")
_VALUES = ("mask_fraction", "mask_confidence", "mask_agreement", "mask_source", "face_box", "detection", "noise_sigma")
_MORE = ("similarity_side", "perturbation", "perturbation_params")
_OF_CLIPS = (MARK, "padded")
_STAGE_MARKS = {
    "face_box": "crop",
    "mask_fraction": "mask",
    "perturbation_params": "perturb",
    "noise_sigma": "noise",
    "similarity_side": "similarity",
}


@dataclass(slots=True)
class Histogram:
    """Values between ``low`` and ``high`` in bins of equal width; those outside count in the outermost bins."""

    low: float
    high: float
    bins: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    count: int = 0
    total: float = 0.0
    least: float = float("inf")
    most: float = float("-inf")

    def add(self, value: float) -> None:
        """Count a value."""
        number = int((value - self.low) / (self.high - self.low) * len(self.bins))
        self.bins[min(max(number, 0), len(self.bins) - 1)] += 1
        self.count += 1
        self.total += value
        self.least, self.most = min(self.least, value), max(self.most, value)

    @property
    def mean(self) -> float:
        """The exact mean."""
        return self.total / self.count

    def quantile(self, share: float) -> float:
        """The value below which ``share`` of the values lie, as exact as a bin is wide."""
        number = int(np.searchsorted(np.cumsum(self.bins), share * self.count))
        middle = self.low + (min(number, len(self.bins) - 1) + 0.5) * (self.high - self.low) / len(self.bins)
        return min(max(middle, self.least), self.most)


class Pick(NamedTuple):
    """A sample whose pictures will be decoded; ``even`` if it belongs to the even draw."""

    sample_id: str
    clip_id: str
    method: str
    place: Place
    even: bool = False


@dataclass(slots=True)
class Measures:
    """What :func:`measure` found; methods are in order, "real" first.

    Attributes:
        rows: samples by split, compression, method and label.
        area, confidence, agreement: method -> distribution, of the fakes that have a mask.
        box: method -> distribution of the face box's longer side, in pixels of the frame, of all samples.
        detections: how the faces were found -> samples.
        perturbations: (label, perturbation with severity) -> samples; clean samples have None for the perturbation.
        marks: the stages whose columns the shards have.
        picks: method -> samples to look at: an even draw, then those of lowest confidence.
        doubts: a line for each method and compression whose masks are likely wrong.
        problems: shards that are missing or damaged, a line each.
    """

    rows: Counter[Kind] = field(default_factory=Counter)
    area: dict[str, Histogram] = field(default_factory=dict)
    confidence: dict[str, Histogram] = field(default_factory=dict)
    agreement: dict[str, Histogram] = field(default_factory=dict)
    box: dict[str, Histogram] = field(default_factory=dict)
    detections: Counter[str] = field(default_factory=Counter)
    perturbations: Counter[tuple[int, str | None]] = field(default_factory=Counter)
    marks: set[str] = field(default_factory=set)
    picks: dict[str, list[Pick]] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def methods(self) -> list[str]:
        """All methods that have samples, "real" first."""
        return sorted({method_name(kind.method, kind.label) for kind in self.rows}, key=method_order)


def method_name(method: str | None, label: int) -> str:
    """The name by which samples are grouped: the method, or "real"."""
    return (method or "fake") if label else "real"


def method_order(name: str) -> tuple[bool, str]:
    """A sort key: "real" first."""
    return name != "real", name


def measure(out: Path) -> Measures:
    """Read the value columns of all shards; a shard that cannot be read becomes a problem, never an exception."""
    found, chooser, doubts = Measures(), _Chooser(), doubt.Doubts()
    columns = tuple(dict.fromkeys((*_KEYS, *_VALUES, *_OF_CLIPS, *_MORE, *doubt.COLUMNS)))
    for shard, record in iter_records(out):
        if record is None or not record["files"]:
            continue
        files = [out / file["path"] for file in record["files"]]
        path = next((file for file in files if file.is_file()), None)
        if path is None:
            found.problems.append(f"{shard}: {record['files'][0]['path']} is missing")
            continue
        try:
            for place, row in iter_values(path, columns):
                found.rows[Kind(row["split"], row["compression"], row["method"], row["label"])] += 1
                for frame in split_frames(row) if is_sequence(row) else [row]:
                    _add(found, frame)
                chooser.add(place, row)
                doubts.add(place, row)
        except (VerifyError, KeyError) as error:
            found.problems.append(f"{shard}: {error}")
    found.picks, found.doubts = chooser.choose(), doubts.lines()
    return found


def _add(found: Measures, row: dict[str, Any]) -> None:
    label, confidence = row["label"], row.get("mask_confidence")
    found.marks.update(stage for column, stage in _STAGE_MARKS.items() if column in row)
    method = method_name(row["method"], label)
    if row.get("face_box") is not None:
        x0, y0, x1, y1 = row["face_box"]
        found.box.setdefault(method, Histogram(0, 4000)).add(max(x1 - x0, y1 - y0))
    if row.get("detection") is not None:
        found.detections[row["detection"]] += 1
    if "perturbation_params" in row:
        names = row["perturbation"]
        found.perturbations.update((label, name) for name in ([None] if names is None else names.split("+")))
    if label and row.get("mask_fraction") is not None:
        found.area.setdefault(method, Histogram(0, 1)).add(row["mask_fraction"])
    if label and confidence is not None:
        found.confidence.setdefault(method, Histogram(0, 1)).add(confidence)
    if row.get("mask_agreement") is not None:
        found.agreement.setdefault(method, Histogram(0, 1)).add(row["mask_agreement"])


class _Chooser:
    """Chooses samples one by one, the same in whatever order they come; keeps some hundred of each method."""

    def __init__(self) -> None:
        self.spread: dict[str, list[tuple[int, Pick]]] = defaultdict(list)
        self.lowest: dict[str, dict[str, tuple[float, Pick]]] = defaultdict(dict)

    def add(self, place: Place, row: dict[str, Any]) -> None:
        method = method_name(row["method"], row["label"])
        pick = Pick(row["sample_id"], row["clip_id"], method, place)
        # A heap of the smallest hashes, negated. It is an even draw that needs neither the total nor an order.
        entry = -int.from_bytes(hashlib.blake2b(pick.sample_id.encode(), digest_size=8).digest()), pick
        heap = self.spread[method]
        if len(heap) < SAMPLED:
            heapq.heappush(heap, entry)
        else:
            heapq.heappushpop(heap, entry)
        confidence = row.get("mask_confidence")
        if isinstance(confidence, list):
            of_fakes = [c for c, label in zip(confidence, row[MARK], strict=True) if label and c is not None]
            confidence = min(of_fakes, default=None)
        if row["label"] and confidence is not None:
            self._add_low(pick, confidence)

    def _add_low(self, pick: Pick, confidence: float) -> None:
        """Keep one sample of each clip, the lowest: frames of a clip look alike."""
        clips = self.lowest[pick.method]
        entry = confidence, pick
        clips[pick.clip_id] = min(clips.get(pick.clip_id, entry), entry)
        if len(clips) > 2 * _CANDIDATES:
            self.lowest[pick.method] = dict(sorted(clips.items(), key=lambda item: item[1])[:_CANDIDATES])

    def choose(self) -> dict[str, list[Pick]]:
        picks: dict[str, list[Pick]] = {}
        share = max(4, SAMPLED // max(1, len(self.spread)))
        for method in sorted(self.spread, key=method_order):
            even = [pick for _, pick in sorted(self.spread[method], reverse=True)[:share]]
            low = [pick for _, pick in sorted(self.lowest[method].values())[:LOWEST] if pick not in even]
            picks[method] = [*(pick._replace(even=True) for pick in even), *low]
        return picks
