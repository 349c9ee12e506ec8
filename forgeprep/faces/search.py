"""Find the faces of a clip and follow them: detect on key frames, associate, and bridge.

A track goes on in a detection near it if that is rather the same person than another, by overlap and looks together:
overlap alone passes it on where one person hides another. In doubt it ends, and a new one begins.

Where a face that was there is not found again (a profile, a hand before it), a correlation tracker carries its box on
for a while (:mod:`forgeprep.faces.carry`). Tracks end at cuts between shots.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace

import cv2
import numpy as np

from forgeprep.faces.appearance import Look, look_at, moved_correlation, same_face
from forgeprep.faces.carry import MIN_IOU, Carrier, face_height
from forgeprep.faces.detectors import Detection, FaceDetector
from forgeprep.faces.tracks import KEY_EVERY, LEAST_HEIGHT, SPAN, Face, Point, Survey, Track, settle
from forgeprep.media.frames import Frame, UInt8
from forgeprep.media.regions import Box
from forgeprep.media.scale import area_mean
from forgeprep.ops.geometry import iou

KEY_BUSY = 2
"""Frames between two key frames where faces come, go or move by much of their size."""
BUSY = 0.35
"""A face that moves by more than this share of its size from one detection to the next, against its course, is busy."""
FINE_EVERY = 25
"""Every so many key frames, small faces are looked for at the fine scale too."""
MAX_GAP = 3
"""Key frames that a track outlives without a detection."""
REACH = 1.0
"""A face is looked for within so many sides of where it was; how far it may really have gone, its looks decide."""
FIRM, LENIENT = 5.0, -6.0
"""Log-odds of being the same face that are asked for where a detection is faint, or the correlation tracker's; and
where there is one face alone, and one before: with whom could it be mixed up? Elsewhere, 0."""
CUT_CHANGE, CUT_CORRELATION = 8.0, 0.7
"""A cut: neighbouring frames differ by more levels of 255 in the mean, and correlate less;"""
CUT_MOVED, MOVED_BY = 0.8, (14, 8)
"""and they do even if one is moved by so many pixels of their small pictures: a head that is shaken near the camera
changes all of the picture;"""
CUT_SUDDEN, CUT_OTHER, BEFORE = 1.5, 0.3, 4
"""and they differ by so many times more than any of so many frames before did, as where there is much motion all frames
differ; or they correlate less than this, as motion hardly makes them."""
SMALL_WH = 64, 36


def find_faces(frames: Iterable[Frame], detector: FaceDetector, *, sparse: bool = False) -> Survey:
    """Survey a clip, frame by frame; no frame is kept.

    With ``sparse``, frames may be far apart, as where every 30th was extracted: then each is a key frame, tracks reach
    from one to the next, and one sure detection makes a track. So it does where the detector is sure of all it finds.

    In a picture, or a clip too short to have two key frames, a face needs a score that the detector calls sure, or the
    best one there is.
    """
    search = Search(detector, sparse=sparse)
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
    apart = len(numbers) > 1 and last - min(numbers.values()) >= KEY_EVERY * (len(numbers) - 1)
    certain = detector.sure <= detector.least
    return _renumbered(search.finish(least=1 if apart or certain else 2), numbers)


def _renumbered(survey: Survey, numbers: Mapping[int, int]) -> Survey:
    """A survey whose frames get other indices."""
    for track in survey.found:
        track.points = [replace(point, index=numbers[point.index]) for point in track.points]
    frames = array("i", [numbers[index] for index in survey.frames])
    return Survey(frames, [numbers[index] for index in survey.cuts], survey.found)


class Search:
    """The search through a clip: frames are pushed in order, and what is settled can be asked for meanwhile."""

    def __init__(self, detector: FaceDetector, survey: Survey | None = None, *, sparse: bool = False) -> None:
        self.detector, self.sparse = detector, sparse
        self.survey = Survey() if survey is None else survey
        self.alive: list[Track] = []
        self.unnumbered: list[Track] = []
        self.before: Frame | None = None
        self.small: UInt8 | None = None
        self.changes: deque[float] = deque(maxlen=BEFORE)
        self.carrier = Carrier()
        self.keys = 0
        self.next_key = 0
        self.last_key = -1
        self.busy = False

    def push(self, frame: Frame) -> None:
        """Take the next frame."""
        self.survey.frames.append(frame.index)
        small = area_mean(frame.y, SMALL_WH)
        # Boxes in pixels of another size mean nothing.
        resized = self.before is not None and self.before.size_wh != frame.size_wh
        if self.small is not None and (resized or self._is_cut(self.small, small)):
            self._end_shot()
            self.survey.cuts.append(frame.index)
            self.next_key = frame.index
        # "At or after": the decoder may have lost the very frame that was due.
        if frame.index >= self.next_key:
            self._detect(frame)
            grid = (frame.index // KEY_EVERY + 1) * KEY_EVERY
            self.next_key = min(grid, frame.index + KEY_BUSY) if self.busy else grid
        self.before, self.small = frame, small

    def _is_cut(self, before: UInt8, now: UInt8) -> bool:
        """Whether a new shot begins, and note by how much the frames differ."""
        # Of frames that are far apart, those before tell nothing.
        usual = 0.0 if self.sparse else max(self.changes, default=0.0)
        self.changes.append(_change(before, now))
        return is_cut(before, now, usual)

    def settled(self) -> int:
        """The faces of all frames before this index are known for good, see :meth:`faces_at`.

        What later frames can still change of a frame's faces, and so have to have shown already:

        * a box, by points up to ``SPAN`` key frames later: all of these lie behind, also if the shot ends here;
        * whether a track is a face: tracks that began before it are settled, or begin later;
        * how long a track is: tracks that live on have a point behind it that stays;
        * whether a bridge holds: points that go if the face is not found again are out of reach.

        A track that has not begun yet begins later.
        """
        if self.keys < 2 or self.before is None:
            return 0
        now = self.before.index
        # The latest frame may still turn out to be its shot's last, which is a key frame.
        until = now - SPAN * KEY_EVERY
        if self.survey.cuts and self.survey.cuts[-1] == now:
            until = now
        for track in self.alive:
            if track.counts is None:
                until = min(until, track.points[track.begin].index if track.begin < len(track.points) else until)
            loose = track.loose(self.detector)
            until = min(until, track.points[-1 - loose].index + 1)
            if loose:
                until = min(until, track.points[-loose].index - SPAN * KEY_EVERY)
        return until

    def faces_at(self, index: int) -> list[Face]:
        """The faces at a settled frame; ask for frames in order."""
        self._number(index)
        return self.survey.faces_at(index)

    def finish(self, least: int = 2) -> Survey:
        """All faces, after the last frame; a track needs ``least`` detections."""
        self._end_shot(judged=False)
        if self.keys <= 1:
            best = max((track.points[0].score for track in self.unnumbered), default=0.0)
            for track in self.unnumbered:
                high = track.points[0].height >= LEAST_HEIGHT * self.detector.smallest
                track.counts = high and track.points[0].score >= min(best, self.detector.sure)
        for track in self.unnumbered:
            settle(track, self.detector, least)
        self._number(None)
        return self.survey

    def _number(self, until: int | None) -> None:
        """Give numbers to the tracks that begin up to a frame, or to all."""
        new = [t for t in self.unnumbered if t.counts and (until is None or t.points[0].index <= until)]
        if new:
            self.survey.found += sorted(new, key=lambda t: (t.points[0].index, t.points[0].box))
        self.unnumbered = [t for t in self.unnumbered if t.counts is not False and t not in new]

    def _end_shot(self, *, judged: bool = True) -> None:
        """Detect on the shot's last frame, so that tracks reach it, and end them all."""
        if self.before is not None and self.before.index != self.last_key:
            self._detect(self.before)
        self._end(self.alive, judged=judged)
        self.carrier.start(None)

    def _end(self, tracks: list[Track], *, judged: bool = True) -> None:
        for track in tracks:
            track.end(self.detector)
            if judged and not self.sparse:
                settle(track, self.detector)
        self.alive = [track for track in self.alive if track.alive]

    def _detect(self, frame: Frame) -> None:
        now = frame.index
        bridge = KEY_EVERY * (self.detector.bridge + 1), KEY_EVERY * (MAX_GAP + 1)
        self._end([t for t in self.alive if now - t.last_found.index > bridge[0] or now - t.last.index > bridge[1]])
        alive = list(self.alive)
        found = [d for d in self._search(frame, alive) if d.score >= self.detector.least]
        looks = [look_at(frame, d.box) for d in found]
        points = [Point(now, d.box, d.score, face_height(d.box) / min(frame.size_wh)) for d in found]
        pairs = _matches(alive, found, looks, now, self.detector.likely)
        astray = any(iou(_expected(track, now), found[i].box) < 1 - BUSY for track, i in pairs)
        for track, i in pairs:
            track.points.append(points[i])
            track.look = looks[i]
        taken = {i for _, i in pairs}
        for track in alive:
            if track.last.index != now:
                least = LENIENT if len(alive) == 1 and not found else FIRM
                self.carrier.carry(track, frame, [d.box for d in found], least)
        fresh = [i for i, d in enumerate(found) if i not in taken and d.score >= self.detector.likely]
        new = [Track([points[i]], looks[i]) for i in fresh]
        self.alive += new
        self.unnumbered += new
        if not self.sparse:
            for track in self.alive:
                settle(track, self.detector)
        self.busy = astray or len(pairs) < len(alive) or bool(fresh)
        self.keys += 1
        self.last_key = now
        self.carrier.start(frame)

    def _search(self, frame: Frame, alive: list[Track]) -> list[Detection]:
        side, detector = min(frame.size_wh), self.detector
        small = any((t.last.box[3] - t.last.box[1]) * detector.coarse < detector.small * side for t in alive)
        fine = min(detector.fine, 2 * side)
        if small or self.keys % FINE_EVERY == 0 or frame.index in self.survey.cuts:
            return _left_to_right(detector.find(frame, fine))
        found = detector.find(frame, min(detector.coarse, side))
        # In vain most often, so not so fine that it costs many times the usual search.
        return _left_to_right(found or detector.find(frame, min(fine, 2 * detector.coarse)))


