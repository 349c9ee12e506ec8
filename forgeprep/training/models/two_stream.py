"""The two-stream model of "Detect and Locate": semantic maps and noise maps at three scales, fused for the verdict.

Its tables vary the streams (``stream``), the scales (``scales``) and their shares in the map (``gamma``). How a verdict
is made without the coarsest scale the paper does not say; here its features are scaled to that size.

Trunk: Xception up to block 11, tapped at conv2, block2 and block11. Sizes are those of 299 x 299 images: 147, 37, 19.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field, NonNegativeFloat
from torch import Tensor, nn
from torch.nn import functional

from forgeprep.errors import UsageError
from forgeprep.training.models.base import Batch, ForgeryModel, image_loss, pixel_loss, soft_mask, upsample
from forgeprep.training.models.xception import CHANNELS, Block, SeparableConv2d, Xception

TAPS = ("conv2", "block2", "block11")
MAP_WEIGHTS = (0.1, 0.2, 0.7)
"""Shares of the three scales in the map of the forged region."""
FEATURES = (256, 512, 64)
"""Channels of the feature that each scale's map is made of."""
SIDE = 299
"""Of the input, and of the map."""


class TwoStream(ForgeryModel):
    """The whole model.

    Args:
        stream: ``both``, ``semantic`` (the first training step: trunk, semantic maps, verdict), ``noise`` alone, or
            ``none``, the bare backbone with the verdict alone.
        scales: which of the three scales have maps, with commas; 1 is the finest, of conv2. The verdict takes the
            features of the coarsest, at the size of block 11.
        gamma: shares of the three scales in the map of the forged region, the finest first; those of the scales that
            are there are brought to a sum of 1. No loss depends on them.
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
        stream: Literal["both", "semantic", "noise", "none"] = "both",
        classes: Annotated[int, Field(ge=0)] = 0,
        *,
        scales: str | int | Sequence[int] = "1,2,3",
        gamma: str | Sequence[float] = MAP_WEIGHTS,
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
        self.scales = _scales(scales)
        self.gamma = _gamma(gamma, self.scales)
        self.trunk = Xception(classes=0, until="block11")
        self.seg = _decoders(2, separable, self.scales) if stream in ("both", "semantic") else None
        self.noise = _decoders(1, separable, self.scales) if stream in ("both", "noise") else None
        each = FEATURES[self.scales[-1]]
        width = {"both": 2 * each, "none": CHANNELS["block11"]}.get(stream, each)
        self.fusion = _fusion(width)
        self.verdict = nn.Sequential(nn.Linear(2912, 100), nn.Linear(100, max(1, classes)))
        self.needs = tuple(name for name, there in (("mask", self.seg), ("noise", self.noise)) if there is not None)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Images of 299 x 299; the fused features are 19 x 19."""
        taps = self.trunk.features(image)
        out: dict[str, Tensor] = {}
        features, size, last = [], _size(taps["block11"]), self.scales[-1]
        for name, decoders in (("seg", self.seg), ("noise", self.noise)):
            if decoders is None:
                continue
            for number in self.scales:
                feature, out[f"{name}{number}"] = decoders[str(number)](taps[TAPS[number]])
            features.append(feature if last == 2 else upsample(feature, size))
        fused = torch.cat(features, dim=1) if features else taps["block11"]
        if f"seg{last}" in out:
            forged = out[f"seg{last}"][:, :1]
            forged = forged if last == 2 else upsample(forged, size)
            fused = fused * (torch.sigmoid(forged) if self.attention == "sigmoid" else forged)
        verdict = self.verdict(self.fusion(fused).flatten(1))
        if verdict.shape[1] == 1:
            return out | {"logit": verdict.squeeze(1)}
        # Fake is whatever is not class 0.
        others = torch.logsumexp(verdict[:, 1:], dim=1)
        return out | {"logit": others - verdict[:, 0], "classes": verdict}

    def heat(self, out: dict[str, Tensor]) -> Tensor | None:
        """The maps of all scales together, 299 x 299."""
        if self.seg is None:
            return None
        maps = [upsample(torch.sigmoid(out[f"seg{number}"][:, :1]), (SIDE, SIDE)) for number in self.scales]
        return sum((weight * one for weight, one in zip(self.gamma, maps, strict=True)), torch.zeros_like(maps[0]))

    def losses(self, out: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Verdict, masks (soft targets of forged and pristine) and noise, the last two at each scale."""
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


def _scales(given: str | int | Sequence[int]) -> tuple[int, ...]:
    """The scales as places in :data:`TAPS`, the finest first."""
    told = given.split(",") if isinstance(given, str) else [given] if isinstance(given, int) else given
    chosen = sorted(str(part).strip() for part in told)
    if not chosen or len(set(chosen)) < len(chosen) or not set(chosen) <= {"1", "2", "3"}:
        raise UsageError(f"--model-option scales: must be of 1, 2 and 3, each once, with commas (got {given})")
    return tuple(int(part) - 1 for part in chosen)


def _gamma(given: str | Sequence[float], scales: Sequence[int]) -> tuple[float, ...]:
    """The shares of the chosen scales in the map, which sum up to 1."""
    try:
        shares = [float(part) for part in (given.split(",") if isinstance(given, str) else given)]
    except ValueError:
        shares = []
    chosen = [shares[number] for number in scales] if len(shares) == len(TAPS) else []
    if not chosen or not all(0 <= share < math.inf for share in shares) or not sum(chosen):
        told = given if isinstance(given, str) else ",".join(map(str, given))
        raise UsageError(
            f"--model-option gamma: must be three shares with commas, at least 0 and not all 0 (got {told})"
        )
    return tuple(share / sum(chosen) for share in chosen)


def _decoders(channels: int, separable: bool, scales: Sequence[int]) -> nn.ModuleDict:
    """The modules at the taps of these scales; none has a normalisation or an activation."""

    def conv(inputs: int, outputs: int) -> nn.Module:
        return SeparableConv2d(inputs, outputs) if separable else nn.Conv2d(inputs, outputs, 3, padding=1)

    def up(inputs: int, outputs: int) -> nn.Module:
        return nn.ConvTranspose2d(inputs, outputs, 5, 2, 1)

    first, second, third = (CHANNELS[tap] for tap in TAPS)
    every = [
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
    # By number, so that a part of a state is at home in a model with other scales (`--init`).
    return nn.ModuleDict({str(number): every[number] for number in scales})


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
