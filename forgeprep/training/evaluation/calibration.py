"""Whether scores are the probabilities that they claim to be."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import brier_score_loss

from forgeprep.text import counted

BINS = 15
"""As in Guo and others, "On calibration of modern neural networks" (2017)."""

NO_MAP = "the score is the mean of a map, not a probability"


def calibration(labels: npt.ArrayLike, scores: npt.ArrayLike, *, bins: int = BINS) -> dict[str, Any]:
    """ECE, Brier score, and what a reliability plot is drawn from.

    Args:
        labels: (N,), 1 fake and 0 real.
        scores: (N,), probabilities of fake.
        bins: of equal width, from 0 to 1.

    Returns:
        ``ece``: how far score and share of fakes lie apart, weighted by samples; ``brier``: mean squared error;
        ``bins``: ``low``, ``high``, ``samples``, mean ``score``, share of ``fakes``, of those that hold samples. Or
        ``undefined``, with the reason.
    """
    truth, score = np.asarray(labels).astype(int), np.asarray(scores, float)
    if not len(score):
        return {"undefined": "no sample"}
    outside = int(np.count_nonzero((score < 0) | (score > 1)))
    if outside:
        return {"undefined": f"{counted(outside, 'score lies', 'scores lie')} outside [0, 1]"}
    place = np.minimum((score * bins).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    held = np.flatnonzero(count)
    mean, share = (np.bincount(place, values, bins)[held] / count[held] for values in (score, truth))
    return {
        "ece": float(np.sum(np.abs(mean - share) * count[held]) / len(score)),
        "brier": float(brier_score_loss(truth, score, pos_label=1)),
        "bins": [
            {"low": at / bins, "high": (at + 1) / bins, "samples": int(count[at]), "score": float(m), "fakes": float(s)}
            for at, m, s in zip(held.tolist(), mean, share, strict=True)
        ],
    }
