"""A small convolutional network that tells forged cells from their evidence and from that of their surroundings.

A U-Net (Ronneberger et al., 2015) of 3 x 3 convolutions and ReLU, most of it at half of the grid's resolution and
coarser, with more channels the coarser; the coarsest level also sees its own mean and maximum. Its seventy thousand
numbers lie in ``evidence_net.npz``; ``benchmarks/masks_fit.py`` fits them. Here it is computed with matrix products,
so that nobody needs torch for masks.

Maps of some frames lie in one array, (channels + 1, frames, rows, columns), with one cell of zeros around each map.
The last channel is room: taps of a convolution read on there, and what they make of it falls on the maps' rims.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import cv2
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
    of_run[:, :height, :width] = np.concatenate([np.clip(mean * np.float32(SCALE), LEAST, MOST), place])
    everywhere = weights[:, count:-1] @ of_run.reshape(len(of_run), -1) + numbers["first_bias"][:, None]
    # Scaled here, where there are few numbers.
    own = np.concatenate([weights[:, :count] * np.float32(SCALE), weights[:, -1:]], axis=1)
    odds = np.empty((len(seen), height, width), np.float32)
    for first in range(0, len(seen), FRAMES):
        part = slice(first, first + FRAMES)
        maps = np.zeros((count + 1, len(seen[part]), *sides), np.float32)
        there = maps[..., :height, :width]
        np.clip(standing[part].swapaxes(0, 1), LEAST / SCALE, MOST / SCALE, out=there[:-1])
        there[-1] = seen[part]
        fine = _mixed(own, maps)
        fine += everywhere.reshape(len(own), 1, *sides)
        odds[part] = _net(numbers, np.maximum(fine, 0, out=fine))[:, :height, :width]
    return odds


def _net(numbers: Mapping[str, Float], fine: Float) -> Float:
    """From the first layer's maps, float32 (C, frames, H, W), to log-odds, float32 (frames, H, W)."""
    half = _level(numbers, "second", fine)
    quarter = _level(numbers, "fourth", half[_MAPS])
    eighth = _level(numbers, "eighth", quarter[_MAPS])[_MAPS]
    whole = np.concatenate([eighth.mean(axis=(2, 3)), eighth.max(axis=(2, 3))])
    more = numbers["whole"] @ whole + numbers["whole_bias"][:, None]
    quarter[_MAPS] += _refined(numbers, "from_eighth", eighth + more[..., None, None])
    half[_MAPS] += _refined(numbers, "from_fourth", _convolved(numbers, "up_fourth", quarter)[_MAPS])
    coarse = _refined(numbers, "from_second", _convolved(numbers, "up_second", half)[_MAPS])
    coarse += _mixed(numbers["fine"], fine)
    joined = _room(*coarse.shape)
    np.maximum(coarse, 0, out=joined[_MAPS])
    odds = _mixed(numbers["out"], _convolved(numbers, "last", joined)[:-1]) + numbers["out_bias"]
    return np.asarray(odds[0, :, 1:-1, 1:-1], np.float32)


def _mixed(weights: Float, maps: Float) -> Float:
    """Weighted sums of maps, float32 (O, frames, H, W), of (C, frames, H, W)."""
    return np.asarray(weights @ maps.reshape(len(maps), -1), np.float32).reshape(len(weights), *maps.shape[1:])


_MAPS = np.s_[:-1, :, 1:-1, 1:-1]


def _room(channels: int, frames: int, height: int, width: int) -> Float:
    """Room for maps, zeros."""
    return np.zeros((channels + 1, frames, height + 2, width + 2), np.float32)


def _level(numbers: Mapping[str, Float], name: str, finer: Float) -> Float:
    """Maps of a coarser level, with room, of the finer one's, float32 (C, frames, H, W): means of two by two cells."""
    channels, frames, height, width = finer.shape
    size = width // 2, channels * frames * height // 2
    means = cv2.resize(finer.reshape(-1, width), size, interpolation=cv2.INTER_AREA)
    maps = _room(channels, frames, height // 2, width // 2)
    maps[_MAPS] = means.reshape(channels, frames, height // 2, width // 2)
    return _convolved(numbers, f"{name}_2", _convolved(numbers, f"{name}_1", maps))


def _refined(numbers: Mapping[str, Float], name: str, maps: Float) -> Float:
    """Maps for the next finer level, float32 (O, frames, 2 H, 2 W), of (C, frames, H, W): bilinear."""
    mixed = _mixed(numbers[name], maps) + numbers[f"{name}_bias"][:, None, None, None]
    wide = np.matmul(mixed, _doubling(maps.shape[3]))
    near, far = wide * np.float32(0.75), wide * np.float32(0.25)
    found = np.empty((*wide.shape[:3], 2, wide.shape[3]), np.float32)
    np.add(near[:, :, 1:], far[:, :, :-1], out=found[:, :, 1:, 0])
    np.add(near[:, :, :-1], far[:, :, 1:], out=found[:, :, :-1, 1])
    # Edges are repeated.
    found[:, :, 0, 0], found[:, :, -1, 1] = wide[:, :, 0], wide[:, :, -1]
    return found.reshape(*wide.shape[:2], -1, wide.shape[3])


def _convolved(numbers: Mapping[str, Float], name: str, maps: Float) -> Float:
    """A convolution and its ReLU: float32 (O + 1, frames, H + 2, W + 2), of maps (C + 1, frames, H + 2, W + 2)."""
    kernels, bias = numbers[name], numbers[f"{name}_bias"]
    _, frames, height, width = maps.shape
    found = np.zeros((len(bias) + 1, frames, height, width), np.float32)
    # All cells in one row: then each of the nine taps is the row, shifted.
    size = frames * height * width
    row, total = maps.reshape(-1), found.reshape(-1)[width + 1 :][: len(bias) * size].reshape(len(bias), size)
    tap = np.empty_like(total)
    for number, kernel in enumerate(kernels):
        shift = number // 3 * width + number % 3
        shifted = row[shift:][: kernel.shape[1] * size].reshape(-1, size)
        np.matmul(kernel, shifted, out=tap if number else total)
        if number:
            total += tap
    total += bias[:, None]
    np.maximum(found, 0, out=found)
    for rim in np.s_[:, :, 0], np.s_[:, :, -1], np.s_[..., 0], np.s_[..., -1]:
        found[rim] = 0
    return found


@functools.cache
def _doubling(side: int) -> Float:
    """Linear interpolation to twice as many cells as a matrix, float32 (side, 2 side); edges are repeated."""
    at = np.arange(2 * side)
    near, other = at // 2, np.clip(at // 2 + 2 * (at % 2) - 1, 0, side - 1)
    matrix = np.zeros((side, 2 * side), np.float32)
    np.add.at(matrix, (near, at), 0.75)
    np.add.at(matrix, (other, at), 0.25)
    matrix.flags.writeable = False
    return matrix


@functools.cache
def network_sha256() -> str:
    """SHA-256 of the network's numbers, in hex: masks that others made differ."""
    return hashlib.sha256((files("forgeprep.ops") / NUMBERS).read_bytes()).hexdigest()


@functools.cache
def _numbers() -> dict[str, Any]:
    """The network's numbers, float32: kernels as (9, O, C), all else as matrices and biases."""
    with (files("forgeprep.ops") / NUMBERS).open("rb") as file, np.load(file) as found:
        return {name: np.ascontiguousarray(found[name], np.float32) for name in found.files}
