"""The reference detectors, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from forgeprep.errors import UsageError, unknown_name
from forgeprep.training.models.detector import Detector

XCEPTION_WEIGHTS = "ImageNet weights of timm's legacy_xception, e.g. from huggingface.co/timm/legacy_xception.tf_in1k"


@dataclass(frozen=True, slots=True)
class Model:
    """What is known of a detector before it is built.

    Attributes:
        name: its name on the command line.
        build: makes it; keyword arguments are its options.
        size: side of its input in pixels.
        protocol: the recipe that trains it, see :mod:`forgeprep.training.recipes`.
        source: the paper.
        n_way: whether it can tell methods apart (``classes``).
        levels: whether it has a head for each level of the label tree; its option ``names`` holds their classes.
        takes: what it learns from: images, or the features of a clip.
        backbone: the submodule that ``--weights`` fill; None for a detector without pretrained weights.
    """

    name: str
    build: Callable[..., Detector]
    size: int
    protocol: str
    source: str
    n_way: bool = False
    levels: bool = False
    takes: Literal["image", "features"] = "image"
    backbone: str | None = None


def _pixel(net: str, task: str) -> Callable[..., Detector]:
    def build(target: str = "mask") -> Detector:
        from forgeprep.training.models import meso, pixel

        if task == "cls" and target != "mask":
            raise TypeError(f"{net}-cls learns no map; give target to {net}-seg")
        if (net, task) == ("mesoinception4", "cls"):
            return meso.MesoClassifier()
        makers: dict[str, Callable[[], Any]] = {
            "fn3": pixel.fn3,
            "vgg3": lambda: pixel.vgg(64, 64),
            "vgg5": lambda: pixel.vgg(64, 64, "M", 128, 128),
            "vgg8": lambda: pixel.vgg(64, 64, "M", 128, 128, "M", 256, 256, 256),
            "unet4x": lambda: pixel.UNet(2),
            "unet8x": lambda: pixel.UNet(3),
            "mesoinception4": meso.meso_map,
            "xception": pixel.xception_map,
        }
        return pixel.PixelDetector(makers[net](), task, target)

    return build


def _two_stream(**options: Any) -> Detector:
    from forgeprep.training.models.two_stream import TwoStream

    return TwoStream(**options)


def _local_similarity(**options: Any) -> Detector:
    from forgeprep.training.models.local_similarity import LocalSimilarity

    return LocalSimilarity(**options)


def _levels(**options: Any) -> Detector:
    from forgeprep.training.models.levels import Levels

    return Levels(**options)


def _bmn(**options: Any) -> Detector:
    from forgeprep.training.models.bmn import Bmn

    return Bmn(**options)


def _slowfast(**options: Any) -> Detector:
    from forgeprep.training.models.slowfast import SlowFast

    try:
        return SlowFast(**options)
    except ValueError as error:
        raise UsageError(f"model slowfast-r50: {error}") from None


def _cael(**options: Any) -> Detector:
    from forgeprep.training.models.cael import Cael

    return Cael(**options)


_Z = "Zooming into Face Forensics: A Pixel-level Analysis, 2019"
_NETS = ("fn3", "vgg3", "vgg5", "vgg8", "unet4x", "unet8x", "mesoinception4", "xception")

MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        *(
            Model(
                f"{net}-{task}",
                _pixel(net, task),
                256,
                "pixel-level",
                _Z,
                backbone="net.0" if net == "xception" else None,
            )
            for net in _NETS
            for task in ("seg", "cls")
        ),
        Model("two-stream", _two_stream, 299, "two-stream", "Detect and Locate", True, backbone="trunk"),
        Model(
            "local-similarity",
            _local_similarity,
            224,
            "local-similarity",
            "Learnable Local Similarity for Face Forgery Detection and Localization",
            backbone="encoder",
        ),
        Model("cael", _cael, 224, "cael", "GenFace, 2024; no recipe published", True),
        Model(
            "xception-levels",
            _levels,
            299,
            "forgerynet",
            "ForgeryNet, 2021 (its image baseline), with the levels of GenFace, 2024; the recipe is ours",
            levels=True,
            backbone="trunk",
        ),
        Model("slowfast-r50", _slowfast, 224, "slowfast", "SlowFast Networks, 2019; the recipe is ours", True),
        Model("bmn", _bmn, 0, "bmn", "BMN: Boundary-Matching Network, 2019, as ForgeryNet uses it", takes="features"),
    )
}


def get_model(name: str) -> Model:
    """The model of that name; raises UsageError with the nearest one if there is none."""
    if name not in MODELS:
        raise unknown_name("model", name, MODELS)
    return MODELS[name]


def build(name: str, options: dict[str, Any] | None = None) -> Detector:
    """A detector with fresh weights; raises UsageError for an option that it has not."""
    try:
        return get_model(name).build(**(options or {}))
    except (TypeError, KeyError) as error:
        raise UsageError(f"model {name}: options {options}: {error}") from None


def parameters(detector: Detector) -> int:
    """How many numbers are trained."""
    return sum(parameter.numel() for parameter in detector.parameters())
