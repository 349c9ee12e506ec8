"""Whether a fake's picture outside the faces is its original's, and by what moves, also the same moment of the take.

As a rule all of it is alike. Where more than the face was drawn anew (a whole head, a logo, subtitles) cells vote
(:mod:`forgeprep.ops.agreement`): a part that differs is no other take, as long as enough of the rest agrees within what
coding leaves, and what moves says that it is the same moment. A picture that lies elsewhere, by a hundredth of its
height or less, is refused.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from forgeprep.media.forward_reader import ForwardReader
from forgeprep.media.frames import Frame, UInt8
from forgeprep.media.regions import IntBox
from forgeprep.ops import pairing
from forgeprep.ops.agreement import agreeing, differs_around, displacement
from forgeprep.ops.pairing import Alignment, Placement
from forgeprep.ops.timing import FEWEST, Thumbs, lags, lags_of_rest
from forgeprep.ops.tone import luma_in_tone, tone_of, with_tone

BEFORE, AFTER = (-2, -1), (1, 2)
"""Neighbours of a frame that is checked."""
BETTER = 0.8
"""A neighbouring frame that fits by this much better than the expected one says that frames were lost or doubled."""
SHIFTED = -0.05
"""Frames of another index that are so much more alike (:func:`forgeprep.ops.timing.lags`) say that those of the same
are not the same moment."""
DOUBTFUL, MOVED = -0.02, 0.02
"""Where lengths or frame rates differ, so little says it of the next frame, and frames farther away have to be so much
less alike: else nothing moves that could tell."""
SEEN, UNSEEN = 0.15, 0.5
"""Shares of the votes that are enough where what moves shows that it is the same moment, and where it does not say that
it is another. Of unrelated pictures 0.02 to 0.11 agree."""
NOTHING = 2.0
"""Squared levels of a distance of which nothing has to be asked: a picture that lies elsewhere leaves 6 and more."""
ELSEWHERE = 0.12
"""Cells of a thumb by which a picture may lie elsewhere: 1.7 of 512 lines. Pairs that fit were off by 0.05 at most."""
LEAST_OUTSIDE, LEAST_ALIKE = 0.1, 0.9
"""With a smaller share of the picture outside the faces, a guess holds if the whole pictures correlate so much. A pair
that the dataset states holds too if what is outside does: a row at the edge, where strong coding leaves more than
:data:`forgeprep.ops.pairing.FLOOR`. Of unrelated close-ups it correlates by 0.83 at most, of pairs by 0.94 and more."""
LEAST_WHOLE = 0.4
"""Where nothing lies outside, whole pictures whose median correlation in a stretch is less are others: nine in ten of
unrelated close-ups. Those of swapped faces had 0.46 at least."""

HALVED = 0.5
"""Share of the distance that another tone of colours has to leave at most, to be what sets luma apart."""


@dataclass(frozen=True, slots=True)
class Thumb:
    """A small picture of a frame.

    Attributes:
        luma: uint8 (H, W).
        keep: where in it there is no face.
        chroma: uint8 (H, W, 2), what tells its colours; None of gray pictures.
    """

    luma: UInt8
    keep: pairing.Mask
    chroma: UInt8 | None = None


@dataclass(frozen=True, slots=True)
class Likeness:
    """How two pictures outside the faces compare.

    Attributes:
        apart: their distance, as :func:`forgeprep.ops.pairing.thumb_distance` gives it.
        correlation: -1 to 1; 1 where nothing lies outside.
        similarity: the same, of the whole pictures where nothing lies outside.
        lagged: whether a neighbouring frame of the fake fits clearly better.
        agreeing: the share of the votes, see :func:`forgeprep.ops.agreement.agreeing`.
        beyond: whether the pictures differ around the faces and hardly elsewhere.
        told: whether anything lies outside the faces.
    """

    apart: float
    correlation: float
    similarity: float
    lagged: bool
    agreeing: float
    beyond: bool
    told: bool


@dataclass(slots=True)
class Outside:
    """Compares a fake's frames with its original's, in order, as far as they lie outside the faces.

    Attributes:
        guessed: whether the original is a guess.
        last: the original's thumb at the last frame that was checked.
        changes: how far the original's own thumbs lay apart from one check to the next.
        thumbs: the fake's own, by index, of frames before one that is checked.
        pairs: of a stretch, the original's thumb in the fake's tone, the fake's and where there is no face, by the
            original's index.
        shown: all of the fake's own of a stretch, by the original's index.
        enough: the share of the votes that is enough in that stretch.
        elsewhere: whether the fake's picture lies elsewhere in it.
        differs: whether any picture of the stretch differs by more than nothing.
        seen: whether what moved showed that it is the same moment, there or before.
        wholes: how whole pictures of a stretch correlate in which nothing lies outside the faces.
    """

    guessed: bool
    last: Thumb | None = None
    changes: deque[float] = field(default_factory=lambda: deque(maxlen=32))
    thumbs: deque[tuple[int, UInt8]] = field(default_factory=lambda: deque(maxlen=2))
    pairs: dict[int, tuple[UInt8, UInt8, pairing.Mask]] = field(default_factory=dict)
    shown: dict[int, UInt8] = field(default_factory=dict)
    enough: float = math.inf
    elsewhere: bool = False
    differs: bool = False
    seen: bool = False
    wholes: list[float] = field(default_factory=list)

    def fits(self, found: Likeness | None) -> bool:
        """Whether pictures so alike show the same moment of the same take; True where it is unknown."""
        if found is None or self.elsewhere:
            return found is None
        if not found.told and not self.guessed:
            return statistics.median(self.wholes) >= LEAST_WHOLE
        return self._is_alike(found) or found.agreeing >= self.enough

    def is_more(self, found: Likeness | None) -> bool:
        """Whether it is the same moment, but more than the face was drawn anew."""
        return found is not None and (found.beyond or (self.fits(found) and not self._is_alike(found)))

    def is_moved(self, found: Likeness | None) -> bool:
        """Whether the pictures are the same, but lie elsewhere."""
        return found is not None and self.elsewhere and self._is_alike(found)

    def _is_alike(self, found: Likeness) -> bool:
        """Whether pictures are the same all over."""
        limit = max(pairing.FLOOR, pairing.SAME_TAKE * statistics.median(self.changes or [0.0]))
        return found.apart <= limit and found.correlation >= pairing.LEAST_SIMILARITY

    def begin(self) -> None:
        """A stretch begins."""
        self.pairs.clear()
        self.shown.clear()
        self.wholes.clear()
        self.differs = False

    def judge(self, *, doubt: bool, found: Alignment | None) -> bool:
        """At the end of a stretch, how many votes are enough; and whether it has to be asked which frame shows which.

        Args:
            doubt: whether something else speaks against frame for frame. Then it has to be seen that the fake's frames
                are those of the same index.
            found: how the fake was laid; None as long as it is taken frame for frame.
        """
        originals = Thumbs.of((index, pair[0]) for index, pair in self.pairs.items())
        fakes = Thumbs.of(sorted(self.shown.items()))
        all_over, unlike = lags(originals, fakes), lags_of_rest(originals, fakes) if self.differs else {}
        shifted = not _is_seen(all_over) if doubt else min(all_over.values(), default=0.0) < SHIFTED
        seen, least = _is_seen(unlike), min(unlike.values(), default=0.0)
        self.seen = seen or (self.seen and not shifted)
        moved = displacement(list(self.pairs.values())) if self.differs else None
        self.elsewhere = moved is not None and moved > ELSEWHERE and len(self.pairs) >= FEWEST
        if moved is None or moved > ELSEWHERE or (found is None and (shifted or least < DOUBTFUL)):
            self.enough = math.inf
        elif self.seen and (found is None or found.is_order):
            self.enough = SEEN
        else:
            known = found is None or found.is_order or found.is_exact
            self.enough = UNSEEN if known and not self.guessed and least >= SHIFTED else math.inf
        return shifted

    def note(self, frame: Frame, size_wh: tuple[int, int]) -> None:
        """Keep a frame of the fake that comes shortly before one that is checked; ``size_wh`` is the original's."""
        thumb = pairing.thumb(frame, (0, 0, *frame.size_wh), pairing.thumb_size(size_wh))
        self.thumbs.append((frame.index, thumb))
        self.shown[frame.index] = thumb

    def compare(
        self,
        index: int,
        whole: Thumb,
        frame: Frame,
        place: tuple[Placement, tuple[int, int]],
        ahead: ForwardReader | None,
    ) -> Likeness:
        """Compare a frame of the fake with the original's thumb of the moment that it should show.

        Args:
            index: of the original's frame.
            whole: the original's thumb.
            frame: the fake's.
            place: how the fake lies on its original, and the size of the original's frames.
            ahead: reads the fake's frames; None where neighbours do not matter.
        """
        picture, keep = whole.luma, whole.keep
        size_wh = picture.shape[1], picture.shape[0]
        area = pairing.area_of(*place, frame.size_wh)
        own = pairing.thumb(frame, area, size_wh)
        apart, correlation = pairing.thumb_distance(picture, own, keep), pairing.correlation(picture, own, keep)
        told = bool(keep.any())
        similarity = correlation
        if keep.mean() < LEAST_OUTSIDE:
            everywhere = pairing.correlation(picture, own, np.ones_like(keep))
            correlation = everywhere if self.guessed else max(correlation, everywhere)
            apart = 0.0 if correlation >= LEAST_ALIKE else math.inf if self.guessed else apart
            if not told:
                similarity = everywhere
                self.wholes.append(everywhere)
        if pairing.is_checked(index):
            if self.last is not None and self.last.luma.shape == picture.shape:
                self.changes.append(pairing.thumb_distance(picture, self.last.luma, keep & self.last.keep))
            self.last = whole
        others = [] if ahead is None else self._neighbours(frame.index, area, size_wh, ahead)
        self.thumbs.append((frame.index, own))
        self.shown[index] = own
        if apart > pairing.FLOOR and correlation >= pairing.LEAST_SIMILARITY:
            picture = _in_tone_of(own, whole)
            apart = pairing.thumb_distance(picture, own, keep)
        lagged = any(pairing.thumb_distance(picture, other, keep) < BETTER * apart - 0.1 for other in others)
        self.pairs[index] = picture, own, keep
        self.differs = self.differs or apart > NOTHING or correlation < pairing.LEAST_SIMILARITY
        votes, beyond = agreeing(picture, own, keep), differs_around(picture, own, keep)
        return Likeness(apart, correlation, similarity, lagged, votes, beyond, told)

    def _neighbours(self, index: int, area: IntBox, size_wh: tuple[int, int], ahead: ForwardReader) -> list[UInt8]:
        """The thumbs of the frames on both sides of one, as far as they are there."""
        before = [thumb for other, thumb in self.thumbs if other - index in BEFORE and thumb.shape == size_wh[::-1]]
        frames = (ahead.ahead(index + lag) for lag in AFTER)
        after = {frame.index: pairing.thumb(frame, area, size_wh) for frame in frames if frame is not None}
        self.shown |= after
        return [*before, *after.values()]


def _is_seen(unlike: Mapping[int, float]) -> bool:
    """Whether frames of another index are less alike."""
    return bool(unlike) and all(more >= (DOUBTFUL if abs(lag) == 1 else MOVED) for lag, more in unlike.items())


def _in_tone_of(own: UInt8, whole: Thumb) -> UInt8:
    """The luma of an original's thumb in the tone of the fake's, where that is what differs."""
    picture, keep = whole.luma, whole.keep
    original, fake = (np.asarray(one[keep][:, None], np.float32) for one in (picture, own))
    tone = tone_of(original, fake)
    toned = picture if tone is None else with_tone(picture, tone)
    apart = pairing.thumb_distance(toned, own, keep)
    if apart <= pairing.FLOOR or whole.chroma is None:
        return toned
    colours = np.concatenate([picture[..., None], whole.chroma], axis=-1).reshape(-1, 3).astype(np.float32)
    luma = luma_in_tone(colours, own.ravel().astype(np.float32), keep.ravel())
    of_colour = np.asarray(np.clip(np.rint(luma), 0, 255), np.uint8).reshape(picture.shape)
    return of_colour if pairing.thumb_distance(of_colour, own, keep) <= HALVED * apart else toned
