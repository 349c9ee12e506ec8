"""Number the pictures of a video as they are shown, 0 to n - 1, and find those that the decoder lost.

Time stamps do not identify frames: AVI stores decoding times, VP8 gives a hidden reference picture the stamp of a
shown one, and in streams that were joined they start again. A missing stamp counts as a lost picture only where stamps
are unique and rise in the order in which pictures are shown.
"""

from __future__ import annotations

import functools
import heapq
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

_HIDDEN_VP8 = 0x10
"""Set in the first byte of a VP8 frame that is shown (RFC 6386, section 9.1)."""


class Numbering:
    """The numbers and times of one stream's pictures, which it gets packet by packet and picture by picture.

    ``rising`` is called once, at the first gap, and says whether the stamps of the whole file rise as pictures are
    shown. ``step_s`` is how long a picture is shown where its stamp does not say.
    """

    def __init__(self, rising: Callable[[], bool], step_s: float) -> None:
        self.rising, self.step_s = rising, step_s
        self.waiting: list[int] = []
        self.trusted: bool | None = None
        self.index = -1
        self.last: int | None = None
        self.time_s: float | None = None

    def packet(self, pts: int | None) -> None:
        """Take a packet of a picture that will be shown."""
        if pts is not None:
            heapq.heappush(self.waiting, pts)

    def picture(self, pts: int | None, time_s: float | None) -> tuple[int, float]:
        """The index of a decoded picture, and its time in seconds. Both rise from picture to picture."""
        self.index += 1 + self._lost(pts)
        if pts is not None and self.last is not None and pts < self.last:
            self.trusted = False
        self.last = pts
        if self.time_s is None:
            self.time_s = time_s or 0.0
        elif self.trusted is False or time_s is None or time_s <= self.time_s:
            self.time_s += self.step_s
        else:
            self.time_s = time_s
        return self.index, self.time_s

    def _lost(self, pts: int | None) -> int:
        """How many pictures are missing before this one."""
        if pts is None or pts not in self.waiting:
            return 0
        lost = 0
        while (stamp := heapq.heappop(self.waiting)) != pts:
            # Two pictures may have the same stamp, one of them hidden.
            lost += stamp != self.last
        if lost and self.trusted is None:
            self.trusted = self.rising()
        return lost if self.trusted else 0


def is_shown(packet: Any, codec: str) -> bool:
    """Whether a packet holds a picture that is shown: no hidden reference picture, and none outside the edit list."""
    if packet.is_discard or not packet.size:
        return False
    return codec != "vp8" or bool(bytes(memoryview(packet)[:1])[0] & _HIDDEN_VP8)


def stamps_rise(path: Path, stamps: Callable[[Path], list[int | None]]) -> bool:
    """Whether ``stamps(path)``, the decoded pictures' stamps in order, are complete, unique and rising."""
    status = path.stat()
    return _stamps_rise(path, status.st_size, status.st_mtime_ns, stamps)


@functools.lru_cache(maxsize=256)
def _stamps_rise(path: Path, size: int, changed: int, stamps: Callable[[Path], list[int | None]]) -> bool:
    found = stamps(path)
    known = [stamp for stamp in found if stamp is not None]
    return len(known) == len(found) and all(a < b for a, b in itertools.pairwise(known))
