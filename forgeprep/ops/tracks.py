"""Find the faces of a clip and follow them: detect on key frames, associate, bridge, and smooth between.

One pass over the clip gives a :class:`Survey`, which knows every face at every frame but holds only the key frames'
boxes. Between these, boxes come from a local linear fit through the detections around a frame (Cleveland 1979), which
interpolates, follows steady motion without lag, and takes out the detector's grid of positions.

A track goes on in a detection near it if that is rather the same person than another, by overlap and looks together:
overlap alone passes it on where one person hides another. In doubt it ends, and a new one begins.

Where a face that was there is not found again (a profile, a hand before it), a correlation tracker (Danelljan et al.
2014, in dlib) carries its box on for a while. Tracks end at cuts between shots.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from forgeprep.ops.appearance import Look, look_at, same_face
from forgeprep.ops.faces import Detection, FaceDetector
from forgeprep.ops.frames import Frame, UInt8
from forgeprep.ops.geometry import Box, iou
from forgeprep.ops.smoothing import smooth_box

KEY_EVERY, KEY_BUSY = 5, 2
"""Frames between two detections, and where faces come, go or move by much of their size."""
BUSY = 0.35
"""A face that moves by more than this share of its size from one detection to the next, against its course, is busy."""
TRACKER_LINES = 360
"""Rows of the picture that the correlation tracker works on."""
FINE_EVERY = 25
"""Every so many key frames, small faces are looked for at the fine scale too."""
MAX_GAP = 3
"""Key frames that a track outlives without a detection."""
MAX_TRAILING = 2
"""Key frames that are kept of a bridge by the correlation tracker if the face is not found again."""
LEAST_PEAK = 7.0
"""Peak-to-sidelobe ratio below which the correlation tracker has lost the face."""
SPAN = 3
"""Key frames on each side that take part in smoothing."""
REACH = 1.0
"""A face is looked for within so many sides of where it was; how far it may really have gone, its looks decide."""
MIN_IOU = 0.25
"""Overlap that a box moved on by correlation has with the one before."""
FIRM, LENIENT = 5.0, -6.0
"""Log-odds of being the same face that are asked for where a detection is faint, or the correlation tracker's; and
where there is one face alone, and one before: with whom could it be mixed up? Elsewhere, 0."""
LEAST_SURE = 0.25
"""Share of a track's detections that must be sure: of a fist or of hair, one or two may be."""
CUT_CHANGE, CUT_CORRELATION = 8.0, 0.6
"""A cut: neighbouring frames differ by more levels of 255 in the mean, and correlate less."""
SMALL_WH = 64, 36
FACE_OVER_BOX = 1.17
"""Height of libfacedetection's box over the side of dlib's, about."""


@dataclass(frozen=True, slots=True)
class Face:
    """A face at one frame.

    ``detection`` is ``detected`` on the key frame itself, ``interpolated`` between two detections, ``tracked`` where
    one of the neighbouring key frames has the correlation tracker's word only. ``tube`` is the one box by which the
    face is cut out of several frames; None where each frame is cut by its own.
    """

    track_id: int
    box: Box
    score: float
    detection: str
    tube: Box | None = None

    @property
    def cut_box(self) -> Box:
        """The box that crops are cut around."""
        return self.tube or self.box


@dataclass(frozen=True, slots=True)
class _Point:
    index: int
    box: Box
    score: float
    tracked: bool = False


@dataclass(slots=True)
class _Track:
    points: list[_Point]
    look: Look
    side: float = 0.0
    alive: bool = True

    @property
    def last(self) -> _Point:
        return self.points[-1]

    @property
    def last_found(self) -> _Point:
        return next(point for point in reversed(self.points) if not point.tracked)


