"""Parameters of the stage ``selfblend``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from forgeprep.params import StageParams
from forgeprep.params.perturb import split_names


class SelfblendParams(StageParams):
    """Parameters of the stage ``selfblend``."""

    selfblend_per: Literal["frame", "clip"] = Field(
        default="frame",
        description="what is drawn again: each frame, or each clip and face, as suits sequences",
    )
    selfblend_seed: int = Field(default=0, ge=0, description="another seed blends differently")
    selfblend_splits: str = Field(
        default="train,val,test", description="splits whose reals are blended; the others get none"
    )

    @field_validator("selfblend_splits", mode="before")
    @classmethod
    def _check_splits(cls, value: Any) -> str:
        return split_names(value, "--selfblend-splits")


PARAMS = SelfblendParams
