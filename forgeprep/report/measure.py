"""Figures of a run's samples, from their value columns only; memory does not grow with the number of samples."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from forgeprep.errors import VerifyError
from forgeprep.report import doubt, signs, worst
from forgeprep.report.choose import Chooser, Group, Pick, group_of
from forgeprep.report.summary import Kind, method_name, method_order
from forgeprep.shards.random_access import iter_values
from forgeprep.shards.records import iter_records
from forgeprep.shards.sequences import MARK, is_sequence, split_frames

BINS = 4000
"""Bins of a histogram: fine enough for single pixels of face boxes."""

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


@dataclass(slots=True)
class Measures:
    """What :func:`measure` found; methods are in order, "real" first.

    Attributes:
        rows: samples by split, compression, method and label.
        area, confidence, agreement, stray, jump: method -> distribution, of the fakes that have a mask.
        tallies: masks by method and compression, and those beyond the levels of :mod:`forgeprep.report.signs`.
        worst: rows of the samples whose masks are most doubtful, see :mod:`forgeprep.report.worst`.
        box: method -> distribution of the face box's longer side, in pixels of the frame, of all samples.
        detections: how the faces were found -> samples.
        perturbations: (label, perturbation with severity) -> samples; clean samples have None for the perturbation.
        marks: the stages whose columns the shards have.
        picks: samples to look at, reals first, see :class:`forgeprep.report.choose.Chooser`.
        doubts: method and compression -> a line that says why their masks are likely wrong.
        agreements: method and compression -> mean IoU with the dataset's own masks.
        problems: shards that are missing or damaged, a line each.
    """

    rows: Counter[Kind] = field(default_factory=Counter)
    area: dict[str, Histogram] = field(default_factory=dict)
    confidence: dict[str, Histogram] = field(default_factory=dict)
    agreement: dict[str, Histogram] = field(default_factory=dict)
    stray: dict[str, Histogram] = field(default_factory=dict)
    jump: dict[str, Histogram] = field(default_factory=dict)
    tallies: dict[Group, signs.Tally] = field(default_factory=lambda: defaultdict(signs.Tally))
    worst: list[worst.Row] = field(default_factory=list)
    box: dict[str, Histogram] = field(default_factory=dict)
    detections: Counter[str] = field(default_factory=Counter)
    perturbations: Counter[tuple[int, str | None]] = field(default_factory=Counter)
    marks: set[str] = field(default_factory=set)
    picks: dict[Group, list[Pick]] = field(default_factory=dict)
    doubts: dict[Group, str] = field(default_factory=dict)
    agreements: dict[Group, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def methods(self) -> list[str]:
        """All methods that have samples, "real" first."""
        return sorted({method_name(kind.method, kind.label) for kind in self.rows}, key=method_order)


def measure(out: Path, listed: int = worst.LISTED, lost: Collection[str] = ()) -> Measures:
    """Read the value columns of all shards; a shard that cannot be read becomes a problem, never an exception.

    Args:
        out: the run's folder.
        listed: how many of the most doubtful samples are listed.
        lost: clips of which a sample is looked at in any case.
    """
    found, chooser, doubts, worst_samples = Measures(), Chooser(lost), doubt.Doubts(), worst.Worst(listed)
    columns = tuple(dict.fromkeys((*_KEYS, *_VALUES, *_OF_CLIPS, *_MORE, *doubt.COLUMNS, *signs.COLUMNS)))
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
                rated = _add_row(found, row)
                chooser.add(place, row, [own for _, own in rated])
                worst_samples.add(shard, row["sample_id"], rated)
                doubts.add(place, row)
        except (VerifyError, KeyError) as error:
            found.problems.append(f"{shard}: {error}")
    found.picks, found.doubts, found.worst = chooser.choose(), doubts.found(), worst_samples.rows()
    found.agreements = doubts.agreements()
    return found


def _add_row(found: Measures, row: dict[str, Any]) -> list[tuple[dict[str, Any], signs.Signs]]:
    """Count a sample; returns its frames that have a mask, with their signs."""
    found.rows[Kind(row["split"], row["compression"], row["method"], row["label"])] += 1
    frames = split_frames(row) if is_sequence(row) else [row]
    for frame in frames:
        _add(found, frame)
    rated = signs.signs_of(frames[: len(frames) - row.get("padded", 0)])
    for frame, own in rated:
        found.tallies[group_of(frame)].add(own)
    return rated


def _add(found: Measures, row: dict[str, Any]) -> None:
    label = row["label"]
    found.marks.update(stage for column, stage in _STAGE_MARKS.items() if column in row)
    method = method_name(row["method"], label)
    if row.get("face_box") is not None:
        x0, y0, x1, y1 = row["face_box"]
        _count(found.box, method, max(x1 - x0, y1 - y0), 4000)
    if row.get("detection") is not None:
        found.detections[row["detection"]] += 1
    if "perturbation_params" in row:
        names = row["perturbation"]
        found.perturbations.update((label, name) for name in ([None] if names is None else names.split("+")))
    _count(found.agreement, method, row.get("mask_agreement"))
    if label:
        _count(found.area, method, row.get("mask_fraction"))
        _count(found.confidence, method, row.get("mask_confidence"))
        _count(found.stray, method, row.get("mask_stray"))
        _count(found.jump, method, row.get("mask_jump"))


def _count(spreads: dict[str, Histogram], method: str, value: float | None, high: float = 1) -> None:
    if value is not None:
        # A histogram is not made for nothing, once a sample.
        spread = spreads.get(method)
        if spread is None:
            spread = spreads[method] = Histogram(0, high)
        spread.add(value)
