"""Plain classifiers that papers compare with: a backbone, its features averaged over the picture, a linear verdict."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field
from torch import Tensor, nn

from forgeprep.training.models.base import Batch, ForgeryModel, Normalised, verdict, verdict_loss
from forgeprep.training.models.xception import Xception

Classes = Annotated[int, Field(ge=0)]


class Classifier(ForgeryModel):
    """A backbone and a linear verdict.

    Args:
        trunk: (B, 3, H, W), 0 to 1, to features (B, width, h, w).
        width: channels of the features.
        classes: methods and real for the n-way verdict, or 0 for real and fake.

    Outputs: ``logit`` (B,); with ``classes``, ``classes`` (B, classes).
    """

    def __init__(self, trunk: nn.Module, width: int, classes: int = 0) -> None:
        super().__init__()
        self.trunk, self.fc = trunk, nn.Linear(width, max(1, classes))

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """See the class."""
        return verdict(self.fc(self.trunk(image).mean(dim=(2, 3))))

    def losses(self, out: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of the verdict."""
        return {"label": verdict_loss(out, batch)}


class _ResNet(nn.Module):
    """ResNet-50 without its classifier, of transformers, from its configuration: nothing is fetched."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import ResNetConfig, ResNetModel

        self.scale = Normalised((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        net: Any = ResNetModel(ResNetConfig())
        self.net = nn.Sequential(net.embedder, net.encoder)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, 2048, H / 32, W / 32)."""
        found: Tensor = self.net(self.scale(image)).last_hidden_state
        return found


def make_xception(classes: Classes = 0) -> Classifier:
    """The whole Xception."""
    return Classifier(Xception(classes=0), 2048, classes)


def make_resnet50(classes: Classes = 0) -> Classifier:
    """ResNet-50 (He et al., CVPR 2016), the stride in the 3 x 3 convolution as torchvision has it."""
    return Classifier(_ResNet(), 2048, classes)
