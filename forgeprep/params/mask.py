"""Parameters of the stage ``mask``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from forgeprep.params import StageParams


class MaskParams(StageParams):
    """Parameters of the stage ``mask``."""

    mask_source: Literal["difference", "provided", "available", "literal"] = Field(
        default="difference",
        description="where masks come from: difference (fake against original), provided (the dataset's own "
        "masks), available (provided where there is one, else difference), or literal (the plain difference of one "
        "frame above a level, to compare with papers)",
    )
    literal_threshold: int = Field(
        default=0, ge=0, le=254, description="level of 255 that a literal mask's difference exceeds in R, G or B"
    )
    missing_original: Literal["drop", "absent"] = Field(
        default="drop",
        description="fakes whose original is not on disk: drop them, or keep them with the provided or an absent mask",
    )

    @field_validator("literal_threshold")
    @classmethod
    def _goes_with_literal(cls, value: int, info: ValidationInfo) -> int:
        source = info.data.get("mask_source")
        if value and source not in ("literal", None):
            raise ValueError(f"masks are by --mask-source {source}; give literal, or no threshold")
        return value


PARAMS = MaskParams
