"""The linear model that tells how well a mask fits, fitted by ``benchmarks/masks_fit.py``."""

from __future__ import annotations

import numpy as np

# fmt: off
FIT_WEIGHTS = np.array([
    0.2008, 0.1043, -0.1205, -0.06664, -0.03653, 0.1442, 0.01957, 0.00278, 0.06948, 0.007493,
    -0.02346, -0.02685, 0.01055, 0.1154, 0.009015,
], np.float32)
"""Of each of :data:`forgeprep.ops.masks.FIT_FEATURES`, in IoU."""
FIT_BIAS = 0.007439
