"""The parameters of the built-in stages, a module each, named like its stage.

They lie apart from the stages, whose arithmetic takes a second to import: command lines and configuration files are
read without it. Nothing but pydantic is imported here; what a check needs is imported in it.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class StageParams(BaseModel):
    """The parameters of a stage: validated, immutable, JSON-ready.

    Each field is a flag of ``forgeprep run`` too, with its description, default and limits. A description that ends in
    ``; default: …`` says in words what the default is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")


class NoParams(StageParams):
    """A stage without parameters."""
