"""Where a fake's frames lie on its original if it is longer or shorter in some of its forged periods.

Words were put in, taken out, or replaced by longer or shorter ones (LAV-DF, AV-Deepfake1M). Outside the periods the
fake shows the original frame by frame; after each of them by as much later or earlier as that period is longer or
shorter.
By how much each is, nothing says; in all it is the difference of both clips. So these lines are guesses, around which
:func:`forgeprep.ops.pairing.align` searches, and the pictures decide.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

NEAR = 20
"""A difference of so many frames is found from any line; with more, each period alone may hold it all."""
MOST_PERIODS = 4

Run = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Pieces:
    """A line of pieces: frame ``fakes[k]`` of the fake shows ``originals[k]`` of the original, and those between lie
    between. Both rise; beyond the last they rise by one.
    """

    fakes: tuple[int, ...]
    originals: tuple[float, ...]
    rate: float = 1.0

    def __call__(self, index: int) -> int:
        """About which frame of the original a frame of the fake shows."""
        at = bisect_right(self.fakes, index) - 1
        first, start = self.fakes[at], self.originals[at]
        if at + 1 == len(self.fakes):
            return math.floor(start + index - first)
        share = (index - first) / (self.fakes[at + 1] - first)
        return math.floor(start + share * (self.originals[at + 1] - start))


def lines_around(forged: Sequence[Run], frames: tuple[int, int]) -> list[Pieces]:
    """Lines that a fake may follow.

    Args:
        forged: its forged periods, as (first frame, frame after the last), rising and apart.
        frames: how many frames the original and the fake have.

    >>> [line(i) for line in lines_around([(2, 6)], (8, 10)) for i in (1, 2, 4, 6, 9)]
    [1, 2, 3, 4, 7]
    """
    longer = frames[1] - frames[0]
    if not forged or not longer:
        return []
    whole = sum(last - first for first, last in forged)
    shares = [[(last - first) / whole for first, last in forged]]
    if abs(longer) > NEAR and 1 < len(forged) <= MOST_PERIODS:
        shares += [[float(n == at) for n in range(len(forged))] for at in range(len(forged))]
    return [_line(forged, [longer * share for share in part]) for part in shares]


def _line(forged: Sequence[Run], longer: Sequence[float]) -> Pieces:
    fakes, originals, shift = [0], [0.0], 0.0
    for (first, last), more in zip(forged, longer, strict=True):
        if first > fakes[-1]:
            fakes.append(first)
            originals.append(max(originals[-1], first - shift))
        shift += more
        fakes.append(last)
        originals.append(max(originals[-1], last - shift))
    return Pieces(tuple(fakes), tuple(originals))
