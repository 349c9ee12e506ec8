"""The pixel-level family of "Zooming into Face Forensics" (2019): shallow nets that classify every pixel.

Each comes in two tasks. ``seg`` learns the mask; an image is fake where the mean of its map exceeds a threshold chosen
on val. ``cls`` learns the label alone; its 1 x 1 classifier comes before the pooling, which gives the same score as
after it, and a map for nothing: the activation map with swapped pooling.

``seg`` can learn magnitudes in the mask's place, as ForgeryNet's spatial localisation wants it: how much each pixel was
altered, 0 to 1, where the dataset tells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Field, NonNegativeFloat
from torch import Tensor, nn

from forgeprep.training.models.base import (
    Batch,
    ForgeryModel,
    Normalised,
    image_loss,
    pixel_loss,
    upsample,
    verdict,
    verdict_loss,
)
from forgeprep.training.models.meso import MesoClassifier, meso_map
from forgeprep.training.models.xception import Xception

Target = Literal["mask", "magnitude", "magnitude-or-mask"]
MAGNITUDE_TAU = 25 / 255
"""Where provided magnitudes are cut into masks, so from here on a pixel counts as forged."""


class PixelModel(ForgeryModel):
    """A net that maps (B, 3, H, W) to logits (B, 1, h, w), as ``seg`` or ``cls``.

    Args:
        net: the net.
        task: ``seg`` or ``cls``.
        target: of ``seg``, what the map shall be. ``magnitude`` learns from samples alone whose
            magnitude is known; ``magnitude-or-mask`` takes the others' masks for magnitudes of 0 and 1.

    Outputs: ``mask`` logits (B, 1, H, W); ``logit`` (B,), of ``seg`` that of the map's mean probability.
    """

    def __init__(self, net: nn.Module, task: str, target: Target = "mask") -> None:
        super().__init__()
        self.net, self.task, self.target = net, task, target
        if task == "seg":
            self.needs = {"mask": ("mask",), "magnitude": ("mask_magnitude",)}.get(target, ("mask", "mask_magnitude"))
            self.tau = 0.5 if target == "mask" else MAGNITUDE_TAU

    def learns_label(self) -> bool:
        """Only ``cls`` does."""
        return self.task == "cls"

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """See the class."""
        maps: Tensor = self.net(image)
        if self.task == "cls":
            return {"logit": maps.mean(dim=(1, 2, 3)), "map": maps}
        mask = upsample(maps, (image.shape[2], image.shape[3]))
        return {"mask": mask, "logit": torch.logit(torch.sigmoid(mask.float()).mean(dim=(1, 2, 3)), eps=1e-6)}

    def heat(self, out: dict[str, Tensor]) -> Tensor | None:
        """The map's probability; of ``cls``, activations scaled to 0 to 1 where the image is called fake, else 0."""
        if self.task == "seg":
            return torch.sigmoid(out["mask"])
        low = out["map"].amin(dim=(2, 3), keepdim=True)
        scaled = (out["map"] - low) / (out["map"] - low).amax(dim=(2, 3), keepdim=True).clamp(min=1e-12)
        return scaled * (out["logit"] > 0).view(-1, 1, 1, 1)

    def losses(self, out: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy per pixel (``seg``) or per image (``cls``).

        Magnitudes are soft targets of the same loss: it is least where the map is their mean, where the absolute
        difference, at the median, would call all pixels pristine that are so more often than not.
        """
        if self.task == "cls":
            return {"label": image_loss(out["logit"], batch["label"])}
        if self.target != "mask":
            soft, present = batch["magnitude"], batch["has_magnitude"]
            if self.target == "magnitude-or-mask":
                soft = torch.where(present.view(-1, 1, 1, 1), soft, batch["mask"])
                present = present | batch["has_mask"]
            return {"magnitude": pixel_loss(out["mask"], soft, present)}
        return {"mask": pixel_loss(out["mask"], batch["mask"], batch["has_mask"])}


class TwoHeads(ForgeryModel):
    """A U-Net with a map and a verdict, as ForgeryNet has one: the verdict sees the deepest features.

    Args:
        net: ``unet4x`` or ``unet8x``.
        classes: methods and real for the n-way verdict, or 0 for real and fake.
        mask_weight, label_weight: shares of the losses; ForgeryNet does not tell its own.

    Outputs: ``mask`` logits (B, 1, H, W); ``logit`` (B,); with ``classes``, ``classes`` (B, classes).
    """

    needs = ("mask",)

    def __init__(
        self,
        net: str,
        classes: Annotated[int, Field(ge=0)] = 0,
        *,
        mask_weight: NonNegativeFloat = 1.0,
        label_weight: NonNegativeFloat = 1.0,
    ) -> None:
        super().__init__()
        self.net = UNet({"unet4x": 2, "unet8x": 3}[net])
        self.verdict = nn.Linear(64 * 2**self.net.depth, max(1, classes))
        self.mask_weight, self.label_weight = mask_weight, label_weight

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """See the class."""
        maps, deepest = self.net.maps_and_deepest(image)
        return {"mask": maps} | verdict(self.verdict(deepest.mean(dim=(2, 3))))

    def losses(self, out: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy per pixel, over samples with a mask, and of the verdict."""
        return {
            "label": self.label_weight * verdict_loss(out, batch),
            "mask": self.mask_weight * pixel_loss(out["mask"], batch["mask"], batch["has_mask"]),
        }


def make(net: str, task: str, target: Target = "mask") -> PixelModel:
    """The model of that net; see :class:`PixelModel`."""
    return PixelModel(NETS[net](), task, target)


def make_meso_classifier(head: Literal["conv", "fc"] = "conv") -> ForgeryModel:
    """MesoInception-4 that learns the label.

    Args:
        head: ``conv``, the pixel-level paper's 1 x 1 classifier after the last normalisation, pooled: it has a map and
            takes any size. ``fc``, the original's two fully connected layers for 256 x 256.
    """
    return MesoClassifier() if head == "fc" else make("mesoinception4", "cls")


def fn3() -> nn.Module:
    """FN3, the paper's "Conv3": two strided 7 x 7 convolutions; stride 4, sees 27 pixels."""
    return _scaled(
        nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
        nn.Conv2d(64, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.Conv2d(64, 1, 3, 1, 1),
    )  # fmt: skip


def vgg(*widths: int | str) -> nn.Module:
    """Plain 3 x 3 convolutions with ReLU, ``"M"`` for a pool, and the 1 x 1 classifier."""
    layers: list[nn.Module] = []
    before = 3
    for width in widths:
        if isinstance(width, str):
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
            before = width
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            # Without batch normalisation, torch's own start lets the signal vanish layer by layer (He et al., 2015).
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return _scaled(*layers, nn.Conv2d(before, 1, 1))


class UNet(nn.Module):
    """U-Net with ``depth`` downsamplings, 64 channels at the top; a picture is padded to a multiple of its stride."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        widths = [64 * 2**level for level in range(depth + 1)]
        self.depth = depth
        self.down = nn.ModuleList(_double(a, b) for a, b in zip([3, *widths], widths, strict=False))
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, 2) for w in widths[-2::-1])
        self.join = nn.ModuleList(_double(2 * w, w) for w in widths[-2::-1])
        self.classifier = nn.Conv2d(64, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, 1, H, W)."""
        return self.maps_and_deepest(x)[0]

    def maps_and_deepest(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The maps (B, 1, H, W), and the features (B, 64 * 2^depth, h, w) after the last downsampling."""
        height, width = x.shape[2:]
        stride = 2**self.depth
        x = nn.functional.pad(2 * x - 1, (0, -width % stride, 0, -height % stride), mode="replicate")
        skips: list[Tensor] = []
        for number, layers in enumerate(self.down):
            x = layers(x if number == 0 else nn.functional.max_pool2d(x, 2))
            skips.append(x)
        for up, join, skip in zip(self.up, self.join, skips[-2::-1], strict=True):
            x = join(torch.cat([skip, up(x)], dim=1))
        maps: Tensor = self.classifier(x)
        return maps[:, :, :height, :width], skips[-1]


def xception_map() -> nn.Module:
    """Xception with its last layer as a 1 x 1 convolution: stride 32."""
    return nn.Sequential(Xception(classes=0), nn.Conv2d(2048, 1, 1))


def _double(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
    )  # fmt: skip


def _scaled(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(Normalised(), *layers)


NETS: dict[str, Callable[[], nn.Module]] = {
    "fn3": fn3,
    "vgg3": lambda: vgg(64, 64),
    "vgg5": lambda: vgg(64, 64, "M", 128, 128),
    "vgg8": lambda: vgg(64, 64, "M", 128, 128, "M", 256, 256, 256),
    "unet4x": lambda: UNet(2),
    "unet8x": lambda: UNet(3),
    "mesoinception4": meso_map,
    "xception": xception_map,
}
