"""What the models of frequencies have in common: bases, fixed filters, and attention between two streams."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

LUMA = (0.299, 0.587, 0.114)

SRM_KERNELS = (
    # The second difference along a row; the 3 x 3 and the 5 x 5 "square" residual of the rich models for steganalysis
    # (Fridrich and Kodovsky, 2012).
    ((0, 0, 0, 0, 0), (0, 0, 0, 0, 0), (0, 1, -2, 1, 0), (0, 0, 0, 0, 0), (0, 0, 0, 0, 0), 2),
    ((0, 0, 0, 0, 0), (0, -1, 2, -1, 0), (0, 2, -4, 2, 0), (0, -1, 2, -1, 0), (0, 0, 0, 0, 0), 4),
    ((-1, 2, -2, 2, -1), (2, -6, 8, -6, 2), (-2, 8, -12, 8, -2), (2, -6, 8, -6, 2), (-1, 2, -2, 2, -1), 12),
)
"""Rows of a 5 x 5 kernel, and what it is divided by."""


def gray(image: Tensor) -> Tensor:
    """The luminance of (B, 3, H, W), float32 (B, 1, H, W)."""
    return (image.float() * image.new_tensor(LUMA).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)


def dct_basis(side: int, device: torch.device | None = None) -> Tensor:
    """The orthonormal DCT-II as a matrix D, float32 (side, side): D X D' are the coefficients of a picture X."""
    at = torch.arange(side, device=device, dtype=torch.float64)
    basis = torch.cos(math.pi / side * (at[None] + 0.5) * at[:, None]) * math.sqrt(2 / side)
    basis[0] /= math.sqrt(2)
    return basis.float()


def band(side: int, low: float, high: float) -> Tensor:
    """Where coefficients lie between two sums of their indices, over the side: float32 (side, side), 0 or 1."""
    at = torch.arange(side, dtype=torch.float32) / side
    total = at[:, None] + at[None]
    return ((total >= low) & (total < high)).float()


def srm_kernels() -> Tensor:
    """The three kernels, float32 (3, 5, 5)."""
    return torch.stack([torch.tensor(rows, dtype=torch.float32) / by for *rows, by in SRM_KERNELS])


class CrossAttention(nn.Module):
    """Two streams of features on the same places: each is given what the other has at places like its own.

    How alike two places are is told by one 1 x 1 convolution of each stream; both start as they were, for what is given
    is scaled by a number that starts at 0.
    """

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.keys = nn.ModuleList(nn.Conv2d(channels, inner, 1) for _ in range(2))
        self.values = nn.ModuleList(nn.Conv2d(channels, channels, 1, bias=False) for _ in range(2))
        self.share = nn.Parameter(torch.zeros(2))

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) twice, to the same."""
        left, right = (key(x).flatten(2) for key, x in zip(self.keys, (a, b), strict=True))
        alike = left.transpose(1, 2) @ right / math.sqrt(left.shape[1])  # (B, places of a, places of b)
        seen_a, seen_b = (value(x).flatten(2) for value, x in zip(self.values, (a, b), strict=True))
        to_a = (seen_b @ alike.softmax(dim=2).transpose(1, 2)).view_as(a)
        to_b = (seen_a @ alike.softmax(dim=1)).view_as(b)
        return a + self.share[0] * to_a, b + self.share[1] * to_b


class Fuse(nn.Module):
    """Two streams (B, C, H, W) as one (B, out, H, W): joined, channels weighted by their means, and mixed."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        both = 2 * channels
        self.weigh = nn.Sequential(nn.Linear(both, both // 16), nn.ReLU(), nn.Linear(both // 16, both), nn.Sigmoid())
        self.mix = nn.Sequential(nn.Conv2d(both, out, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU())

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """See the class."""
        x = torch.cat([a, b], dim=1)
        weights: Tensor = self.weigh(x.mean(dim=(2, 3)))
        mixed: Tensor = self.mix(x * weights[:, :, None, None])
        return mixed
