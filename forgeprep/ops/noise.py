"""Wavelet noise residual: what is left of a picture when its content is taken out.

The filter is that of Mihcak, Kozintsev and Ramchandran, "Spatially adaptive statistical modeling of wavelet
image coefficients and its application to denoising" (1999), used for camera fingerprints by Chen, Fridrich,
Goljan and Lukas (2008); conventions as in ``noise_extract`` of polimi-ispl/prnu-python.

A db4 transform along one axis is a banded matrix: here a batch of small products over overlapping blocks of
rows, applied to the plane and then to its transpose. Results are equal from run to run; between machines the
last bits of the floats depend on BLAS and SIMD. All functions return new arrays, and raise ValueError (saying
what they got) for a shape, a dtype or a value other than their docstring gives, or for a side of 0.
"""

import math
import threading
from functools import lru_cache
from typing import Any, cast

import cv2
import numpy as np
import pywt
from numpy.typing import NDArray

F32 = NDArray[np.float32]
_Floats = NDArray[np.floating[Any]]

GRAY_WEIGHTS = (0.29893602, 0.58704307, 0.11402090)
"""Shares of red, green and blue."""
_STEPS_PER_UNIT = 5  # codes per gray level
_TAPS = 8
_OVERLAP = _TAPS - 2  # rows that a block shares with the next
# Rows per block: the fastest of 8, 16, 32 and 64, as long blocks multiply more of the zeros beside the band.
# Up to 2340 columns the products stay below the size at which OpenBLAS starts threads.
_BLOCK = 8
_KEPT = 2 << 20  # floats that a thread keeps for its next call: crops up to some 700 pixels


def noise_residual(image: NDArray[np.uint8] | F32, sigma: float = 5.0, levels: int = 4) -> F32:
    """Noise residual of `image`: (H, W) gray or (H, W, 3) RGB, uint8 or finite float32 on the 0-255 scale.

    Per channel, each detail coefficient x of the db4 transform (symmetric padding) becomes x * s / (v + s),
    s = sigma**2, v = the least of max(0, mean(x**2) - s) over windows of 3, 5, 7 and 9 (zero padding); the
    approximation becomes 0. `sigma` in [0.001, 1000] is the standard deviation of the noise in gray levels: 5
    for lightly, 10 for strongly compressed video. Of the `levels` >= 1, those for which the shorter side is
    below 7 * 2**level pixels (``pywt.dwt_max_level``) are left out: below 14 pixels the residual is 0.

    Returns float32 of the image's shape in gray levels, mean near 0, mostly within +-16 at sigma 5.
    """
    _check("an image", image, np.uint8, np.float32)
    _check_sigma(sigma)
    if levels < 1:
        raise ValueError(f"levels must be >= 1, got {levels!r}")
    out = np.zeros(image.shape, np.float32)
    levels = min(levels, pywt.dwt_max_level(min(image.shape[:2]), _TAPS))
    if levels == 0:
        return out
    # Shared by all levels and channels: fresh buffers cost a large image thousands of page faults a call.
    scratch = _memory(4, math.prod(_padded(side) for side in image.shape[:2]))
    for channel in range(math.prod(image.shape[2:])):
        plane = image if image.ndim == 2 else cv2.extractChannel(image, channel)
        residual = _residual(np.asarray(plane, np.float32), float(sigma) ** 2, levels, scratch)
        out.reshape(*image.shape[:2], -1)[..., channel] = residual
    return out


def to_gray(rgb: NDArray[np.uint8] | F32) -> F32:
    """Gray image, (H, W) float32, of an (H, W, 3) uint8 or float32 RGB one: same scale, not rounded."""
    _check("an RGB image", rgb, np.uint8, np.float32, ndims=(3,))
    exact = _memory(*rgb.shape)
    exact[:] = rgb
    return cast(F32, cv2.transform(exact, np.array([GRAY_WEIGHTS], np.float32)))


def zero_mean(residual: F32) -> F32:
    """(H, W) or (H, W, 3) float32 `residual` less the row and column means of its 2x2 polyphase lattices."""
    _check("a residual", residual, np.float32)
    out = residual.copy()
    for lattice in (out[i::2, j::2] for i in range(2) for j in range(2)):
        if lattice.size:  # a side of one pixel leaves a lattice empty
            lattice -= lattice.mean(axis=(0, 1))
            lattice -= lattice.mean(axis=1, keepdims=True) + lattice.mean(axis=0, keepdims=True)
    return out


