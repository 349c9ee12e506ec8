"""What is known of a forgery model before it is built: its network, its recipe, its weights, its published figures."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import resources
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

import yaml

from forgeprep.errors import UsageError
from forgeprep.registry import load

if TYPE_CHECKING:
    from torch import nn

Takes = Literal["image", "sequence", "features"]


@dataclass(frozen=True, slots=True)
class Weights:
    """Where pretrained weights go and come from.

    Attributes:
        module: the submodule that ``--weights`` fills, e.g. ``trunk``; several with commas, empty for the whole model.
        source: which file to fetch; no training does.
        layouts: a name in :data:`forgeprep.training.pretrained.LAYOUTS`; ``same`` where the file's names are the
            submodule's own.
    """

    module: str
    source: str
    layouts: str = "same"

    @property
    def modules(self) -> tuple[str, ...]:
        """The submodules."""
        return tuple(self.module.split(","))


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """A forgery model that can be trained.

    Recipe and figures are values, or ``"package:path.yaml"``, a file of a package.

    Attributes:
        name: its name on the command line.
        make: makes the network, a ``ForgeryModel`` or any ``torch.nn.Module`` that gives logits; its keyword arguments
            are the options, whose types are checked. As ``module:attribute`` it is imported when it is needed.
        size: side of its input in pixels; 0 for one that takes no pictures.
        recipe: settings of :class:`forgeprep.training.recipe.Recipe` that train it; what is left out is as usual there.
        source: the paper.
        takes: single images, sequences of frames, or the features of a whole clip.
        weights: its pretrained weights; None where it has none.
        published: what its paper reports, in per cent. Title -> column -> figure makes a table beside our own; a name
            of a benchmark protocol -> trained on -> tested on -> AUC stands beside that protocol's matrix. With a
            column ``data``, ``{dataset: ffpp, compression: c23}`` or several of these, only where the samples are of
            that dataset and compression. In a file, all that is below the model's name.
        n_way: whether it can tell methods apart (its option ``classes``).
        levels: whether it has a head for each level of the label tree; its option ``names`` holds their classes.
        fixed: whether it takes images of that size alone.
        arguments: what ``make`` is given before the options.
        parameters: how many numbers are trained with the default options; None where the network has to be made to
            know.
    """

    name: str
    make: Callable[..., nn.Module] | str
    size: int
    recipe: Mapping[str, Any] | str
    source: str
    takes: Takes = "image"
    weights: Weights | None = None
    published: Mapping[str, Any] | str = field(default_factory=dict)
    n_way: bool = False
    levels: bool = False
    fixed: bool = False
    arguments: tuple[Any, ...] = ()
    parameters: int | None = None

    @property
    def maker(self) -> Callable[..., nn.Module]:
        """What makes the network from options; imports it."""
        make = load(self.make) if isinstance(self.make, str) else self.make
        return partial(make, *self.arguments) if self.arguments else make

    @property
    def recipe_name(self) -> str:
        """What the recipe is called: its file, or the model itself."""
        return PurePosixPath(self.recipe.partition(":")[2]).stem if isinstance(self.recipe, str) else self.name

    def recipe_values(self) -> dict[str, Any]:
        """The settings of its recipe; raises UsageError where the file is not there or no YAML mapping."""
        return _mapping(self.recipe, f"the recipe of {self.name}")

    def published_figures(self) -> dict[str, Any]:
        """What its paper reports; empty where that is nothing. Raises UsageError as :meth:`recipe_values`."""
        found = _mapping(self.published, f"the published figures of {self.name}")
        return _mapping(found.get(self.name) or {}, self.name) if isinstance(self.published, str) else found


def _mapping(given: Mapping[str, Any] | str, what: str) -> dict[str, Any]:
    found: Any = given
    if isinstance(given, str):
        try:
            found = copy.deepcopy(_parsed(given))
        except (OSError, ImportError, ValueError, yaml.YAMLError) as error:
            raise UsageError(f"{given}: {what} cannot be read ({' '.join(str(error).split())[:160]})") from None
    if not isinstance(found, Mapping):
        raise UsageError(f"{given}: {what} is no mapping of names to values")
    return dict(found)


@functools.cache
def _parsed(place: str) -> Any:
    """What a package's YAML file holds; read once, for PyYAML takes a fifth of a second for all published figures."""
    package, _, path = place.partition(":")
    return yaml.safe_load(resources.files(package).joinpath(path).read_text(encoding="utf-8"))
