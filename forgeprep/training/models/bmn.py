"""BMN, the boundary-matching network (Lin et al., ICCV 2019): spans of a clip from a feature for each moment.

The clip is cut into T cells. The net tells of each cell whether a span starts or ends there, and of each pair of a
start t and a length d + 1 how well that proposal fits a span. Hidden widths and groups are those of the reference head.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from forgeprep.training.models.base import Batch, ForgeryModel

HIGH, LOW, SURE = 0.7, 0.3, 0.9
"""Overlaps that part good, middling and bad proposals; from the last on one counts as right."""


class Bmn(ForgeryModel):
    """The network.

    Args:
        features: folder of the training whose model gives the features.
        scale: T, cells a clip.
        channels: of a feature; a training fills it in.
        samples: points of a proposal, and of half its length on either side, that its features are taken at.

    Input: float (B, channels, T). Outputs, all logits: ``start`` and ``end`` (B, T); ``map`` (B, 2, T, T): regression
    and classification of the proposal of length d + 1 (third axis) that starts at cell t (fourth).
    """

    def __init__(
        self,
        features: str = "",
        scale: Annotated[int, Field(ge=8)] = 100,
        channels: PositiveInt = 400,
        samples: PositiveInt = 32,
    ) -> None:
        super().__init__()
        self.scale = scale  # The task reads `features`; the network needs only their number.
        self.base = nn.Sequential(_conv(channels, 256, 4), _conv(256, 256, 4))
        self.start = nn.Sequential(_conv(256, 256, 4), nn.Conv1d(256, 1, 1))
        self.end = nn.Sequential(_conv(256, 256, 4), nn.Conv1d(256, 1, 1))
        self.proposal = _conv(256, 256, 1)
        self.gather = nn.Conv3d(256, 512, (samples, 1, 1))
        self.judge = nn.Sequential(
            nn.Conv2d(512, 128, 1), nn.ReLU(), nn.Conv2d(128, 128, 3, padding=1), nn.ReLU(),
            nn.Conv2d(128, 128, 3, padding=1), nn.ReLU(), nn.Conv2d(128, 2, 1),
        )  # fmt: skip
        places, weights = sampling(scale, samples)
        self.places: Tensor
        self.points: Tensor
        self.register_buffer("places", torch.from_numpy(places), persistent=False)
        self.register_buffer("points", torch.from_numpy(weights), persistent=False)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """See the class."""
        base = self.base(image)
        return {
            "start": self.start(base).squeeze(1),
            "end": self.end(base).squeeze(1),
            "map": self.judge(torch.relu(self.match(self.proposal(base)))),
        }

    def match(self, x: Tensor) -> Tensor:
        """(B, 256, T) to (B, 512, T, T): the features of every proposal at its points, and ``gather`` of them.

        Sampling and the convolution over the points are both linear, so the channels are mixed first: the paper's
        (B, 256, points, T, T) never comes to be, which is 80 times the size of the result.
        """
        mixed = torch.einsum("ocn,bct->bont", self.gather.weight[:, :, :, 0, 0], x).flatten(2)  # (B, 512, points * T)
        told = mixed @ self.points.to(mixed.dtype).T
        whole = told.new_zeros(len(x), told.shape[1], self.scale**2)
        whole = whole.index_copy(2, self.places, told)
        bias = self.gather.bias
        if bias is not None:
            whole = whole + bias.view(-1, 1)
        return whole.view(len(x), -1, self.scale, self.scale)

    def score(self, out: dict[str, Tensor]) -> Tensor:
        """The confidence of the best proposal, (B,)."""
        return torch.sigmoid(out["map"].float()).prod(dim=1).amax(dim=(1, 2))

    def heat(self, out: dict[str, Tensor]) -> Tensor | None:
        """It localises in time alone."""
        return None

    def losses(self, out: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Boundaries, confidence and ten times the regression, as in the paper; all over what is known.

        ``batch`` holds ``start``, ``end`` (B, T) and ``overlap`` (B, T, T), 0 to 1, with ``known`` (B, T) and
        ``known_pairs`` (B, T, T). The paper draws as many middling and bad proposals as there are good ones; here all
        count, with weights that come to the same on average.
        """
        known, pairs, overlap = batch["known"], batch["known_pairs"], batch["overlap"]
        boundary = balanced(out["start"], batch["start"] > 0.5, known) + balanced(out["end"], batch["end"] > 0.5, known)
        good, bad = pairs & (overlap > HIGH), pairs & (overlap <= LOW)
        weight = torch.zeros_like(overlap)
        for kind in (good, bad, pairs & ~good & ~bad):
            weight += kind / kind.sum().clamp(min=1)
        off = (torch.sigmoid(out["map"][:, 0].float()) - overlap) ** 2
        return {
            "boundary": boundary,
            "confidence": balanced(out["map"][:, 1], overlap > SURE, pairs),
            "regression": 10 * (off * weight).sum() / weight.sum().clamp(min=1e-6),
        }


def balanced(logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Binary cross-entropy where ``known``, both classes weighing the same; 0 where nothing is."""
    each = functional.binary_cross_entropy_with_logits(logits.float(), target.float(), reduction="none")
    yes, no = known & target, known & ~target
    return 0.5 * sum(((each * part).sum() / part.sum().clamp(min=1) for part in (yes, no)), logits.new_zeros(()))


def sampling(scale: int, samples: int, each: int = 3) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Where the features of each proposal are taken.

    Returns:
        places: of the P = T (T + 1) / 2 proposals that end within the clip, in a map (length - 1, start) laid flat.
        weights: float32 (P, samples * T): each sample is the mean of ``each`` points, and each point lies between the
            centres of two cells. Points outside the clip are zero.
    """
    length, start = np.mgrid[1 : scale + 1, :scale]
    inside = length + start <= scale
    length, start = length[inside][:, None], start[inside][:, None]
    steps = np.linspace(0, 1, samples * each)[None]
    at = start - 0.5 * length + 2 * length * steps - 0.5  # in cells, whose centres are the whole numbers
    weights = np.zeros((len(at), samples, scale), np.float32)
    low = np.floor(at).astype(int)
    row = np.broadcast_to(np.arange(len(at))[:, None], at.shape)
    sample = np.broadcast_to(np.repeat(np.arange(samples), each)[None], at.shape)
    for cell, share in ((low, 1 - (at - low)), (low + 1, at - low)):
        there = (cell >= 0) & (cell < scale)
        np.add.at(weights, (row[there], sample[there], cell[there]), (share[there] / each).astype(np.float32))
    return np.flatnonzero(inside), weights.reshape(len(at), -1)


def _conv(inputs: int, outputs: int, groups: int) -> nn.Sequential:
    return nn.Sequential(_Grouped(inputs, outputs, groups), nn.ReLU())


class _Grouped(nn.Module):
    """A convolution of 3; channels are filled up with zeros to a multiple of the groups."""

    def __init__(self, inputs: int, outputs: int, groups: int) -> None:
        super().__init__()
        self.more = -inputs % groups
        self.conv = nn.Conv1d(inputs + self.more, outputs, 3, padding=1, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(functional.pad(x, (0, 0, 0, self.more)) if self.more else x)
        return out
