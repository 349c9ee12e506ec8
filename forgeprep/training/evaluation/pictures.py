"""Sample predictions as a picture: what was forged, what the model calls forged, and its verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from forgeprep.training.data import Samples
from forgeprep.training.evaluation.evaluate import as_taken
from forgeprep.training.evaluation.plots import QUICK
from forgeprep.training.inference.annotate import FAKE, tint
from forgeprep.training.inference.loaded import LoadedModel, outputs, read_prepared
from forgeprep.training.sample_index import load_index

UInt8 = npt.NDArray[np.uint8]
EACH = 4
"""Samples of each method, spread over the split."""
_SIDE, _GAP, _LEFT, _TOP, _DPI = 150, 22, 44, 40, 90
"""Pixels of a crop, between crops, left of them and above them; pixels of an inch, for the size of letters."""


def draw_predictions(loaded: LoadedModel, out: Path, file: Path, *, split: str = "test") -> None:
    """Draw samples of every method: above the crop with the true region, below it the model's map and score.

    A verdict's colour tells whether it is right; the tint begins where the map is above the threshold.

    Raises:
        UsageError: there is no such split.
    """
    model = loaded.model
    index = as_taken(load_index([out], split, target=loaded.recipe.target), model)
    samples = Samples(index)
    height, width = _TOP + 2 * len(index.methods) * (_SIDE + _GAP), _LEFT + EACH * (_SIDE + _GAP)
    # The letters are drawn first, and crops laid beside them: an axes for each would take a second or two.
    crops: list[tuple[int, int, UInt8]] = []
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)

    def write(x: float, y: float, text: str, **how: Any) -> None:
        figure.text(x / width, 1 - y / height, text, ha="center", va="center", **{"fontsize": 8, **how})

    for code, method in enumerate(index.methods):
        own = np.flatnonzero(index.method == code)
        chosen = own[np.unique(np.linspace(0, len(own) - 1, min(EACH, len(own))).astype(int))] if len(own) else own
        # One by one: crops at native resolution differ in size.
        alone = [chosen[at : at + 1] for at in range(len(chosen))]
        above, below = (_TOP + (2 * code + part) * (_SIDE + _GAP) for part in range(2))
        for column, found in enumerate(outputs(loaded, read_prepared(loaded, samples, alone))):
            [sample], score, left = found.samples, float(found.scores[0]), _LEFT + column * (_SIDE + _GAP)
            picture = sample["image"][len(sample["image"]) // 2] if model.sequence_frames else sample["image"]
            mask = sample.get("mask")
            crops.append((left, above, picture if mask is None else _outlined(picture, mask > 127)))
            if found.maps is not None:
                heat = found.maps[0, 0].cpu().numpy()
                heat = cv2.resize(heat.astype(np.float32), picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)
                part = tint(heat, model.tau if model.learns_label() else loaded.threshold)[..., None]
                tinted = ((1 - part) * picture + part * np.array(FAKE)).astype(np.uint8)
                picture = _outlined(tinted, heat > model.tau)
            crops.append((left, below, picture))
            right = (score > loaded.threshold) == bool(sample["label"])
            verdict = f"{'fake' if score > loaded.threshold else 'real'} {score:.2f}{'' if right else ', wrong'}"
            write(left + _SIDE / 2, below - _GAP / 2, verdict, color="tab:green" if right else "tab:red")
        write(_LEFT / 2, above + _SIDE / 2, f"{method or 'real'}\nthe truth", rotation=90)
        write(_LEFT / 2, below + _SIDE / 2, "found", rotation=90)
    write(width / 2, _TOP / 3, f"{loaded.config['model']}: {loaded.run.name} on {out.name}, {split}", fontsize=10)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    sheet = np.array(canvas.buffer_rgba())[..., :3]
    for x, y, crop in crops:
        _put(sheet, x, y, crop)
    Image.fromarray(sheet).save(file, compress_level=QUICK)


def _outlined(picture: UInt8, inside: npt.NDArray[np.bool_]) -> UInt8:
    """A crop with a white line around what is inside, as thin as it is drawn here."""
    drawn = np.ascontiguousarray(picture)
    lines, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    thick = max(1, round(1.5 * max(picture.shape[:2]) / _SIDE))
    return np.asarray(cv2.drawContours(drawn.copy(), lines, -1, (255, 255, 255), thick, cv2.LINE_AA), np.uint8)


def _put(sheet: UInt8, x: int, y: int, picture: UInt8) -> None:
    """Lay a crop into a square of the sheet, its shape kept."""
    scale = _SIDE / max(picture.shape[:2])
    wide, high = (max(1, round(side * scale)) for side in picture.shape[1::-1])
    smaller = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    x, y = x + (_SIDE - wide) // 2, y + (_SIDE - high) // 2
    sheet[y : y + high, x : x + wide] = cv2.resize(picture, (wide, high), interpolation=smaller)
