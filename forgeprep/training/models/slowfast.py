"""SlowFast with ResNet-50 pathways (Feichtenhofer et al., ICCV 2019): sequences in, a verdict out.

The slow pathway sees every ``alpha``-th frame with many channels, the fast one all frames with an eighth of them; after
each stage a strided convolution in time brings what the fast one has found to the slow one. 32 frames and an ``alpha``
of 4 are the paper's 8 x 8; sequences of 16 frames suit as well.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from forgeprep.errors import UsageError
from forgeprep.training.models.base import Batch, ForgeryModel, image_loss

DEPTHS = (3, 4, 6, 3)
BETA = 8
"""Channels of the slow pathway over those of the fast one."""


class SlowFast(ForgeryModel):
    """The network.

    Args:
        frames: T, frames of a sequence, a multiple of ``alpha``.
        alpha: every so many frames the slow pathway looks at one.
        step: samples of a track between two frames of a sequence.
        fusion: frames that a convolution from fast to slow spans: 7, or 5 for the paper's 4 x 16 (``alpha`` 8).
        classes: methods and real for the n-way verdict, or 0 for real and fake.
        lateral: what follows the convolution from fast to slow: ``norm``, normalisation and ReLU as in the paper, or
            ``plain``, nothing, as ForgeryNet has it.
        input_range: ``kinetics`` takes off .45 and divides by .225, as pretrained weights expect it; ``unit`` leaves
            the input at 0 to 1, as ForgeryNet does.

    Input: float (B, 3, T, H, W), 0 to 1. Outputs: ``logit`` (B,); with ``classes``, ``classes`` (B, classes).
    """

    def __init__(
        self,
        frames: PositiveInt = 32,
        alpha: PositiveInt = 4,
        step: PositiveInt = 1,
        fusion: PositiveInt = 7,
        classes: Annotated[int, Field(ge=0)] = 0,
        *,
        lateral: Literal["norm", "plain"] = "norm",
        input_range: Literal["kinetics", "unit"] = "kinetics",
    ) -> None:
        super().__init__()
        if frames % alpha:
            raise UsageError(f"--model-option frames: {frames} is no multiple of alpha, {alpha}")
        if fusion % 2 == 0:
            raise UsageError(f"--model-option fusion: has to be odd (got {fusion})")
        self.kinetics = input_range == "kinetics"
        self.sequence_frames, self.sequence_step, self.alpha = frames, step, alpha
        self.slow, self.fast = _pathway(64, (1, 1, 1, 3, 3), 2), _pathway(64 // BETA, (5, 3, 3, 3, 3), 0)
        widths = [64 // BETA, *(256 * 2**stage // BETA for stage in range(3))]
        self.fuse = nn.ModuleList(
            nn.Sequential(
                nn.Conv3d(w, 2 * w, (fusion, 1, 1), (alpha, 1, 1), (fusion // 2, 0, 0), bias=False),
                *([nn.BatchNorm3d(2 * w), nn.ReLU()] if lateral == "norm" else []),
            )
            for w in widths
        )
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(2048 + 2048 // BETA, max(1, classes))
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, _Bottleneck):
                # As in the paper's recipe, each block begins as its skip alone.
                nn.init.zeros_(module.body[-1].weight)  # type: ignore[arg-type]

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """See the class."""
        fast = (image - 0.45) / 0.225 if self.kinetics else image
        slow = fast[:, :, :: self.alpha]
        for number, (slow_stage, fast_stage) in enumerate(zip(self.slow, self.fast, strict=True)):
            slow, fast = slow_stage(slow), fast_stage(fast)
            if number < len(self.fuse):
                slow = torch.cat([slow, self.fuse[number](fast)], dim=1)
        pooled = torch.cat([slow.mean(dim=(2, 3, 4)), fast.mean(dim=(2, 3, 4))], dim=1)
        verdict = self.fc(self.dropout(pooled))
        if verdict.shape[1] == 1:
            return {"logit": verdict.squeeze(1)}
        return {"logit": torch.logsumexp(verdict[:, 1:], dim=1) - verdict[:, 0], "classes": verdict}

    def losses(self, out: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy per sequence, which is fake if any of its frames is."""
        if "classes" in out:
            return {"label": nn.functional.cross_entropy(out["classes"].float(), batch["method"])}
        return {"label": image_loss(out["logit"], batch["label"])}


def make_forgerynet(
    frames: PositiveInt = 32, step: PositiveInt = 1, classes: Annotated[int, Field(ge=0)] = 0
) -> SlowFast:
    """ForgeryNet's video baseline: ``alpha`` 8, a plain lateral convolution of 5 frames, input of 0 to 1."""
    return SlowFast(frames, 8, step, 5, classes, lateral="plain", input_range="unit")


class _Bottleneck(nn.Module):
    """A residual block: ``time`` x 1 x 1, 1 x 3 x 3 with the stride, 1 x 1 x 1."""

    def __init__(self, inputs: int, width: int, outputs: int, time: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv3d(inputs, width, (time, 1, 1), padding=(time // 2, 0, 0), bias=False),
            nn.BatchNorm3d(width), nn.ReLU(),
            nn.Conv3d(width, width, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False),
            nn.BatchNorm3d(width), nn.ReLU(),
            nn.Conv3d(width, outputs, 1, bias=False), nn.BatchNorm3d(outputs),
        )  # fmt: skip
        self.skip = (
            nn.Sequential(nn.Conv3d(inputs, outputs, 1, (1, stride, stride), bias=False), nn.BatchNorm3d(outputs))
            if inputs != outputs or stride != 1
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, T, H, W) to (B, outputs, T, H / stride, W / stride)."""
        return torch.relu(self.body(x) + (x if self.skip is None else self.skip(x)))


def _pathway(width: int, times: tuple[int, ...], brought: int) -> nn.ModuleList:
    """Stem and four stages.

    Args:
        width: channels after the stem.
        times: frames that the stem's convolution and those of each stage span.
        brought: channels that the other pathway brings to each stage, over those that it has there itself.
    """
    first = times[0]
    stem = nn.Sequential(
        nn.Conv3d(3, width, (first, 7, 7), (1, 2, 2), (first // 2, 3, 3), bias=False),
        nn.BatchNorm3d(width), nn.ReLU(), nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
    )  # fmt: skip
    stages: list[nn.Module] = [stem]
    inputs = width
    for number, depth in enumerate(DEPTHS):
        inner, outputs = width * 2**number, 4 * width * 2**number
        entering = inputs + (inputs * brought) // BETA
        time, stride = times[number + 1], 2 if number else 1
        more = (_Bottleneck(outputs, inner, outputs, time, 1) for _ in range(depth - 1))
        stages.append(nn.Sequential(_Bottleneck(entering, inner, outputs, time, stride), *more))
        inputs = outputs
    return nn.ModuleList(stages)
