"""One Xception with a verdict at each level of the label tree, as ForgeryNet and GenFace are judged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from pydantic import NonNegativeFloat
from torch import Tensor, nn
from torch.nn import functional

from forgeprep.datasets.taxonomy import LEVELS
from forgeprep.errors import UsageError, unknown_name
from forgeprep.training.models.base import Batch, ForgeryModel
from forgeprep.training.models.xception import Xception

UNKNOWN = -100
"""Target of a sample whose class at a level is not known: cross-entropy passes over it."""


class Levels(ForgeryModel):
    """The backbone, its features averaged over the picture, and a linear head a level.

    Args:
        levels: of :data:`forgeprep.datasets.taxonomy.LEVELS`, from coarse to fine, with commas.
        weights: level to its share of the loss; 1 where none is given.
        names: level to its classes, real first; a training fills it in from its shards.

    Outputs: ``logit`` (B,), fake against real at the first level; ``level_NAME`` (B, classes) for each level.
    """

    def __init__(
        self,
        levels: str | Sequence[str] = "label,forgery,family,method",
        weights: Mapping[str, NonNegativeFloat] | None = None,
        names: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        super().__init__()
        self.weights = level_weights(levels, weights)
        self.names = level_names(self.weights, names)
        self.trunk = Xception(classes=0)
        self.heads = nn.ModuleDict({name: nn.Linear(2048, len(own)) for name, own in self.names.items()})

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """See the class."""
        pooled = self.trunk(image).mean(dim=(2, 3))
        out: dict[str, Tensor] = {f"level_{name}": head(pooled) for name, head in self.heads.items()}
        first = next(iter(out.values())).float()
        return out | {"logit": torch.logsumexp(first[:, 1:], dim=1) - first[:, 0]}

    def classes(self, out: dict[str, Tensor]) -> dict[str, list[str]]:
        """The class found at each level."""
        return level_classes(out, self.names)

    def losses(self, out: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy at each level, over the samples whose class there is known; 0 if none is."""
        return level_losses(out, batch, self.names, self.weights)


def level_weights(levels: str | Sequence[str], weights: Mapping[str, float] | None) -> dict[str, float]:
    """The chosen levels, and the share of each in the loss.

    Raises:
        UsageError: an unknown level, one that stands twice, or shares that are all 0.
    """
    chosen = [part.strip() for part in levels.split(",")] if isinstance(levels, str) else list(levels)
    for name in (*chosen, *(weights or {})):
        if name not in LEVELS:
            raise unknown_name("level", name, LEVELS)
    if len(set(chosen)) < len(chosen):
        raise UsageError(f"--model-option levels: a level stands twice (got {', '.join(chosen)})")
    if weights and not any(weights.get(name, 1) for name in chosen):
        raise UsageError("--model-option weights: all levels weigh 0, so that nothing would be learnt")
    return {name: float((weights or {}).get(name, 1)) for name in chosen}


def level_names(chosen: Iterable[str], names: Mapping[str, Sequence[str]] | None) -> dict[str, tuple[str, ...]]:
    """The classes of each chosen level, real first; real and fake where a training has not told them yet."""
    return {name: tuple((names or {}).get(name, ("real", "fake"))) for name in chosen}


def level_classes(out: Mapping[str, Tensor], names: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The class found for each image at each level, of the outputs ``level_NAME`` (B, classes)."""
    return {
        name: [own[number] for number in out[f"level_{name}"].argmax(dim=1).tolist()] for name, own in names.items()
    }


def level_losses(
    out: Mapping[str, Tensor], batch: Batch, names: Mapping[str, Sequence[str]], weights: Mapping[str, float]
) -> dict[str, Tensor]:
    """Cross-entropy at each level, over the samples whose class there is known; 0 if none is."""
    terms = {}
    for name, own in names.items():
        logits = out[f"level_{name}"].float()
        numbers = [own.index(kind) if kind in own else UNKNOWN for kind in batch["levels"][name]]
        target = torch.tensor(numbers, device=logits.device)
        total = functional.cross_entropy(logits, target, ignore_index=UNKNOWN, reduction="sum")
        terms[name] = weights[name] * total / (target != UNKNOWN).sum().clamp(min=1)
    return terms
