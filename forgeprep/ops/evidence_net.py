"""A small convolutional network that tells forged cells from their evidence and from that of their surroundings.

A U-Net (Ronneberger et al., 2015) of 3 x 3 convolutions and ReLU, most of it at half of the grid's resolution and
coarser, with more channels the coarser; the coarsest level also sees its own mean and maximum. Its numbers, some forty
thousand, lie in ``evidence_net.npz``; ``benchmarks/masks_fit.py`` fits them. Here it is computed with matrix products,
so that nobody needs torch for masks.

Maps of all frames lie in one array, (channels, frames, rows, columns), with one cell of zeros around each.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from forgeprep.ops.robust import Float

NUMBERS = "evidence_net.npz"
STEP = 8
"""The sides of maps are multiples of this: three times halved."""
FRAMES = 2
"""Frames that are computed together: more do not fit the processor's cache."""
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
    numbers = _numbers()
    weights, count = numbers["first"], standing.shape[1]
    height, width = seen.shape[1:]
    sides = height + -height % STEP, width + -width % STEP
    of_run = np.zeros((len(mean) + len(place), *sides), np.float32)
    of_run[:, :height, :width] = np.concatenate([_scaled(mean), place])
    everywhere = weights[:, count:-1] @ of_run.reshape(len(of_run), -1) + numbers["first_bias"][:, None]
    own = np.concatenate([weights[:, :count], weights[:, -1:]], axis=1)
    odds = np.empty((len(seen), height, width), np.float32)
    for first in range(0, len(seen), FRAMES):
        part = slice(first, first + FRAMES)
        maps = np.zeros((count + 1, len(seen[part]), *sides), np.float32)
        there = maps[..., :height, :width]
        there[:-1] = standing[part].swapaxes(0, 1)
        there[-1] = seen[part]
        np.clip(np.multiply(there[:-1], SCALE, out=there[:-1]), LEAST, MOST, out=there[:-1])
        fine = (own @ maps.reshape(count + 1, -1)).reshape(len(own), -1, *sides)
        fine += everywhere.reshape(len(own), 1, *sides)
        odds[part] = _net(numbers, np.maximum(fine, 0, out=fine))[:, :height, :width]
    return odds


def _net(numbers: Mapping[str, Float], fine: Float) -> Float:
    """From the first layer's maps, float32 (C, frames, H, W), to log-odds, float32 (frames, H, W)."""
    half = _level(numbers, "second", _halved(fine))
    quarter = _level(numbers, "fourth", _halved(half[_INNER]))
    eighth = _level(numbers, "eighth", _halved(quarter[_INNER]))[_INNER]
    whole = np.concatenate([eighth.mean(axis=(2, 3)), eighth.max(axis=(2, 3))])
    eighth = eighth + (numbers["whole"] @ whole + numbers["whole_bias"][:, None])[..., None, None]
    quarter[_INNER] += _refined(numbers, "from_eighth", eighth)
    half[_INNER] += _refined(numbers, "from_fourth", _convolved(numbers, "up_fourth", quarter)[_INNER])
    coarse = _refined(numbers, "from_second", _convolved(numbers, "up_second", half)[_INNER])
    sides = fine.shape[2] + 2, fine.shape[3] + 2
    joined = np.zeros((len(coarse), fine.shape[1], *sides), np.float32)
    joined[_INNER] = coarse
    joined[_INNER] += _mixed(numbers["fine"], fine)
    last = _convolved(numbers, "last", np.maximum(joined, 0, out=joined))[_INNER]
    return np.asarray(_mixed(numbers["out"], last)[0] + numbers["out_bias"], np.float32)


def _mixed(weights: Float, maps: Float) -> Float:
    """Weighted sums of maps, float32 (O, frames, H, W), of (C, frames, H, W)."""
    return np.asarray(weights @ maps.reshape(len(maps), -1), np.float32).reshape(len(weights), *maps.shape[1:])


_INNER = np.s_[:, :, 1:-1, 1:-1]


def _level(numbers: Mapping[str, Float], name: str, maps: Float) -> Float:
    return _convolved(numbers, f"{name}_2", _convolved(numbers, f"{name}_1", maps))


def _refined(numbers: Mapping[str, Float], name: str, maps: Float) -> Float:
    """Maps for the next finer level, float32 (O, frames, 2 H, 2 W), of (C, frames, H, W)."""
    return _doubled(_mixed(numbers[name], maps) + numbers[f"{name}_bias"][:, None, None, None])


def _convolved(numbers: Mapping[str, Float], name: str, maps: Float) -> Float:
    """A convolution and its ReLU, float32 (O, frames, H + 2, W + 2), of maps (C, frames, H + 2, W + 2)."""
    kernels, bias = numbers[name], numbers[f"{name}_bias"]
    width = maps.shape[3]
    # All maps in one row: then each of the nine taps is the row, shifted. What runs over the edges falls on the rim.
    row = maps.reshape(len(maps), -1)
    size = row.shape[1] - 2 * width - 2
    total = kernels[0] @ row[:, :size]
    tap = np.empty_like(total)
    for number in range(1, 9):
        shift = number // 3 * width + number % 3
        np.matmul(kernels[number], row[:, shift : shift + size], out=tap)
        total += tap
    total += bias[:, None]
    found = np.zeros((len(bias), *maps.shape[1:]), np.float32)
    np.maximum(total, 0, out=found.reshape(len(bias), -1)[:, width + 1 : width + 1 + size])
    for rim in np.s_[:, :, 0], np.s_[:, :, -1], np.s_[..., 0], np.s_[..., -1]:
        found[rim] = 0
    return found


def _halved(maps: Float) -> Float:
    """Means of two by two cells, with a rim of zeros: float32 (C, frames, H / 2 + 2, W / 2 + 2)."""
    rows = maps[:, :, ::2] + maps[:, :, 1::2]
    found = np.zeros((*maps.shape[:2], maps.shape[2] // 2 + 2, maps.shape[3] // 2 + 2), np.float32)
    np.add(rows[..., ::2], rows[..., 1::2], out=found[_INNER])
    found *= np.float32(0.25)
    return found


def _doubled(maps: Float) -> Float:
    """Bilinear: float32 (C, frames, 2 H, 2 W), of (C, frames, H, W)."""
    down, across = (_doubling(side) for side in maps.shape[2:])
    return np.asarray(down @ maps @ across.T, np.float32)


@functools.cache
def _doubling(side: int) -> Float:
    """Linear interpolation to twice as many cells as a matrix, float32 (2 side, side); edges are repeated."""
    at = np.arange(2 * side)
    near, other = at // 2, np.clip(at // 2 + 2 * (at % 2) - 1, 0, side - 1)
    matrix = np.zeros((2 * side, side), np.float32)
    np.add.at(matrix, (at, near), 0.75)
    np.add.at(matrix, (at, other), 0.25)
    matrix.flags.writeable = False
    return matrix


def _scaled(energies: Float) -> Float:
    return np.asarray(np.clip(energies * np.float32(SCALE), LEAST, MOST), np.float32)


@functools.cache
def network_sha256() -> str:
    """SHA-256 of the network's numbers, in hex: masks that others made differ."""
    return hashlib.sha256((files("forgeprep.ops") / NUMBERS).read_bytes()).hexdigest()


@functools.cache
def _numbers() -> dict[str, Any]:
    """The network's numbers, float32: kernels as (9, O, C), all else as matrices and biases."""
    with (files("forgeprep.ops") / NUMBERS).open("rb") as file, np.load(file) as found:
        return {name: np.ascontiguousarray(found[name], np.float32) for name in found.files}
