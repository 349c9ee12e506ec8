"""How many fakes are found where one real in a hundred is called a fake."""

from __future__ import annotations

import numpy as np

from forgeprep.training.evaluation.metrics import Floats, Ints, Metric

FALSE_ALARMS = 0.01


def hits_at_one_percent(scores: Floats, labels: Ints) -> float:
    """The share of fakes that score above all but 1 % of the reals."""
    threshold = np.quantile(scores[labels == 0], 1 - FALSE_ALARMS, method="higher")
    return float(np.mean(scores[labels == 1] > threshold))


TPR_AT_1 = Metric("tpr@1%", hits_at_one_percent, "Fakes found at 1 % false alarms")
