"""CAEL, the cross appearance-edge model of "GenFace".

Three branches of 224 x 224 images: fine features and coarse features of two EfficientNets, and features of the edges.
Each is one patch token with a class token; four times, the branches attend themselves, then fine and coarse attend one
another, then the edges attend both. The authors published no training recipe and no figures for single runs: results
of this model are not a reproduction.

The released code has defects that are mended here; ``official_compat`` keeps those that change what is computed: both
EfficientNets get the picture transposed, and blue first, while the edges are those of the upright picture; the first
round of the edges' attention is thrown away; the edge token is added twice. Sobel is a fixed kernel here, so it runs on
the device.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, NonNegativeFloat
from torch import Tensor, nn
from torch.nn import functional

from forgeprep.training.models.base import Batch, ForgeryModel, Normalised, image_loss
from forgeprep.training.models.levels import level_classes, level_losses, level_names, level_weights

FINE, COARSE = 192, 384
HEADS, HEAD_WIDTH, MLP, DROPOUT = 8, 64, 2048, 0.15
BLOCKS, ROUNDS = 4, 2
COARSE_BLOCKS = 3
LUMA = (0.299, 0.587, 0.114)


class Cael(ForgeryModel):
    """The whole model.

    Args:
        classes: 2 for real and fake, 3 or more for n-way verdicts with real as class 0.
        levels: in place of the one verdict, a head for each of these levels of the label tree, with commas:
            ``label,family,method`` are GenFace's heads of 2, 3 and more classes.
        weights: level to its share of the loss; 1 where none is given.
        names: level to its classes, real first; a training fills it in from its shards.
        official_compat: compute what the released code computes, see above.
        transposed: which picture ``official_compat`` transposes; ``edges``, with red first, is what trainings of
            forgeprep did before there was a choice.

    Outputs: ``logit`` (B,), and ``classes`` (B, classes), or ``level_NAME`` (B, classes) for each level.
    """

    def __init__(
        self,
        classes: Annotated[int, Field(ge=2)] = 2,
        *,
        levels: str | Sequence[str] = "",
        weights: Mapping[str, NonNegativeFloat] | None = None,
        names: Mapping[str, Sequence[str]] | None = None,
        official_compat: bool = False,
        transposed: Literal["image", "edges"] = "image",
    ) -> None:
        super().__init__()
        self.weights = level_weights(levels, weights) if levels else {}
        self.names = level_names(self.weights, names)
        self.levelled = bool(levels)
        self.official_compat, self.transposed = official_compat, transposed
        # The input follows pretrained weights; the released code feeds 0 to 1 in any case.
        self.scale = nn.Identity() if official_compat else Normalised(0.0, 1.0)
        self.fine, self.coarse = _efficientnet(), _first_blocks(_efficientnet())
        self.edge = _edge_net()
        sizes = {"fine": (1280 * 7 * 7, FINE), "coarse": (24 * 56 * 56, COARSE), "edge": (24 * 56 * 56, COARSE)}
        self.embed = nn.ModuleDict({name: _Embedding(*size) for name, size in sizes.items()})
        self.blocks = nn.ModuleList(_Block(official_compat) for _ in range(BLOCKS))
        self.heads = (
            nn.ModuleDict({level: _heads(len(own)) for level, own in self.names.items()}) if levels else _heads(classes)
        )

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Images of 224 x 224."""
        seen_image, edge_image = image, image
        if self.official_compat and self.transposed == "image":
            seen_image = image.flip(1).transpose(2, 3)
        elif self.official_compat:
            edge_image = image.transpose(2, 3)
        scaled = self.scale(seen_image)
        seen = {
            "fine": self.fine(pixel_values=scaled).last_hidden_state,
            "coarse": self.coarse(scaled),
            "edge": self.edge(edges(edge_image)),
        }
        tokens = {name: self.embed[name](features) for name, features in seen.items()}
        for block in self.blocks:
            tokens = block(tokens)
        every: dict[str, Any] = {f"level_{level}": self.heads[level] for level in self.names}
        every = every or {"classes": self.heads}
        out = {
            name: sum((heads[part](tokens[part][:, 0]) for part in tokens), torch.zeros((), device=image.device))
            for name, heads in every.items()
        }
        first = next(iter(out.values()))
        return out | {"logit": torch.logsumexp(first[:, 1:], dim=1) - first[:, 0]}

    def classes(self, out: dict[str, Tensor]) -> dict[str, list[str]]:
        """The class found at each level."""
        return level_classes(out, self.names)

    def losses(self, out: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of the verdict, or at each level over the samples whose class there is known."""
        if self.names:
            return level_losses(out, batch, self.names, self.weights)
        if out["classes"].shape[1] == 2:
            return {"label": image_loss(out["logit"], batch["label"])}
        return {"label": functional.cross_entropy(out["classes"].float(), batch["method"])}


def edges(image: Tensor) -> Tensor:
    """The Sobel gradient's length of the luminance of (B, 3, H, W), 0 to 1; (B, 1, H, W). The rim is mirrored."""
    gray = (image * image.new_tensor(LUMA).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
    across = image.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    kernels = torch.stack([across, across.T])[:, None]
    gradient = functional.conv2d(functional.pad(gray, (1, 1, 1, 1), mode="reflect"), kernels)
    return gradient.square().sum(dim=1, keepdim=True).clamp(min=1e-12).sqrt()


def _heads(classes: int) -> nn.ModuleDict:
    """A verdict of each branch's class token; their logits are added."""
    widths = {"fine": FINE, "coarse": COARSE, "edge": COARSE}
    return nn.ModuleDict(
        {name: nn.Sequential(nn.LayerNorm(width), nn.Linear(width, classes)) for name, width in widths.items()}
    )


def _efficientnet() -> nn.Module:
    """EfficientNet-B0 without its classifier, from its configuration: nothing is fetched."""
    from transformers import EfficientNetConfig, EfficientNetModel

    config = EfficientNetConfig(
        image_size=224,
        width_coefficient=1.0,
        depth_coefficient=1.0,
        dropout_rate=0.2,
        drop_connect_rate=0.2,
        hidden_dim=1280,
        # The configuration's own .99 is TensorFlow's way to write .01; here it would keep the last batch alone.
        batch_norm_momentum=0.1,
    )
    model: nn.Module = EfficientNetModel(config)
    return model


def _first_blocks(net: Any) -> nn.Module:
    """The part of EfficientNet up to features of 24 x 56 x 56."""
    return nn.Sequential(net.embeddings, *net.encoder.blocks[:COARSE_BLOCKS])


def _edge_net() -> nn.Module:
    """(B, 1, 224, 224) to (B, 24, 56, 56)."""
    layers: list[nn.Module] = []
    before = 1
    for width in (32, 32, 32, 0, 64, 64, 24, 0):
        if width == 0:
            layers.append(nn.MaxPool2d(2))
            continue
        layers += [nn.Conv2d(before, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
        before = width
    return nn.Sequential(*layers)


class _Embedding(nn.Module):
    """Features as one patch token behind a class token: (B, 2, width)."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(inputs, width)
        self.first = nn.Parameter(torch.randn(1, 1, width))
        self.position = nn.Parameter(torch.randn(1, 2, width))
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, features: Tensor) -> Tensor:
        patch = self.project(features.flatten(1))[:, None]
        tokens: Tensor = self.dropout(torch.cat([self.first.expand(len(patch), -1, -1), patch], dim=1) + self.position)
        return tokens


class _Attention(nn.Module):
    """Multi-head attention of ``x`` on itself and on ``context``, after a normalisation of ``x``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = HEADS * HEAD_WIDTH
        self.norm = nn.LayerNorm(width)
        self.to_q = nn.Linear(width, inner, bias=False)
        self.to_kv = nn.Linear(width, 2 * inner, bias=False)
        self.out = nn.Sequential(nn.Linear(inner, width), nn.Dropout(DROPOUT))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        x = self.norm(x)
        seen = x if context is None else torch.cat([x, context], dim=1)
        q, k, v = (part.unflatten(-1, (HEADS, HEAD_WIDTH)).transpose(1, 2) for part in (
            self.to_q(x), *self.to_kv(seen).chunk(2, dim=-1)
        ))  # fmt: skip
        dropout = DROPOUT if self.training else 0.0
        attended = functional.scaled_dot_product_attention(q, k, v, dropout_p=dropout, scale=1 / math.sqrt(HEAD_WIDTH))
        out: Tensor = self.out(attended.transpose(1, 2).flatten(2))
        return out


class _Transformer(nn.Module):
    """Layers of self-attention and MLP, normalised before each and at the end."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.attention = nn.ModuleList(_Attention(width) for _ in range(depth))
        self.mlp = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width), nn.Linear(width, MLP), nn.GELU(), nn.Dropout(DROPOUT),
                nn.Linear(MLP, width), nn.Dropout(DROPOUT),
            )
            for _ in range(depth)
        )  # fmt: skip
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        for attention, mlp in zip(self.attention, self.mlp, strict=True):
            x = x + attention(x)
            x = x + mlp(x)
        out: Tensor = self.norm(x)
        return out


class _Across(nn.Module):
    """A class token attends another branch's patch, in that branch's width."""

    def __init__(self, own: int, other: int) -> None:
        super().__init__()
        same = own == other
        self.into = nn.Identity() if same else nn.Linear(own, other)
        self.attention = _Attention(other)
        self.back = nn.Identity() if same else nn.Linear(other, own)

    def forward(self, token: Tensor, patch: Tensor) -> Tensor:
        out: Tensor = self.back(self.attention(self.into(token), patch))
        return out


class _Block(nn.Module):
    """Self-attention of each branch, fine and coarse on one another, edges on both (AECA)."""

    def __init__(self, official_compat: bool) -> None:
        super().__init__()
        self.official_compat = official_compat
        widths = {"fine": (FINE, 2), "coarse": (COARSE, 3), "edge": (COARSE, 3)}
        self.own = nn.ModuleDict({name: _Transformer(*size) for name, size in widths.items()})
        self.fine_coarse = nn.ModuleList(_Across(FINE, COARSE) for _ in range(ROUNDS))
        self.coarse_fine = nn.ModuleList(_Across(COARSE, FINE) for _ in range(ROUNDS))
        self.edge_fine = nn.ModuleList(_Across(COARSE, FINE) for _ in range(ROUNDS))
        self.edge_coarse = nn.ModuleList(_Across(COARSE, COARSE) for _ in range(ROUNDS))

    def forward(self, tokens: dict[str, Tensor]) -> dict[str, Tensor]:
        tokens = {name: self.own[name](x) for name, x in tokens.items()}
        fine, coarse, edge = (tokens[name][:, :1] for name in ("fine", "coarse", "edge"))
        patches = {name: x[:, 1:] for name, x in tokens.items()}
        for to_coarse, to_fine in zip(self.fine_coarse, self.coarse_fine, strict=True):
            fine, coarse = fine + to_coarse(fine, patches["coarse"]), coarse + to_fine(coarse, patches["fine"])
        start = edge
        for on_fine, on_coarse in zip(self.edge_fine, self.edge_coarse, strict=True):
            if self.official_compat:
                edge = on_fine(start, patches["fine"]) + start + on_coarse(start, patches["coarse"]) + start
            else:
                edge = edge + on_fine(edge, patches["fine"]) + on_coarse(edge, patches["coarse"])
        return {
            name: torch.cat([token, patches[name]], dim=1)
            for name, token in (("fine", fine), ("coarse", coarse), ("edge", edge))
        }
