"""Which tracks of a clip are one person's, also in several shots: by how their faces look, without any weights.

What is compared are pictures, with light and background, so a cut to another camera is not bridged; one that comes back
to the same camera, or leaves out a moment, mostly is. ``benchmarks/persons.py`` gives the figures.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from forgeprep.faces.appearance import Look, same_face

SAME_PERSON = 2.0
"""Log-odds of :func:`~forgeprep.faces.appearance.same_face`, without boxes, from which two tracks are one person's."""
LOOKS = 6
"""Looks of a track that are compared, evenly spread."""


def persons_of(looks: Mapping[int, Sequence[Look]], together: Collection[tuple[int, int]]) -> dict[int, int]:
    """A number for each track, from 0 on, the same where tracks are surely one person's; there may be fewer persons.

    Args:
        looks: track -> what its face looks like at some moments, in order of time.
        together: pairs of tracks that are seen at the same moment, the smaller first: never one person's.
    """
    few = {track: thinned(own, LOOKS) for track, own in looks.items()}
    pairs = [pair for pair in itertools.combinations(sorted(few), 2) if pair not in together]
    odds = {pair: likeness(few[pair[0]], few[pair[1]]) for pair in pairs}
    groups = {track: {track} for track in few}
    for (a, b), value in sorted(odds.items(), key=lambda item: -item[1]):
        if value < SAME_PERSON or groups[a] is groups[b]:
            continue
        if not any((min(x, y), max(x, y)) in together for x in groups[a] for y in groups[b]):
            both = groups[a] | groups[b]
            groups |= dict.fromkeys(both, both)
    firsts = sorted({min(group) for group in groups.values()})
    return {track: firsts.index(min(group)) for track, group in groups.items()}


def likeness(a: Sequence[Look], b: Sequence[Look]) -> float:
    """The log-odds of the two looks that are most alike."""
    return max((same_face(x, y, 0.0) for x in a for y in b), default=float("-inf"))


def thinned(looks: Sequence[Look], most: int) -> list[Look]:
    """At most so many of them, evenly spread, the first and the last among them."""
    if len(looks) <= most:
        return list(looks)
    return [looks[place] for place in np.linspace(0, len(looks) - 1, most).round().astype(int)]
