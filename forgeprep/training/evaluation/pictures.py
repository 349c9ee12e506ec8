"""Sample predictions as a picture: what was forged, what the model calls forged, and its verdict."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from forgeprep.training.data import Samples
from forgeprep.training.evaluation.evaluate import as_taken
from forgeprep.training.inference.annotate import FAKE, tint
from forgeprep.training.inference.loaded import LoadedModel, outputs, read_prepared
from forgeprep.training.sample_index import load_index

_TINT = ListedColormap([tuple(part / 255 for part in FAKE)])
EACH = 4
"""Samples of each method, spread over the split."""


def draw_predictions(loaded: LoadedModel, out: Path, file: Path, *, split: str = "test") -> None:
    """Draw samples of every method: above the crop with the true region, below it the model's map and score.

    A verdict's colour tells whether it is right; the tint begins where the map is above the threshold.

    Raises:
        UsageError: there is no such split.
    """
    model = loaded.model
    index = as_taken(load_index([out], split, target=loaded.recipe.target), model)
    samples = Samples(index)
    figure = Figure(figsize=(1.7 * EACH + 1.2, 3.6 * len(index.methods)), layout="constrained")
    grid = figure.subplots(2 * len(index.methods), EACH, squeeze=False)
    for axes in grid.flat:
        axes.set_xticks([])
        axes.set_yticks([])
    for code, method in enumerate(index.methods):
        own = np.flatnonzero(index.method == code)
        chosen = own[np.unique(np.linspace(0, len(own) - 1, min(EACH, len(own))).astype(int))] if len(own) else own
        # One by one: crops at native resolution differ in size.
        alone = [chosen[at : at + 1] for at in range(len(chosen))]
        for column, found in enumerate(outputs(loaded, read_prepared(loaded, samples, alone))):
            [sample], score = found.samples, float(found.scores[0])
            above, below = grid[2 * code, column], grid[2 * code + 1, column]
            shown_image = sample["image"][len(sample["image"]) // 2] if model.sequence_frames else sample["image"]
            above.imshow(shown_image)
            below.imshow(shown_image)
            if sample.get("mask") is not None and sample["mask"].any():
                above.contour(sample["mask"] > 127, levels=[0.5], colors="white", linewidths=1)
            if found.maps is not None:
                shown = found.maps[0, 0].cpu().numpy()
                strength = tint(shown, model.tau if model.learns_label() else loaded.threshold)
                below.imshow(np.full(shown.shape, 1.0), cmap=_TINT, vmin=0, vmax=1, alpha=strength)
                if shown.min() < model.tau < shown.max():
                    below.contour(shown, levels=[model.tau], colors="white", linewidths=1)
            verdict = "fake" if score > loaded.threshold else "real"
            right = (score > loaded.threshold) == bool(sample["label"])
            title = f"{verdict} {score:.2f}{'' if right else ', wrong'}"
            below.set_title(title, fontsize=8, color="tab:green" if right else "tab:red")
        grid[2 * code, 0].set_ylabel(f"{method or 'real'}\nthe truth", fontsize=8)
        grid[2 * code + 1, 0].set_ylabel("found", fontsize=8)
    figure.suptitle(f"{loaded.config['model']}: {loaded.run.name} on {out.name}, {split}", fontsize=10)
    figure.savefig(file, dpi=90)
