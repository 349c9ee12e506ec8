"""Evenly spread numbers: which frames, pictures or pairs are taken."""

from __future__ import annotations


def evenly(count: int, wanted: int) -> tuple[int, ...]:
    """``wanted`` numbers of 0 to ``count`` - 1, ascending; the first and the last are among them; of one, the middle.

    >>> evenly(10, 4), evenly(10, 1), evenly(2, 5), evenly(0, 3)
    ((0, 3, 6, 9), (5,), (0, 1), ())
    """
    few = min(count, wanted)
    if few <= 1:
        return (count // 2,) if few == 1 else ()
    # Integer arithmetic: the same on every machine.
    return tuple(i * (count - 1) // (few - 1) for i in range(few))