def wiener_dft(residual: F32, sigma: float | None = None) -> F32:
    """(H, W) float32 `residual` with the peaks of its spectrum (periodic patterns) brought down.

    `sigma` in [0.001, 1000] is the standard deviation of the noise, by default that of the residual. Returns
    the same shape and dtype, 0 for a constant residual.
    """
    _check("a residual for wiener_dft", residual, np.float32, ndims=(2,))
    if sigma is not None:
        _check_sigma(sigma)
    if residual.min() == residual.max():
        return np.zeros_like(residual)
    spectrum = np.fft.fft2(residual.astype(np.float64))
    energy = (spectrum.real**2 + spectrum.imag**2) / residual.size
    variance = float(residual.var(ddof=1, dtype=np.float64)) if sigma is None else float(sigma) ** 2
    total = _total_energy(energy, variance, np.empty_like(energy), np.empty_like(energy))
    return cast(F32, np.fft.ifft2(spectrum * (variance / total)).real.astype(np.float32))


def quantise(residual: F32) -> NDArray[np.uint8]:
    """uint8 code 128 + 5 * value, rounded and clipped, of an (H, W) or (H, W, 3) float32 residual.

    Values in [-25.6, 25.4] come back from `dequantise` within 0.1.
    """
    _check("a residual", residual, np.float32)
    code = _memory(*residual.shape)
    np.multiply(residual, np.float32(_STEPS_PER_UNIT), out=code)
    code += 128
    np.rint(np.clip(code, 0, 255, out=code), out=code)
    return code.astype(np.uint8)


def dequantise(code: NDArray[np.uint8]) -> F32:
    """float32 (code - 128) / 5, in [-25.6, 25.4], of a uint8 `code` of any shape."""
    if code.dtype != np.uint8:
        raise ValueError(f"the code of a residual is uint8, got {code.dtype}")
    return (code.astype(np.float32) - 128) / np.float32(_STEPS_PER_UNIT)


