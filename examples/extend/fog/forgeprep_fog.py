"""A perturbation of forgeprep: fog."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from forgeprep.ops.perturb.catalogue import Perturbation

UInt8 = npt.NDArray[np.uint8]


def fog(image: UInt8, *, share: float) -> UInt8:
    """Mix the picture, uint8 (H, W, 3), with a light gray by ``share``, 0 to 1."""
    return np.asarray(np.rint((1 - share) * image + share * 220), np.uint8)


FOG = Perturbation(
    "fog", "colour", "towards a light gray by share", {"share": (0.1, 0.2, 0.35, 0.5, 0.7)}, fog
)  # fmt: skip
