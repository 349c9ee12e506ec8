"""Parameters of the stage ``frames``."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from forgeprep.params import StageParams
from forgeprep.schemas.splits import SPLITS, split_name

_RULE = re.compile(r"all|[1-9]\d*|every:[1-9]\d*")


class FramesParams(StageParams):
    """Parameters of the stage ``frames``."""

    frames: str | dict[str, str] = Field(
        default="32",
        description="frames a clip: a number (evenly spread over the clip), 'all' or 'every:N'; in the configuration "
        "file also one for each split: {train: 270, val: 100, test: 100}",
    )
    sequence_length: int | None = Field(
        default=None,
        ge=2,
        le=1024,
        description="frames a sample, for video detectors; --frames then counts such samples, which do not overlap; "
        "default: one frame",
    )
    sequence_stride: int = Field(
        default=1, ge=1, le=1024, description="frames of the video from one of a sequence to its next"
    )
    sequence_short: Literal["drop", "pad"] = Field(
        default="drop", description="clips shorter than a sample: drop them, or pad with their last frame"
    )

    @field_validator("frames", mode="before")
    @classmethod
    def _check(cls, value: Any) -> Any:
        if isinstance(value, dict):
            value = {split_name(str(name)): rule for name, rule in value.items()}
            if set(value) != set(SPLITS):
                raise ValueError(f"frames for each split needs exactly {', '.join(SPLITS)}; got {', '.join(value)}")
            return {split: _rule(rule) for split, rule in value.items()}
        return _rule(value)

    @field_validator("sequence_stride", "sequence_short")
    @classmethod
    def _check_clip(cls, value: Any, info: ValidationInfo) -> Any:
        if info.data.get("sequence_length", 2) is None and value != cls.model_fields[str(info.field_name)].default:
            raise ValueError("needs --sequence-length")
        return value

    @property
    def span(self) -> int:
        """Frames of the video from the first to the last one of a sample."""
        return 1 + ((self.sequence_length or 1) - 1) * self.sequence_stride


def _rule(value: Any) -> str:
    text = str(value)
    if not _RULE.fullmatch(text):
        raise ValueError("must be a number from 1, 'all' or 'every:N'")
    return text


PARAMS = FramesParams