def _residual(plane: F32, variance: float, levels: int, scratch: F32) -> F32:
    """Residual of an (H, W) plane, in scratch[0]: transform, go down a level, weight, transform back."""
    height, width = plane.shape
    padded = _view(scratch[0], _padded(height), _padded(width))
    below, right = padded.shape[0] - height - _OVERLAP, padded.shape[1] - width - _OVERLAP
    # OpenCV's "reflect" (cba|abc|cba) is PyWavelets' "symmetric".
    cv2.copyMakeBorder(plane, _OVERLAP, below, _OVERLAP, right, cv2.BORDER_REFLECT, dst=padded)
    bands = _along_both(_matrices()[0], padded, scratch[1], scratch[0], np.empty(padded.size, np.float32))
    # Rows of low and high pass along W alternate, and in each row those along H: two images of two channels.
    # Beyond rows and cols is the transform of mere padding.
    rows, cols = ((side + _TAPS - 1) // 2 for side in (width, height))
    low, high = (bands.reshape(len(bands), -1, 2)[a : 2 * rows : 2, :cols] for a in range(2))
    if levels > 1:
        approx = cast(F32, cv2.extractChannel(low, 0, dst=_view(scratch[1], rows, cols)))
        cv2.insertChannel(_residual(approx, variance, levels - 1, scratch), low, 0)
    else:
        low[..., 0] = 0
    # The three details as channels of one image: OpenCV's box filter is faster on that than on three images.
    details, energy, least, mean = (_view(buffer, rows, cols, 3) for buffer in scratch)
    cv2.mixChannels([low, high], [details], [1, 0, 2, 1, 3, 2])
    total = _total_energy(np.square(details, out=energy), variance, least, mean)
    cv2.divide(details, total, dst=details, scale=variance)
    cv2.mixChannels([details], [low, high], [0, 1, 1, 2, 2, 3])
    return _along_both(_matrices()[1], bands, scratch[0], scratch[1], scratch[0])[:height, :width]


def _total_energy(energy: _Floats, variance: float, least: _Floats, mean: _Floats) -> _Floats:
    """v + s of `noise_residual`, given x**2. Overwrites `least`, which is returned, and `mean`."""
    cv2.blur(energy, (3, 3), dst=least, borderType=cv2.BORDER_CONSTANT)
    for size in (5, 7, 9):
        cv2.blur(energy, (size, size), dst=mean, borderType=cv2.BORDER_CONSTANT)
        cv2.min(least, mean, dst=least)
    # The least of max(0, m - s), plus s, is max(least m, s).
    return np.maximum(least, variance, out=least)


def _along_both(matrix: F32, x: F32, half: F32, turned: F32, out: F32) -> F32:
    """`_multiply` along the first, then the second axis; the result, in `out`, is transposed."""
    x = _multiply(matrix, x, half)
    # BLAS is so much slower on a transposed view that a copy pays.
    x = cast(F32, cv2.transpose(x, dst=_view(turned, x.shape[1], x.shape[0])))
    return _multiply(matrix, x, out)


def _multiply(matrix: F32, x: F32, buffer: F32) -> F32:
    """`matrix` times each block of 14 rows of x, one starting every 8: (8 * blocks, cols), in `buffer`."""
    row, col = x.strides
    blocks, cols = (len(x) - _OVERLAP) // _BLOCK, x.shape[1]
    # Made this way, bounds are checked and it takes a tenth of the time of as_strided.
    view = np.ndarray((blocks, _BLOCK + _OVERLAP, cols), np.float32, x.data, 0, (_BLOCK * row, row, col))
    return np.matmul(matrix, view, out=_view(buffer, blocks, _BLOCK, cols)).reshape(-1, cols)


class _Kept(threading.local):
    floats: F32 = np.empty(0, np.float32)


_kept = _Kept()


def _memory(*shape: int) -> F32:
    """Uninitialised memory until this thread's next call of any function here; large amounts are not kept."""
    count = math.prod(shape)
    if count > _KEPT:
        return np.empty(shape, np.float32)
    if count > _kept.floats.size:
        _kept.floats = np.empty(count, np.float32)
    return _view(_kept.floats, *shape)


def _view(buffer: F32, *shape: int) -> F32:
    return buffer[: math.prod(shape)].reshape(shape)


def _padded(side: int) -> int:
    """Padded length of a side: 6 in front, whole blocks, and one block more for the inverse to read."""
    return _OVERLAP + (-(-side // _BLOCK) + 1) * _BLOCK


@lru_cache(maxsize=1)
def _matrices() -> tuple[F32, F32]:
    """db4 for a block: analysis of 14 samples to 8 coefficients (low, high, low, ...), and its inverse."""
    wavelet = pywt.Wavelet("db4")
    analysis, synthesis = np.zeros((2, _BLOCK, _BLOCK + _OVERLAP), np.float32)
    for i in range(_BLOCK):
        start, phase = i - i % 2, i % 2
        analysis[i, start : start + _TAPS] = (wavelet.dec_lo, wavelet.dec_hi)[phase][::-1]
        synthesis[i, start : start + _TAPS : 2] = wavelet.rec_lo[phase::2][::-1]
        synthesis[i, start + 1 : start + _TAPS : 2] = wavelet.rec_hi[phase::2][::-1]
    analysis.flags.writeable = synthesis.flags.writeable = False  # shared by all callers
    return analysis, synthesis


def _check(what: str, array: NDArray[Any], *dtypes: type, ndims: tuple[int, ...] = (2, 3)) -> None:
    if array.dtype not in dtypes:
        raise ValueError(f"{what} is {' or '.join(t.__name__ for t in dtypes)}, got {array.dtype}")
    if array.ndim not in ndims or array.shape[2:] not in ((), (3,)) or array.size == 0:
        allowed = " or ".join({2: "(H, W)", 3: "(H, W, 3)"}[n] for n in ndims)
        raise ValueError(f"{what} is {allowed} with no side of 0, got shape {array.shape}")


def _check_sigma(sigma: float) -> None:
    if not 1e-3 <= sigma <= 1e3:
        raise ValueError(f"sigma must be in [0.001, 1000] gray levels, got {sigma!r}")
