"""Faces that are found on one file of a clip and used for another, which is the same clip at another compression.

Whether both files show the same is told by their first frames, in small, and by their lengths.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from forgeprep.faces.tracks import Face, Survey
from forgeprep.media.frames import Frame, UInt8
from forgeprep.ops.pairing import FLOOR, correlation, thumb, thumb_distance, thumb_size

FIRST = 16
"""Frames at the beginning of a clip that are compared."""
ALIKE = 0.9
"""Two files show the same if their pictures correlate at least so much. Small, c40 and raw correlate by 0.997."""
FURTHER = 1.5
"""And if each frame differs from its own by at most so many times what it differs from the nearest other one, or by
less than the floor of the pairing: else one of the files begins later."""
MOST_APART = 1
"""Frames by which the files of one clip may differ in length: encoders lose the last one."""


@dataclass(slots=True)
class Seen:
    """What is noted of a clip's frames while they pass.

    Attributes:
        sizes: width and height of its frames; more than one where they change.
        thumbs: frame -> the whole picture in small, uint8 (36, W), of the first frames.
    """

    sizes: set[tuple[int, int]] = field(default_factory=set)
    thumbs: dict[int, UInt8] = field(default_factory=dict)

    def watch(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """The same frames, noted."""
        for frame in frames:
            self.sizes.add(frame.size_wh)
            if frame.index < FIRST:
                self.thumbs[frame.index] = thumb(frame, (0, 0, *frame.size_wh), thumb_size(frame.size_wh))
            yield frame


@dataclass(frozen=True, slots=True)
class Lender:
    """The faces of a file that lends them, and what its frames look like."""

    survey: Survey
    seen: Seen

    def refusal(self, frames: Iterable[Frame], count: int) -> str | None:
        """Why a file cannot have these faces, in words; None if it can.

        Args:
            frames: that file's, from the first one; read as far as they are compared.
            count: of all its frames, by its header; 0 where that does not say.
        """
        own = Seen()
        for _ in own.watch(islice(frames, FIRST)):
            pass
        if own.sizes != self.seen.sizes:
            texts = (" and ".join(f"{w}x{h}" for w, h in sorted(one.sizes)) or "none" for one in (own, self.seen))
            return "other size: {}, there {}".format(*texts)
        length = self.survey.frames[-1] + 1 if self.survey.frames else 0
        if count and abs(length - count) > MOST_APART:
            return f"other length: {count} frames, there {length}"
        return None if _alike(own.thumbs, self.seen.thumbs) else "other pictures"


def _alike(a: dict[int, UInt8], b: dict[int, UInt8]) -> bool:
    """Whether two clips show the same at the same frames, in most of those that both have."""
    both = sorted(a.keys() & b.keys())
    if not both:
        return False
    keep = np.ones(a[both[0]].shape, bool)
    similar, further = [], []
    for index in both:
        far = {other: thumb_distance(a[index], b[other], keep) for other in both}
        similar.append(correlation(a[index], b[index], keep))
        further.append(far[index] / max(FLOOR, FURTHER * min(far.values())))
    return float(np.median(similar)) >= ALIKE and float(np.median(further)) <= 1.0


def lent(lender: Lender, frames: Iterable[int] = ()) -> Survey:
    """The survey of a file that has a lender's faces; ``frames`` are its own.

    Where it has a frame more than the lender, the last one has the faces of the one before.
    """
    found = lender.survey
    return Survey(array("i", frames), list(found.cuts), found.found, last=found.frames[-1] if found.frames else None)


def frames_with_lent_faces(
    frames: Iterable[Frame], lender: Lender, found: Survey
) -> Iterator[tuple[Frame, list[Face]]]:
    """Yield a clip's frames with a lender's faces, sorted by track; as :func:`.lookahead.frames_with_faces`.

    ``found`` is an empty survey, which is complete when all frames have come. Frames of another size than the lender's
    show no face.
    """
    known = lent(lender)
    found.cuts, found.found, found.last = known.cuts, known.found, known.last
    for frame in frames:
        found.frames.append(frame.index)
        yield frame, found.faces_at(frame.index) if frame.size_wh in lender.seen.sizes else []
