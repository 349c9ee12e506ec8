"""The two-stream model of "Generalizing Face Forgery Detection with High-frequency Features" (Luo et al., CVPR 2021).

One Xception sees the picture, another what three filters of steganalysis (SRM) leave of it. The high frequencies of the
first stream's low features are added to the second; what that shows guides where the first one looks; and in the middle
the streams attend each other. Written from the paper: where it gives the idea and not the layers, the layers are ours;
its loss is an angular softmax, here cross-entropy.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from forgeprep.training.models.base import Batch, ForgeryModel, verdict, verdict_loss
from forgeprep.training.models.frequency import CrossAttention, Fuse, srm_kernels
from forgeprep.training.models.xception import CHANNELS, Xception

LIMIT = 3 / 255
"""Residuals of pictures are cut off here, as in steganalysis."""


class Srm(nn.Module):
    """The three filters of each channel, added up over the channels: (B, C, H, W) to (B, 3, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels: Tensor
        self.register_buffer("kernels", srm_kernels(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """See the class; a filter and a sum over channels can change places."""
        return functional.conv2d(x.float().mean(dim=1, keepdim=True), self.kernels[:, None], padding=2)


class SrmEach(nn.Module):
    """The filters of each channel by itself, mixed: (B, inputs, H, W) to (B, outputs, H, W)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.kernels: Tensor
        self.register_buffer("kernels", srm_kernels(), persistent=False)
        self.mix = nn.Sequential(nn.Conv2d(3 * inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        channels = x.shape[1]
        kernels = self.kernels[:, None].repeat(channels, 1, 1, 1).to(x.dtype)
        mixed: Tensor = self.mix(functional.conv2d(x, kernels, padding=2, groups=channels))
        return mixed


class HighFrequency(ForgeryModel):
    """The whole model.

    Args:
        classes: methods and real for the n-way verdict, or 0 for real and fake.
        multi_scale: whether high frequencies of low features are added to the second stream.
        guide: whether the second stream guides where the first one looks.
        cross: whether the streams attend each other.

    Outputs: ``logit`` (B,); with ``classes``, ``classes`` (B, classes).
    """

    def __init__(
        self,
        classes: Annotated[int, Field(ge=0)] = 0,
        *,
        multi_scale: bool = True,
        guide: bool = True,
        cross: bool = True,
    ) -> None:
        super().__init__()
        self.filters = Srm()
        self.picture, self.residual = Xception(classes=0), Xception(classes=0)
        low = CHANNELS["conv2"], CHANNELS["block1"]
        self.more = nn.ModuleList(SrmEach(c, c) for c in low) if multi_scale else None
        self.guide = nn.Conv2d(2, 1, 7, padding=3) if guide else None
        self.cross = nn.ModuleList(CrossAttention(728, 91) for _ in range(2)) if cross else None
        self.fuse = Fuse(2048, 2048)
        self.fc = nn.Linear(2048, max(1, classes))

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Images of any size, 256 x 256 in the paper."""
        with torch.autocast(image.device.type, enabled=False):
            high = (self.filters(image) / LIMIT).clamp(-1, 1)
        low = 2 * image - 1
        for number, (first, last) in enumerate((("conv1", "conv2"), ("block1", "block1"))):
            low, high = self.picture.through(low, first, last), self.residual.through(high, first, last)
            if self.more is not None:
                high = high + self.more[number](low)
        if self.guide is not None:
            shown = torch.cat([high.mean(dim=1, keepdim=True), high.amax(dim=1, keepdim=True)], dim=1)
            low = low * torch.sigmoid(self.guide(shown))
        for number, (first, last) in enumerate((("block2", "block3"), ("block4", "block7"))):
            low, high = self.picture.through(low, first, last), self.residual.through(high, first, last)
            if self.cross is not None:
                low, high = self.cross[number](low, high)
        low, high = self.picture.through(low, "block8", "conv4"), self.residual.through(high, "block8", "conv4")
        return verdict(self.fc(self.fuse(low, high).mean(dim=(2, 3))))

    def losses(self, out: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of the verdict."""
        return {"label": verdict_loss(out, batch)}
