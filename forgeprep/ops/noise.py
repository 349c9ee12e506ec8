"""Wavelet noise residual: what is left of a picture when its content is taken out.

The filter is that of Mihcak, Kozintsev and Ramchandran, "Spatially adaptive statistical modeling of wavelet image
coefficients and its application to denoising" (1999), used for camera fingerprints by Chen, Fridrich, Goljan and
Lukas (2008); conventions as in ``noise_extract`` of polimi-ispl/prnu-python.

A db4 transform along one axis is a banded matrix: here it is a batch of small dense products over overlapping blocks
of rows, applied once to the plane and once to its transpose. Results are equal from run to run; between machines
the last bits of the floats depend on the BLAS and SIMD level at hand.
"""

import math
from functools import lru_cache
from typing import cast

import cv2
import numpy as np
import pywt
from numpy.typing import NDArray

F32 = NDArray[np.float32]

_GRAY_WEIGHTS = (0.29893602, 0.58704307, 0.11402090)
_STEPS_PER_LEVEL = 5  # of the 8-bit code
_WINDOWS = (3, 5, 7, 9)
_TAPS = 8
_LEAD = _TAPS - 2  # rows that neighbouring blocks share
# Rows per block. Long blocks multiply more of the zeros beside the band, short ones are slow in BLAS: of 8, 16, 32 and
# 64 the least is the fastest. The products stay below the size at which OpenBLAS starts threads.
_BLOCK = 8


def noise_residual(image: NDArray[np.uint8] | F32, sigma: float = 5.0, levels: int = 4) -> F32:
    """Noise residual of `image`: (H, W) gray or (H, W, 3) RGB, uint8 or finite float32 on the 0-255 scale.

    Per channel, each detail coefficient x of the db4 transform (symmetric padding) becomes x * s / (v + s) with
    s = sigma**2 and v = the least of max(0, mean(x**2) - s) over windows of 3, 5, 7 and 9 (zero padding); the
    approximation becomes 0. `sigma` > 0 is the standard deviation of the noise in gray levels: 5 for lightly, 10 for
    strongly compressed video. Of the `levels` >= 1, those for which the shorter side is below 7 * 2**level pixels
    (``pywt.dwt_max_level``) are left out, so that below 14 pixels the residual is 0.

    Returns float32 of the image's shape in gray levels, mean near 0; for video at sigma 5 about within +-16.
    Raises ValueError for another shape or dtype, an empty side, or sigma or levels out of range.
    """
    _check("an image", image, np.uint8, np.float32)
    _check_sigma(sigma)
    if levels < 1:
        raise ValueError(f"levels must be >= 1, got {levels!r}")
    levels = min(levels, pywt.dwt_max_level(min(image.shape[:2]), _TAPS))
    out = np.zeros(image.shape, np.float32)
    if levels == 0:
        return out
    # Buffers shared by all levels and channels: with fresh ones a large image spends its time in page faults.
    scratch = np.empty((4, math.prod(_padded(side) for side in image.shape[:2])), np.float32)
    for channel in range(math.prod(image.shape[2:])):
        plane = cv2.extractChannel(np.ascontiguousarray(image), channel).astype(np.float32)
        cv2.insertChannel(_residual(plane, float(sigma) ** 2, levels, scratch), out, channel)
    return out


def to_gray(rgb: NDArray[np.uint8] | F32) -> F32:
    """Gray image, (H, W) float32, of an (H, W, 3) uint8 or float32 RGB one: same scale, not rounded.

    Raises ValueError for another shape or dtype.
    """
    _check("an RGB image", rgb, np.uint8, np.float32, ndims=(3,))
    return cast(F32, cv2.transform(rgb.astype(np.float32), np.array([_GRAY_WEIGHTS], np.float32)))


def zero_mean(residual: F32) -> F32:
    """(H, W) or (H, W, 3) float32 `residual` with row and column means 0 on each of its four 2x2 polyphase lattices.

    This takes away what a Bayer pattern and a sensor's read-out add alike in all cameras of a model. Returns a new
    array; raises ValueError for another shape or dtype.
    """
    _check("a residual", residual, np.float32)
    out = residual.copy()
    for lattice in (out[i::2, j::2] for i in range(2) for j in range(2)):
        if lattice.size:  # a side of one pixel leaves a lattice empty
            lattice -= lattice.mean(axis=(0, 1))
            lattice -= lattice.mean(axis=1, keepdims=True) + lattice.mean(axis=0, keepdims=True)
    return out


