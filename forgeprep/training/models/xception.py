"""Xception (Chollet, CVPR 2017), with the parameter names of timm's ``legacy_xception``, whose weights it takes.

Input: float (B, 3, H, W), 0 to 1; it is brought to -1 to 1 here.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

CHANNELS = {"conv2": 64, "block1": 128, "block2": 256, "block11": 728, "bn4": 2048}
"""Where features can be tapped, and their channels; a block's output is a sum, without ReLU."""


STAGES = ("conv1", "conv2", *(f"block{number}" for number in range(1, 13)), "conv3", "conv4")
"""The network's parts in order; a convolution is followed by its normalisation and ReLU."""


class SeparableConv2d(nn.Module):
    """A depthwise 3 x 3 convolution and a pointwise one, both without bias."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False)
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H, W)."""
        out: Tensor = self.pointwise(self.conv1(x))
        return out


class Block(nn.Module):
    """Separable convolutions with a skip; a strided block ends in a pool of 3, its skip is a convolution."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        repeats: int,
        stride: int = 1,
        *,
        relu_first: bool = True,
        grow_first: bool = True,
    ) -> None:
        super().__init__()
        changes = inputs != outputs or stride != 1
        self.skip = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False) if changes else None
        self.skipbn = nn.BatchNorm2d(outputs) if changes else None
        widths = [inputs] + [outputs] * repeats if grow_first else [inputs] * repeats + [outputs]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.ReLU(), SeparableConv2d(before, after), nn.BatchNorm2d(after)]
        layers = layers if relu_first else layers[1:]
        self.rep = nn.Sequential(*layers, *([nn.MaxPool2d(3, stride, 1)] if stride != 1 else []))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        skip = x if self.skip is None or self.skipbn is None else self.skipbn(self.skip(x))
        out: Tensor = self.rep(x) + skip
        return out


class Xception(nn.Module):
    """The network.

    Args:
        classes: of the last layer; 0 leaves it out.
        until: ``block11`` leaves out everything after that block.
        channels: of the input.
        middle: of the eight blocks 4 to 11, how many there are.
    """

    def __init__(self, classes: int = 1000, until: str = "bn4", *, channels: int = 3, middle: int = 8) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 32, 3, 2, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.conv2 = nn.Conv2d(32, 64, 3, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.block1 = Block(64, 128, 2, 2, relu_first=False)
        self.block2 = Block(128, 256, 2, 2)
        self.block3 = Block(256, 728, 2, 2)
        for number in range(4, 4 + middle):
            self.add_module(f"block{number}", Block(728, 728, 3))
        self.whole = until == "bn4"
        if self.whole:
            self.block12 = Block(728, 1024, 2, 2, grow_first=False)
            self.conv3 = SeparableConv2d(1024, 1536)
            self.bn3 = nn.BatchNorm2d(1536)
            self.conv4 = SeparableConv2d(1536, 2048)
            self.bn4 = nn.BatchNorm2d(2048)
        self.fc = nn.Linear(2048, classes) if classes and self.whole else None

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """The features at :data:`CHANNELS`; at 299 these are 147, 74, 37, 19 and 10 wide."""
        taps = {"conv2": self.through(2 * x - 1, "conv1", "conv2")}
        taps["block1"] = self.block1(taps["conv2"])
        taps["block2"] = self.block2(taps["block1"])
        taps["block11"] = self.through(taps["block2"], "block3", "block11")
        if self.whole:
            taps["bn4"] = self.through(taps["block11"], "block12", "conv4")
        return taps

    def through(self, x: Tensor, first: str, last: str) -> Tensor:
        """What comes out of the parts from ``first`` to ``last``, of :data:`STAGES`; the input is taken as it is."""
        for name in _from_to(first, last):
            part = getattr(self, name, None)
            if part is not None:
                x = torch.relu(getattr(self, f"bn{name[-1]}")(part(x))) if name.startswith("conv") else part(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """(B, classes) logits, or the (B, 2048, h, w) features where ``classes=0``."""
        last = self.features(x)["bn4"]
        return last if self.fc is None else self.fc(last.mean(dim=(2, 3)))


def _from_to(first: str, last: str) -> Sequence[str]:
    return STAGES[STAGES.index(first) : STAGES.index(last) + 1]
