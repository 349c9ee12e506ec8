"""MesoInception-4 and Meso-4 (Afchar et al., WIFS 2018), by its authors' Keras definition.

Popular ports lack the ReLU in the branches and share one normalisation; this one does not. Input: 0 to 1. The
pixel-level family ends it in a 1 x 1 convolution for both tasks, so that it takes any size; the original, whose fully
connected layers fix the size at 256 x 256, is the option ``head=fc`` of ``mesoinception4-cls``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from forgeprep.training.models.base import Batch, ForgeryModel, image_loss


class _Inception(nn.Module):
    """Four branches: 1 x 1; 3 x 3; and 3 x 3 dilated by 2 and by 3."""

    def __init__(self, inputs: int, a: int, b: int, c: int, d: int) -> None:
        super().__init__()
        self.one = _conv(inputs, a, 1)
        self.more = nn.ModuleList(
            nn.Sequential(_conv(inputs, width, 1), _conv(width, width, 3, dilation))
            for width, dilation in ((b, 1), (c, 2), (d, 3))
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x), *(branch(x) for branch in self.more)], dim=1)


def _conv(inputs: int, outputs: int, size: int, dilation: int = 1) -> nn.Module:
    padding = dilation * (size // 2)
    return nn.Sequential(nn.Conv2d(inputs, outputs, size, padding=padding, dilation=dilation), nn.ReLU())


def meso_features(last_pool: int) -> nn.Sequential:
    """(B, 3, H, W) to (B, 16, H / (8 * last_pool), …)."""
    return nn.Sequential(
        _Inception(3, 1, 4, 4, 2), nn.BatchNorm2d(11), nn.MaxPool2d(2, ceil_mode=True),
        _Inception(11, 2, 4, 4, 2), nn.BatchNorm2d(12), nn.MaxPool2d(2, ceil_mode=True),
        _conv(12, 16, 5), nn.BatchNorm2d(16), nn.MaxPool2d(2, ceil_mode=True),
        _conv(16, 16, 5), nn.BatchNorm2d(16),
        nn.MaxPool2d(last_pool, ceil_mode=True) if last_pool > 1 else nn.Identity(),
    )  # fmt: skip


def meso_map() -> nn.Module:
    """The features up to the last normalisation and a 1 x 1 classifier: stride 8."""
    return nn.Sequential(meso_features(1), nn.Conv2d(16, 1, 1))


def meso4_features() -> nn.Sequential:
    """Meso-4: (B, 3, H, W) to (B, 16, H / 32, …)."""
    layers: list[nn.Module] = []
    for before, width, size, pool in ((3, 8, 3, 2), (8, 8, 5, 2), (8, 16, 5, 2), (16, 16, 5, 4)):
        layers += [_conv(before, width, size), nn.BatchNorm2d(width), nn.MaxPool2d(pool, ceil_mode=True)]
    return nn.Sequential(*layers)


class MesoClassifier(ForgeryModel):
    """An original, with its fully connected layers: it localises nothing. Outputs: ``logit`` (B,)."""

    only_size = 256

    def __init__(self, features: nn.Module | None = None) -> None:
        super().__init__()
        self.features = meso_features(4) if features is None else features
        self.head = nn.Sequential(
            nn.Flatten(), nn.Dropout(0.5), nn.Linear(1024, 16), nn.LeakyReLU(0.1), nn.Dropout(0.5), nn.Linear(16, 1)
        )

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Images of 256 x 256."""
        return {"logit": self.head(self.features(image)).squeeze(1)}

    def losses(self, out: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy per image."""
        return {"label": image_loss(out["logit"], batch["label"])}


def make_meso4() -> MesoClassifier:
    """Meso-4, four plain convolutions: the smaller of the two nets of the paper."""
    return MesoClassifier(meso4_features())
