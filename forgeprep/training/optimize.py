"""How weights move: the optimizer, the learning rate of each step, sharpness-aware steps, and their running average.

The learning rate is a function of the recipe and of how far the training is, and of nothing else, so that a training
that goes on needs no state of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from forgeprep.training.recipe import Recipe


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer of what the model learns; weights that are frozen have no place in it."""
    learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(learnt, lr=recipe.lr, momentum=recipe.betas[0], weight_decay=recipe.weight_decay)
    make = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
    return make(learnt, lr=recipe.lr, betas=recipe.betas, weight_decay=recipe.weight_decay)


def learning_rate(recipe: Recipe, *, step: int, passed: float) -> float:
    """The learning rate of a step.

    Args:
        recipe: what is asked for.
        step: of the whole training, from 0.
        passed: epochs before this step, with the share of the one that runs.
    """
    rate = recipe.lr
    if recipe.schedule == "step":
        rate = max(recipe.lr * recipe.step_factor ** (int(passed) // recipe.step_every), recipe.min_lr)
    elif recipe.schedule == "cosine":
        share = 0.5 * (1 + math.cos(math.pi * min(1.0, passed / recipe.epochs)))
        rate = recipe.min_lr + (recipe.lr - recipe.min_lr) * share
    return rate * min(1.0, (step + 1) / recipe.warmup) if recipe.warmup else rate


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Make the next step one of that learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def make_average(model: nn.Module, decay: float | None) -> AveragedModel | None:
    """A running average of the weights, and of the statistics of normalisations; None where none is asked for."""
    if decay is None:
        return None
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)  # type: ignore[no-untyped-call]


def sharpness_aware(model: nn.Module, radius: float, again: Callable[[], Tensor]) -> None:
    """Put the gradient at the worst place near the weights in place of theirs (SAM, Foret et al., ICLR 2021).

    Args:
        model: with the gradients of its weights.
        radius: how far away that place is taken to be, along the gradient.
        again: computes the loss of the same batch once more, with the same draws.
    """
    learnt = [parameter for parameter in model.parameters() if parameter.grad is not None]
    before = [parameter.detach().clone() for parameter in learnt]
    gradients = [parameter.grad for parameter in learnt if parameter.grad is not None]
    length = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(one) for one in gradients]))
    with torch.no_grad():
        for parameter, gradient in zip(learnt, gradients, strict=True):
            parameter.add_(gradient, alpha=float(radius / (length + 1e-12)))
    model.zero_grad(set_to_none=True)
    with _statistics_kept(model):
        again().backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for parameter, value in zip(learnt, before, strict=True):
            parameter.copy_(value)


@contextmanager
def _statistics_kept(model: nn.Module) -> Iterator[None]:
    """Normalisations compute with their batch, but do not count it into their running statistics."""
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    norms: Sequence[nn.Module] = [module for module in model.modules() if isinstance(module, kinds)]
    kept = [(norm, {name: value.clone() for name, value in norm.named_buffers()}) for norm in norms]
    try:
        yield
    finally:
        with torch.no_grad():
            for norm, buffers in kept:
                for name, value in buffers.items():
                    norm.get_buffer(name).copy_(value)
