"""Cost of the noise residual on one thread: `python benchmarks/noise.py`.

Columns, each the median of many interleaved repeats in milliseconds:
    floor   pywt.wavedec2 + pywt.waverec2 in float32 on each channel, no filter: the least with PyWavelets
    prnu    the steps of prnu-python's noise_extract on each channel (float64 stack of the four window means)
    plain   the same with PyWavelets and scipy.ndimage.uniform_filter, without needless copies
    ours    forgeprep.ops.noise.noise_residual
then how many times as fast ours is as prnu and as plain, and the share of the floor that ours takes.
"""
# ruff: noqa: E402

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"  # read when NumPy is imported

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pywt
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from skimage import data

from forgeprep.ops.noise import noise_residual, to_gray

Image = NDArray[Any]
WINDOWS = (3, 5, 7, 9)
VARIANCE = 25.0


def per_channel(filter_band: Callable[[Image], Image]) -> Callable[[Image], Image]:
    def run(image: Image) -> Image:
        height, width = image.shape[:2]
        out = np.empty(image.shape, np.float32)
        for plane, result in zip(np.atleast_3d(image).T, np.atleast_3d(out).T, strict=True):
            bands = pywt.wavedec2(plane.T.astype(np.float32), "db4", level=4)
            bands[0][...] = 0
            bands[1:] = [tuple(filter_band(x) for x in level) for level in bands[1:]]
            result.T[...] = pywt.waverec2(bands, "db4")[:height, :width]
        return out

    return run


def prnu_band(x: Image) -> Image:
    energy = x**2
    means = np.zeros((*x.shape, len(WINDOWS)))
    for i, size in enumerate(WINDOWS):
        means[:, :, i] = uniform_filter(energy, size, mode="constant")
    excess = means - VARIANCE
    weighted: Image = x * VARIANCE / (np.min((excess + np.abs(excess)) / 2, axis=2) + VARIANCE)
    return weighted


def plain_band(x: Image) -> Image:
    energy = x * x
    least = uniform_filter(energy, WINDOWS[0], mode="constant")
    for size in WINDOWS[1:]:
        np.minimum(least, uniform_filter(energy, size, mode="constant"), out=least)
    return x * (VARIANCE / (np.maximum(0, least - VARIANCE) + VARIANCE))


CONTENDERS: dict[str, Callable[[Image], Image]] = {
    "floor": per_channel(lambda x: x),
    "prnu": per_channel(prnu_band),
    "plain": per_channel(plain_band),
    "ours": noise_residual,
}


def medians_ms(image: Image, repeats: int) -> dict[str, float]:
    """Interleaved, so that a slow spell of the machine meets all of them."""
    times: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for i in range(repeats + 2):
        for name, run in CONTENDERS.items():
            # As in the pipeline, a 720p frame has passed through memory and caches since the last call.
            np.ones((720, 1280, 3), np.uint8)
            start = time.perf_counter()
            run(image)
            if i >= 2:
                times[name].append((time.perf_counter() - start) * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the noise residual against PyWavelets + SciPy.")
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    given = parser.parse_args()
    repeats, figures = given.repeats, {}
    cv2.setNumThreads(0)
    print(f"{platform.machine()}, numpy {np.__version__}, cv2 {cv2.__version__}, 1 thread")
    names = "".join(f"{name:>9}" for name in CONTENDERS)
    print(f"{'image':14}{names}  prnu/ours  plain/ours  ours/floor")
    photo = data.astronaut()
    for side, rgb in ((299, True), (260, False), (299, False), (512, False), (1000, False)):
        image = cv2.resize(photo, (side, side), interpolation=cv2.INTER_AREA)
        image = image if rgb else np.rint(to_gray(image)).astype(np.uint8)
        ms = medians_ms(image, repeats if side < 600 else max(3, repeats // 10))
        ours = ms["ours"]
        label = f"{'RGB' if rgb else 'gray'} {side}x{side}"
        row = "".join(f"{value:9.2f}" for value in ms.values())
        ratios = f"{ms['prnu'] / ours:10.1f}x {ms['plain'] / ours:10.1f}x {ours / ms['floor']:11.2f}"
        print(f"{label:14}{row}{ratios}")
        if side == 299:
            figures[f"noise {label} ms"] = ours
            figures[f"noise {label} x plain"] = ms["plain"] / ours
    if given.json:
        given.json.write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
