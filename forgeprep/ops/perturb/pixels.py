"""Perturbations that leave every pixel in its place: blur, noise, colour, edges, resolution.

All take uint8 (H, W, 3) RGB and give the same. Lengths are shares of the picture's shorter side, so that a severity
looks the same on a crop of 100 pixels and on one of 900; levels are on the 0-255 scale.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from forgeprep.media.frames import UInt8


def gaussian_blur(image: UInt8, *, sigma: float) -> UInt8:
    """Blur by a Gaussian of ``sigma``."""
    return _uint8(cv2.GaussianBlur(image, (0, 0), _pixels(image, sigma), borderType=cv2.BORDER_REFLECT_101))


def median_blur(image: UInt8, *, width: float) -> UInt8:
    """Replace each pixel by the median of a square of ``width``."""
    return _uint8(cv2.medianBlur(image, _odd(image, width)))


def motion_blur(image: UInt8, *, length: float, angle: float) -> UInt8:
    """Smear along a line of ``length``, ``angle`` degrees against the x axis."""
    pixels = _pixels(image, length)
    side = 2 * math.ceil(pixels / 2) + 1
    kernel = np.zeros((side, side), np.float32)
    x, y = pixels / 2 * math.cos(math.radians(angle)), -pixels / 2 * math.sin(math.radians(angle))
    # OpenCV takes ends of lines in sixteenths of a pixel.
    start, end = ([round(16 * (side // 2 + sign * part)) for part in (x, y)] for sign in (-1, 1))
    cv2.line(kernel, start, end, 1.0, 1, cv2.LINE_8, shift=4)
    return _uint8(cv2.filter2D(image, -1, kernel / kernel.sum()))


def defocus_blur(image: UInt8, *, radius: float) -> UInt8:
    """Blur by an even disc of ``radius``, as a lens out of focus."""
    pixels = _pixels(image, radius)
    reach = math.ceil(pixels)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    kernel = np.clip(pixels + 0.5 - np.hypot(x, y), 0, 1).astype(np.float32)
    return _uint8(cv2.filter2D(image, -1, kernel / kernel.sum()))


def bilateral_blur(image: UInt8, *, width: float, levels: float) -> UInt8:
    """Smooth where neighbours differ by less than about ``levels``, as beauty filters do to skin."""
    return _uint8(cv2.bilateralFilter(image, _odd(image, width), levels, _pixels(image, width) / 2))


def gaussian_noise(image: UInt8, rng: np.random.Generator, *, std: float) -> UInt8:
    """Add independent normal noise of ``std`` levels."""
    return _random_noise(image, rng, "gaussian", var=(std / 255) ** 2)


def poisson_noise(image: UInt8, rng: np.random.Generator, *, photons: float) -> UInt8:
    """Count photons: white is ``photons`` of them on average."""
    return _uint8(rng.poisson(image * (photons / 255)) * (255 / photons))


def speckle_noise(image: UInt8, rng: np.random.Generator, *, std: float) -> UInt8:
    """Multiply by normal noise around 1 of ``std``."""
    return _random_noise(image, rng, "speckle", var=std**2)


def salt_pepper_noise(image: UInt8, rng: np.random.Generator, *, share: float) -> UInt8:
    """Turn a ``share`` of the values, each channel by itself, to 0 or 255, half each."""
    return _random_noise(image, rng, "s&p", amount=share)


def chroma_noise(image: UInt8, rng: np.random.Generator, *, std: float) -> UInt8:
    """Add coarse noise of ``std`` levels to the colour alone, as cameras do in the dark."""
    ycc = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb).astype(np.float32)
    blotches = cv2.GaussianBlur(rng.standard_normal((*image.shape[:2], 2), np.float32), (0, 0), 1.5)
    # Blurring by 1.5 pixels leaves normal noise 1 / (2 sqrt(pi) 1.5) of its deviation.
    ycc[..., 1:] += blotches * (std * 2 * math.sqrt(math.pi) * 1.5)
    return np.asarray(cv2.cvtColor(_uint8(ycc), cv2.COLOR_YCrCb2RGB), np.uint8)


def brightness(image: UInt8, *, levels: float) -> UInt8:
    """Add ``levels`` to every channel."""
    return _uint8(image.astype(np.float32) + levels)


def contrast(image: UInt8, *, factor: float) -> UInt8:
    """Stretch by ``factor`` about the mean level."""
    mean = float(image.mean())
    return _uint8((image.astype(np.float32) - mean) * factor + mean)


def saturation(image: UInt8, *, factor: float) -> UInt8:
    """Stretch the colours by ``factor`` about their gray; 0 is a gray picture."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)[..., None]
    return _uint8((image - gray) * factor + gray)


