"""The task of a model that finds spans in time: it learns from the features that another model gives of each frame."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from forgeprep.errors import UsageError
from forgeprep.training.data import Samples, deal
from forgeprep.training.inference.loaded import LoadedModel
from forgeprep.training.models.base import Batch, ForgeryModel
from forgeprep.training.recipe import Recipe
from forgeprep.training.run_folder import Training
from forgeprep.training.sample_index import Ints, frames_alone, load_index, refuse_same_samples
from forgeprep.training.task import Task, Tell, Validation
from forgeprep.training.temporal.figures import temporal_figures
from forgeprep.training.temporal.spans import (
    SHORT,
    Line,
    frame_features,
    lines_of,
    load_features_model,
    model_proposals,
)
from forgeprep.training.temporal.timeline import Proposals, spread, targets

Kept = npt.NDArray[np.float16]


def features_task(training: Training, device: torch.device) -> Task:
    """Clips as a model of images sees them, and the spans in them.

    The features are computed once, and lie in the run's folder as ``features-SPLIT.npy``, float16 (clips, C, T).

    Raises:
        UsageError: no clip is long enough, or shards and options do not fit.
    """
    if training.also:
        raise UsageError(f"--also: {training.model} finds spans and is judged on val alone; see 'forgeprep spans'")
    if training.recipe.select != "auc":
        raise UsageError(f"select: {training.model} finds spans; the best state is that of the best mAP on val")
    recipe, scale = training.recipe, int(training.options.get("scale", 100))
    if recipe.target != "label":
        raise UsageError(f"target: {training.model} learns spans of 'label' alone, got '{recipe.target}'")
    seer = load_features_model(training.options, device)
    refuse_same_samples(training.shards)
    indices = {s: frames_alone(load_index(training.shards, s, only=recipe.methods)) for s in ("train", "val")}
    samples = {split: Samples(index) for split, index in indices.items()}
    lines = {split: lines_of(index) for split, index in indices.items()}
    if not lines["train"]:
        raise UsageError(f"{training.shards[0]}: train holds no clip of {SHORT} frames or more; pictures have no time")
    channels = frame_features(seer, samples["train"], lines["train"][0]).shape[1]
    options = {**training.options, "features": str(seer.run.resolve()), "channels": channels}
    training = replace(training, options=options)
    truth = [targets(line.time, scale) for line in lines["train"]]
    kept: dict[str, Kept] = {}

    def prepare() -> None:
        for split, own in lines.items():
            if own:
                file = training.run / f"features-{split}.npy"
                kept[split] = _features(file, seer, samples[split], own, (channels, scale))

    def batches(epoch: int, ranks: int, rank: int) -> list[Ints]:
        return _batches(len(truth), recipe, epoch)

    def read(numbers: Ints, epoch: int) -> Batch:
        batch: Batch = {name: torch.from_numpy(np.stack([truth[i][name] for i in numbers])) for name in truth[0]}
        features = torch.from_numpy(kept["train"][numbers].astype(np.float32))
        return {**batch, "features": features, "sample_id": [lines["train"][i].time.clip_id for i in numbers]}

    def validate(model: ForgeryModel, tell: Tell) -> Validation:
        return _validation(model, device, lines["val"], kept.get("val"), recipe.batch, tell)

    return Task(
        training,
        indices["train"],
        "clips",
        torch.contiguous_format,
        batches,
        read,
        _to_device,
        "features",
        validate,
        prepare=prepare,
        single=True,
    )


def _batches(clips: int, recipe: Recipe, epoch: int) -> list[Ints]:
    """The batches of an epoch: one pass, or as many as ``steps`` takes."""
    rng, dealt = np.random.default_rng([recipe.seed, epoch]), list[Ints]()
    while not dealt or len(dealt) < (recipe.steps or 0):
        dealt += deal(rng.permutation(clips), recipe.batch, drop_last=False)
    return [np.sort(batch) for batch in dealt[: recipe.steps]]


def _to_device(batch: Mapping[str, Any], device: torch.device) -> Batch:
    return {n: v.to(device, non_blocking=True) if isinstance(v, Tensor) else v for n, v in batch.items()}


def _validation(
    model: ForgeryModel, device: torch.device, lines: Sequence[Line], features: Kept | None, batch: int, tell: Tell
) -> Validation:
    """mAP on val; without spans in val nothing can be compared."""
    found: dict[str, Proposals] = {}
    for at in range(0, len(lines) if features is not None else 0, batch):
        part = lines[at : at + batch]
        values = np.asarray(features)[at : at + len(part)].astype(np.float32)
        found |= model_proposals(model, [line.time for line in part], values, device)
        tell(at + len(part), len(lines))
    figures = temporal_figures({line.time.clip_id: line.time.spans() for line in lines}, found)
    score = None if math.isnan(figures["map"]) else figures["map"]
    return Validation({name: figures[name] for name in ("ap@0.5", "map", "ar@5")}, score)


def _features(path: Path, seer: LoadedModel, samples: Samples, lines: Sequence[Line], shape: tuple[int, int]) -> Kept:
    """The features of all clips, made once and then read from the file a batch at a time."""
    whole = (len(lines), *shape)
    if not path.is_file():
        temporary = path.with_suffix(".tmp")
        made = np.lib.format.open_memmap(temporary, "w+", np.float16, whole)
        for number, line in enumerate(lines):
            made[number] = spread(line.time, frame_features(seer, samples, line), shape[1])
        made.flush()
        temporary.replace(path)
    kept: Kept = np.load(path, mmap_mode="r")
    if kept.shape != whole:
        raise UsageError(f"{path}: is of other clips {kept.shape}; delete it, or give another --run")
    return kept
