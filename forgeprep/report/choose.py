"""Which samples have their pictures decoded: an even draw, those with the worst signs, and those of clips that lost."""

from __future__ import annotations

import hashlib
import heapq
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from forgeprep.report.signs import SIGNS, Sign, Signs, badness
from forgeprep.report.summary import method_name, method_order
from forgeprep.shards.random_access import Place

SAMPLED = 320
"""How many samples, over all groups, have their pictures decoded; a hash of their ids spreads them over the run."""

WORST = 4
"""How many more clips of each group are decoded for each sign: those whose worst sample is worst."""

_CANDIDATES = 64


class Group(NamedTuple):
    """What samples are shown by: the method, or "real", and the compression, "" where there is one quality."""

    method: str
    compression: str

    @property
    def name(self) -> str:
        """As people read it."""
        return f"{self.method} ({self.compression})" if self.compression else self.method


class Pick(NamedTuple):
    """A sample whose pictures will be decoded.

    ``even`` if it belongs to the even draw, ``lost`` if its clip lost samples. ``number`` is the frame of a sequence
    that is bad, or None.
    """

    sample_id: str
    clip_id: str
    group: Group
    place: Place
    even: bool = False
    lost: bool = False
    number: int | None = None


def group_of(row: dict[str, Any]) -> Group:
    """The group in which a sample is shown."""
    return Group(method_name(row["method"], row["label"]), row["compression"] or "")


def group_order(group: Group) -> tuple[Any, ...]:
    """A sort key: reals first."""
    return (*method_order(group.method), group.compression)


class Chooser:
    """Chooses samples one by one, the same in whatever order they come; keeps some hundred of each group."""

    def __init__(self, lost: Collection[str] = ()) -> None:
        self.spread: dict[Group, list[tuple[int, Pick]]] = defaultdict(list)
        self.worst: dict[tuple[Group, Sign], dict[str, tuple[float, Pick]]] = defaultdict(dict)
        self.lost: dict[str, Pick | None] = dict.fromkeys(lost)

    def add(self, place: Place, row: dict[str, Any], signs: Sequence[Signs]) -> None:
        """Consider a row; ``signs`` are those of its masks."""
        pick = Pick(row["sample_id"], row["clip_id"], group_of(row), place)
        # A heap of the smallest hashes, negated. It is an even draw that needs neither the total nor an order.
        entry = -int.from_bytes(hashlib.blake2b(pick.sample_id.encode(), digest_size=8).digest()), pick
        heap = self.spread[pick.group]
        if len(heap) < SAMPLED:
            heapq.heappush(heap, entry)
        elif entry > heap[0]:
            heapq.heapreplace(heap, entry)
        if pick.clip_id in self.lost:
            self.lost[pick.clip_id] = min(self.lost[pick.clip_id] or pick, pick)
        for sign in SIGNS:
            rated = [(-bad, one.number) for one in signs if (bad := badness(one, sign)) is not None]
            if rated:
                value, number = min(rated)
                self._add_worst(sign, value, pick._replace(number=number))

    def _add_worst(self, sign: Sign, value: float, pick: Pick) -> None:
        """Keep one sample of each clip, the worst: frames of a clip look alike."""
        clips = self.worst[pick.group, sign]
        entry = value, pick
        known = clips.get(pick.clip_id)
        if known is None or entry < known:
            clips[pick.clip_id] = entry
        if len(clips) > 2 * _CANDIDATES:
            self.worst[pick.group, sign] = dict(sorted(clips.items(), key=lambda item: item[1])[:_CANDIDATES])

    def choose(self) -> dict[Group, list[Pick]]:
        """Group -> samples to look at, reals first: the even draw, then what is bad, then what is left of clips."""
        chosen: dict[Group, list[Pick]] = {}
        share = max(4, SAMPLED // max(1, len(self.spread)))
        for group in sorted(self.spread, key=group_order):
            own = {
                pick.sample_id: pick._replace(even=True) for _, pick in sorted(self.spread[group], reverse=True)[:share]
            }
            for sign in SIGNS:
                for _, pick in sorted(self.worst[group, sign].values())[:WORST]:
                    own.setdefault(pick.sample_id, pick)
            for lost in self.lost.values():
                if lost is not None and lost.group == group:
                    own[lost.sample_id] = own.get(lost.sample_id, lost)._replace(lost=True)
            chosen[group] = list(own.values())
        return chosen
