"""A model that is ready to judge, and what it says of batches: every verdict, map and feature is made here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from forgeprep.errors import UsageError, VerifyError
from forgeprep.training.checkpoint import load_state
from forgeprep.training.data import Samples, load_batches
from forgeprep.training.models import build
from forgeprep.training.models.base import ForgeryModel
from forgeprep.training.recipe import Recipe
from forgeprep.training.run_folder import read_config
from forgeprep.training.sample_index import Ints
from forgeprep.training.transforms import collate, prepare, to_device

STRIDE = 32
"""Whole pictures are padded to a multiple of this, the largest stride of any model."""

Prepared = list[dict[str, Any]]
"""Samples as :func:`forgeprep.training.transforms.prepare` makes them."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model and how its input is made.

    Attributes:
        model: the network, on ``device``.
        recipe: how it was, or is, trained.
        size: side of its input in pixels.
        device: where it runs.
        threshold: a score above it means fake.
        run: folder of its training.
        config: the training's ``config.json``.
        facts: those of its state.
    """

    model: ForgeryModel
    recipe: Recipe
    size: int
    device: torch.device
    threshold: float = 0.5
    run: Path = Path()
    config: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    def with_workers(self, workers: int | None) -> LoadedModel:
        """The same with so many threads that decode; None: as in training."""
        return self if workers is None else replace(self, recipe=self.recipe.model_copy(update={"workers": workers}))


@dataclass(frozen=True, slots=True)
class Output:
    """What a model says of samples of one size.

    Attributes:
        samples: the samples, in the order that they came in.
        batch: the same as tensors on the device.
        out: the network's own outputs.
        scores: float32 (B,), probability of fake.
        maps: float (B, 1, H, W) on the device at the input's size, 0 to 1; None where it localises nothing.
    """

    samples: Prepared
    batch: dict[str, Any]
    out: dict[str, Tensor]
    scores: npt.NDArray[np.float32]
    maps: Tensor | None


def pick_device(name: str | None) -> torch.device:
    """The device of that name; None takes a GPU where there is one.

    Raises:
        UsageError: CUDA is asked for and absent.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError("a GPU is asked for, and torch finds none here; use --gpus 0, or install torch for CUDA")
    return torch.device(name)


def load_model(
    run: Path, device: str | None = None, *, state: str = "best", options: Mapping[str, Any] | None = None
) -> LoadedModel:
    """A trained model; ``device`` is cpu or cuda, None takes a GPU where there is one.

    ``options`` take the place of the training's own, for those that only say how a verdict or a map is read.

    Raises:
        UsageError: the folder holds no training, or none that has come to a first evaluation; no such device.
        VerifyError: the checkpoint is damaged.
    """
    where = pick_device(device)
    config = read_config(run)
    try:
        model = build(config["model"], {**config["options"], **(options or {})})
        recipe = Recipe(**config["recipe"])
    except (TypeError, ValueError, KeyError, RuntimeError, OverflowError, MemoryError) as error:
        problem = " ".join(str(error).split())[:160]
        raise VerifyError(f"{run / 'config.json'}: damaged ({problem}); train again") from None
    facts = load_state(run, state, model)
    if facts is None:
        raise UsageError(f"{run}: has no state '{state}' yet; let the training finish an epoch")
    model.to(where).eval()
    return LoadedModel(
        model, recipe, config["size"], where, verdict_threshold(model, facts), run=run, config=config, facts=facts
    )


def verdict_threshold(model: ForgeryModel, facts: Mapping[str, Any]) -> float:
    """A score above it means fake; models that learn pixels alone have chosen it on val."""
    told = None if model.learns_label() else facts.get("threshold")
    return 0.5 if told is None else float(told)


def read_prepared(
    loaded: LoadedModel,
    samples: Samples,
    batches: Iterable[Ints],
    change: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> Iterator[Prepared]:
    """Samples by number as the model takes them, without any draw; threads read ahead.

    ``change`` makes another sample of each that is read, before it is scaled or cut.
    """
    recipe, size = loaded.recipe, loaded.size

    def make(numbers: Ints) -> Prepared:
        rows = samples.read(numbers)
        return [prepare(change(row) if change else row, recipe, size, train=False) for row in rows]

    return load_batches(batches, make, recipe.workers)


def outputs(loaded: LoadedModel, batches: Iterable[Prepared]) -> Iterator[Output]:
    """What the model says of samples; a batch whose samples differ in size gives an output for each size."""
    model = loaded.model.eval()
    for samples, batch in _moved(loaded, batches):
        with torch.inference_mode():
            out: dict[str, Tensor] = model(_padded(model, batch["image"]))
            scores, heat = model.whole_score(out, _size(batch["image"])), model.heat(out)
        maps = None if heat is None else _fitted(heat.float(), batch["image"])
        yield Output(samples, batch, out, scores.float().cpu().numpy(), maps)


def features(loaded: LoadedModel, batches: Iterable[Prepared]) -> Iterator[tuple[Prepared, npt.NDArray[np.float64]]]:
    """What :meth:`ForgeryModel.describe` says of samples: these and float64 (B, C), the last column their score."""
    model = loaded.model.eval()
    for samples, batch in _moved(loaded, batches):
        with torch.inference_mode():
            found = model.describe(_padded(model, batch["image"]), _size(batch["image"]))
        yield samples, found.double().cpu().numpy()


def _moved(loaded: LoadedModel, batches: Iterable[Prepared]) -> Iterator[tuple[Prepared, dict[str, Any]]]:
    for samples in batches:
        for group in _of_one_size(samples):
            yield group, to_device(collate(group, loaded.recipe.sigma), loaded.device, noise=False)


def _of_one_size(samples: Sequence[dict[str, Any]]) -> Iterable[Prepared]:
    groups: dict[tuple[int, ...], Prepared] = {}
    for sample in samples:
        groups.setdefault(sample["image"].shape, []).append(sample)
    return groups.values()


def _size(image: Tensor) -> tuple[int, int]:
    return image.shape[-2], image.shape[-1]


def _padded(model: ForgeryModel, image: Tensor) -> Tensor:
    """Images as they are judged: those that are cut at random in training come whole, padded to the stride."""
    if model.learns_label():
        return image
    below, right = -image.shape[2] % STRIDE, -image.shape[3] % STRIDE
    return torch.nn.functional.pad(image, (0, right, 0, below), mode="replicate")


def _fitted(heat: Tensor, image: Tensor) -> Tensor:
    """The map at the image's size: what was padded is cut off; a coarse one is scaled."""
    height, width = image.shape[2:]
    if heat.shape[2] >= height and heat.shape[3] >= width:
        return heat[:, :, :height, :width]
    return torch.nn.functional.interpolate(heat, size=(height, width), mode="bilinear", align_corners=False)
