"""The figures of the field; fake is 1, scores are probabilities of fake.

Metrics of verdicts stand in a plain dict. A third party adds one with an entry point in the group ``forgeprep.metrics``
whose value is a :class:`Metric`; it then stands in every table, matrix and JSON beside the others::

    [project.entry-points."forgeprep.metrics"]
    tpr-at-1 = "my_package:TPR_AT_1"
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from forgeprep.errors import ForgeprepWarning, UsageError
from forgeprep.registry import Registry
from forgeprep.text import counted

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_BUILT_IN = {name: f"forgeprep.training.evaluation.metrics:{name.upper()}" for name in ("auc", "eer", "ap")}


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure of verdicts.

    Attributes:
        name: as it stands in tables and JSON.
        function: ``function(scores, labels)``: float64 (N,), probabilities of fake, and int64 (N,), 1 fake and 0 real,
            both classes among them, to a float from 0 to 1; NaN where it is not defined. Tables show it in per cent.
        title: what stands above its own matrix; default: its name.
    """

    name: str
    function: Callable[[Floats, Ints], float]
    title: str = ""


@functools.cache
def metrics() -> tuple[Metric, ...]:
    """All metrics: forgeprep's own, then those of other packages by name.

    One that cannot be loaded is left out with a warning, since nobody has named it.

    Raises:
        UsageError: a package brings a name that is there already.
    """
    if "acc" in REGISTRY.names():
        raise UsageError("metric 'acc' is forgeprep's own: a package that brings one has to name it otherwise")
    for reason in REGISTRY.broken().values():
        warnings.warn(f"{reason}; there are no figures of it", ForgeprepWarning, stacklevel=2)
    return tuple(REGISTRY.usable().values())


def more_metrics() -> tuple[Metric, ...]:
    """The metrics of other packages."""
    return metrics()[len(_BUILT_IN) :]


def metric_packages() -> dict[str, str]:
    """Metrics of other packages -> package and version."""
    return REGISTRY.packages([metric.name for metric in more_metrics()])


def measure(metric: Metric, scores: Floats, labels: Ints) -> float:
    """A metric's figure; raises UsageError, which names it, where it fails."""
    try:
        return float(metric.function(scores, labels))
    except Exception as error:  # whatever a third party's function raises: the user is told which one it is
        told = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise UsageError(f"metric '{metric.name}' failed on {counted(len(labels), 'sample')} ({told})") from error


REGISTRY: Registry[Metric] = Registry(
    "metric", "forgeprep.metrics", _BUILT_IN, "forgeprep.training.evaluation.metrics:Metric"
)


def verdict_figures(labels: npt.ArrayLike, scores: npt.ArrayLike, threshold: float = 0.5) -> dict[str, float]:
    """ACC of "fake above the threshold", and every metric that is installed, by name.

    A metric is NaN where one class is missing.

    Raises:
        UsageError: a metric of another package fails.
    """
    truth, score = np.asarray(labels).astype(int), np.asarray(scores, float)
    both = len(np.unique(truth)) == 2
    figures = {"acc": float(np.mean((score > threshold) == truth)) if len(truth) else math.nan}
    return figures | {metric.name: measure(metric, score, truth) if both else math.nan for metric in metrics()}