def hue(image: UInt8, *, degrees: float) -> UInt8:
    """Turn the colour wheel by ``degrees``."""
    hsv = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + degrees) % 360
    return _uint8(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255)


def gamma(image: UInt8, *, exponent: float) -> UInt8:
    """Raise levels, as shares of white, to ``exponent``; above 1 darkens."""
    from skimage.exposure import adjust_gamma

    return np.asarray(adjust_gamma(image, exponent), np.uint8)


def white_balance(image: UInt8, *, warmth: float) -> UInt8:
    """Multiply red by 1 + ``warmth`` and blue by 1 - ``warmth``."""
    return _uint8(image * np.array([1 + warmth, 1, 1 - warmth], np.float32))


def posterize(image: UInt8, *, levels: int) -> UInt8:
    """Keep so many evenly spaced ``levels`` of each channel."""
    step = 255 / (levels - 1)
    return _uint8(np.rint(image / step) * step)


def downscale(image: UInt8, *, factor: float) -> UInt8:
    """Shrink to ``factor`` of the size by area average, and grow back by cubic interpolation."""
    return _uint8(_resize(_shrink(image, factor, cv2.INTER_AREA), image, cv2.INTER_CUBIC))


def pixelate(image: UInt8, *, factor: float) -> UInt8:
    """Shrink to ``factor`` of the size and grow back, both by the nearest pixel: jagged edges."""
    return _uint8(_resize(_shrink(image, factor, cv2.INTER_NEAREST), image, cv2.INTER_NEAREST))


def sharpen(image: UInt8, *, amount: float, sigma: float) -> UInt8:
    """Add ``amount`` times what a Gaussian of ``sigma`` takes away (unsharp masking)."""
    soft = cv2.GaussianBlur(image, (0, 0), _pixels(image, sigma))
    return _uint8(cv2.addWeighted(image, 1 + amount, soft, -amount, 0))


def emboss(image: UInt8, *, amount: float) -> UInt8:
    """Add ``amount`` times the slope towards the lower right: edges in relief."""
    kernel = np.array([[-2, -1, 0], [-1, 0, 1], [0, 1, 2]], np.float32) * amount
    kernel[1, 1] += 1
    return _uint8(cv2.filter2D(image, -1, kernel))


def local_contrast(image: UInt8, *, limit: float) -> UInt8:
    """Equalise the luma's histogram in 8 x 8 tiles, slopes limited to ``limit`` (CLAHE)."""
    ycc = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)
    ycc[..., 0] = cv2.createCLAHE(clipLimit=limit, tileGridSize=(8, 8)).apply(ycc[..., 0])
    return np.asarray(cv2.cvtColor(ycc, cv2.COLOR_YCrCb2RGB), np.uint8)


def _random_noise(image: UInt8, rng: np.random.Generator, mode: str, **strength: float) -> UInt8:
    from skimage.util import random_noise

    noisy = random_noise(image, mode=mode, rng=rng, **strength)
    return _uint8(noisy * 255)


def _pixels(image: UInt8, share: float) -> float:
    # Below a third of a pixel OpenCV's kernels are the identity.
    return max(1 / 3, share * _side(image))


def _side(image: UInt8) -> int:
    side: int = min(image.shape[:2])
    return side


def _odd(image: UInt8, share: float) -> int:
    return 2 * max(1, round(share * _side(image) / 2)) + 1


def _shrink(image: UInt8, factor: float, way: int) -> UInt8:
    width, height = (max(1, round(side * factor)) for side in image.shape[1::-1])
    return np.asarray(cv2.resize(image, (width, height), interpolation=way), np.uint8)


def _resize(image: UInt8, like: UInt8, way: int) -> UInt8:
    return np.asarray(cv2.resize(image, like.shape[1::-1], interpolation=way), np.uint8)


def _uint8(values: npt.NDArray[np.generic] | cv2.typing.MatLike) -> UInt8:
    if values.dtype == np.uint8:
        return np.asarray(values, np.uint8)
    return np.clip(np.rint(np.asarray(values, np.float32)), 0, 255).astype(np.uint8)
