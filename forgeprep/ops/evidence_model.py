"""The linear model that tells how well a mask fits, fitted by ``benchmarks/masks_fit.py``."""

from __future__ import annotations

import numpy as np

# fmt: off
FIT_WEIGHTS = np.array([
    2.883, 0.08057, -0.1255, -0.076, -2.384, 0.04924, 0.005433, 0.00976, 0.09883, -0.04034,
    0.01163, -0.03821, -0.02136, 0.3416, -0.07339,
], np.float32)
"""Of each of :data:`forgeprep.ops.masks.FIT_FEATURES`, in IoU."""
FIT_BIAS = -0.1285
