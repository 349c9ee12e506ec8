"""DeLong's test: whether two detectors differ in AUC on the same samples, which makes them correlated.

DeLong, DeLong and Clarke-Pearson, "Comparing the areas under two or more correlated receiver operating characteristic
curves" (1988); in N log N by Sun and Xu, "Fast implementation of DeLong's algorithm" (2014).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import norm, rankdata

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The difference of two AUCs.

    Attributes:
        auc: of the first and of the second detector.
        difference: the second's less the first's.
        low, high: its interval; NaN where it is undefined.
        p: two-sided; NaN where it is undefined.
        reason: why it is undefined, else None.
    """

    auc: tuple[float, float]
    difference: float
    low: float
    high: float
    p: float
    reason: str | None = None


def delong_covariance(labels: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[Floats, Floats]:
    """AUCs and their covariance.

    Args:
        labels: (N,), 1 fake and 0 real, two of each at least.
        scores: (K, N), of K detectors on the same samples.

    Returns:
        (K,) and (K, K).
    """
    truth, values = np.asarray(labels).astype(bool), np.atleast_2d(np.asarray(scores, float))
    fake, real = values[:, truth], values[:, ~truth]
    m, n = fake.shape[1], real.shape[1]
    joint = rankdata(np.concatenate([fake, real], axis=1), axis=1)
    # How each fake stands against all reals, and each real against all fakes; ties count half.
    of_fakes = (joint[:, :m] - rankdata(fake, axis=1)) / n
    of_reals = 1 - (joint[:, m:] - rankdata(real, axis=1)) / m
    return of_fakes.mean(axis=1), np.atleast_2d(np.cov(of_fakes) / m + np.cov(of_reals) / n)


def compare(labels: npt.ArrayLike, first: npt.ArrayLike, second: npt.ArrayLike, confidence: float = 0.95) -> Comparison:
    """Whether the second detector's AUC differs from the first's; samples are taken to be independent of each other."""
    truth = np.asarray(labels).astype(bool)
    fakes, reals = int(np.count_nonzero(truth)), int(np.count_nonzero(~truth))
    if min(fakes, reals) < 2:
        told = f"{fakes} fake and {reals} real; the test takes two of each"
        return Comparison((math.nan, math.nan), math.nan, math.nan, math.nan, math.nan, told)
    aucs, covariance = delong_covariance(truth, np.stack([np.asarray(first, float), np.asarray(second, float)]))
    gap = float(aucs[1] - aucs[0])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    both = (float(aucs[0]), float(aucs[1]))
    if variance <= 1e-15:
        return Comparison(both, gap, math.nan, math.nan, math.nan, "the difference does not vary between samples")
    error = math.sqrt(variance)
    reach = float(norm.ppf((1 + confidence) / 2)) * error
    return Comparison(both, gap, gap - reach, gap + reach, float(2 * norm.sf(abs(gap) / error)))
