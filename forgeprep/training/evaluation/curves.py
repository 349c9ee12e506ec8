"""Figures of weighted verdicts, many weightings at once: what a bootstrap draws again is a weight for each sample.

With all weights 1 they are the figures of the samples themselves. Fake is 1; a higher score means fake.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

RATES = (0.001, 0.01, 0.05)
"""False positive rates at which the true positive rate is told."""


def rate_name(rate: float) -> str:
    """What the true positive rate at a false positive rate is called, e.g. ``tpr@0.01``."""
    return f"tpr@{rate:g}"


class Curve:
    """Samples in the order of their scores, ready to be weighted.

    Args:
        labels: (N,), 1 fake and 0 real.
        scores: (N,), finite.
        threshold: a score above it means fake.
    """

    def __init__(self, labels: npt.ArrayLike, scores: npt.ArrayLike, threshold: float) -> None:
        truth, score = np.asarray(labels).astype(bool), np.asarray(scores, float)
        self.order: Ints = np.argsort(-score, kind="stable")
        self._fake, self._score = truth[self.order], score[self.order]
        # The last sample of each distinct score: a threshold never falls between equal ones.
        self._ends = np.flatnonzero(np.r_[np.diff(self._score) != 0, True]) if len(score) else np.zeros(0, np.int64)
        self._called = self._score > threshold
        self.has_both = bool(truth.any() and not truth.all())

    def figures(self, weights: Floats) -> dict[str, Floats]:
        """The figures of each weighting; NaN where one class has no weight.

        Args:
            weights: (B, N), not negative, in the order of the scores (:attr:`order`).

        Returns:
            ``acc``, ``balanced_acc``, ``fpr`` and ``tpr`` at the threshold; ``auc``, ``eer``, ``ap``; ``tpr@RATE``, the
            highest TPR whose FPR is not above the rate. Each (B,), 0 to 1.
        """
        # Real and fake weight above each cut, from none at all to everything: (B, cuts + 1).
        hits, alarms = (_from_zero(np.cumsum(weights * kind, axis=1)[:, self._ends]) for kind in self._kinds())
        fakes, reals = hits[:, -1], alarms[:, -1]
        called = weights * self._called
        hit, alarm = called @ self._fake, called @ ~self._fake
        with np.errstate(invalid="ignore", divide="ignore"):
            tpr, fpr = hit / fakes, alarm / reals
            found = {
                "acc": (hit + reals - alarm) / (fakes + reals),
                "balanced_acc": (tpr + 1 - fpr) / 2,
                "fpr": fpr,
                "tpr": tpr,
            }
            rises, means = hits / fakes[:, None], alarms / reals[:, None]
            precision = hits[:, 1:] / (hits[:, 1:] + alarms[:, 1:])
            steps = np.diff(rises, axis=1)
            found["auc"] = np.sum(np.diff(means, axis=1) * (rises[:, 1:] + rises[:, :-1]) / 2, axis=1)
            # A cut above which nothing has any weight adds nothing.
            found["ap"] = np.sum(np.where(steps > 0, steps * precision, steps), axis=1)
            found["eer"] = _equal_error(means, rises)
        both = (fakes > 0) & (reals > 0)
        for rate in RATES:
            last = np.count_nonzero(means <= rate + 1e-12, axis=1) - 1
            found[rate_name(rate)] = np.take_along_axis(rises, np.maximum(last, 0)[:, None], axis=1)[:, 0]
        alone = {"acc", "fpr", "tpr"}
        return {name: value if name in alone else np.where(both, value, np.nan) for name, value in found.items()}

    def _kinds(self) -> Iterator[npt.NDArray[np.bool_]]:
        yield self._fake
        yield ~self._fake


def point_figures(labels: npt.ArrayLike, scores: npt.ArrayLike, threshold: float) -> dict[str, float]:
    """The figures of :meth:`Curve.figures` of the samples as they are."""
    curve = Curve(labels, scores, threshold)
    if not len(curve.order):
        return {}
    found: Mapping[str, Floats] = curve.figures(np.ones((1, len(curve.order))))
    return {name: float(value[0]) for name, value in found.items()}


def _from_zero(sums: Floats) -> Floats:
    return np.concatenate([np.zeros((len(sums), 1)), sums], axis=1)


def _equal_error(alarms: Floats, hits: Floats) -> Floats:
    """Where false alarms and misses are equally frequent, between the two cuts where they cross; (B, cuts) to (B,)."""
    gap = (1 - hits) - alarms
    after = np.argmax(gap <= 0, axis=1)[:, None]
    before = np.maximum(after - 1, 0)
    low, high, gap_low, gap_high = (
        np.take_along_axis(array, at, axis=1)[:, 0]
        for array, at in ((alarms, before), (alarms, after), (gap, before), (gap, after))
    )
    share = gap_low / (gap_low - gap_high)
    return np.where(after[:, 0] == 0, high, low + share * (high - low))
