"""SPSL, "Spatial-Phase Shallow Learning" (Liu et al., CVPR 2021): picture and phase, seen by a shallow Xception.

Upsampling leaves more traces in the phase of a picture's spectrum than in its amplitude. So a fourth channel is
added, the picture that is left when all amplitudes are made equal. A shallow network looks at small regions, in which
such traces lie. Which of Xception's blocks stay is ours: all but the eight alike ones in the middle.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from forgeprep.training.models.base import Batch, ForgeryModel, verdict, verdict_loss
from forgeprep.training.models.frequency import gray
from forgeprep.training.models.xception import Xception


def phase_picture(image: Tensor) -> Tensor:
    """What the phase alone makes of the luminance of (B, 3, H, W): float32 (B, 1, H, W), of deviation 1."""
    spectrum = torch.fft.fft2(gray(image))
    unit = spectrum / spectrum.abs().clamp(min=1e-8)
    # Equal amplitudes of 1 give a mean square of 1 / (H W).
    side: float = (image.shape[2] * image.shape[3]) ** 0.5
    picture: Tensor = torch.fft.ifft2(unit).real * side
    return picture


class Spsl(ForgeryModel):
    """The whole model.

    Args:
        depth: ``shallow``, or ``full`` for the whole Xception, with which others compare.
        phase: whether the phase is seen; without it, this is the paper's ablation.
        classes: methods and real for the n-way verdict, or 0 for real and fake.

    Outputs: ``logit`` (B,); with ``classes``, ``classes`` (B, classes).
    """

    def __init__(
        self,
        depth: Literal["shallow", "full"] = "shallow",
        classes: Annotated[int, Field(ge=0)] = 0,
        *,
        phase: bool = True,
    ) -> None:
        super().__init__()
        self.phase = phase
        middle = 8 if depth == "full" else 0
        self.trunk = Xception(classes=0, channels=4 if phase else 3, middle=middle)
        self.fc = nn.Linear(2048, max(1, classes))

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Images of any size, 299 x 299 in the paper."""
        seen = 2 * image - 1
        if self.phase:
            # Transforms have no short numbers.
            with torch.autocast(image.device.type, enabled=False):
                seen = torch.cat([seen, phase_picture(image).to(seen.dtype)], dim=1)
        return verdict(self.fc(self.trunk.through(seen, "conv1", "conv4").mean(dim=(2, 3))))

    def losses(self, out: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of the verdict."""
        return {"label": verdict_loss(out, batch)}