@dataclass(slots=True)
class Survey:
    """What one pass over a clip found.

    Attributes:
        frames: indices of the frames that could be decoded, ascending.
        cuts: first frames of new shots.
    """

    frames: array[int] = field(default_factory=lambda: array("i"))
    cuts: list[int] = field(default_factory=list)
    _tracks: list[_Track] = field(default_factory=list)

    def faces_at(self, index: int) -> list[Face]:
        """The faces at a frame, sorted by track; ids count from 0 in order of first appearance."""
        return [
            _face(number, track, index)
            for number, track in enumerate(self._tracks)
            if track.points[0].index <= index <= track.last.index
        ]

    def has_face(self, index: int) -> bool:
        """Whether any track covers the frame."""
        return any(track.points[0].index <= index <= track.last.index for track in self._tracks)

    @property
    def tracks(self) -> int:
        """How many tracks there are."""
        return len(self._tracks)


def find_faces(frames: Iterable[Frame], detector: FaceDetector, *, sparse: bool = False) -> Survey:
    """Survey a clip, frame by frame; no frame is kept.

    With ``sparse``, frames may be far apart, as where every 30th was extracted: then each is a key frame, tracks reach
    from one to the next, and one sure detection makes a track.

    A track needs two detections to count (a single one is most often a false alarm), and a quarter of them sure. In a
    picture, or a clip too short to have two key frames, it needs a score that the detector calls sure, or the best one
    there is.
    """
    search = _Search(detector)
    if not sparse:
        for frame in frames:
            search.push(frame)
        return search.finish()
    numbers: dict[int, int] = {}
    time = last = 0
    for frame in frames:
        time, last = time + min(KEY_EVERY, frame.index - last), frame.index
        numbers[time] = frame.index
        search.push(replace(frame, index=time))
    search.alone = len(numbers) > 1 and last - min(numbers.values()) >= KEY_EVERY * (len(numbers) - 1)
    return _renumbered(search.finish(), numbers)


def _renumbered(survey: Survey, numbers: Mapping[int, int]) -> Survey:
    """A survey whose frames get other indices."""
    for track in survey._tracks:
        track.points = [replace(point, index=numbers[point.index]) for point in track.points]
    frames = array("i", [numbers[index] for index in survey.frames])
    return Survey(frames, [numbers[index] for index in survey.cuts], survey._tracks)


