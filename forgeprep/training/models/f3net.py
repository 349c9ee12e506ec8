"""F3-Net, "Thinking in Frequency" (Qian et al., ECCV 2020): two Xceptions that see frequencies, and attend each other.

FAD splits the picture's DCT into three bands, and all of it, each by a fixed filter and a learnt one, and turns each
back into a picture: 12 channels. LFS takes the DCT of windows of 10 x 10 pixels, two apart, and tells the logarithm of
the energy in six bands of each. After block 7 and block 12 the two streams are mixed.

Written from the paper, which does not tell all: of how streams are mixed it gives the idea, not the layers, and the
luminance for LFS is ours.
"""

from __future__ import annotations

import itertools
import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from forgeprep.training.models.base import Batch, ForgeryModel, verdict, verdict_loss
from forgeprep.training.models.frequency import CrossAttention, band, dct_basis, gray
from forgeprep.training.models.xception import Xception

SIDE = 299
"""Side that the learnt filters of the whole picture have; for pictures of another they are scaled."""
SHARES = (0.0, 1 / 16, 1 / 8, 2.0)
"""Bounds of FAD's bands, as shares of the spectrum."""
WINDOW, STRIDE, BANDS = 10, 2, 6


def filters(base: Tensor, learnt: Tensor) -> Tensor:
    """The fixed filter plus the learnt one, which is kept between -1 and 1."""
    return base + 2 * torch.sigmoid(learnt) - 1


class Fad(nn.Module):
    """Frequency-aware decomposition: (B, 3, H, W), 0 to 1, to (B, 12, H, W), about -1 to 1."""

    def __init__(self) -> None:
        super().__init__()
        # Of coefficients whose indices sum up to less than s * side, there are s^2 / 2 of all.
        bounds = [math.sqrt(2 * share) for share in SHARES]
        bands = [band(SIDE, low, high) for low, high in itertools.pairwise(bounds)]
        self.base: Tensor
        self.register_buffer("base", torch.stack([*bands, torch.ones(SIDE, SIDE)]), persistent=False)
        self.learnt = nn.Parameter(0.1 * torch.randn(4, SIDE, SIDE))

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        height, width = image.shape[2:]
        rows, columns = dct_basis(height, image.device), dct_basis(width, image.device)
        kept = filters(self.base, self.learnt)
        if (height, width) != (SIDE, SIDE):
            kept = functional.interpolate(kept[None], (height, width), mode="bilinear", align_corners=False)[0]
        spectrum = rows @ (2 * image.float() - 1) @ columns.T
        parts = rows.T @ (spectrum[:, None] * kept[None, :, None]) @ columns  # (B, 4, 3, H, W)
        return parts.flatten(1, 2)


class Lfs(nn.Module):
    """Local frequency statistics: (B, 3, H, W), 0 to 1, to (B, 6, H / 2, W / 2)."""

    def __init__(self) -> None:
        super().__init__()
        basis = dct_basis(WINDOW)
        waves = torch.einsum("ui,vj->uvij", basis, basis).reshape(WINDOW**2, 1, WINDOW, WINDOW)
        bands = [band(WINDOW, 2 * number / BANDS, 2 * (number + 1) / BANDS) for number in range(BANDS)]
        self.waves: Tensor
        self.base: Tensor
        self.register_buffer("waves", waves, persistent=False)
        self.register_buffer("base", torch.stack(bands), persistent=False)
        self.learnt = nn.Parameter(0.1 * torch.randn(BANDS, WINDOW, WINDOW))

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        found = functional.conv2d(255 * gray(image), self.waves, stride=STRIDE, padding=WINDOW // 2 - 1).abs()
        kept = filters(self.base, self.learnt).abs().view(BANDS, WINDOW**2, 1, 1)
        return torch.log10(functional.conv2d(found, kept) + 1e-3)


class F3Net(ForgeryModel):
    """The whole model.

    Args:
        streams: ``both``, or one of the two alone, as in the paper's ablation.
        mix: whether the streams attend each other.
        classes: methods and real for the n-way verdict, or 0 for real and fake.

    Outputs: ``logit`` (B,); with ``classes``, ``classes`` (B, classes).
    """

    def __init__(
        self,
        streams: Literal["both", "fad", "lfs"] = "both",
        classes: Annotated[int, Field(ge=0)] = 0,
        *,
        mix: bool = True,
    ) -> None:
        super().__init__()
        chosen = ("fad", "lfs") if streams == "both" else (streams,)
        self.fronts = nn.ModuleDict({name: Fad() if name == "fad" else Lfs() for name in chosen})
        self.trunks = nn.ModuleDict({n: Xception(classes=0, channels=12 if n == "fad" else BANDS) for n in chosen})
        if "lfs" in chosen:
            # What it sees is half as large already.
            self.trunks["lfs"].conv1 = nn.Conv2d(BANDS, 32, 3, 1, 1, bias=False)
        mixing = mix and len(chosen) == 2
        self.mixers = nn.ModuleList([CrossAttention(728, 91), CrossAttention(1024, 128)]) if mixing else None
        self.fc = nn.Linear(2048 * len(chosen), max(1, classes))

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Images of any size, 299 x 299 in the paper."""
        # Sums over a whole picture want more digits than bfloat16 has.
        with torch.autocast(image.device.type, enabled=False):
            seen = {name: front(image) for name, front in self.fronts.items()}
        if "lfs" in seen:
            # As many places as the first convolution leaves of the picture.
            height, width = ((length - 3) // 2 + 1 for length in image.shape[2:])
            seen["lfs"] = seen["lfs"][:, :, :height, :width]
        for number, (first, last) in enumerate((("conv1", "block7"), ("block8", "block12"))):
            seen = {name: trunk.through(seen[name], first, last) for name, trunk in self._named()}
            if self.mixers is not None:
                seen["fad"], seen["lfs"] = self.mixers[number](seen["fad"], seen["lfs"])
        pooled = [trunk.through(seen[name], "conv3", "conv4").mean(dim=(2, 3)) for name, trunk in self._named()]
        return verdict(self.fc(torch.cat(pooled, dim=1)))

    def _named(self) -> list[tuple[str, Xception]]:
        return [(name, trunk) for name, trunk in self.trunks.items() if isinstance(trunk, Xception)]

    def losses(self, out: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of the verdict."""
        return {"label": verdict_loss(out, batch)}
