"""The faces of a clip over time: points at key frames, joined to tracks, and boxes for every frame between them.

Boxes come from a local linear fit through the detections around a frame (Cleveland 1979), which interpolates, follows
steady motion without lag, and takes out the detector's grid of positions (:mod:`forgeprep.faces.smoothing`).
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from dataclasses import dataclass, field

from forgeprep.faces.appearance import Look
from forgeprep.faces.detectors import FaceDetector
from forgeprep.faces.landmarkers.base import Points
from forgeprep.faces.smoothing import smooth_box
from forgeprep.media.regions import Box
from forgeprep.ops.alignment import Aligned

KEY_EVERY = 5
"""Frames between two key frames, at which faces are looked for."""
SPAN = 3
"""Key frames on each side that take part in smoothing."""
MAX_TRAILING = 2
"""Key frames that are kept of a bridge by the correlation tracker if the face is not found again."""
LEAST_SURE, JUDGED = 0.25, 8
"""Share of a track's first detections that must be sure, since of a fist or of hair one or two may be; and of how many.
"""
LEAST_AGAIN = 0.5
"""A track that its first detections do not bear out begins again behind them, but then so many must be sure."""
LEAST_HEIGHT = 0.8
"""A track begins where its face has this share of the smallest height asked for: detectors vary by a tenth or two."""


@dataclass(frozen=True, slots=True)
class Face:
    """A face at one frame.

    ``detection`` is ``detected`` on the key frame itself, ``interpolated`` between two detections, ``tracked`` where
    one of the neighbouring key frames has the correlation tracker's word only. ``tube`` is the one box by which the
    face is cut out of several frames; None where each frame is cut by its own. ``landmarks`` are float64 (n, 2), see
    :mod:`forgeprep.faces.landmarkers.base`; None where none were looked for or found. ``aligned`` is how an
    aligned crop of it is cut.
    """

    track_id: int
    box: Box
    score: float
    detection: str
    tube: Box | None = None
    landmarks: Points | None = field(default=None, compare=False, repr=False)
    aligned: Aligned | None = field(default=None, compare=False, repr=False)

    @property
    def cut_box(self) -> Box:
        """The box that crops are cut around."""
        return self.tube or self.box


@dataclass(frozen=True, slots=True)
class Point:
    """Where a face was at a key frame.

    ``height`` is the face's over the picture's shorter side; ``tracked`` says that it has the correlation tracker's
    word only.
    """

    index: int
    box: Box
    score: float
    height: float
    tracked: bool = False


@dataclass(slots=True, eq=False)
class Track:
    """A face in the making.

    Attributes:
        points: in order of time.
        look: what it looked like when it was last found.
        alive: whether it may go on.
        begin: the point that it begins at, by what is known so far; those before do not count.
        counts: whether it is a face; None while that is open.
        doubted: whether it has begun again.
    """

    points: list[Point]
    look: Look
    alive: bool = True
    begin: int = 0
    counts: bool | None = None
    doubted: bool = False

    @property
    def last(self) -> Point:
        """Its last point."""
        return self.points[-1]

    @property
    def last_found(self) -> Point:
        """The last point at which the detector found it."""
        return next(point for point in reversed(self.points) if not point.tracked)

    def loose(self, detector: FaceDetector) -> int:
        """How many points at its end go if the face is not found again."""
        trailing = len(self.points) - 1 - self.points.index(self.last_found)
        return max(0, trailing - min(MAX_TRAILING, max(0, detector.bridge - 1)))

    def end(self, detector: FaceDetector) -> None:
        """It does not go on."""
        self.alive = False
        loose = self.loose(detector)
        if loose:
            del self.points[-loose:]


def settle(track: Track, detector: FaceDetector, least: int = 2) -> None:
    """Settle whether a track is a face, as soon as its first detections tell.

    It needs ``least`` detections, since a single one is most often a false alarm, and a share of them sure.
    """
    while track.counts is None:
        found = [n for n in range(track.begin, len(track.points)) if not track.points[n].tracked]
        high = (n for n in found if track.points[n].height >= LEAST_HEIGHT * detector.smallest)
        track.begin = next(high, len(track.points))
        first = [n for n in found if n >= track.begin][:JUDGED]
        sure = sum(track.points[n].score >= detector.sure for n in first)
        share = LEAST_AGAIN if track.doubted else LEAST_SURE
        if len(first) >= least and sure >= share * (JUDGED if track.alive else len(first)):
            track.counts = True
            del track.points[: track.begin]
        elif len(first) == JUDGED:
            track.begin, track.doubted = first[-1] + 1, True
        elif track.alive:
            return
        else:
            track.counts = False


@dataclass(slots=True)
class Survey:
    """The faces of a clip, as far as they are known.

    Attributes:
        frames: indices of the frames that could be decoded, ascending.
        cuts: first frames of new shots.
        found: the tracks, by number: in order of first appearance.
        last: of lent faces, the lender's last frame: one more has its faces. See :mod:`forgeprep.faces.lent`.
    """

    frames: array[int] = field(default_factory=lambda: array("i"))
    cuts: list[int] = field(default_factory=list)
    found: list[Track] = field(default_factory=list)
    last: int | None = None

    def faces_at(self, index: int) -> list[Face]:
        """The faces at a frame, sorted by track."""
        index = self._shown(index)
        return [
            _face(number, track, index)
            for number, track in enumerate(self.found)
            if track.points[0].index <= index <= track.last.index
        ]

    def has_face(self, index: int) -> bool:
        """Whether any track covers the frame."""
        index = self._shown(index)
        return any(track.points[0].index <= index <= track.last.index for track in self.found)

    def _shown(self, index: int) -> int:
        """The frame whose faces a frame has."""
        return index - 1 if self.last is not None and index == self.last + 1 else index

    @property
    def tracks(self) -> int:
        """How many tracks there are."""
        return len(self.found)


def _face(number: int, track: Track, index: int) -> Face:
    points = track.points
    after = bisect_left(points, index, key=lambda point: point.index)
    around = points[max(0, after - 1) : after + 1] if points[after].index != index else [points[after]]
    near = min(around, key=lambda point: (abs(point.index - index), point.index))
    state = "detected" if near.index == index else "interpolated"
    if any(point.tracked for point in around):
        state = "tracked"
    lo, hi = (bisect_left(points, index + d, key=lambda p: p.index) for d in (-SPAN * KEY_EVERY, SPAN * KEY_EVERY + 1))
    near_by = points[min(lo, max(0, after - 1)) : max(hi, after + 1)]
    box = smooth_box([point.index - index for point in near_by], [point.box for point in near_by], KEY_EVERY)
    return Face(number, box, near.score, state)