def equal_error_rate(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Where false alarms and misses are equally frequent, between the two thresholds where they cross."""
    alarms, hits, _ = roc_curve(np.asarray(labels), np.asarray(scores))
    gap = (1 - hits) - alarms
    after = int(np.argmax(gap <= 0))
    if after == 0 or gap[after] == 0:
        return float(alarms[after])
    share = gap[after - 1] / (gap[after - 1] - gap[after])
    return float(alarms[after - 1] + share * (alarms[after] - alarms[after - 1]))


def clip_means(clips: Sequence[str], values: npt.ArrayLike) -> tuple[list[str], Floats]:
    """The mean value of each clip, in the order of the clips' names."""
    names, places = np.unique(np.asarray(clips), return_inverse=True)
    numbers = np.asarray(values, float)
    return list(map(str, names)), np.bincount(places, numbers) / np.bincount(places)


@dataclass(slots=True)
class PixelCounts:
    """Pixels by truth and prediction, summed over images."""

    hits: int = 0
    alarms: int = 0
    misses: int = 0
    rejects: int = 0
    image_ious: list[float] = field(default_factory=list)

    def add(self, truth: npt.NDArray[np.bool_], found: npt.NDArray[np.bool_]) -> None:
        """Count an image; its own IoU too, if it has forged pixels."""
        hits = int(np.count_nonzero(truth & found))
        alarms, misses = int(np.count_nonzero(found)) - hits, int(np.count_nonzero(truth)) - hits
        self.hits, self.alarms, self.misses = self.hits + hits, self.alarms + alarms, self.misses + misses
        self.rejects += truth.size - hits - alarms - misses
        if hits + misses:
            self.image_ious.append(hits / (hits + alarms + misses))

    def merge(self, other: PixelCounts) -> None:
        """Add what another has counted."""
        self.hits, self.alarms = self.hits + other.hits, self.alarms + other.alarms
        self.misses, self.rejects = self.misses + other.misses, self.rejects + other.rejects
        self.image_ious += other.image_ious

    @property
    def size(self) -> int:
        """All pixels."""
        return self.hits + self.alarms + self.misses + self.rejects

    def figures(self) -> dict[str, float]:
        """IoU of forged and of pristine pixels over all images, their mean, pixel F1, and the mean IoU of images.

        Where no image has forged pixels, only the pristine IoU is defined, and is the mean.
        """
        wrong = self.alarms + self.misses
        pristine = _ratio(self.rejects, self.rejects + wrong)
        if self.hits + self.misses == 0:
            return {
                "fg_iou": math.nan,
                "bg_iou": pristine,
                "miou": pristine,
                "pixel_f1": math.nan,
                "image_iou": math.nan,
            }
        forged = _ratio(self.hits, self.hits + wrong)
        return {
            "fg_iou": forged,
            "bg_iou": pristine,
            "miou": (forged + pristine) / 2,
            "pixel_f1": _ratio(2 * self.hits, 2 * self.hits + wrong),
            "image_iou": float(np.mean(self.image_ious)),
        }


TAUS = (0.1, 0.2)
SLACKS = (0.01, 0.05, 0.1)


@dataclass(slots=True)
class MagnitudeCounts:
    """How far found magnitudes p are from true ones g, both 0 to 1, summed over the pixels of images."""

    size: int = 0
    far: float = 0.0
    agree: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(TAUS), np.int64))
    both: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(TAUS), np.int64))
    close: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(SLACKS), np.int64))

    def add(self, truth: npt.ArrayLike, found: npt.ArrayLike) -> None:
        """Count an image, float (H, W) each."""
        g, p = np.asarray(truth, np.float64), np.asarray(found, np.float64)
        self.size += g.size
        self.far += float(np.abs(p - g).sum())
        # A hair of slack: 0.1 and 8-bit levels have no exact place among binary fractions.
        self.close += [np.count_nonzero(np.abs(p - g) <= slack + 1e-7) for slack in SLACKS]
        self.agree += [np.count_nonzero((p >= tau) == (g >= tau)) for tau in TAUS]
        self.both += [np.count_nonzero((p >= tau) & (g >= tau)) for tau in TAUS]

    def merge(self, other: MagnitudeCounts) -> None:
        """Add what another has counted."""
        self.size, self.far = self.size + other.size, self.far + other.far
        self.agree, self.both, self.close = (
            self.agree + other.agree, self.both + other.both, self.close + other.close,
        )  # fmt: skip

    def figures(self) -> dict[str, float]:
        """ForgeryNet's figures of spatial localisation, over all pixels, and the true IoU beside them.

        ``agree@τ`` is the share of pixels where p ≥ τ and g ≥ τ are both so or both not, which the field calls IoU;
        ``iou_diff@τ`` the share where abs(p - g) ≤ τ; ``l1`` the mean of abs(p - g). ``iou@τ`` is the true IoU of
        p ≥ τ and g ≥ τ, NaN where no pixel is either: pixels that are pristine in both do not count there.
        """
        named = {f"agree@{tau}": _ratio(int(n), self.size) for tau, n in zip(TAUS, self.agree, strict=True)}
        # Disagreeing pixels are in the union and not in the intersection.
        named |= {
            f"iou@{tau}": _ratio(int(both), int(both) + self.size - int(agree))
            for tau, both, agree in zip(TAUS, self.both, self.agree, strict=True)
        }
        named |= {f"iou_diff@{slack}": _ratio(int(n), self.size) for slack, n in zip(SLACKS, self.close, strict=True)}
        return named | {"l1": _ratio(self.far, self.size)}


def confusion(truth: npt.ArrayLike, found: npt.ArrayLike, classes: int) -> npt.NDArray[np.int64]:
    """Counts, true class by row and found class by column."""
    table = np.zeros((classes, classes), np.int64)
    np.add.at(table, (np.asarray(truth, int), np.asarray(found, int)), 1)
    return table


def recalls(table: npt.NDArray[np.int64]) -> Floats:
    """The recall of each class of a confusion matrix; NaN for a class without samples."""
    totals = table.sum(axis=1)
    return np.where(totals > 0, np.diag(table) / np.maximum(totals, 1), np.nan)


def best_threshold(labels: npt.ArrayLike, values: npt.ArrayLike) -> float:
    """The threshold with the best balanced accuracy: fake is what exceeds it. Half-way between two values; finite."""
    truth, value = np.asarray(labels).astype(int), np.asarray(values, float)
    if len(np.unique(truth)) < 2:
        return 0.5
    alarms, hits, cuts = roc_curve(truth, value, drop_intermediate=False)
    # The first one, infinite, calls nothing fake: no verdict that a detector could be blamed for.
    best = 1 + int(np.argmax((hits - alarms)[1:]))
    below = value[value < cuts[best]]
    return float(np.nextafter(cuts[best], -np.inf)) if len(below) == 0 else float((cuts[best] + below.max()) / 2)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


AUC = Metric("auc", lambda scores, labels: float(roc_auc_score(labels, scores)), "AUC")
EER = Metric("eer", lambda scores, labels: equal_error_rate(labels, scores), "EER")
AP = Metric("ap", lambda scores, labels: float(average_precision_score(labels, scores)), "AP")
