"""The two-stream model of "Detect and Locate": semantic maps and noise maps at three scales, fused for the verdict.

Trunk: Xception up to block 11, tapped at conv2, block2 and block11. Sizes are those of 299 x 299 images: 147, 37, 19.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field, NonNegativeFloat
from torch import Tensor, nn
from torch.nn import functional

from forgeprep.training.models.base import Batch, ForgeryModel, image_loss, pixel_loss, soft_mask, upsample
from forgeprep.training.models.xception import CHANNELS, Block, SeparableConv2d, Xception

TAPS = ("conv2", "block2", "block11")
MAP_WEIGHTS = (0.1, 0.2, 0.7)
"""Shares of the three scales in the map of the forged region."""


class TwoStream(ForgeryModel):
    """The whole model.

    Args:
        stream: ``both``, ``semantic`` (the first training step: trunk, semantic maps, verdict) or ``none``, the bare
            backbone with the verdict alone.
        classes: methods and real for the n-way verdict, or 0 for real and fake.
        separable: depthwise-separable convolutions in the map modules, as the paper writes; its released code has not.
        attention: ``logit`` as in the released code, or ``sigmoid``.
        noise_target: what of the residual the noise maps learn; the paper does not say how it stores negative values.
        noise_scale: ``unit`` learns gray levels over 255, which the share 0.1 is of; ``gray`` learns gray levels, whose
            loss is 255 times larger, as trainings of forgeprep did before there was a choice.
        seg_weight, noise_weight: shares of the losses.

    Outputs: ``logit`` (B,), ``classes`` (B, classes); ``seg0`` to ``seg2`` (B, 2, h, w) logits of forged and pristine;
    ``noise0`` to ``noise2`` (B, 1, h, w).
    """

    def __init__(
        self,
        stream: Literal["both", "semantic", "none"] = "both",
        classes: Annotated[int, Field(ge=0)] = 0,
        *,
        separable: bool = False,
        attention: Literal["logit", "sigmoid"] = "logit",
        noise_target: Literal["abs", "signed", "clip"] = "abs",
        noise_scale: Literal["unit", "gray"] = "unit",
        seg_weight: NonNegativeFloat = 1.0,
        noise_weight: NonNegativeFloat = 0.1,
    ) -> None:
        super().__init__()
        self.stream, self.attention = stream, attention
        self.noise_target, self.noise_range = noise_target, 255 if noise_scale == "unit" else 1
        self.seg_weight, self.noise_weight = seg_weight, noise_weight
        self.trunk = Xception(classes=0, until="block11")
        self.seg = nn.ModuleList(_decoders(2, separable)) if stream != "none" else None
        self.noise = nn.ModuleList(_decoders(1, separable)) if stream == "both" else None
        width = {"both": 128, "semantic": 64, "none": CHANNELS["block11"]}[stream]
        self.fusion = _fusion(width)
        self.verdict = nn.Sequential(nn.Linear(2912, 100), nn.Linear(100, max(1, classes)))
        self.needs = tuple(name for name, there in (("mask", self.seg), ("noise", self.noise)) if there is not None)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Images of 299 x 299; the fused features are 19 x 19."""
        taps = self.trunk.features(image)
        out: dict[str, Tensor] = {}
        features = []
        for name, decoders in (("seg", self.seg), ("noise", self.noise)):
            for number, decoder in enumerate(decoders if decoders is not None else ()):
                feature, out[f"{name}{number}"] = decoder(taps[TAPS[number]])
            if decoders is not None:
                features.append(feature)
        fused = torch.cat(features, dim=1) if features else taps["block11"]
        if "seg2" in out:
            forged = out["seg2"][:, :1]
            fused = fused * (torch.sigmoid(forged) if self.attention == "sigmoid" else forged)
        verdict = self.verdict(self.fusion(fused).flatten(1))
        if verdict.shape[1] == 1:
            return out | {"logit": verdict.squeeze(1)}
        # Fake is whatever is not class 0.
        others = torch.logsumexp(verdict[:, 1:], dim=1)
        return out | {"logit": others - verdict[:, 0], "classes": verdict}

    def heat(self, out: dict[str, Tensor]) -> Tensor | None:
        """The three maps together, at the size of the largest times two and some: 299."""
        if "seg0" not in out:
            return None
        size = (2 * out["seg0"].shape[2] + 5, 2 * out["seg0"].shape[3] + 5)
        maps = [upsample(torch.sigmoid(out[f"seg{number}"][:, :1]), size) for number in range(3)]
        return sum((weight * one for weight, one in zip(MAP_WEIGHTS, maps, strict=True)), torch.zeros_like(maps[0]))

    def losses(self, out: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Verdict, masks at three scales (soft targets of forged and pristine), and noise at three scales."""
        terms = {"label": image_loss(out["logit"], batch["label"])}
        if "classes" in out:
            terms = {"label": functional.cross_entropy(out["classes"].float(), batch["method"])}
        for number in range(3):
            if f"seg{number}" in out:
                soft = soft_mask(batch["mask"], _size(out[f"seg{number}"]))
                each = pixel_loss(out[f"seg{number}"], torch.cat([soft, 1 - soft], dim=1), batch["has_mask"])
                terms[f"mask{number}"] = self.seg_weight * each
            if f"noise{number}" in out:
                noise = _noise_target(batch["noise"], self.noise_target) / self.noise_range
                target = soft_mask(noise, _size(out[f"noise{number}"]))
                terms[f"noise{number}"] = self.noise_weight * (out[f"noise{number}"].float() - target).abs().mean()
        return terms


class _Decoder(nn.Module):
    """Makes a feature of a tap, and a map of the feature."""

    def __init__(self, feature: nn.Module, to_map: nn.Module) -> None:
        super().__init__()
        self.feature, self.map = feature, to_map

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        feature = self.feature(x)
        return feature, self.map(feature)


def _decoders(channels: int, separable: bool) -> list[_Decoder]:
    """The modules at the three taps; none has a normalisation or an activation."""

    def conv(inputs: int, outputs: int) -> nn.Module:
        return SeparableConv2d(inputs, outputs) if separable else nn.Conv2d(inputs, outputs, 3, padding=1)

    def up(inputs: int, outputs: int) -> nn.Module:
        return nn.ConvTranspose2d(inputs, outputs, 5, 2, 1)

    first, second, third = (CHANNELS[tap] for tap in TAPS)
    return [
        _Decoder(
            nn.Sequential(
                conv(first, 64), nn.Conv2d(64, 128, 1), nn.MaxPool2d(2),
                conv(128, 128), nn.Conv2d(128, 256, 1), nn.MaxPool2d(2),
            ),
            nn.Sequential(up(256, 64), up(64, channels)),
        ),
        _Decoder(nn.Sequential(conv(second, 256), nn.Conv2d(256, 512, 1), nn.MaxPool2d(2)), up(512, channels)),
        _Decoder(
            nn.Sequential(conv(third, 256), nn.Conv2d(256, 64, 1)),
            nn.Sequential(nn.ConvTranspose2d(64, 16, 3, 1, 1), nn.ConvTranspose2d(16, channels, 3, 1, 1)),
        ),
    ]  # fmt: skip


def _fusion(width: int) -> nn.Module:
    """(B, width, 19, 19) to (B, 728, 2, 2)."""
    return nn.Sequential(
        Block(width, 128, 2, 2),
        nn.Conv2d(128, 128, 3), nn.Conv2d(128, 256, 1), nn.BatchNorm2d(256), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(256, 256, 3), nn.Conv2d(256, 728, 1), nn.BatchNorm2d(728), nn.ReLU(),
    )  # fmt: skip


def _size(maps: Tensor) -> tuple[int, int]:
    return maps.shape[2], maps.shape[3]


def _noise_target(noise: Tensor, kind: str) -> Tensor:
    if kind == "abs":
        return noise.abs()
    return noise.clamp(min=0) if kind == "clip" else noise