class _Search:
    def __init__(self, detector: FaceDetector) -> None:
        self.detector = detector
        self.survey = Survey()
        self.tracks: list[_Track] = []
        self.before: Frame | None = None
        self.small: UInt8 | None = None
        self.key: Frame | None = None
        self.grays: dict[int, UInt8] = {}
        self.keys = 0
        self.next_key = 0
        self.last_key = -1
        self.busy = False
        self.alone = False

    def push(self, frame: Frame) -> None:
        self.survey.frames.append(frame.index)
        small = np.asarray(cv2.resize(frame.y, SMALL_WH, interpolation=cv2.INTER_AREA), np.uint8)
        # Boxes in pixels of another size mean nothing.
        resized = self.before is not None and self.before.size_wh != frame.size_wh
        if self.small is not None and (resized or _is_cut(self.small, small)):
            self._end_shot()
            self.survey.cuts.append(frame.index)
            self.next_key = frame.index
        # "At or after": the decoder may have lost the very frame that was due.
        if frame.index >= self.next_key:
            self._detect(frame)
            grid = (frame.index // KEY_EVERY + 1) * KEY_EVERY
            self.next_key = min(grid, frame.index + KEY_BUSY) if self.busy else grid
        self.before, self.small = frame, small

    def finish(self) -> Survey:
        self._end_shot()
        for track in self.tracks:
            _trim(track, min(MAX_TRAILING, max(0, self.detector.bridge - 1)))
        self.tracks = [t for t in self.tracks if not _is_too_small(t, self.detector.smallest)]
        sure = [t for t in self.tracks if _is_confirmed(t, self.detector.sure, 1 if self.alone else 2)]
        if self.keys <= 1:
            best = max((t.points[0].score for t in self.tracks), default=0.0)
            sure = [t for t in self.tracks if t.points[0].score >= min(best, self.detector.sure)]
        self.survey._tracks = sorted(sure, key=lambda t: (t.points[0].index, t.points[0].box))
        return self.survey

    def _end_shot(self) -> None:
        """Detect on the shot's last frame, so that tracks reach it, and end them all."""
        if self.before is not None and self.before.index != self.last_key:
            self._detect(self.before)
        for track in self.tracks:
            track.alive = False
        self.key = None

    def _detect(self, frame: Frame) -> None:
        for track in self.tracks:
            track.alive &= frame.index - track.last_found.index <= KEY_EVERY * (self.detector.bridge + 1)
            track.alive &= frame.index - track.last.index <= KEY_EVERY * (MAX_GAP + 1)
        alive = [track for track in self.tracks if track.alive]
        found = [d for d in self._search(frame, alive) if d.score >= self.detector.least]
        looks = [look_at(frame, d.box) for d in found]
        pairs = _matches(alive, found, looks, frame.index, self.detector.likely)
        astray = False
        side = min(frame.size_wh)
        for track, i in pairs:
            astray |= iou(_expected(track, frame.index), found[i].box) < 1 - BUSY
            track.points.append(_Point(frame.index, found[i].box, found[i].score))
            track.look = looks[i]
            track.side = max(track.side, _height(found[i].box) / side)
        taken = {i for _, i in pairs}
        for track in alive:
            if track.last.index != frame.index:
                least = LENIENT if len(alive) == 1 and not found else FIRM
                self._carry(track, frame, [d.box for d in found], least)
        fresh = [i for i, d in enumerate(found) if i not in taken and d.score >= self.detector.likely]
        for i in fresh:
            point = _Point(frame.index, found[i].box, found[i].score)
            self.tracks.append(_Track([point], looks[i], _height(point.box) / side))
        self.busy = astray or len(pairs) < len(alive) or bool(fresh)
        self.keys += 1
        self.last_key, self.key = frame.index, frame
        self.grays = {index: gray for index, gray in self.grays.items() if index == frame.index}

    def _carry(self, track: _Track, frame: Frame, found: list[Box], least: float) -> None:
        """Move a track on by correlation, from the last key frame to this one, but not onto a face that was found.

        Such a face is another's, or was refused.
        """
        import dlib

        if self.key is None or track.last.index != self.last_key:
            return
        for one in (self.key, frame):
            if one.index not in self.grays:
                self.grays[one.index] = _gray(one)
        before, gray = self.grays[self.key.index], self.grays[frame.index]
        scale = gray.shape[0] / frame.size_wh[1]
        tracker = dlib.correlation_tracker()
        tracker.start_track(before, dlib.drectangle(*(scale * side for side in track.last.box)))
        peak = tracker.update(gray)
        place = tracker.get_position()
        box = (place.left() / scale, place.top() / scale, place.right() / scale, place.bottom() / scale)
        overlap = iou(track.last.box, box)
        if peak < LEAST_PEAK or overlap < MIN_IOU or any(iou(box, other) > 0.3 for other in found):
            return
        if same_face(track.look, look_at(frame, box), overlap) < least:
            return
        track.points.append(_Point(frame.index, box, track.last.score, tracked=True))

    def _search(self, frame: Frame, alive: list[_Track]) -> list[Detection]:
        side, detector = min(frame.size_wh), self.detector
        small = any((t.last.box[3] - t.last.box[1]) * detector.coarse < detector.small * side for t in alive)
        fine = min(detector.fine, 2 * side)
        if small or self.keys % FINE_EVERY == 0 or frame.index in self.survey.cuts:
            return _left_to_right(detector.find(frame, fine))
        found = detector.find(frame, min(detector.coarse, side))
        # In vain most often, so not so fine that it costs many times the usual search.
        return _left_to_right(found or detector.find(frame, min(fine, 2 * detector.coarse)))


def _expected(track: _Track, index: int) -> Box:
    """Where the face is expected at a frame: on as it moved between its last two points."""
    now = track.last
    if len(track.points) < 2 or index - now.index > 2 * KEY_EVERY:
        return now.box
    before = track.points[-2]
    step = (index - now.index) / max(1, now.index - before.index)
    dx, dy = ((now.box[i] + now.box[i + 2] - before.box[i] - before.box[i + 2]) / 2 * step for i in (0, 1))
    return now.box[0] + dx, now.box[1] + dy, now.box[2] + dx, now.box[3] + dy


def _matches(
    alive: list[_Track], found: list[Detection], looks: list[Look], index: int, likely: float
) -> list[tuple[_Track, int]]:
    """Which track goes on in which detection: the likeliest pairs first, and none that is rather two people."""
    pairs = []
    for n, track in enumerate(alive):
        for i, detection in enumerate(found):
            if not _is_near(track, detection.box, index):
                continue
            overlap = _overlap(track, detection.box, index)
            odds = same_face(track.look, looks[i], overlap)
            is_alone = len(alive) == len(found) == 1 and overlap >= MIN_IOU
            if odds >= (LENIENT if is_alone else 0.0 if detection.score >= likely else FIRM):
                pairs.append((-odds, n, i))
    matches: dict[int, int] = {}
    for _, n, i in sorted(pairs):
        if n not in matches and i not in matches.values():
            matches[n] = i
    return [(alive[n], i) for n, i in matches.items()]


def _is_near(track: _Track, box: Box, index: int) -> bool:
    """Whether a box is near where the track was or is expected, and of about its size."""
    side = max(box[2] - box[0], box[3] - box[1])
    for other in (track.last.box, _expected(track, index)):
        size = max(other[2] - other[0], other[3] - other[1])
        apart = math.hypot(box[0] + box[2] - other[0] - other[2], box[1] + box[3] - other[1] - other[3]) / 2
        if apart <= REACH * max(side, size) and max(side, size) <= 2 * min(side, size):
            return True
    return False


def _overlap(track: _Track, box: Box, index: int) -> float:
    return max(iou(track.last.box, box), iou(_expected(track, index), box))


def _is_confirmed(track: _Track, sure: float, least: int) -> bool:
    """Whether a track was detected ``least`` times, and often enough beyond doubt."""
    scores = [point.score for point in track.points if not point.tracked]
    return len(scores) >= least and sum(score >= sure for score in scores) >= LEAST_SURE * len(scores)


def _is_too_small(track: _Track, smallest: float) -> bool:
    """Whether a face never comes near the least height that was asked for; detectors vary by a tenth or two."""
    return track.side < 0.8 * smallest


def _height(box: Box) -> float:
    """Height of a face from the chin to the hairline, from its box, which ends at the brows."""
    return FACE_OVER_BOX * (box[3] - box[1])


def _trim(track: _Track, most: int) -> None:
    """Leave off what the tracker added after the last detection, but for a little."""
    trailing = len(track.points) - 1 - track.points.index(track.last_found)
    if trailing > most:
        del track.points[most - trailing :]


def _is_cut(before: UInt8, now: UInt8) -> bool:
    a, b = before.astype(np.float32), now.astype(np.float32)
    if float(np.abs(a - b).mean()) < CUT_CHANGE:
        return False
    a, b = a - a.mean(), b - b.mean()
    power = math.sqrt(float((a * a).sum()) * float((b * b).sum()))
    return float((a * b).sum()) < CUT_CORRELATION * power


def _gray(frame: Frame) -> UInt8:
    """The luma at the coarse scale, contiguous, for the correlation tracker."""
    width, height = frame.size_wh
    if height <= TRACKER_LINES:
        return np.array(frame.y)
    size = max(1, round(width * TRACKER_LINES / height)), TRACKER_LINES
    return np.asarray(cv2.resize(frame.y, size, interpolation=cv2.INTER_AREA), np.uint8)


def _left_to_right(found: list[Detection]) -> list[Detection]:
    return sorted(found, key=lambda d: (d.box, -d.score))


def _face(number: int, track: _Track, index: int) -> Face:
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
