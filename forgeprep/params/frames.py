"""Parameters of the stage ``frames``."""

from __future__ import annotations

import re
from typing import Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from forgeprep.params import StageParams
from forgeprep.schemas.splits import SPLIT_NAMES, SPLITS, Split, split_name

EVERY = "*"
"""Stands for whatever has no rule of its own."""
_RULE = re.compile(r"all|[1-9]\d*|every:[1-9]\d*")
_KINDS = {"real": "real", "reals": "real", "original": "real", "originals": "real", "fake": "fake", "fakes": "fake"}
_SPLITS = {*SPLITS, *SPLIT_NAMES}


class FramesParams(StageParams):
    """Parameters of the stage ``frames``."""

    frames: str | dict[str, str] = Field(
        default="32",
        description="frames a clip: a number (evenly spread over the clip), 'all' or 'every:N'; or one for reals, "
        "fakes and methods each: real=270,fake=100 or Deepfakes=50,real=270,*=100, where * is whatever has none; in "
        "the configuration file also one for each split: {train: 270, val: 100, test: 100}",
    )
    sequence_length: int | None = Field(
        default=None,
        ge=2,
        le=1024,
        description="frames a sample, for models of videos; --frames then counts such samples, which do not overlap; "
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
        if isinstance(value, dict) and (not value or any(str(name).lower() in _SPLITS for name in value)):
            value = {split_name(str(name)): rule for name, rule in value.items()}
            if set(value) != set(SPLITS):
                raise ValueError(f"frames for each split needs exactly {', '.join(SPLITS)}; got {', '.join(value)}")
            return {split: _rules(rule) for split, rule in value.items()}
        return _rules(value)

    @field_validator("sequence_stride", "sequence_short")
    @classmethod
    def _check_clip(cls, value: Any, info: ValidationInfo) -> Any:
        if info.data.get("sequence_length", 2) is None and value != cls.model_fields[str(info.field_name)].default:
            raise ValueError("needs --sequence-length")
        return value

    @model_validator(mode="after")
    def _check_mixture(self) -> Self:
        for text in {self.frames} if isinstance(self.frames, str) else set(self.frames.values()):
            rules = set(_parted(text).values())
            steps = {rule for rule in rules if rule.startswith("every:")}
            if steps and any(rule.isdigit() for rule in rules):
                raise ValueError(f"frames: '{text}' mixes numbers and every:N, whose frames do not meet; use one kind")
            if steps and len(rules) > 1 and self.sequence_length is not None:
                raise ValueError(f"frames: '{text}' has samples of several frames that overlap; use numbers, or all")
        return self

    def rules(self, split: Split) -> dict[str, str]:
        """What is asked for in a split: ``real``, ``fake``, a method in small letters or :data:`EVERY` -> its rule."""
        return _parted(self.frames if isinstance(self.frames, str) else self.frames[split])

    @property
    def names(self) -> tuple[str, ...]:
        """The methods that have rules of their own, as they were written."""
        texts = [self.frames] if isinstance(self.frames, str) else list(self.frames.values())
        parts = [part.rpartition("=")[0] for text in texts if "=" in text for part in text.split(",")]
        return tuple(dict.fromkeys(name for name in parts if name not in ("real", "fake", EVERY)))

    @property
    def span(self) -> int:
        """Frames of the video from the first to the last one of a sample."""
        return 1 + ((self.sequence_length or 1) - 1) * self.sequence_stride


def _rules(value: Any) -> str:
    """A rule, or ``NAME=RULE,…`` in one order and spelling, so that what means the same is the same."""
    if not isinstance(value, dict) and "=" not in str(value):
        return _rule(value)
    parts = value.items() if isinstance(value, dict) else (_name_and_rule(part) for part in str(value).split(","))
    found: dict[str, str] = {}
    for name, rule in parts:
        text = str(name).strip()
        text = _KINDS.get(text.lower(), text)
        if text.lower() in map(str.lower, found):
            raise ValueError(f"names '{text}' twice")
        if not text or any(letter in text for letter in ",="):
            raise ValueError(f"'{text}' is no name of a method")
        found[text] = _rule(str(rule).strip())
    order = {"real": "0", "fake": "1", EVERY: "3"}
    return ",".join(f"{name}={found[name]}" for name in sorted(found, key=lambda n: (order.get(n, "2"), n.lower())))


def _name_and_rule(part: str) -> tuple[str, str]:
    name, equals, rule = part.partition("=")
    if not equals:
        raise ValueError(f"'{part.strip()}' has no number; write NAME=N, such as real=270,fake=100")
    return name, rule


def _parted(text: str) -> dict[str, str]:
    if "=" not in text:
        return {EVERY: text}
    return {name.lower(): rule for name, _, rule in (part.rpartition("=") for part in text.split(","))}


def _rule(value: Any) -> str:
    text = str(value)
    if not _RULE.fullmatch(text):
        raise ValueError("must be a number from 1, 'all' or 'every:N', or one for each: real=270,fake=100")
    return text


PARAMS = FramesParams
