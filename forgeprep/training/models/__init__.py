"""The forgery models, by name.

Built-in models stand in a plain dict, their records in :mod:`forgeprep.training.models.records`; a network is imported
when it is made. A third party adds one with an entry point in the
group ``forgeprep.forgery_models`` whose value is a :class:`forgeprep.training.models.record.ModelRecord`::

    [project.entry-points."forgeprep.forgery_models"]
    mine = "my_package:MINE"
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_type_hints

from pydantic import ValidationError, create_model

from forgeprep.errors import UsageError, unknown_name
from forgeprep.io.settings import first_problem
from forgeprep.registry import Registry
from forgeprep.training.models.record import ModelRecord

if TYPE_CHECKING:
    from forgeprep.training.models.base import ForgeryModel

FILLED = ("names", "channels", "vision")
"""Options that a training fills in from its samples."""

_HERE = "forgeprep.training.models"
_BUILT_IN = {
    "bmn": f"{_HERE}.records:BMN",
    "cael": f"{_HERE}.records:CAEL",
    "f3net": f"{_HERE}.records:F3NET",
    "fn3-cls": f"{_HERE}.records:FN3_CLS",
    "fn3-seg": f"{_HERE}.records:FN3_SEG",
    "foundation-vit": f"{_HERE}.records:FOUNDATION_VIT",
    "local-similarity": f"{_HERE}.records:LOCAL_SIMILARITY",
    "meso4": f"{_HERE}.records:MESO4",
    "mesoinception4-cls": f"{_HERE}.records:MESO_CLS",
    "mesoinception4-seg": f"{_HERE}.records:MESO_SEG",
    "resnet50": f"{_HERE}.records:RESNET50",
    "slowfast-forgerynet": f"{_HERE}.records:SLOWFAST_FORGERYNET",
    "slowfast-r50": f"{_HERE}.records:SLOWFAST_R50",
    "spsl": f"{_HERE}.records:SPSL",
    "srm": f"{_HERE}.records:SRM",
    "two-stream": f"{_HERE}.records:TWO_STREAM",
    "unet4x-both": f"{_HERE}.records:UNET4X_BOTH",
    "unet4x-cls": f"{_HERE}.records:UNET4X_CLS",
    "unet4x-seg": f"{_HERE}.records:UNET4X_SEG",
    "unet8x-both": f"{_HERE}.records:UNET8X_BOTH",
    "unet8x-cls": f"{_HERE}.records:UNET8X_CLS",
    "unet8x-seg": f"{_HERE}.records:UNET8X_SEG",
    "vgg3-cls": f"{_HERE}.records:VGG3_CLS",
    "vgg3-seg": f"{_HERE}.records:VGG3_SEG",
    "vgg5-cls": f"{_HERE}.records:VGG5_CLS",
    "vgg5-seg": f"{_HERE}.records:VGG5_SEG",
    "vgg8-cls": f"{_HERE}.records:VGG8_CLS",
    "vgg8-seg": f"{_HERE}.records:VGG8_SEG",
    "xception": f"{_HERE}.records:XCEPTION",
    "xception-cls": f"{_HERE}.records:XCEPTION_CLS",
    "xception-levels": f"{_HERE}.records:XCEPTION_LEVELS",
    "xception-seg": f"{_HERE}.records:XCEPTION_SEG",
}

REGISTRY: Registry[ModelRecord] = Registry(
    "model", "forgeprep.forgery_models", _BUILT_IN, f"{_HERE}.record:ModelRecord"
)


def model_names() -> list[str]:
    """The names that :func:`get_model` knows, forgeprep's own first; imports none of them."""
    return REGISTRY.names()


def get_model(name: str) -> ModelRecord:
    """The model of that name.

    Raises:
        UsageError: the name is unknown, stands for two models, or its package cannot be loaded.
    """
    return REGISTRY.get(name)


def package_of(name: str) -> str | None:
    """Package and version that bring a model, e.g. ``my-models 1.2``; None for forgeprep's own."""
    return REGISTRY.packages([name]).get(name)


def options_of(name: str) -> dict[str, tuple[Any, Any]]:
    """The options of a model: name -> type and default."""
    make = get_model(name).maker
    plain: Any = getattr(make, "func", make)
    hints = get_type_hints(vars(plain)["__init__"] if isinstance(plain, type) else plain, include_extras=True)
    return {name: (hints.get(name, Any), info.default) for name, info in inspect.signature(make).parameters.items()}


def build(name: str, options: Mapping[str, Any] | None = None) -> ForgeryModel:
    """A model with fresh weights; a plain ``torch.nn.Module`` of another package as :class:`Bare`.

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
        raise UsageError(f"--model-option {': '.join(first_problem(error))}") from None
    from torch import nn

    from forgeprep.training.models.base import Bare, ForgeryModel

    made: nn.Module = get_model(name).maker(**values)
    return made if isinstance(made, ForgeryModel) else Bare(made)


def without_weights(name: str) -> ForgeryModel:
    """The network without memory for its weights, to look at: made in a tenth of the time of :func:`build`."""
    import torch

    try:
        with torch.device("meta"):
            return build(name)
    except (NotImplementedError, RuntimeError):  # Another package's network may compute with its weights at once.
        return build(name)


def parameters_of(record: ModelRecord) -> int:
    """How many numbers a model trains with its default options; where its record does not tell, it is made to know."""
    if record.parameters is not None:
        return record.parameters
    return parameters(without_weights(record.name))


def parameters(model: ForgeryModel) -> int:
    """How many numbers are trained."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
