"""The true masks of the demo's forgeries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def load_truth(path: Path) -> npt.NDArray[np.bool_]:
    """The true masks of a forged clip: bool (frames, H, W), from ``truth/<method>/<target>_<source>.npz``."""
    import numpy as np

    with np.load(path) as file:
        frames, height, width = (int(n) for n in file["shape"])
        bits = np.unpackbits(file["mask"], axis=-1, count=width)
    return bits.reshape(frames, height, width).astype(bool)
