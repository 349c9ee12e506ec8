"""Tables of tensors as files of pretrained weights hold them, made at random."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from forgeprep.training.models import get_model
from forgeprep.training.models.record import Weights

Table = dict[str, Tensor]


def weights_of(model: str) -> Weights:
    """What the model says of the files that fill it."""
    found = get_model(model).weights
    assert found is not None
    return found


def add_conv(table: Table, name: str, *shape: int, bias: bool = False) -> None:
    """Add a layer of ``shape``, outputs first."""
    table[f"{name}.weight"] = torch.randn(*shape) / (sum(shape[1:]) ** 0.5)
    if bias:
        table[f"{name}.bias"] = torch.randn(shape[0]) * 0.1


def add_norm(table: Table, name: str, width: int) -> None:
    """Add a normalisation with what it has learnt."""
    table[f"{name}.weight"], table[f"{name}.bias"] = torch.rand(width) + 0.5, torch.randn(width) * 0.1
    table[f"{name}.running_mean"], table[f"{name}.running_var"] = torch.randn(width) * 0.1, torch.rand(width) + 0.5
    table[f"{name}.num_batches_tracked"] = torch.tensor(7)


def normed(table: Table, name: str, x: Tensor, eps: float = 1e-5) -> Tensor:
    """``x`` as the table's normalisation leaves it."""
    mean, var, weight, bias = (table[f"{name}.{p}"] for p in ("running_mean", "running_var", "weight", "bias"))
    return functional.batch_norm(x, mean, var, weight, bias, eps=eps)
