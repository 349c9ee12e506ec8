"""Batches of pictures as the detectors get them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from forgeprep.datasets.taxonomy import LEVELS


def batch_of(image: Tensor, label: list[float], present: list[bool]) -> dict[str, Any]:
    count, _, height, width = image.shape
    mask = torch.zeros(count, 1, height, width)
    mask[:, :, height // 4 : height // 2, width // 4 : width // 2] = 1
    return {
        "image": image,
        "label": torch.tensor(label),
        "method": torch.tensor(label).long(),
        "mask": mask * torch.tensor(label).view(-1, 1, 1, 1),
        "has_mask": torch.tensor(present),
        "noise": torch.randn(count, 1, height, width),
        "levels": {level: ["fake" if one else "real" for one in label] for level in LEVELS},
    }
