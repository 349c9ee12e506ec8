"""The wavelet noise residual in torch, on any device: the filter of :mod:`forgeprep.ops.noise`, for batches."""

from __future__ import annotations

import functools

import pywt
import torch
from torch import Tensor
from torch.nn import functional

from forgeprep.ops.noise import GRAY_WEIGHTS

TAPS = 8
WINDOWS = (3, 5, 7, 9)


def noise_residual(image: Tensor, sigma: Tensor | float = 5.0, levels: int = 4) -> Tensor:
    """The residual of gray pictures, float (B, 1, H, W), in gray levels.

    Args:
        image: float (B, 3, H, W) RGB or (B, 1, H, W) gray, 0 to 1.
        sigma: noise level on the 0-255 scale, one for all or one for each picture (B,).
        levels: of the transform; those for which the shorter side is below 7 * 2**level pixels are left out.

    Agrees with :func:`forgeprep.ops.noise.noise_residual` of the same picture to 1e-3 gray levels.
    """
    gray = image.float() * 255
    if image.shape[1] == 3:
        gray = (gray * gray.new_tensor(GRAY_WEIGHTS).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
    variance = torch.as_tensor(sigma, dtype=gray.dtype, device=gray.device).reshape(-1, 1, 1, 1) ** 2
    levels = min(levels, pywt.dwt_max_level(min(image.shape[2:]), TAPS))
    return _residual(gray, variance, levels) if levels else torch.zeros_like(gray)


def _residual(x: Tensor, variance: Tensor, levels: int) -> Tensor:
    bands = _analyse(_analyse(x, 2), 3)
    low, details = bands[:, :1], bands[:, 1:]
    low = _residual(low, variance, levels - 1) if levels > 1 else torch.zeros_like(low)
    energy = details.square()
    means = torch.stack([functional.avg_pool2d(energy, size, 1, size // 2) for size in WINDOWS])
    details = details * variance / torch.maximum(means.amin(dim=0), variance)
    return _synthesise(_synthesise(torch.cat([low, details], dim=1), 3), 2)[:, :, : x.shape[2], : x.shape[3]]


def _analyse(x: Tensor, axis: int) -> Tensor:
    """Low and high pass along an axis, each half as long: channels (c) become (c low, c high)."""
    length = x.shape[axis]
    # The picture mirrored at its ends, the end pixel twice; what is beyond both mirrors is not reached by 7 pixels,
    # unless the picture is smaller than that.
    places = torch.arange(-(TAPS - 2), length + TAPS - 1, device=x.device) % (2 * length)
    places = torch.where(places < length, places, 2 * length - 1 - places)
    padded = x.index_select(axis, places)
    kernels = x.new_tensor(_filters()[:2])
    shape = (TAPS, 1) if axis == 2 else (1, TAPS)
    weight = kernels.view(2, 1, *shape)
    stride = (2, 1) if axis == 2 else (1, 2)
    batch, channels = x.shape[:2]
    out = functional.conv2d(padded.flatten(0, 1)[:, None], weight, stride=stride)
    count = (length + TAPS - 1) // 2
    out = out.narrow(axis, 0, count)
    out = out.reshape(batch, channels, *out.shape[1:])
    return torch.cat([out[:, :, 0], out[:, :, 1]], dim=1)


def _synthesise(x: Tensor, axis: int) -> Tensor:
    """The inverse of :func:`_analyse`, up to a last row too many where the length was odd."""
    half = x.shape[1] // 2
    shape = (TAPS, 1) if axis == 2 else (1, TAPS)
    stride = (2, 1) if axis == 2 else (1, 2)
    kernels = x.new_tensor(_filters()[2:]).view(2, 1, *shape)
    pairs = torch.stack([x[:, :half], x[:, half:]], dim=2).flatten(0, 1)
    out = functional.conv_transpose2d(pairs, kernels, stride=stride)
    length = 2 * x.shape[axis] - TAPS + 2
    out = out.narrow(axis, TAPS - 2, length)
    return out.reshape(x.shape[0], half, *out.shape[2:])


@functools.cache
def _filters() -> tuple[tuple[float, ...], ...]:
    """db4: analysis (for a correlation) low and high, synthesis low and high."""
    wavelet = pywt.Wavelet("db4")
    return (
        tuple(wavelet.dec_lo[::-1]), tuple(wavelet.dec_hi[::-1]), tuple(wavelet.rec_lo), tuple(wavelet.rec_hi),
    )  # fmt: skip
