"""Pictures of what detectors look at: nets side by side with Grad-CAM, predicted similarity, features in the plane."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional

from forgeprep.errors import UsageError
from forgeprep.training.data import Samples
from forgeprep.training.evaluation.evaluate import as_taken
from forgeprep.training.evaluation.plots import save
from forgeprep.training.inference.loaded import LoadedModel, features, outputs, read_prepared
from forgeprep.training.sample_index import SampleIndex, load_index

Floats = npt.NDArray[np.float64]
MOST = 600
"""So many samples are laid out in the plane."""
LEAST_SIDE, LEAST_CHANNELS = 4, 8
"""Grad-CAM is of the last convolution whose output has at least so many places a side, and is no map itself."""


def grad_cam(model: nn.Module, image: Tensor) -> Tensor:
    """Grad-CAM (Selvaraju et al., ICCV 2017) of the verdict of fake, float (B, 1, H, W), 0 to 1 in each image.

    The channels of the last convolution with 4 x 4 places and 8 channels or more that the verdict depends on, weighted
    by the mean of their gradients; what speaks against it is cut off. An image without any such
    gradient gets zeros.

    Args:
        model: gives ``logit`` (B,), fake above 0.
        image: float (B, 3, H, W), 0 to 1.

    Raises:
        UsageError: the model has no such convolution.
    """
    seen: list[Tensor] = []
    hooks = [
        layer.register_forward_hook(lambda _layer, _inputs, output: seen.append(output))
        for layer in model.modules()
        if isinstance(layer, nn.Conv2d)
    ]
    try:
        with torch.enable_grad():
            # Parameters may be frozen: the gradient then flows from the image on.
            logit = model(image.detach().requires_grad_())["logit"].float().sum()
            wide = [one for one in seen if min(one.shape[2:]) >= LEAST_SIDE and one.shape[1] >= LEAST_CHANNELS]
            slopes = torch.autograd.grad(logit, wide, allow_unused=True) if wide else ()
    finally:
        for hook in hooks:
            hook.remove()
    used = [(one, slope) for one, slope in zip(wide, slopes, strict=True) if slope is not None]
    if not used:
        raise UsageError("Grad-CAM needs a convolution that the verdict depends on; this model has none")
    last, slope = used[-1]
    maps = torch.relu((slope.mean(dim=(2, 3), keepdim=True) * last).sum(dim=1, keepdim=True)).detach()
    maps = maps / maps.amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-12)
    return functional.interpolate(maps.float(), size=image.shape[2:], mode="bilinear", align_corners=False)


def draw_side_by_side(loaded: Sequence[LoadedModel], out: Path, file: Path, *, split: str = "test") -> None:
    """A sample of each method, and for each training what it finds and where its verdict comes from (Grad-CAM).

    Raises:
        UsageError: there is no such split, or a model takes no single images.
    """
    if any(one.model.sequence_frames for one in loaded):
        raise UsageError("nets are drawn side by side on single images; leave models of sequences out")
    index = as_taken(load_index([out], split), loaded[0].model)
    numbers = _one_of_each(index)
    figure = Figure(figsize=(1.6 + 3.2 * len(loaded), 1.75 * len(numbers) + 0.7), layout="constrained")
    grid = figure.subplots(len(numbers), 1 + 2 * len(loaded), squeeze=False)
    for axes in grid.flat:
        axes.set_xticks([])
        axes.set_yticks([])
    for column, one in enumerate(loaded):
        found = list(outputs(one, read_prepared(one, Samples(index), [np.array([n]) for n in numbers])))
        for row, output in enumerate(found):
            [sample], image = output.samples, output.batch["image"]
            picture = np.asarray(sample["image"])
            left, right = grid[row, 1 + 2 * column], grid[row, 2 + 2 * column]
            if column == 0:
                _draw_truth(grid[row, 0], picture, sample)
            _overlay(left, picture, None if output.maps is None else output.maps[0, 0].cpu().numpy())
            _overlay(right, picture, grad_cam(one.model, image)[0, 0].cpu().numpy())
            right_verdict = (output.scores[0] > one.threshold) == bool(sample["label"])
            colour = "tab:green" if right_verdict else "tab:red"
            left.set_xlabel(f"fake {output.scores[0]:.2f}", fontsize=7, color=colour, labelpad=1)
        name = f"{one.config.get('model', '')}\n{one.run.name}"
        grid[0, 1 + 2 * column].set_title(f"{name}\nmap", fontsize=7)
        grid[0, 2 + 2 * column].set_title("\n\nGrad-CAM", fontsize=7)
    grid[0, 0].set_title("crop, truth", fontsize=7)
    save(figure, file, 110)


def draw_similarity(loaded: LoadedModel, out: Path, file: Path, *, split: str = "test") -> bool:
    """The predicted map of which places differ, beside the true one, for a sample of each method.

    Returns:
        False where the model compares no places; nothing is drawn then.
    """
    from forgeprep.training.models.local_similarity import similarity_map

    index = as_taken(load_index([out], split), loaded.model)
    numbers = _one_of_each(index)
    found = list(outputs(loaded, read_prepared(loaded, Samples(index), [np.array([n]) for n in numbers])))
    if "similarity" not in found[0].out:
        return False
    figure = Figure(figsize=(5.4, 1.8 * len(numbers) + 0.6), layout="constrained")
    grid = figure.subplots(len(numbers), 3, squeeze=False)
    for row, output in enumerate(found):
        [sample], told = output.samples, torch.sigmoid(output.out["similarity"].float())[0]
        truth = similarity_map(output.batch["mask"], round(told.shape[0] ** 0.5))[0]
        _draw_truth(grid[row, 0], np.asarray(sample["image"]), sample)
        for axes, values in zip(grid[row, 1:], (truth, told), strict=True):
            axes.imshow(values.cpu().numpy(), cmap="gray", vmin=0, vmax=1)
    for axes, title in zip(grid[0], ("crop, truth", "places that differ: truth", "predicted"), strict=True):
        axes.set_title(title, fontsize=8)
    for axes in grid.flat:
        axes.set_xticks([])
        axes.set_yticks([])
    save(figure, file, 110)
    return True


def draw_features(loaded: LoadedModel, out: Path, file: Path, *, split: str = "test") -> None:
    """The features before the verdict, laid out in the plane by t-SNE, coloured by method.

    Raises:
        UsageError: there is no such split, or it has fewer than five samples.
    """
    from sklearn.manifold import TSNE

    index = as_taken(load_index([out], split), loaded.model)
    numbers = np.unique(np.linspace(0, len(index) - 1, min(MOST, len(index))).astype(np.int64))
    if len(numbers) < 5:
        raise UsageError(f"{out}: {split} holds {len(numbers)} samples; t-SNE needs five at least")
    batches = [numbers[at : at + loaded.recipe.batch] for at in range(0, len(numbers), loaded.recipe.batch)]
    values, methods = [], []
    for group, part in features(loaded, read_prepared(loaded, Samples(index), batches)):
        values.append(part[:, :-1])  # the last column is the score
        methods += [sample["method"] or "real" for sample in group]
    all_values = np.concatenate(values)
    spread = all_values.std(axis=0)
    scaled = (all_values - all_values.mean(axis=0)) / np.where(spread > 0, spread, 1)
    near = min(30.0, (len(scaled) - 1) / 3)
    how = "pca" if min(scaled.shape) > 1 else "random"
    places: Floats = TSNE(perplexity=near, init=how, random_state=0).fit_transform(scaled)
    figure = Figure(figsize=(6, 5), layout="constrained")
    axes: Any = figure.subplots()
    named = np.array(methods)
    for name in ["real", *sorted(set(methods) - {"real"})]:
        own = places[named == name]
        marker = "o" if name == "real" else "^"
        axes.scatter(own[:, 0], own[:, 1], s=14, label=name, marker=marker, alpha=0.8, linewidths=0)
    axes.set(xticks=[], yticks=[], title=f"{loaded.run.name} on {out.name}, {split}: features, t-SNE")
    axes.title.set_fontsize(9)
    axes.legend(fontsize=8)
    save(figure, file, 110)


def _one_of_each(index: SampleIndex) -> list[int]:
    """A sample of each method, from the middle of its own."""
    codes = np.unique(index.method)
    return [int(own[len(own) // 2]) for own in (np.flatnonzero(index.method == code) for code in codes)]


def _draw_truth(axes: Any, picture: npt.NDArray[Any], sample: dict[str, Any]) -> None:
    axes.imshow(picture)
    mask = sample.get("mask")
    if mask is not None and mask.any():
        axes.contour(mask > 127, levels=[0.5], colors="white", linewidths=1)
    axes.set_ylabel(sample["method"] or "real", fontsize=8)


def _overlay(axes: Any, picture: npt.NDArray[Any], heat: npt.NDArray[Any] | None) -> None:
    """A picture, and over it a map, 0 to 1; a dash where there is none."""
    axes.imshow(picture)
    if heat is None:
        axes.text(0.5, 0.5, "no map", ha="center", va="center", transform=axes.transAxes, fontsize=8, color="white")
    else:
        axes.imshow(heat, cmap="magma", vmin=0, vmax=1, alpha=0.6)