def _expected(track: Track, index: int) -> Box:
    """Where the face is expected at a frame: on as it moved between its last two points."""
    now = track.last
    if len(track.points) < 2 or index - now.index > 2 * KEY_EVERY:
        return now.box
    before = track.points[-2]
    step = (index - now.index) / max(1, now.index - before.index)
    dx, dy = ((now.box[i] + now.box[i + 2] - before.box[i] - before.box[i + 2]) / 2 * step for i in (0, 1))
    return now.box[0] + dx, now.box[1] + dy, now.box[2] + dx, now.box[3] + dy


def _matches(
    alive: list[Track], found: list[Detection], looks: list[Look], index: int, likely: float
) -> list[tuple[Track, int]]:
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


def _is_near(track: Track, box: Box, index: int) -> bool:
    """Whether a box is near where the track was or is expected, and of about its size."""
    side = max(box[2] - box[0], box[3] - box[1])
    for other in (track.last.box, _expected(track, index)):
        size = max(other[2] - other[0], other[3] - other[1])
        apart = math.hypot(box[0] + box[2] - other[0] - other[2], box[1] + box[3] - other[1] - other[3]) / 2
        if apart <= REACH * max(side, size) and max(side, size) <= 2 * min(side, size):
            return True
    return False


def _overlap(track: Track, box: Box, index: int) -> float:
    return max(iou(track.last.box, box), iou(_expected(track, index), box))


def is_cut(before: UInt8, now: UInt8, usual: float = 0.0) -> bool:
    """Whether a shot ends between two neighbouring frames.

    Args:
        before: small picture of one, uint8 (36, 64).
        now: of the other.
        usual: by how much frames before differed, in levels of 255.
    """
    change = _change(before, now)
    if change < CUT_CHANGE:
        return False
    a, b = (picture.astype(np.float32) - picture.mean(dtype=np.float32) for picture in (before, now))
    power = math.sqrt(float((a * a).sum()) * float((b * b).sum()))
    alike = float((a * b).sum())
    if alike >= CUT_CORRELATION * power or moved_correlation(before, now, MOVED_BY) >= CUT_MOVED:
        return False
    return change >= CUT_SUDDEN * usual or alike < CUT_OTHER * power


def _change(before: UInt8, now: UInt8) -> float:
    return float(cv2.absdiff(before, now).mean())


def _left_to_right(found: list[Detection]) -> list[Detection]:
    return sorted(found, key=lambda d: (d.box, -d.score))
