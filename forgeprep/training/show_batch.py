"""The first batch of a training as a picture: what the model will be given, with masks and landmarks on it."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from matplotlib.figure import Figure

from forgeprep.errors import UsageError
from forgeprep.training.evaluation.plots import save
from forgeprep.training.image_task import images_task
from forgeprep.training.models import get_model
from forgeprep.training.run_folder import Training

MOST = 64
"""The most samples that are drawn."""


def draw_batch(training: Training, file: Path) -> int:
    """Draw the first batch of the first epoch, and train nothing; returns how many samples are drawn.

    Above each sample stands what it is. Forged regions are outlined in white, landmarks are dots. Of a sequence the
    middle frame is shown.

    Raises:
        UsageError: there is no batch, the model takes no pictures, or the file is no PNG.
    """
    if file.suffix.lower() != ".png":
        raise UsageError(f"--show-batch {file}: writes a PNG; give a name that ends in .png")
    if get_model(training.model).takes == "features":
        raise UsageError(f"--show-batch: {training.model} takes features of clips, no pictures")
    task = images_task(training, torch.device("cpu"), ("mask", "landmarks"))
    dealt = task.batches(0, 1, 0)
    if not dealt:
        raise UsageError(f"train holds less than a batch of {training.recipe.batch}; give --set batch=N")
    batch = task.read(dealt[0][:MOST], 0)
    images, count = batch["image"], len(batch["sample_id"])
    across = math.ceil(math.sqrt(count))
    down = math.ceil(count / across)
    figure = Figure(figsize=(1.6 * across, 1.8 * down), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for at, axes in enumerate(grid.flat[:count]):
        image = images[at] if images.ndim == 4 else images[at, :, images.shape[2] // 2]
        axes.imshow(image.permute(1, 2, 0).numpy())
        mask = batch["mask"][at, 0]
        if images.ndim == 4 and mask.any():
            axes.contour(mask.numpy() > 127, levels=[0.5], colors="white", linewidths=0.8)
        points = batch["landmarks"][at] if "landmarks" in batch else None
        if points is not None:
            inside = points[((points > 0) & (points < image.shape[1])).all(axis=1)] - 0.5
            axes.plot(*inside.T, ".", color="yellow", markersize=1.5)
        name = task.index.methods[int(batch["method"][at])] or "real"
        kind = "tab:red" if batch["label"][at] else "tab:green"
        axes.set_title(f"{name}\n{'/'.join(batch['sample_id'][at].split('/')[-3:])}", fontsize=5, color=kind)
    save(figure, file, 150)
    return count
