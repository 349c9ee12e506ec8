"""Where the forged spans of a clip come to lie."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forgeprep.errors import UsageError

Bools = npt.NDArray[np.bool_]
Span = tuple[int, int]
"""First frame and number of frames."""

_RANGE = re.compile(r"(\d+(?:\.\d+)?)(?:-(\d+(?:\.\d+)?))?(s?)")


@dataclass(frozen=True, slots=True)
class Extent:
    """A length or a range of lengths, in frames or in seconds."""

    low: float
    high: float
    seconds: bool = False

    def frames(self, fps: float) -> tuple[int, int]:
        """The range in frames, at least 1, of a clip with so many frames a second.

        >>> Extent(0.4, 2.0, seconds=True).frames(25)
        (10, 50)
        """
        rate = (fps if fps > 0 else 25.0) if self.seconds else 1.0
        return max(1, round(self.low * rate)), max(1, round(self.high * rate))


@dataclass(frozen=True, slots=True)
class SpanRule:
    """How many spans a clip gets, how long they are, and the least distance of two."""

    count: tuple[int, int] = (1, 3)
    length: Extent = Extent(10, 60)
    gap: Extent = Extent(10, 10)

    def fits(self, frames: int, fps: float) -> bool:
        """Whether the fewest and shortest spans find room in a clip of so many frames, some of which stay real."""
        count, length, gap = self.count[0], self.length.frames(fps)[0], self.gap.frames(fps)[0]
        return count * length + max(1, count - 1) * gap <= frames


def read_count(flag: str, text: str) -> tuple[int, int]:
    """A number or a range of numbers, from 1 on; raises UsageError, naming the flag.

    >>> read_count("--spans", "1-3")
    (1, 3)
    """
    match = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", text.strip())
    low, high = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= low <= high <= 1000:
        raise UsageError(f"{flag}: must be a number from 1 to 1000, or a range such as 1-3 (got {text!r})")
    return low, high


def read_extent(flag: str, text: str) -> Extent:
    """A length or a range, in frames (``10-60``) or seconds (``0.4-2s``); raises UsageError, naming the flag."""
    match = _RANGE.fullmatch(text.strip())
    low, high = (float(match[1]), float(match[2] or match[1])) if match else (0.0, 0.0)
    whole = match is not None and (match[3] == "s" or (low.is_integer() and high.is_integer() and low >= 1))
    if not match or not whole or not 0 < low <= high < 1e6:
        raise UsageError(f"{flag}: must be a number or a range of frames, 10-60, or of seconds, 0.4-2s (got {text!r})")
    return Extent(low, high, seconds=match[3] == "s")


def draw_spans(
    usable: Bools, rng: np.random.Generator, *, count: tuple[int, int], length: tuple[int, int], gap: int
) -> list[Span] | None:
    """Draw spans that lie in usable frames, do not touch, and leave at least ``gap`` frames of the clip real.

    Their number is drawn among those that fit, then their lengths, then one of all placements, each as likely as the
    other. Lengths for which there is no room are cut, the longest first.

    Args:
        usable: bool (T,), the frames that may be forged.
        rng: where the draws come from.
        count: least and most spans.
        length: least and most frames of a span.
        gap: least frames between two spans, from 1.

    Returns:
        The spans in order, or None where not even the fewest and shortest fit.
    """
    reach = _reach(usable)
    room = usable.size - gap
    most = min(_most(reach, length[0], gap), room // length[0], count[1])
    if most < count[0]:
        return None
    number = int(rng.integers(count[0], most + 1))
    lengths = [int(n) for n in rng.integers(length[0], min(length[1], room) + 1, number)]
    while sum(lengths) > room or not _fit(reach, lengths, gap):
        longest = max(range(number), key=lengths.__getitem__)
        lengths[longest] -= 1
    return _place(reach, lengths, gap, rng)


def labels_of(spans: Sequence[Span], frames: int) -> list[list[int]]:
    """A whole clip as (first frame, frames, 0 real or 1 forged), as ForgeryNet lists it.

    >>> labels_of([(10, 35)], 60)
    [[0, 10, 0], [10, 35, 1], [45, 15, 0]]
    """
    parts: list[list[int]] = []
    end = 0
    for start, length in spans:
        parts += [[end, start - end, 0], [start, length, 1]]
        end = start + length
    parts.append([end, frames - end, 0])
    return [part for part in parts if part[1] > 0]


def _reach(usable: Bools) -> npt.NDArray[np.int64]:
    """How many usable frames follow each other from each frame on, int64 (T,)."""
    places = np.arange(usable.size)
    stops = np.where(usable, usable.size, places)
    return np.asarray(np.minimum.accumulate(stops[::-1])[::-1] - places, np.int64)


def _most(reach: npt.NDArray[np.int64], length: int, gap: int) -> int:
    """How many spans of this length find room."""
    found = start = 0
    good = np.flatnonzero(reach >= length)
    while (at := int(np.searchsorted(good, start))) < good.size:
        found, start = found + 1, int(good[at]) + length + gap
    return found


def _fit(reach: npt.NDArray[np.int64], lengths: Sequence[int], gap: int) -> bool:
    """Whether spans of these lengths find room in this order: each as early as it can be."""
    start = 0
    for length in lengths:
        good = np.flatnonzero(reach[start:] >= length)
        if not good.size:
            return False
        start += int(good[0]) + length + gap
    return True


def _place(
    reach: npt.NDArray[np.int64], lengths: Sequence[int], gap: int, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """One of all placements in this order, all equally likely: by counting them from the last span on."""
    size = reach.size
    # ways[i]: placements of the spans from here on that start at frame i or later, but for a factor.
    ways = np.ones(size + 1)
    starts = []
    for length in reversed(lengths):
        after = np.minimum(np.arange(size) + length + gap, size)
        start_ways = np.where(reach >= length, ways[after], 0.0)
        starts.append(start_ways)
        ways = np.append(np.cumsum(start_ways[::-1])[::-1], 0.0)
        ways /= ways[0]
    spans: list[tuple[int, int]] = []
    first = 0
    for length, start_ways in zip(lengths, reversed(starts), strict=True):
        chances = np.cumsum(start_ways[first:])
        start = first + int(np.searchsorted(chances, rng.random() * chances[-1], side="right"))
        spans.append((start, length))
        first = start + length + gap
    return spans
