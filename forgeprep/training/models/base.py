"""What every forgery model has in common: what it takes, what it gives, how its losses see what is absent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from forgeprep.errors import UsageError

Batch = dict[str, Any]
"""A batch: ``image`` float (B, 3, H, W) 0 to 1, ``label`` float (B,) 1 fake, ``method`` long (B,) 0 real, ``levels``,
the class of each sample (None where unknown) at each level of the label tree, and what the model needs: ``mask``
float (B, 1, H, W) 0 or 1 with ``has_mask`` bool (B,), ``magnitude`` float (B, 1, H, W) 0 to 1 with ``has_magnitude``,
``noise`` float (B, 1, H, W).
"""


class ForgeryModel(nn.Module):
    """A network that tells forged faces from real ones.

    ``forward`` takes images and returns the named outputs of the network. ``score``, ``heat`` and ``losses`` say what
    these mean.
    """

    needs: tuple[str, ...] = ()
    """What it is trained on besides the image and the label: of ``mask``, ``mask_magnitude``, ``noise``."""
    sequence_frames: int = 0
    """T, where it takes sequences of frames in place of images, float (B, 3, T, H, W); 0 for a model of images."""
    sequence_step: int = 1
    """Samples of a track from one frame of a sequence to the next."""
    only_size: int = 0
    """Side of the square images that it takes alone, where an option fixes it; 0 for a model that takes any size."""
    levelled: bool = True
    """Whether these options give it heads for the levels of the label tree, where its record says that it can."""
    tau: float = 0.5
    """A pixel is called forged where the map is at least this."""

    def needs_columns(self) -> tuple[str, ...]:
        """The columns that the shards have to hold; noise that they lack is computed."""
        return tuple(name for name in self.needs if name != "noise")

    def noted(self) -> dict[str, Any]:
        """Options that a training notes besides those given, so that its model can be made again from them alone."""
        return {}

    def begin(self) -> None:
        """Called once, before a training's first step: take what an option names, e.g. weights."""

    def learns_label(self) -> bool:
        """Whether it has a verdict of its own; else the verdict follows from the map."""
        return True

    def score(self, out: dict[str, Tensor]) -> Tensor:
        """The probability that the image is a fake, float (B,)."""
        return torch.sigmoid(out["logit"])

    def whole_score(self, out: dict[str, Tensor], size: tuple[int, int]) -> Tensor:
        """The score of images of that size that were padded below and on the right; the padding does not count."""
        heat = None if self.learns_label() else self.heat(out)
        return self.score(out) if heat is None else heat[:, :, : size[0], : size[1]].float().mean(dim=(1, 2, 3))

    def heat(self, out: dict[str, Tensor]) -> Tensor | None:
        """The probability of each pixel to be forged, float (B, 1, H, W); None where it localises nothing."""
        return torch.sigmoid(out["mask"]) if "mask" in out else None

    def classes(self, out: dict[str, Tensor]) -> dict[str, list[str]]:
        """The class found for each image at each level of the label tree that the model tells apart."""
        return {}

    def describe(self, image: Tensor, size: tuple[int, int]) -> Tensor:
        """Features of images, float (B, C): what the last layer of the verdict takes in, averaged, and the score.

        What the images have beyond ``size`` is padding.

        The last layer is the last fully connected one that ran, or where there is none the last convolution.
        """
        seen: dict[bool, Tensor] = {}

        def keep(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
            seen[isinstance(layer, nn.Linear)] = inputs[0]

        layers = [layer for layer in self.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
        hooks = [layer.register_forward_pre_hook(keep) for layer in layers]
        try:
            out = self(image)
        finally:
            for hook in hooks:
                hook.remove()
        last = (seen[True] if True in seen else seen[False]).float()
        if last.ndim > 2:
            last = last.flatten(2).mean(dim=2) if last.ndim == 4 else last.mean(dim=1)
        return torch.cat([last, self.whole_score(out, size).float()[:, None]], dim=1)

    def losses(self, out: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """The terms of the loss, weighted; their sum is minimised."""
        raise NotImplementedError


class Bare(ForgeryModel):
    """A network of someone's own, which knows nothing of forgeprep.

    Args:
        net: images (B, 3, H, W), 0 to 1, to logits: (B,) or (B, 1) of a fake, or (B, classes), real first.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """The network's logits, as a verdict."""
        found = self.net(image)
        if isinstance(found, Tensor) and found.ndim == 1:
            found = found[:, None]
        if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != len(image):
            told = tuple(found.shape) if isinstance(found, Tensor) else f"a {type(found).__name__}"
            raise UsageError(
                f"{type(self.net).__name__}: gives {told} of {len(image)} images; a plain torch module has to give "
                "logits (B,), (B, 1) or (B, classes), another kind of output needs a ForgeryModel"
            )
        return verdict(found)

    def losses(self, out: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of the verdict."""
        return {"label": verdict_loss(out, batch)}


SCALES = ("input_mean", "input_std")


class Normalised(nn.Module):
    """The input (B, 3, H, W), less a mean and over a deviation for each channel; a training's state keeps both."""

    def __init__(self, mean: float | Sequence[float] = 0.5, std: float | Sequence[float] = 0.5) -> None:
        super().__init__()
        self.input_mean: Tensor
        self.input_std: Tensor
        for name, value in zip(SCALES, (mean, std), strict=True):
            each = [value] * 3 if isinstance(value, float) else value
            self.register_buffer(name, torch.tensor(each).view(3, 1, 1))

    def set(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Take those of pretrained weights, a number for each of red, green and blue."""
        self.input_mean.copy_(torch.tensor(mean).view(3, 1, 1))
        self.input_std.copy_(torch.tensor(std).view(3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return (x - self.input_mean) / self.input_std


def image_loss(logit: Tensor, label: Tensor) -> Tensor:
    """Binary cross-entropy of logits (B,) and labels (B,)."""
    return functional.binary_cross_entropy_with_logits(logit.float(), label.float())


def verdict(logits: Tensor) -> dict[str, Tensor]:
    """The outputs of a verdict's last layer: of (B, 1) the ``logit`` (B,); of (B, classes) ``classes`` too, real first.

    Fake is whatever is not class 0.
    """
    if logits.shape[1] == 1:
        return {"logit": logits.squeeze(1)}
    return {"logit": torch.logsumexp(logits[:, 1:], dim=1) - logits[:, 0], "classes": logits}


def verdict_loss(out: dict[str, Tensor], batch: Batch) -> Tensor:
    """Cross-entropy of what :func:`verdict` gives, with the classes where there are more than two."""
    if "classes" in out and out["classes"].shape[1] > 2:
        return functional.cross_entropy(out["classes"].float(), batch["method"])
    return image_loss(out["logit"], batch["label"])


def pixel_loss(logits: Tensor, target: Tensor, present: Tensor) -> Tensor:
    """Binary cross-entropy of maps (B, C, H, W), over the samples whose mask is ``present`` (B,); 0 if none is."""
    each = functional.binary_cross_entropy_with_logits(logits.float(), target.float(), reduction="none").mean(
        dim=(1, 2, 3)
    )
    # An absent mask is unknown, not empty.
    return (each * present).sum() / present.sum().clamp(min=1)


def soft_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """A mask (B, 1, H, W) at another size, as the share of forged pixels, 0 to 1."""
    return functional.interpolate(mask.float(), size=size, mode="area")


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (B, C, h, w) at another size, bilinear."""
    return functional.interpolate(maps, size=size, mode="bilinear", align_corners=False)
