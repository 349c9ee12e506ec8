"""Which frames are taken: as many as asked for, evenly spread, all, or every n-th."""

from __future__ import annotations

import re
from typing import Any

from pydantic import Field, field_validator

from forgeprep.schemas.clips import SPLITS, Split
from forgeprep.stages.base import Stage, StageParams

_RULE = re.compile(r"all|[1-9]\d*|every:[1-9]\d*")


class FramesParams(StageParams):
    """Parameters of the stage ``frames``."""

    frames: str | dict[str, str] = Field(
        default="32",
        description="frames a clip: a number (evenly spread over the clip), 'all' or 'every:N'; in the configuration "
        "file also one for each split: {train: 270, val: 100, test: 100}",
    )

    @field_validator("frames", mode="before")
    @classmethod
    def _check(cls, value: Any) -> Any:
        if isinstance(value, dict):
            if set(value) != set(SPLITS):
                raise ValueError(f"frames for each split needs exactly {', '.join(SPLITS)}; got {', '.join(value)}")
            return {split: _rule(rule) for split, rule in value.items()}
        return _rule(value)


def _rule(value: Any) -> str:
    text = str(value)
    if not _RULE.fullmatch(text):
        raise ValueError(f"frames must be a number from 1, 'all' or 'every:N'; got {value!r}")
    return text


def select(frame_count: int, split: Split, params: FramesParams) -> tuple[int, ...]:
    """Frame indices, ascending, without repeats; fewer than asked for only where the clip is shorter.

    >>> select(10, "train", FramesParams(frames="4"))
    (0, 3, 6, 9)
    """
    rule = _rule_of(split, params)
    if rule == "all":
        return tuple(range(frame_count))
    if rule.startswith("every:"):
        return tuple(range(0, frame_count, int(rule.removeprefix("every:"))))
    wanted = min(int(rule), frame_count)
    if wanted <= 1:
        return (frame_count // 2,) if wanted else ()
    # Integer arithmetic: the same on every machine, first and last frame included.
    return tuple(i * (frame_count - 1) // (wanted - 1) for i in range(wanted))


def tops_up(split: Split, params: FramesParams) -> bool:
    """Whether other frames may stand in for wanted ones: where only their number was asked for."""
    return _rule_of(split, params).isdigit()


def _rule_of(split: Split, params: FramesParams) -> str:
    return params.frames if isinstance(params.frames, str) else params.frames[split]


STAGE = Stage(
    name="frames",
    summary="choose the frames of each clip; a fake gets the frames of its original",
    needs=(),
    adds=(),
    params=FramesParams,
    select=select,
)
