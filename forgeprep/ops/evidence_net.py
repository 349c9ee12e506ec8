"""A small convolutional network that tells forged cells from their evidence and from that of their surroundings.

A U-Net (Ronneberger et al., 2015) of 3 x 3 convolutions and ReLU, most of it at half of the grid's resolution and
coarser, with more channels the coarser; the coarsest level also sees its own mean and maximum. It lies, with its
seventy thousand numbers, in ``evidence_net.onnx``, which ONNX Runtime computes: nobody needs torch for masks.
``benchmarks/masks_net.py`` has it in torch, ``benchmarks/masks_fit.py`` fits it.
"""

from __future__ import annotations

import functools
import hashlib
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from forgeprep.ops.robust import Float

NETWORK = "evidence_net.onnx"
STEP = 8
"""The sides of maps are multiples of this: three times halved."""
SCALE, LEAST, MOST = 0.5, -2.0, 4.0
"""What log energies are multiplied with, and the limits of the result."""


def forged_odds(standing: Float, mean: Float, seen: npt.NDArray[np.bool_], place: Float) -> Float:
    """Log-odds of each cell being forged, float32 (frames, H, W).

    Args:
        standing: float32 (frames, channels, H, W), log energies over the rim's noise; 0 where nothing is seen.
        mean: float32 (m, H, W), means over the run of some of these.
        seen: bool (frames, H, W).
        place: float32 (3, H, W), where cells lie from the face's middle: across, down, and the larger of both.
    """
    _, count, height, width = standing.shape
    channels = count + len(mean) + len(place) + 1
    maps = np.zeros((1, channels, height + -height % STEP, width + -width % STEP), np.float32)
    there = maps[0, :, :height, :width]
    there[count:-1] = np.concatenate([np.clip(mean * np.float32(SCALE), LEAST, MOST), place])
    odds = np.empty(seen.shape, np.float32)
    # Frame by frame: more at a time take no less.
    for number, energies in enumerate(standing):
        np.multiply(energies, np.float32(SCALE), out=there[:count])
        np.clip(there[:count], LEAST, MOST, out=there[:count])
        there[-1] = seen[number]
        odds[number] = _network().run(["odds"], {"maps": maps})[0][0, 0, :height, :width]
    return odds


@functools.cache
def network_sha256() -> str:
    """SHA-256 of the network's file, in hex: masks that others made differ."""
    return hashlib.sha256(_content()).hexdigest()


@functools.cache
def _network() -> Any:
    """The network, ready to run on one thread: the workers are the parallelism."""
    # Here, because it takes time and memory that only masks need.
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # What it keeps for later runs would only add to a worker's memory.
    options.enable_cpu_mem_arena = False
    return onnxruntime.InferenceSession(_content(), options, providers=["CPUExecutionProvider"])


def _content() -> bytes:
    return (files("forgeprep.ops") / NETWORK).read_bytes()
