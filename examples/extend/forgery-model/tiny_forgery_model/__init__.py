"""A small convolutional network that tells fake crops from real ones."""

from __future__ import annotations

import itertools

from pydantic import PositiveInt
from torch import Tensor, nn

from forgeprep.training.models.base import Batch, ForgeryModel, image_loss
from forgeprep.training.models.record import ModelRecord


class Tiny(ForgeryModel):
    """Three strided convolutions and a linear layer on their mean.

    Args:
        width: channels of the first convolution; each further one has twice as many.

    Outputs: ``logit`` (B,), above 0 for a fake.
    """

    def __init__(self, width: PositiveInt = 8) -> None:
        super().__init__()
        widths = [3, width, 2 * width, 4 * width]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1], 1)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Images, float (B, 3, H, W), 0 to 1."""
        return {"logit": self.head(self.features(2 * image - 1).mean(dim=(2, 3))).squeeze(1)}

    def losses(self, out: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy per image."""
        return {"label": image_loss(out["logit"], batch["label"])}


TINY = ModelRecord(
    name="tiny",
    make=Tiny,
    size=64,
    recipe="tiny_forgery_model:tiny.yaml",
    source="an example, of no paper",
    published={"AUC by dataset": {"FaceForensics++": 51.0, "Celeb-DF": 50.0}},
)
