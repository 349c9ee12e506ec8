"""The Y-shaped model of "Learnable Local Similarity": verdict, forged region, and which places are alike.

Encoder: Xception. LLSM compares all pairs of local features; FLM decodes the mask; CLAFFM lets each decoder level be
weighted by the one before. Sizes are those of 224 x 224 images.

The paper's pair kernel is additively separable: logit(p, p) + logit(q, q) = logit(p, q) + logit(q, p) whatever the
features are. The truth, 1 where two places differ, needs the left sum negative and the right one positive, so no
``linear`` kernel can learn an image that holds both regions. ``relu_pair``, the default, has a hidden layer and can.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import NonNegativeFloat
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from forgeprep.training.models.base import Batch, ForgeryModel, image_loss, pixel_loss, soft_mask, upsample
from forgeprep.training.models.xception import CHANNELS, Xception

Tap = Literal["conv2", "block1", "block2", "block11", "bn4"]
SKIPS = ("block11", "block2", "block1", "conv2")
WIDTHS = (512, 256, 128, 64)

CHUNK = 1 << 26
"""Numbers of the hidden layer of ``relu_pair`` that are held at a time."""


class LinearPairs(nn.Module):
    """The paper's kernel of size 2 x 1 x C, exactly, without making the pairs: logit(i, j) = a(i) + c(j) + b."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.left = nn.Conv2d(channels, 1, 1, bias=False)
        self.right = nn.Conv2d(channels, 1, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to logits (B, HW, HW)."""
        left: Tensor = self.left(features).flatten(1)
        right: Tensor = self.right(features).flatten(1)
        return left[:, :, None] + right[:, None, :]


class ReluPairs(nn.Module):
    """logit(i, j) = v . ReLU(W1 F_i + W2 F_j + b) + b', a few rows at a time and made again for the gradient."""

    def __init__(self, channels: int, hidden: int = 64) -> None:
        super().__init__()
        self.left = nn.Conv2d(channels, hidden, 1, bias=False)
        self.right = nn.Conv2d(channels, hidden, 1)
        self.out = nn.Linear(hidden, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to logits (B, HW, HW)."""
        left, right = (conv(features).flatten(2).transpose(1, 2) for conv in (self.left, self.right))
        rows = max(1, CHUNK // (right.numel() or 1))
        parts = []
        for part in left.split(rows, dim=1):
            again = self.training and torch.is_grad_enabled() and rows < left.shape[1]
            parts.append(checkpoint(self._rows, part, right, use_reentrant=False) if again else self._rows(part, right))
        return torch.cat(parts, dim=1)

    def _rows(self, left: Tensor, right: Tensor) -> Tensor:
        pairs: Tensor = self.out(torch.relu(left[:, :, None] + right[:, None]))
        return pairs.squeeze(-1)


class LocalSimilarity(ForgeryModel):
    """The whole model.

    Args:
        kernel: how two places are compared; ``none`` is the same as ``llsm=false``.
        llsm: whether places are compared at all.
        tap: the features that are compared, of the encoder; at 224, ``block11`` has 14 x 14 places, and ``conv2``
            109 x 109, whose 141 million pairs of an image take 0.6 GB.
        flm: whether the forged region is decoded; without, the verdict comes from the encoder.
        alpha, beta: shares of the losses of similarity and region; the paper does not report its own.

    Outputs: ``logit`` (B,); ``similarity`` logits (B, N, N) of the N places of the tap, 196 as a rule, 1 where two
    differ; ``mask`` logits (B, 1, H, W).
    """

    def __init__(
        self,
        kernel: Literal["relu_pair", "linear", "none"] = "relu_pair",
        flm: bool = True,
        *,
        llsm: bool = True,
        tap: Tap = "block11",
        alpha: NonNegativeFloat = 1.0,
        beta: NonNegativeFloat = 1.0,
    ) -> None:
        super().__init__()
        self.alpha, self.beta, self.tap = alpha, beta, tap
        self.encoder = Xception(classes=0)
        kernels = {"relu_pair": ReluPairs, "linear": LinearPairs}
        self.pairs = kernels[kernel](CHANNELS[tap]) if kernel != "none" and llsm else None
        self.levels = nn.ModuleList(_levels()) if flm else None
        self.weigh = nn.ModuleList(_Weigh(b, a) for b, a in zip((2048, *WIDTHS), WIDTHS, strict=False)) if flm else None
        self.to_mask = nn.Conv2d(WIDTHS[-1], 1, 1) if flm else None
        self.verdict = nn.Linear(WIDTHS[-1] if flm else 2048, 1)
        self.needs = ("mask",) if self.pairs is not None or flm else ()

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Images of 224 x 224, or any size that the encoder takes."""
        taps = self.encoder.features(image)
        out: dict[str, Tensor] = {}
        if self.pairs is not None:
            out["similarity"] = self.pairs(taps[self.tap])
        x = taps["bn4"]
        if self.levels is not None and self.weigh is not None and self.to_mask is not None:
            for level, weigh, skip in zip(self.levels, self.weigh, SKIPS, strict=True):
                before = x
                wide = upsample(before, (taps[skip].shape[2], taps[skip].shape[3]))
                x = weigh(before, level(torch.cat([wide, taps[skip]], dim=1)))
            out["mask"] = upsample(self.to_mask(x), (image.shape[2], image.shape[3]))
        out["logit"] = self.verdict(x.mean(dim=(2, 3))).squeeze(1)
        return out

    def losses(self, out: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Verdict, similarity and region; the last two over samples with a mask."""
        terms = {"label": image_loss(out["logit"], batch["label"])}
        if "similarity" in out:
            side = round(out["similarity"].shape[1] ** 0.5)
            truth = similarity_map(batch["mask"], side)
            terms["similarity"] = self.alpha * pixel_loss(out["similarity"][:, None], truth[:, None], batch["has_mask"])
        if "mask" in out:
            terms["mask"] = self.beta * pixel_loss(out["mask"], batch["mask"], batch["has_mask"])
        return terms


def similarity_map(mask: Tensor, side: int) -> Tensor:
    """Masks (B, 1, H, W) to their maps (B, side^2, side^2): 1 where two cells differ, as the stage has it."""
    grid = (soft_mask(mask, (side, side)) >= 0.5).flatten(1)
    return (grid[:, :, None] ^ grid[:, None, :]).float()


class _Weigh(nn.Module):
    """CLAFFM: a level's channels, weighted by what the level before shows on 4 x 4 places."""

    def __init__(self, before: int, now: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, now // 4, 4)
        self.expand = nn.Conv2d(now // 4, now, 1)

    def forward(self, before: Tensor, now: Tensor) -> Tensor:
        pooled = functional.adaptive_avg_pool2d(before, 4)
        return now * torch.sigmoid(self.expand(torch.relu(self.conv(pooled))))


def _levels() -> list[nn.Module]:
    """The decoder's levels, each after the joined features of the level before and the encoder's."""
    levels: list[nn.Module] = []
    before = 2048
    for skip, width in zip(SKIPS, WIDTHS, strict=True):
        levels.append(
            nn.Sequential(
                nn.Conv2d(before + CHANNELS[skip], width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
                nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            )
        )  # fmt: skip
        before = width
    return levels
