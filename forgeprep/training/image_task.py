"""The task of models that tell fake images, or sequences of them, from real ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from forgeprep.errors import UsageError
from forgeprep.training.batches import make_batches
from forgeprep.training.blends import PLACES, read_rows, with_blend_classes
from forgeprep.training.data import Samples, without
from forgeprep.training.evaluation.evaluate import Verdicts, as_taken, find_verdicts
from forgeprep.training.evaluation.metrics import best_threshold, verdict_figures
from forgeprep.training.inference.loaded import LoadedModel, verdict_threshold
from forgeprep.training.models import build, get_model, options_of
from forgeprep.training.models.base import Batch, ForgeryModel
from forgeprep.training.recipe import Recipe
from forgeprep.training.run_folder import Training
from forgeprep.training.sample_index import Ints, SampleIndex, load_index, refuse_same_samples
from forgeprep.training.task import Task, Tell, Validation
from forgeprep.training.transforms import PLANES, collate, prepare, to_device

MAX_VAL = 2000
"""So many samples of val are judged after an epoch, spread over all of them."""


def images_task(training: Training, device: torch.device, more: Collection[str] = ()) -> Task:
    """Images, or sequences of them, that are fake or real; see :class:`Task`. Batches hold the columns ``more`` too."""
    recipe, size = training.recipe, training.size
    plain = build(training.model, training.options)
    if plain.only_size and (size != plain.only_size or recipe.view == "crop"):
        told = f"{training.model} with these options takes images of {plain.only_size} x {plain.only_size} alone"
        raise UsageError(f"size: {told}; give --set size={plain.only_size} --set view=resize, or other options")
    refuse_same_samples(training.shards)
    needs, only, kind = plain.needs_columns(), recipe.methods, training.kind
    target = recipe.target
    if target == "audio_label" and set(needs) & {"mask", "mask_magnitude"}:
        raise UsageError(f"target: {training.model} learns masks, and sound has none; take a model that learns labels")
    index = load_index(training.shards, "train", needs, only=only, kind=kind, target=target)
    index = with_blend_classes(index) if recipe.selfblend else index
    # Who learns from blends alone is judged on all fakes that there are.
    val = load_index(training.shards, "val", needs, only=only or None, kind=kind, numbered=index.methods, target=target)
    index, val = as_taken(index, plain), as_taken(val, plain)
    if get_model(training.model).levels and plain.levelled:
        # The numbering of the classes, which evaluation keeps to.
        names = {level: list(names) for level, names in index.classes.items()}
        training = replace(training, options={**training.options, "names": names})
    training = replace(training, options={**training.options, **plain.noted()})
    _check_classes(training, index)
    also = {
        name: as_taken(load_index([out], "test", numbered=index.methods, kind=kind), plain)
        for name, out in training.also.items()
    }
    batches = make_batches(index, recipe, where=", ".join(map(str, training.shards)))
    samples = Samples(index, columns_read(plain, recipe, more))

    def read(codes: Ints, epoch: int) -> Batch:
        rows = read_rows(samples, codes, recipe, epoch, index.methods)
        return collate([prepare(row, recipe, size, train=True, epoch=epoch) for row in rows], recipe.sigma)

    def validate(model: ForgeryModel, tell: Tell) -> Validation:
        loaded = LoadedModel(model, recipe, size, device)
        found = _validation(model, find_verdicts(loaded, val, numbers=spread(len(val)), tell=tell), recipe.select)
        threshold = verdict_threshold(model, found.facts)
        for name, other in also.items():
            verdicts = find_verdicts(loaded, other, numbers=spread(len(other)), tell=tell)
            figures = verdict_figures(verdicts.labels, verdicts.scores, threshold)
            found.others.update({f"{name}/{figure}": figures[figure] for figure in ("auc", "acc")})
        return found

    return Task(
        training,
        index,
        "images",
        torch.channels_last_3d if plain.sequence_frames else torch.channels_last,
        batches.of_epoch,
        read,
        lambda batch, where: to_device(batch, where, noise="noise" in plain.needs),
        "image",
        validate,
        _map_check(training, plain),
        notes=(*_lacking(training, index, val, plain), *batches.notes),
    )


def spread(count: int) -> Ints:
    """The numbers of the samples that are judged after an epoch, of so many."""
    return np.unique(np.linspace(0, count - 1, min(MAX_VAL, count)).astype(np.int64))


def columns_read(model: ForgeryModel, recipe: Recipe, more: Collection[str] = ()) -> tuple[str, ...]:
    """The columns that a training reads of its samples: what the model learns from, and ``more``.

    Residuals in the shards are of another noise level than one that is asked for, and of the pictures as they were
    before augmentations: they are computed then.
    """
    changed = recipe.sigma is not None or bool(recipe.augment) or bool(recipe.selfblend)
    pictures = {"image", *model.needs, *more} - ({"noise"} if changed else set())
    places = PLACES if recipe.selfblend or "landmarks" in more else ()
    return (*without(set(PLANES) - pictures), *places)


def _check_classes(training: Training, index: SampleIndex) -> None:
    """Refuse fewer classes than the samples have: those beyond the last one have no output to learn."""
    told = options_of(training.model).get("classes") if get_model(training.model).n_way else None
    if told is None:
        return
    count, needed = training.options.get("classes", told[1]), len(index.methods)
    # The default stands for a verdict of fake and real alone.
    if count != told[1] and count < needed:
        names = ", ".join(name or "real" for name in index.methods)
        raise UsageError(
            f"--model-option classes={count}: train holds {needed} classes ({names}); give classes={needed}, or choose "
            "with --methods"
        )


def _validation(model: ForgeryModel, verdicts: Verdicts, select: str) -> Validation:
    means = verdicts.mask_means
    facts = {"threshold": None if means is None else best_threshold(verdicts.labels, means)}
    figures = verdict_figures(verdicts.labels, verdicts.scores, verdict_threshold(model, facts))
    # `evaluate` tells the rates at it beside those at 0.5; nothing else goes by it.
    both = len(set(verdicts.labels.tolist())) > 1
    facts["val_threshold"] = best_threshold(verdicts.labels, verdicts.scores) if both else None
    if math.isnan(figures["auc"]) or select == "loss":
        figures["loss"] = _loss(verdicts)
        return Validation(figures, -figures["loss"], facts)
    return Validation(figures, figures["auc"], facts)


def _lacking(training: Training, index: SampleIndex, val: SampleIndex, model: ForgeryModel) -> tuple[str, ...]:
    """What a split lacks, where one class is all it has.

    Raises:
        UsageError: nothing can be learnt, for train lacks a class.
    """
    shards = ", ".join(map(str, training.shards))
    missing = {split: _missing(found) for split, found in (("train", index), ("val", val))}
    if training.recipe.selfblend and missing["train"] == "fakes":
        missing["train"] = None
    if missing["train"] and model.learns_label():
        ways = {"reals": "give shards with reals", "fakes": "give shards with fakes, or make them: --set selfblend=1"}
        lack = missing["train"]
        raise UsageError(f"{shards}: train holds no {lack}, and a verdict is learnt from both; {ways[lack]}")
    if missing["val"]:
        told = "so AUC is not defined there, and the smallest loss on val is the best state"
        return (f"{shards}: val holds no {missing['val']}, {told}",)
    return ()


def _missing(index: SampleIndex) -> str | None:
    """The class that a split has no sample of."""
    return next((name for label, name in enumerate(("reals", "fakes")) if not (index.label == label).any()), None)


def _loss(verdicts: Verdicts) -> float:
    """Binary cross-entropy of the scores, for a val with one class only."""
    score = np.clip(verdicts.scores, 1e-6, 1 - 1e-6)
    return float(-np.mean(np.where(verdicts.labels == 1, np.log(score), np.log(1 - score))))


_HAS = {"mask": "has_mask", "mask_magnitude": "has_magnitude"}
"""What a model learns from -> where a batch says whether a sample has it."""


def _map_check(training: Training, model: ForgeryModel) -> Callable[[Mapping[str, Any], bool], None]:
    """Refuse to learn from reals alone, where no fake has what a model of pixels learns from."""
    names = [name for name in model.needs if name in _HAS]
    taught = model.learns_label() or not names

    def check(batch: Mapping[str, Any], last: bool) -> None:
        nonlocal taught
        if taught:
            return
        present: list[Tensor] = [batch[_HAS[name]] for name in names]
        taught = bool((torch.stack(present).any(dim=0) & (batch["label"] == 1)).any())
        if last and not taught:
            other = "; --model-option target=magnitude-or-mask takes masks too" if names == ["mask_magnitude"] else ""
            raise UsageError(f"no fake has a {' or '.join(names)} to learn from in {training.shards[0]}{other}")

    return check