def wiener_dft(residual: F32, sigma: float | None = None) -> F32:
    """(H, W) float32 `residual` with the peaks of its spectrum (periodic patterns, block borders) brought down.

    `sigma` > 0 is the standard deviation of the noise, by default that of the residual. Returns float32 of the same
    shape, zeros for a constant residual; raises ValueError for another shape, dtype or sigma.
    """
    _check("a residual for wiener_dft", residual, np.float32, ndims=(2,))
    if sigma is not None:
        _check_sigma(sigma)
    if residual.min() == residual.max():
        return np.zeros_like(residual)
    variance = float(residual.var(ddof=1, dtype=np.float64)) if sigma is None else float(sigma) ** 2
    spectrum = np.fft.fft2(residual)
    energy = ((spectrum.real**2 + spectrum.imag**2) / residual.size).astype(np.float32)
    gain = _gain(energy, variance, np.empty_like(energy), np.empty_like(energy))
    return cast(F32, np.fft.ifft2(spectrum * gain).real.astype(np.float32))


def quantise(residual: F32) -> NDArray[np.uint8]:
    """uint8 code 128 + 5 * value, rounded and clipped, of an (H, W) or (H, W, 3) float32 residual.

    `dequantise` gives values of [-25.6, 25.4] back within 0.1. Raises ValueError for another shape or dtype.
    """
    _check("a residual", residual, np.float32)
    # Scales, shifts, rounds and clips in one pass.
    code = cv2.addWeighted(residual, _STEPS_PER_LEVEL, residual, 0, 128, dtype=cv2.CV_8U)
    return cast(NDArray[np.uint8], code).reshape(residual.shape)


def dequantise(code: NDArray[np.uint8]) -> F32:
    """float32 (code - 128) / 5, in [-25.6, 25.4], of a uint8 `code` of any shape; ValueError for another dtype."""
    if code.dtype != np.uint8:
        raise ValueError(f"the code of a residual is uint8, got {code.dtype}")
    return (code.astype(np.float32) - 128) / _STEPS_PER_LEVEL


