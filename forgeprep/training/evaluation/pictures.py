"""Sample predictions as a picture: what was forged, what the detector calls forged, and its verdict."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from forgeprep.training.data import Samples, load_index
from forgeprep.training.evaluation.evaluate import _fitted, _padded, as_taken, verdict_threshold
from forgeprep.training.evaluation.tables import load_detector
from forgeprep.training.recipe import Recipe
from forgeprep.training.trainer import pick_device
from forgeprep.training.transforms import collate, prepare, to_device

EACH = 4
"""Samples of each method, spread over the split."""


def draw_predictions(run: Path, out: Path, file: Path, *, split: str = "test", device: str | None = None) -> None:
    """Draw samples of every method: above the crop with the true region, below it the detector's map and score.

    Raises:
        UsageError: there is no such training, or no such split.
    """
    detector, config, facts = load_detector(run)
    place = pick_device(device)
    detector.to(place).eval()
    recipe = Recipe(**config["recipe"])
    threshold = verdict_threshold(detector, facts)
    index = as_taken(load_index([out], split), detector)
    samples = Samples(index)
    figure = Figure(figsize=(1.7 * EACH + 1.2, 3.6 * len(index.methods)), layout="constrained")
    grid = figure.subplots(2 * len(index.methods), EACH, squeeze=False)
    for axes in grid.flat:
        axes.set_xticks([])
        axes.set_yticks([])
    for code, method in enumerate(index.methods):
        own = np.flatnonzero(index.method == code)
        chosen = own[np.unique(np.linspace(0, len(own) - 1, min(EACH, len(own))).astype(int))] if len(own) else own
        for column, row in enumerate(samples.read(chosen.tolist())):
            sample = prepare(row, recipe, config["size"], train=False)
            batch = to_device(collate([sample]), place, noise=False)
            with torch.inference_mode():
                found = _padded(detector, batch["image"])
            score, heat = float(detector.score(found)[0]), detector.heat(found)
            above, below = grid[2 * code, column], grid[2 * code + 1, column]
            shown_image = sample["image"][len(sample["image"]) // 2] if detector.clip_frames else sample["image"]
            above.imshow(shown_image)
            below.imshow(shown_image)
            if sample.get("mask") is not None and sample["mask"].any():
                above.contour(sample["mask"] > 127, levels=[0.5], colors="white", linewidths=1)
            if heat is not None:
                shown = _fitted(heat.float(), batch["image"])[0, 0].cpu().numpy()
                below.imshow(shown, cmap="inferno", vmin=0, vmax=1, alpha=0.55)
                if shown.min() < detector.tau < shown.max():
                    below.contour(shown, levels=[detector.tau], colors="white", linewidths=1)
            verdict = "fake" if score > threshold else "real"
            below.set_title(f"{verdict} {score:.2f}", fontsize=8, color="tab:red" if verdict == "fake" else "tab:green")
        grid[2 * code, 0].set_ylabel(f"{method or 'real'}\nthe truth", fontsize=8)
        grid[2 * code + 1, 0].set_ylabel("found", fontsize=8)
    figure.suptitle(f"{config['model']}: {run.name} on {out.name}, {split}", fontsize=10)
    figure.savefig(file, dpi=90)
