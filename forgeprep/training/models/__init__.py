"""The reference detectors, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_type_hints

from pydantic import ValidationError, create_model

from forgeprep.errors import UsageError, unknown_name
from forgeprep.training.models.detector import Detector

Maker = Callable[..., Detector]

XCEPTION_WEIGHTS = "ImageNet weights of timm's legacy_xception, e.g. from huggingface.co/timm/legacy_xception.tf_in1k"


@dataclass(frozen=True, slots=True)
class Model:
    """What is known of a detector before it is built.

    Attributes:
        name: its name on the command line.
        load: gives what makes it; keyword arguments are its options.
        size: side of its input in pixels.
        protocol: the recipe that trains it, see :mod:`forgeprep.training.recipes`.
        source: the paper.
        n_way: whether it can tell methods apart (``classes``).
        levels: whether it has a head for each level of the label tree; its option ``names`` holds their classes.
        takes: what it learns from: images, or the features of a clip.
        backbone: the submodule that ``--weights`` fill; None for a detector without pretrained weights.
        fixed: whether it takes images of that size alone.
    """

    name: str
    load: Callable[[], Maker]
    size: int
    protocol: str
    source: str
    n_way: bool = False
    levels: bool = False
    takes: Literal["image", "features"] = "image"
    backbone: str | None = None
    fixed: bool = False


def _pixel(net: str, task: str) -> Callable[[], Maker]:
    def load() -> Maker:
        from forgeprep.training.models import meso, pixel

        if (net, task) == ("mesoinception4", "cls"):
            return meso.MesoClassifier
        return partial(pixel.make, net, task) if task == "seg" else partial(pixel.make, net, task, "mask")

    return load


def _two_stream() -> Maker:
    from forgeprep.training.models.two_stream import TwoStream

    return TwoStream


def _local_similarity() -> Maker:
    from forgeprep.training.models.local_similarity import LocalSimilarity

    return LocalSimilarity


def _levels() -> Maker:
    from forgeprep.training.models.levels import Levels

    return Levels


def _bmn() -> Maker:
    from forgeprep.training.models.bmn import Bmn

    return Bmn


def _slowfast() -> Maker:
    from forgeprep.training.models.slowfast import SlowFast

    return SlowFast


def _cael() -> Maker:
    from forgeprep.training.models.cael import Cael

    return Cael


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
                fixed=(net, task) == ("mesoinception4", "cls"),
            )
            for net in _NETS
            for task in ("seg", "cls")
        ),
        Model("two-stream", _two_stream, 299, "two-stream", "Detect and Locate", True, backbone="trunk", fixed=True),
        Model(
            "local-similarity",
            _local_similarity,
            224,
            "local-similarity",
            "Learnable Local Similarity for Face Forgery Detection and Localization",
            backbone="encoder",
        ),
        Model("cael", _cael, 224, "cael", "GenFace, 2024; no recipe published", True, fixed=True),
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


def options_of(name: str) -> dict[str, tuple[Any, Any]]:
    """The options of a model: name -> type and default."""
    maker = get_model(name).load()
    plain: Any = getattr(maker, "func", maker)
    hints = get_type_hints(vars(plain)["__init__"] if isinstance(plain, type) else plain, include_extras=True)
    return {name: (hints[name], info.default) for name, info in inspect.signature(maker).parameters.items()}


def build(name: str, options: Mapping[str, Any] | None = None) -> Detector:
    """A detector with fresh weights.

    Raises:
        UsageError: an option that it has not, or a value that the option does not take.
    """
    known, given = options_of(name), dict(options or {})
    for option in given:
        if option not in known:
            raise unknown_name(f"option of {name}", option, known)
    checked = create_model("Options", **known)  # type: ignore[call-overload]
    try:
        values = checked.model_validate(given).model_dump(include=set(given))
    except ValidationError as error:
        problem = error.errors()[0]
        raise UsageError(
            f"--model-option {problem['loc'][0]}: {problem['msg'].lower()} (got {problem['input']!r})"
        ) from None
    return get_model(name).load()(**values)


def parameters(detector: Detector) -> int:
    """How many numbers are trained."""
    return sum(parameter.numel() for parameter in detector.parameters())
