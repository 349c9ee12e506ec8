"""The parameters of the stages: those of the built-in ones, a module each, named like its stage, and the list of all.

They lie apart from the stages, whose arithmetic takes a second to import: command lines and configuration files are
read without it. Nothing but pydantic is imported here; what a check needs is imported in it.
"""

from __future__ import annotations

import functools
import importlib
from typing import Any

from pydantic import BaseModel, ConfigDict

from forgeprep.registry import Registry


class StageParams(BaseModel):
    """The parameters of a stage: validated, immutable, JSON-ready.

    Each field is a flag of ``forgeprep run`` too, with its description, default and limits. A description that ends in
    ``; default: …`` says in words what the default is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")


class NoParams(StageParams):
    """A stage without parameters."""


STAGES: Registry[Any] = Registry(
    kind="stage",
    group="forgeprep.stages",
    built_in={
        "frames": "forgeprep.stages.frames:STAGE",
        "crop": "forgeprep.stages.crop:STAGE",
        "mask": "forgeprep.stages.mask:STAGE",
        "selfblend": "forgeprep.stages.selfblend:STAGE",
        "perturb": "forgeprep.stages.perturb:STAGE",
        "noise": "forgeprep.stages.noise:STAGE",
        "similarity": "forgeprep.stages.similarity:STAGE",
    },
    type="forgeprep.stages.base:Stage",
)
"""All stages (:class:`forgeprep.stages.base.Stage`), in the order in which they run; naming them imports nothing."""
_ADDITIVE = ("noise", "similarity")


def stage_names() -> list[str]:
    """The names of all stages; imports none of them."""
    return STAGES.names()


@functools.cache
def all_params() -> dict[str, type[StageParams]]:
    """Stage -> the model of its parameters; of the built-in stages nothing else is imported.

    A stage of another package that cannot be loaded has none: who names it is told why.
    """
    models: dict[str, type[StageParams]] = {
        name: importlib.import_module(f"{__name__}.{name}").PARAMS for name in STAGES.built_in
    }
    return models | {name: stage.params for name, stage in _others().items()}


def additive_params() -> dict[str, type[StageParams]]:
    """The same of those stages that can be added to a finished run."""
    return {
        name: all_params()[name]
        for name in (*_ADDITIVE, *(name for name, stage in _others().items() if stage.additive))
    }


def param_owners() -> dict[str, str]:
    """Parameter -> the stage that it belongs to where its name stands alone, as ``--size`` does.

    Of two stages with a parameter of one name it is the first; the other's is ``--set stage.name=value``.
    """
    owners: dict[str, str] = {}
    for stage, model in all_params().items():
        for name in model.model_fields:
            owners.setdefault(name, stage)
    return owners


def _others() -> dict[str, Any]:
    """The stages of other packages that can be loaded."""
    broken = STAGES.broken()
    return {name: STAGES.get(name) for name in STAGES.names() if name not in STAGES.built_in and name not in broken}
