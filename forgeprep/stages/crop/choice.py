"""Which frames of a clip are used, once it is known which of them can be decoded and show a face."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from forgeprep.faces.tracks import Survey
from forgeprep.media.regions import Box
from forgeprep.ops.geometry import tube_box
from forgeprep.ops.spread import evenly

PROBES = 16
"""So many frames of a clip, evenly spread, tell whether a faint forgery is there; which samples are wanted is all one.
"""

Tubes = dict[int, dict[int, Box]]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The frames to make samples of, what cannot be had with the reason, and how many are stand-ins.

    ``decoded`` and ``detected`` count wanted frames, before stand-ins: those ``there``, and those ``with_face``.
    """

    frames: tuple[int, ...]
    missing: tuple[tuple[int, str], ...]
    topped_up: int
    decoded: int
    detected: int
    there: frozenset[int] = frozenset()
    with_face: frozenset[int] = frozenset()

    def of_clip(self, wanted: tuple[int, ...], *, spread: bool) -> Chosen:
        """The same for a clip of which fewer frames are ``wanted``.

        With ``spread`` only their number counts: they are spread over those that are used.
        """
        if spread:
            frames = tuple(self.frames[at] for at in evenly(len(self.frames), len(wanted)))
            missing = self.missing[: len(wanted) - len(frames)]
        else:
            asked = frozenset(wanted)
            frames = tuple(index for index in self.frames if index in asked)
            missing = tuple(one for one in self.missing if one[0] in asked)
        planned = frozenset(wanted)
        decoded, detected = planned & self.there, planned & self.with_face
        return replace(
            self, frames=frames, missing=missing, topped_up=len(frozenset(frames) - planned), decoded=len(decoded),
            detected=len(detected),
        )  # fmt: skip


def choose(wanted: Sequence[int], found: Survey, *, top_up: bool, known: frozenset[int] | None = None) -> Chosen:
    """Settle which frames are used, of the ``known`` ones, now that the clip has been read frame by frame.

    With ``top_up``, frames with a face stand in for wanted ones without: a neighbour, nearer than the next wanted
    frame, or else one from the widest gap. Of a clip that ends before its header says, as many frames as were wanted
    are spread over what there is.
    """
    there = set(found.frames)
    last = found.frames[-1] if found.frames else -1
    planned = set(wanted)
    if top_up and known is None and 0 <= last < max(wanted, default=0):
        # Those too many stay as they are, past the end.
        there_are = evenly(last + 1, len(wanted))
        wanted = [*there_are, *wanted[len(there_are) :]]
    with_face = [i for i in found.frames if found.has_face(i) and (known is None or i in known)]
    good = [index for index in wanted if index in there and found.has_face(index)]
    bad = [index for index in wanted if index not in there or not found.has_face(index)]
    used = set(good)
    stand_ins: list[int] = []
    missing: list[tuple[int, str]] = []
    reach = (wanted[-1] - wanted[0]) / max(1, len(wanted) - 1) if len(wanted) > 1 else last
    for index in bad:
        free = [other for other in with_face if other not in used] if top_up else []
        if not free:
            reason = "past_end" if index > last else "decode_error" if index not in there else "no_face"
            missing.append((index, reason))
            continue
        nearest = min(free, key=lambda other: (abs(other - index), other))
        if abs(nearest - index) >= reach:
            nearest = _in_widest_gap(free, used)
        used.add(nearest)
        stand_ins.append(nearest)
    decoded = frozenset(planned & there)
    detected = frozenset(index for index in decoded if found.has_face(index))
    counts = len(used - planned), len(decoded), len(detected)
    return Chosen(tuple(sorted(used)), tuple(missing), *counts, decoded, detected)


def _in_widest_gap(free: list[int], used: set[int]) -> int:
    if not used:
        return free[len(free) // 2]
    taken = np.array(sorted(used))
    after = np.searchsorted(taken, free)
    left = np.where(after > 0, np.asarray(free) - taken[np.maximum(after - 1, 0)], np.iinfo(np.int64).max)
    right = np.where(after < len(taken), taken[np.minimum(after, len(taken) - 1)] - free, np.iinfo(np.int64).max)
    return free[int(np.argmax(np.minimum(left, right)))]


def find_tubes(windows: Sequence[tuple[int, ...]], found: Survey) -> Tubes:
    """Frame -> track -> the one box by which the face is cut out of all frames of its window.

    Only for tracks that are there from a window's first to its last frame.
    """
    tubes: Tubes = {}
    for indices in windows:
        faces: dict[int, list[Box]] = defaultdict(list)
        for index in indices:
            for face in found.faces_at(index):
                faces[face.track_id].append(face.box)
        whole = {track: tube_box(boxes) for track, boxes in faces.items() if len(boxes) == len(indices)}
        tubes.update(dict.fromkeys(indices, whole))
    return tubes


class ProbeFrames:
    """Tells the probes as frames come: the next frame with a face at or after each of some evenly spread places."""

    def __init__(self, end: int) -> None:
        self.places = evenly(end, PROBES)
        self.taken = 0

    def take(self, index: int) -> bool:
        """Whether a frame that shows a face is a probe; ask once for each, in order."""
        due = self.taken < len(self.places) and self.places[self.taken] <= index
        self.taken += due
        return due
