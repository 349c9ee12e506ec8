"""Put a model's verdicts on samples together, from which the field's tables are made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from forgeprep.shards.sequences import MARK as SEQUENCES
from forgeprep.training.data import Samples, deal, without
from forgeprep.training.evaluation.metrics import MagnitudeCounts, PixelCounts
from forgeprep.training.evaluation.verdicts import Verdicts as Verdicts
from forgeprep.training.inference.loaded import LoadedModel, outputs, read_prepared
from forgeprep.training.models.base import ForgeryModel
from forgeprep.training.sample_index import Ints, SampleIndex, frames_alone, sequence_index


def as_taken(index: SampleIndex, model: ForgeryModel) -> SampleIndex:
    """The samples that a model takes: those of the index, or sequences of them.

    Raises:
        UsageError: shards of sequences and a model of single frames, or no sequence can be made.
    """
    if not model.sequence_frames:
        return frames_alone(index)
    if SEQUENCES in index.columns:
        return replace(index, frames=model.sequence_frames)
    if index.parts is not None:
        return index
    return sequence_index(index, frames=model.sequence_frames, step=model.sequence_step)


def find_verdicts(
    loaded: LoadedModel,
    index: SampleIndex,
    *,
    numbers: Ints | None = None,
    tell: Callable[[int, int], None] = lambda done, of: None,
    change: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> Verdicts:
    """The verdicts on samples of an index, all or those of ``numbers``, each once and without any draw.

    ``tell`` is told how many of how many are judged. ``change`` makes another sample of each that is read.
    """
    order = np.arange(len(index)) if numbers is None else numbers
    model = loaded.model
    found = Verdicts()
    scores, means, classes, true = [], [], [], []
    shares: dict[str, list[npt.NDArray[np.float64]]] = {}
    batches = deal(order, loaded.recipe.batch, drop_last=False)
    for output in outputs(loaded, read_prepared(loaded, Samples(index, without({"noise"})), batches, change)):
        scores.append(output.scores)
        if output.maps is not None:
            _count_pixels(found, output.samples, output.maps, output.batch, model.tau)
            if not model.learns_label():
                means.append(output.maps.mean(dim=(1, 2, 3)).cpu().numpy())
        # Two are fake and real, which the score tells.
        if "classes" in output.out and output.out["classes"].shape[1] > 2:
            classes.append(output.out["classes"].argmax(dim=1).cpu().numpy())
            true += [sample["method_number"] for sample in output.samples]
        for level, names in model.classes(output.out).items():
            found.levels.setdefault(level, []).extend(names)
            if f"level_{level}" in output.out:
                own = torch.softmax(output.out[f"level_{level}"].double(), dim=1)
                shares.setdefault(level, []).append(own.cpu().numpy())
        found.rows += [{name: sample.get(name) for name in _KEPT} for sample in output.samples]
        tell(len(found.rows), len(order))
    found.level_shares = {level: np.concatenate(parts) for level, parts in shares.items()}
    found.scores = np.concatenate(scores).astype(np.float64)
    found.mask_means = np.concatenate(means).astype(np.float64) if means else None
    if classes:
        found.classes, found.true_classes = np.concatenate(classes), np.array(true, np.int64)
    return found


_KEPT = ("sample_id", "clip_id", "dataset", "frame_index", "label", "forgery", "method", "family", "compression")


def _count_pixels(
    verdicts: Verdicts, group: Sequence[dict[str, Any]], maps: torch.Tensor, batch: dict[str, Any], tau: float
) -> None:
    found = (maps[:, 0] >= tau).cpu().numpy()
    truth = (batch["mask"][:, 0] > 0.5).cpu().numpy()
    for number, sample in enumerate(group):
        if bool(batch["has_mask"][number]):
            key = sample["compression"], sample["method"]
            verdicts.pixels.setdefault(key, PixelCounts()).add(truth[number], found[number])
        if "magnitude" in batch and bool(batch["has_magnitude"][number]):
            told = batch["magnitude"][number, 0].cpu().numpy()
            verdicts.magnitudes.setdefault(sample["method"], MagnitudeCounts()).add(told, maps[number, 0].cpu().numpy())
