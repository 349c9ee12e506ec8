"""The signs of a sample that its mask may be wrong, as its own columns tell them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

COLUMNS = ("label", "mask_source", "mask_confidence", "mask_stray", "mask_jump")
"""The columns that :func:`signs_of` uses; earlier versions lack the last two."""

LOW = 0.5
"""A confidence under this is low: the mask shares less than half with the truth."""
STRAY = 0.1
JUMP = 0.15
"""More than this is high. Of masks of real heads that were forged with known truth, 38 % of those that stray further
and 44 % of those that jump further have an IoU under .5; of all masks 10 %. No mask of the demo is beyond either."""

Sign = Literal["confidence", "stray", "jump"]
SIGNS: tuple[Sign, ...] = ("confidence", "jump", "stray")
"""In the order of what they tell: a low confidence finds the most bad masks, stray the fewest."""

_MOST = 0.1


class Signs(NamedTuple):
    """A mask's figures, None where they are not known; ``number`` is that of its frame in a sequence."""

    confidence: float | None
    stray: float | None
    jump: float | None
    number: int = 0

    @property
    def doubt(self) -> float:
        """0 to 1.2: what the confidence lacks, and of stray and jump up to a tenth each.

        The confidence finds bad masks best; more of the other two would only hide it. They rank masks without one.
        """
        sure = 1.0 if self.confidence is None else self.confidence
        return 1 - sure + min(self.stray or 0.0, _MOST) + min(self.jump or 0.0, _MOST)

    @property
    def beyond(self) -> list[Sign]:
        """The signs that are beyond their level."""
        low = self.confidence is not None and self.confidence < LOW
        found = {"confidence": low, "jump": (self.jump or 0.0) > JUMP, "stray": (self.stray or 0.0) > STRAY}
        return [sign for sign in SIGNS if found[sign]]


def badness(signs: Signs, sign: str) -> float | None:
    """How bad one of :data:`SIGNS` is: the more, the worse; None where it is not known."""
    value: float | None = getattr(signs, sign)
    return -value if sign == "confidence" and value is not None else value


@dataclass(slots=True)
class Tally:
    """Masks of a group, and those of them beyond the level of each sign."""

    masks: int = 0
    confidence: int = 0
    stray: int = 0
    jump: int = 0

    def add(self, signs: Signs) -> None:
        """Count a mask."""
        self.masks += 1
        for sign in signs.beyond:
            setattr(self, sign, getattr(self, sign) + 1)


def signs_of(frames: Iterable[dict[str, Any]]) -> list[tuple[dict[str, Any], Signs]]:
    """The frames of a sample that are forged and have a mask, each with its signs."""
    return [
        (frame, Signs(frame.get("mask_confidence"), frame.get("mask_stray"), frame.get("mask_jump"), number))
        for number, frame in enumerate(frames)
        if frame["label"] and frame.get("mask_source") not in (None, "absent")
    ]
