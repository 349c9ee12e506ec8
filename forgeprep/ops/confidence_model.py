"""The linear model that tells how well a mask fits, fitted by ``benchmarks/masks_fit.py``."""

from __future__ import annotations

import numpy as np

# fmt: off
FIT_WEIGHTS = np.array([
    0.3095, 0.08583, -0.09227, -0.05067, -0.09337, 0.1401, 0.0196, 0.004826, 0.07433, 0.0137,
    -0.0138, -0.03578, -0.01435, 0.1446, 0.01296,
], np.float32)
"""Of each of :data:`forgeprep.ops.masks.FIT_FEATURES`, in IoU."""
FIT_BIAS = 0.05726
