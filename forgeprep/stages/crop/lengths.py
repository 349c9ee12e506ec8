"""A fake that is longer or shorter than its original in its forged periods: whether the pictures agree with that."""

from __future__ import annotations

from dataclasses import dataclass

from forgeprep.ops.pairing import Alignment
from forgeprep.schemas.clips import Clip
from forgeprep.stages.crop.periods import Run, end_of, forged_runs
from forgeprep.text import counted

LEAST_AGREEING = 0.5
"""Of the frames that a dataset calls real, so many must be the original's."""

FEWEST, LEAST_SHOWN = 4, 0.1
"""So many forged frames, and such a share of them, must show one of the original's, or all if they are fewer."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """A fake's forged periods, by what the dataset says, and how many frames original and fake have."""

    periods: tuple[Run, ...] = ()
    frames: tuple[int, int] = (0, 0)

    @staticmethod
    def of(fake: Clip, original: Clip) -> Lengths:
        """Those of a fake; no periods where both clips have as many frames, or those of the original are not known."""
        found = Lengths(tuple(forged_runs(fake)), (original.frame_count, end_of(fake)))
        return found if found.differ else Lengths((), found.frames)

    @property
    def differ(self) -> bool:
        """Whether original and fake are known to have another number of frames."""
        return 0 not in self.frames and self.frames[0] != self.frames[1]

    def judge(self, found: Alignment) -> tuple[tuple[str, str] | None, list[str]]:
        """Why a fake does not lie as was found, as a drop reason and its detail, and what is to be told."""
        forged = {index for first, last in self.periods for index in range(first, last)}
        shown = forged & set(found.partner.values())
        frames = f"{self.frames[1]} frames for {self.frames[0]}"
        if found.agreeing < LEAST_AGREEING:
            return ("unaligned", f"{frames}, and those that the dataset calls real are others"), []
        if len(shown) < min(len(forged), max(FEWEST, LEAST_SHOWN * len(forged))):
            return ("unaligned", f"{frames}, and its forged frames show nothing of the original"), []
        told = [f"laid on its original piece by piece around its periods: {frames}"]
        if len(shown) < len(forged):
            alone = counted(len(forged) - len(shown), "forged frame shows", "forged frames show")
            told.append(f"{alone} nothing of the original: no samples of these")
        return None, told
