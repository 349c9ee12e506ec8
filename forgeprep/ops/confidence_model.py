"""The linear model that tells how well a mask fits, fitted by ``benchmarks/masks_fit.py``."""

from __future__ import annotations

import numpy as np

# fmt: off
FIT_WEIGHTS = np.array([
    -0.0121, 0.1723, -0.2114, -0.1105, 0.0929, 0.1305, 0.01513, -0.006469, 0.05942, 0.002874,
    0.002429, -0.03006, -0.003451, 0.0001666, 0.03238,
], np.float32)
"""Of each of :data:`forgeprep.ops.masks.FIT_FEATURES`, in IoU."""
FIT_BIAS = 0.001402
