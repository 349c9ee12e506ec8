"""Local-similarity ground truth: the mask on a coarse grid, and the map of all pairs of its cells."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt


def mask_grid(mask: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.bool_]:
    """The mask on a ``side`` x ``side`` grid: True where at least half of a cell's area is forged.

    Args:
        mask: uint8 (H, W), 0 pristine, 255 forged.
        side: cells along each edge.

    Returns:
        bool (side, side).
    """
    share = cv2.resize((mask > 0).astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
    if mask.shape[0] < side or mask.shape[1] < side:
        share = cv2.resize((mask > 0).astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR)
    # Half a cell may come out as 0.49999997 in float32.
    return np.asarray(share >= 0.5 - 1e-6)


def pack_grid(grid: npt.NDArray[np.bool_]) -> bytes:
    """The grid as bits, row by row, most significant bit first, zero-padded to whole bytes."""
    return np.packbits(grid.reshape(-1)).tobytes()


def unpack_grid(bits: bytes, side: int) -> npt.NDArray[np.bool_]:
    """The inverse of :func:`pack_grid`: bool (side, side)."""
    return np.unpackbits(np.frombuffer(bits, np.uint8), count=side * side).reshape(side, side).astype(bool)


def similarity_map(grid: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The pairwise ground truth, bool (side*side, side*side): True where two cells *differ* (one forged, one not).

    Its diagonal is False, it is symmetric, and it is all False for a real.
    """
    flat = grid.reshape(-1)
    return np.asarray(flat[:, None] ^ flat[None, :])
