"""Kinds of change of tone, each a fit of few numbers by weighted least squares.

A kind takes levels before and after, float64 (n, 3) RGB or (n, 1) gray, 0 to 255, and weights, (n,), and gives a tone:
what changes levels.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

Double = npt.NDArray[np.float64]
Tone = Callable[[Double], Double]
"""Changes levels, float64 (n, 3) RGB or (n, 1) gray, of 0 to 255; the result may lie outside."""
Kind = Callable[[Double, Double, Double], Tone]

LUMA = np.array([0.299, 0.587, 0.114])
TO_YCC = np.stack([LUMA, 0.564 * (np.eye(3)[2] - LUMA), 0.713 * (np.eye(3)[0] - LUMA)])
RIDGE = 1e-6
"""How far a fit is drawn to no change: what shows one colour only does not tell the rest."""
POWERS = 0.3, 3.0
"""Of gamma."""
STEPS = 2
"""Of Gauss and Newton, in each round of reweighting."""


def unchanged(levels: Double) -> Double:
    """No change."""
    return levels


def another_matrix(made: tuple[float, float], read: tuple[float, float]) -> Kind:
    """YUV that was made with one matrix and read with another, each by the weights of red and blue in its luma."""
    change = np.linalg.inv(_matrix(*read)) @ _matrix(*made)
    return lambda *_: lambda levels: np.asarray(levels @ change.T, np.float64)


def one_curve(before: Double, after: Double, weights: Double) -> Tone:
    """Brightness, contrast, gamma: gain and offset of a power, the same for all channels."""
    share, wanted = _share(before.reshape(-1, 1)), after.reshape(-1, 1)
    many, power = np.repeat(weights, before.shape[1]), 1.0
    for _ in range(STEPS + 1):
        bent = 255 * share**power
        terms = np.concatenate([np.ones_like(bent), bent / 128 - 1, bent / 128 * np.log(share)], axis=1)
        gain, bend = solve(terms, wanted - bent, many)[1:, 0] / 128
        power = float(np.clip(power + bend / max(1 + gain, 0.1), *POWERS))
    bent = 255 * share**power
    offset, gain = solve(_with_one(bent), wanted - bent, many)[:, 0]

    def change(levels: Double) -> Double:
        bent = 255 * _share(levels) ** power
        return np.asarray(bent + offset + gain * (bent / 128 - 1), np.float64)

    return change


def saturation(before: Double, after: Double, weights: Double) -> Tone:
    """A curve of luma, and chroma that is scaled; gray too."""
    curve = one_curve(before @ LUMA[:, None], after @ LUMA[:, None], weights)
    chroma, wanted = (levels - levels @ LUMA[:, None] for levels in (before, after))
    scale = float(weights @ (chroma * wanted).sum(axis=1)) / (float(weights @ np.square(chroma).sum(axis=1)) + 1e-9)

    def change(levels: Double) -> Double:
        luma = levels @ LUMA[:, None]
        return np.asarray(curve(luma) + scale * (levels - luma), np.float64)

    return change


def curves(before: Double, after: Double, weights: Double) -> Tone:
    """White balance, casts: a curve of each channel."""
    each = [one_curve(before[:, [at]], after[:, [at]], weights) for at in range(before.shape[1])]
    return lambda levels: np.concatenate([curve(levels[:, [at]]) for at, curve in enumerate(each)], axis=1)


def turned_hues(before: Double, after: Double, weights: Double) -> Tone:
    """Hue, saturation and value (HSV): a turn of the first, gain and offset of the others."""
    values = _first_guess(before, after, weights)
    steps, many = np.array([2.0, 0.02, 0.02, 0.02, 0.02]), np.repeat(weights, 3)
    for _ in range(STEPS):
        now = _in_hsv(values, before)
        slopes = [((_in_hsv(values + step, before) - now) / step.sum()).ravel() for step in np.diag(steps)]
        slope = np.stack(slopes, axis=1)
        weighted = slope * many[:, None]
        square = weighted.T @ slope
        square += 1e-4 * np.diag(np.diag(square) + 1e-6)
        values = values + np.linalg.solve(square, weighted.T @ (after - now).ravel())
    return lambda levels: _in_hsv(values, levels)


def luma_and_chroma(before: Double, after: Double, weights: Double) -> Tone:
    """A curve of luma; chroma turned, scaled, shifted, and following luma where the white balance is another."""
    x, y = before @ TO_YCC.T, after @ TO_YCC.T
    curve = one_curve(x[:, :1], y[:, :1], weights)
    chroma = solve(_with_one(x), y[:, 1:] - x[:, 1:], weights)
    back = np.linalg.inv(TO_YCC).T

    def change(levels: Double) -> Double:
        values = levels @ TO_YCC.T
        changed = values[:, 1:] + _with_one(values) @ chroma
        return np.asarray(np.concatenate([curve(values[:, :1]), changed], axis=1) @ back, np.float64)

    return change


def mixed(before: Double, after: Double, weights: Double) -> Tone:
    """Each channel a mixture of all: sepia, hues turned in YIQ, any matrix."""
    change = solve(_with_one(before), after - before, weights)
    return lambda levels: levels + _with_one(levels) @ change


def _matrix(red: float, blue: float) -> Double:
    luma, pure = np.array([red, 1 - red - blue, blue]), np.eye(3)
    return np.stack([luma, (pure[2] - luma) / (2 - 2 * blue), (pure[0] - luma) / (2 - 2 * red)])


def _with_one(levels: Double) -> Double:
    return np.concatenate([np.ones((len(levels), 1)), levels / 128 - 1], axis=1)


def _share(levels: Double) -> Double:
    """Levels as shares of white; none is 0, whose logarithm there is not."""
    return np.asarray(np.clip(levels / 255, 1 / 255, None), np.float64)


def solve(terms: Double, wanted: Double, weights: Double) -> Double:
    """Coefficients (terms, outputs) of least squares, all but the first drawn to 0 a little."""
    weighted = terms * weights[:, None]
    ridge = RIDGE * weights.sum() * np.eye(terms.shape[1])
    ridge[0, 0] = 1e-9
    return np.asarray(np.linalg.solve(weighted.T @ terms + ridge, weighted.T @ wanted), np.float64)


def _hsv(levels: Double) -> Double:
    """Hue from 0 to 360, saturation and value from 0 to 1."""
    part = np.asarray(np.clip(levels, 0, 255) / 255, np.float32)
    return np.asarray(cv2.cvtColor(part[None], cv2.COLOR_RGB2HSV)[0], np.float64)


def _in_hsv(values: Double, levels: Double) -> Double:
    """Levels after a turn of hue, gain and offset of saturation, gain and offset of value."""
    hsv = _hsv(levels)
    hsv[:, 0] = (hsv[:, 0] + values[0]) % 360
    # Gray has no hue that could show.
    hsv[:, 1] = np.where(hsv[:, 1] > 0.004, np.clip(hsv[:, 1] * values[1] + values[2], 0, 1), 0)
    hsv[:, 2] = np.clip(hsv[:, 2] * values[3] + values[4], 0, 1)
    return np.asarray(cv2.cvtColor(hsv.astype(np.float32)[None], cv2.COLOR_HSV2RGB)[0], np.float64) * 255


def _first_guess(before: Double, after: Double, weights: Double) -> Double:
    """The turn of hue that most colour shows, and nothing else."""
    x, y = _hsv(before), _hsv(after)
    turn = (y[:, 0] - x[:, 0] + 180) % 360 - 180
    order = np.argsort(turn)
    heavy = np.cumsum((weights * np.minimum(x[:, 1] * x[:, 2], y[:, 1] * y[:, 2]))[order])
    return np.array([turn[order[min(np.searchsorted(heavy, heavy[-1] / 2), len(turn) - 1)]], 1.0, 0.0, 1.0, 0.0])


_BT601, _BT709 = (0.299, 0.114), (0.2126, 0.0722)
OF_COLOUR: tuple[Kind, ...] = (
    another_matrix(_BT601, _BT709),
    another_matrix(_BT709, _BT601),
    one_curve,
    saturation,
    curves,
    turned_hues,
    luma_and_chroma,
    mixed,
)
OF_GRAY: tuple[Kind, ...] = (one_curve,)
"""The plain ones first."""