def _residual(plane: F32, variance: float, levels: int, scratch: F32) -> F32:
    """Residual of an (H, W) plane, a view into `scratch`: transform, go down a level, weight, transform back."""
    height, width = plane.shape
    bands = _analyse(plane, scratch)
    rows, cols = ((side + _TAPS - 1) // 2 for side in (width, height))
    # Rows alternate between low and high pass, the columns as well: two images of two channels.
    low, high = bands.reshape(len(bands), -1, 2)[: 2 * rows].reshape(rows, 2, -1, 2)[:, :, :cols].transpose(1, 0, 2, 3)
    approx = np.float32(0)
    if levels > 1:
        approx = _residual(cv2.extractChannel(low, 0, dst=_view(scratch[1], rows, cols)), variance, levels - 1, scratch)
    low[..., 0] = approx
    # The three details as one image of three channels: OpenCV's box filter is faster on that than on three images.
    details, energy, least, mean = (_view(buffer, rows, cols, 3) for buffer in scratch)
    cv2.mixChannels([low, high], [details], [1, 0, 2, 1, 3, 2])
    details *= _gain(np.square(details, out=energy), variance, least, mean)
    cv2.mixChannels([details], [low, high], [0, 1, 1, 2, 2, 3])
    return _synthesise(bands, scratch)[:height, :width]


def _gain(energy: F32, variance: float, least: F32, mean: F32) -> F32:
    """Share of the noise in each value of an image, given their squares. Overwrites `least` (the result) and `mean`."""
    cv2.blur(energy, (_WINDOWS[0], _WINDOWS[0]), dst=least, borderType=cv2.BORDER_CONSTANT)
    for size in _WINDOWS[1:]:
        cv2.blur(energy, (size, size), dst=mean, borderType=cv2.BORDER_CONSTANT)
        cv2.min(least, mean, dst=least)
    # s / (max(0, m - s) + s) is s / max(m, s).
    np.maximum(least, np.float32(variance), out=least)
    return np.divide(np.float32(variance), least, out=least)


def _analyse(plane: F32, scratch: F32) -> F32:
    """One level of the transform of an (H, W) plane: bands[2 i + a, 2 j + b] is low (0) or high (1) pass a along W, b
    along H. That is the transpose of PyWavelets' bands. What lies beyond i < (W + 7) // 2, j < (H + 7) // 2 comes
    of the padding alone.
    """
    height, width = (_padded(side) for side in plane.shape)
    padded = _view(scratch[0], height, width)
    below, right = height - plane.shape[0] - _LEAD, width - plane.shape[1] - _LEAD
    # OpenCV's "reflect" (cba|abc|cba) is PyWavelets' "symmetric".
    cv2.copyMakeBorder(plane, _LEAD, below, _LEAD, right, cv2.BORDER_REFLECT, dst=padded)
    analysis, _ = _matrices()
    half = _multiply(analysis, padded, scratch[1])
    # A copy, for BLAS is slow on a transposed view.
    turned = cv2.transpose(half, dst=_view(scratch[0], *half.shape[::-1]))
    return _multiply(analysis, turned, np.empty(turned.size, np.float32))


def _synthesise(bands: F32, scratch: F32) -> F32:
    """Inverse of `_analyse`, with some rows and columns too many at the ends."""
    _, synthesis = _matrices()
    half = _multiply(synthesis, bands, scratch[0])
    return _multiply(synthesis, cv2.transpose(half, dst=_view(scratch[1], *half.shape[::-1])), scratch[0])


def _padded(side: int) -> int:
    """Rows to which `side` rows are padded: 6 in front, whole blocks, one more block for `_synthesise` to read."""
    return _LEAD + (-(-side // _BLOCK) + 1) * _BLOCK


def _view(buffer: F32, *shape: int) -> F32:
    return buffer[: math.prod(shape)].reshape(shape)


def _multiply(matrix: F32, x: F32, buffer: F32) -> F32:
    """`matrix` times each block of 14 rows of x, a block starting every 8 rows; (8 * blocks, cols), in `buffer`."""
    row, col = x.strides
    blocks, cols = (len(x) - _LEAD) // _BLOCK, x.shape[1]
    # An overlapping view; made in this way its bounds are checked, and in a tenth of the time of as_strided.
    windows = np.ndarray((blocks, _BLOCK + _LEAD, cols), np.float32, x.data, 0, (_BLOCK * row, row, col))
    return np.matmul(matrix, windows, out=_view(buffer, blocks, _BLOCK, cols)).reshape(-1, cols)


@lru_cache(maxsize=1)
def _matrices() -> tuple[F32, F32]:
    """db4 on a block: analysis of 14 samples to 8 rows (low, high, low, ...) and its inverse. (8, 14), read-only."""
    wavelet = pywt.Wavelet("db4")
    analysis, synthesis = np.zeros((2, _BLOCK, _BLOCK + _LEAD), np.float32)
    for i in range(_BLOCK):
        start = i - i % 2
        analysis[i, start : start + _TAPS] = (wavelet.dec_lo, wavelet.dec_hi)[i % 2][::-1]
        synthesis[i, start : start + _TAPS : 2] = wavelet.rec_lo[i % 2 :: 2][::-1]
        synthesis[i, start + 1 : start + _TAPS : 2] = wavelet.rec_hi[i % 2 :: 2][::-1]
    analysis.flags.writeable = synthesis.flags.writeable = False
    return analysis, synthesis


def _check(what: str, array: NDArray[np.generic], *dtypes: type[np.generic], ndims: tuple[int, ...] = (2, 3)) -> None:
    if array.dtype not in dtypes:
        raise ValueError(f"{what} is {' or '.join(t.__name__ for t in dtypes)}, got {array.dtype}")
    if array.ndim not in ndims or array.shape[2:] not in ((), (3,)) or array.size == 0:
        allowed = " or ".join({2: "(H, W)", 3: "(H, W, 3)"}[n] for n in ndims)
        raise ValueError(f"{what} is {allowed} with no side 0, got shape {array.shape}")


def _check_sigma(sigma: float) -> None:
    if not (math.isfinite(sigma) and sigma > 0):
        raise ValueError(f"sigma must be finite and > 0, got {sigma!r}")
