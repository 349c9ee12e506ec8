"""Judge samples with a detector, and put the verdicts into the field's tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from forgeprep.shards.sequences import MARK as CLIPS
from forgeprep.training.data import Ints, SampleIndex, Samples, clip_index, deal, frames_alone, load_batches, without
from forgeprep.training.evaluation.metrics import MagnitudeCounts, PixelCounts
from forgeprep.training.models.detector import Detector
from forgeprep.training.recipe import Recipe
from forgeprep.training.transforms import collate, prepare, to_device

STRIDE = 32
"""Whole pictures are padded to a multiple of this, the largest stride of any detector."""


@dataclass(slots=True)
class Judged:
    """Verdicts on samples, one entry each.

    Attributes:
        rows: sample_id, clip_id, dataset, label, method, compression.
        scores: probability of fake.
        mask_means: mean of the map, of detectors that learn pixels alone; else None.
        classes: class found by an n-way detector (0 real), and the true one; else None.
        levels: the class found for each sample, by level of the label tree.
        pixels: counts by (compression, method), of samples with a mask.
        magnitudes: errors of the map as a magnitude, by method, of samples whose magnitude is known.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    scores: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    mask_means: npt.NDArray[np.float64] | None = None
    classes: npt.NDArray[np.int64] | None = None
    true_classes: npt.NDArray[np.int64] | None = None
    levels: dict[str, list[str]] = field(default_factory=dict)
    pixels: dict[tuple[str | None, str | None], PixelCounts] = field(default_factory=dict)
    magnitudes: dict[str | None, MagnitudeCounts] = field(default_factory=dict)

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """0 real, 1 fake."""
        return np.array([row["label"] for row in self.rows], np.int64)


def as_taken(index: SampleIndex, detector: Detector) -> SampleIndex:
    """The samples that a detector takes: those of the index, or clips of them.

    Raises:
        UsageError: clip shards and a detector of single frames, or no clip can be made.
    """
    if not detector.clip_frames:
        return frames_alone(index)
    if CLIPS in index.columns:
        return replace(index, frames=detector.clip_frames)
    if index.parts is not None:
        return index
    return clip_index(index, frames=detector.clip_frames, step=detector.clip_step)


def verdict_threshold(detector: Detector, facts: Mapping[str, Any]) -> float:
    """A score above it means fake; detectors that learn pixels alone have chosen it on val."""
    return 0.5 if detector.learns_label() else float(facts.get("threshold") or 0.5)


def judge(
    detector: Detector,
    index: SampleIndex,
    recipe: Recipe,
    size: int,
    device: torch.device,
    *,
    numbers: Ints | None = None,
) -> Judged:
    """Judge samples of an index, all or those of ``numbers``, each once and without any draw."""
    order = np.arange(len(index)) if numbers is None else numbers
    batches = deal(order, recipe.batch, drop_last=False)
    judged = Judged()
    scores, means, classes, true = [], [], [], []
    detector.eval()
    for samples in _rows(index, recipe, size, batches):
        for group in _of_one_size(samples):
            batch = to_device(collate(group, recipe.sigma), device, noise=False)
            with torch.inference_mode():
                out = _padded(detector, batch["image"])
            scores.append(detector.score(out).float().cpu().numpy())
            heat = detector.heat(out)
            if heat is not None:
                maps = _fitted(heat.float(), batch["image"])
                _count_pixels(judged, group, maps, batch, detector.tau)
                if not detector.learns_label():
                    means.append(maps.mean(dim=(1, 2, 3)).cpu().numpy())
            if "classes" in out:
                classes.append(out["classes"].argmax(dim=1).cpu().numpy())
                true += [sample["method_number"] for sample in group]
            for level, names in detector.classes(out).items():
                judged.levels.setdefault(level, []).extend(names)
            judged.rows += [{name: sample.get(name) for name in _KEPT} for sample in group]
    judged.scores = np.concatenate(scores).astype(np.float64)
    judged.mask_means = np.concatenate(means).astype(np.float64) if means else None
    if classes:
        judged.classes, judged.true_classes = np.concatenate(classes), np.array(true, np.int64)
    return judged


_KEPT = ("sample_id", "clip_id", "dataset", "frame_index", "label", "forgery", "method", "generator", "compression")


def _rows(index: SampleIndex, recipe: Recipe, size: int, batches: Sequence[Ints]) -> Iterator[list[dict[str, Any]]]:
    samples = Samples(index, without({"noise"}))
    return load_batches(
        batches,
        lambda numbers: [prepare(row, recipe, size, train=False) for row in samples.read(numbers)],
        recipe.workers,
    )


def _of_one_size(samples: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    groups: dict[tuple[int, ...], list[dict[str, Any]]] = {}
    for sample in samples:
        groups.setdefault(sample["image"].shape, []).append(sample)
    yield from groups.values()


def _padded(detector: Detector, image: torch.Tensor) -> dict[str, torch.Tensor]:
    """The detector's outputs of :func:`padded_image`."""
    out: dict[str, torch.Tensor] = detector(padded_image(detector, image))
    return out


def padded_image(detector: Detector, image: torch.Tensor) -> torch.Tensor:
    """Images as they are judged: those that are cut at random in training come whole, padded to the stride."""
    if detector.learns_label():
        return image
    below, right = -image.shape[2] % STRIDE, -image.shape[3] % STRIDE
    return torch.nn.functional.pad(image, (0, right, 0, below), mode="replicate")


def _fitted(heat: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """The map at the image's size: what was padded is cut off; a coarse one is scaled."""
    height, width = image.shape[2:]
    if heat.shape[2] >= height and heat.shape[3] >= width:
        return heat[:, :, :height, :width]
    return torch.nn.functional.interpolate(heat, size=(height, width), mode="bilinear", align_corners=False)


def _count_pixels(
    judged: Judged, group: Sequence[dict[str, Any]], maps: torch.Tensor, batch: dict[str, Any], tau: float
) -> None:
    found = (maps[:, 0] >= tau).cpu().numpy()
    truth = (batch["mask"][:, 0] > 0.5).cpu().numpy()
    for number, sample in enumerate(group):
        if bool(batch["has_mask"][number]):
            key = sample["compression"], sample["method"]
            judged.pixels.setdefault(key, PixelCounts()).add(truth[number], found[number])
        if "magnitude" in batch and bool(batch["has_magnitude"][number]):
            told = batch["magnitude"][number, 0].cpu().numpy()
            judged.magnitudes.setdefault(sample["method"], MagnitudeCounts()).add(told, maps[number, 0].cpu().numpy())
