"""Follow faces through a clip: detect on key frames, associate, interpolate and smooth between.

The whole works on a stream: a frame leaves a fixed number of frames after it came in, so memory does not grow with the
clip. Boxes come from a local linear fit through the detections around a frame (Cleveland 1979), which interpolates
between key frames, follows steady motion without lag, and takes out the detector's grid of positions.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from forgeprep.ops.faces import Detection, Detector
from forgeprep.ops.geometry import Box, iou
from forgeprep.ops.video import Frame

KEY_EVERY = 5
"""Frames between two detections."""
COARSE_LINES, FINE_LINES = 360, 720
FINE_EVERY = 25
"""Every so many key frames, small faces are looked for at the fine scale too."""
MAX_GAP = 3
"""Key frames that a track outlives without a detection."""
SPAN = 3
"""Key frames on each side that take part in smoothing."""
MIN_IOU = 0.25


@dataclass(frozen=True, slots=True)
class Face:
    """A face at one frame. ``detection`` is ``detected`` on the key frame itself, else ``interpolated``."""

    track_id: int
    box: Box
    score: float
    detection: str


@dataclass(slots=True)
class _Track:
    track_id: int
    seen: list[tuple[int, Detection]] = field(default_factory=list)

    @property
    def last(self) -> tuple[int, Detection]:
        return self.seen[-1]


def track_faces(frames: Iterator[Frame], detector: Detector) -> Iterator[tuple[Frame, list[Face]]]:
    """Yield every frame with its faces, sorted by track; ids count from 0 in order of first appearance.

    A track needs two detections to count (a single one is most often a false alarm), unless the clip is too short to
    have two key frames.
    """
    tracker = _Tracker(detector)
    for frame in frames:
        yield from tracker.push(frame)
    yield from tracker.finish()


class _Tracker:
    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self.pending: deque[Frame] = deque()
        self.tracks: list[_Track] = []
        self.public_ids: dict[int, int] = {}
        self.next_id = 0
        self.keys = 0
        self.next_key = 0
        self.last_key = -1

    def push(self, frame: Frame) -> Iterator[tuple[Frame, list[Face]]]:
        self.pending.append(frame)
        # "At or after": the decoder may have lost the very frame that was due.
        if frame.index >= self.next_key:
            self._detect(frame)
            self.next_key = frame.index + KEY_EVERY
            yield from self._release(frame.index - KEY_EVERY * max(SPAN, MAX_GAP))

    def finish(self) -> Iterator[tuple[Frame, list[Face]]]:
        if self.pending and self.pending[-1].index != self.last_key:
            self._detect(self.pending[-1])
        yield from self._release(None)

    def _detect(self, frame: Frame) -> None:
        alive = [t for t in self.tracks if frame.index - t.last[0] <= KEY_EVERY * (MAX_GAP + 1)]
        found = self._search(frame, alive)
        pairs = sorted(
            ((iou(t.last[1].box, d.box), -t.track_id, i, t) for t in alive for i, d in enumerate(found)),
            key=lambda p: p[:3],
            reverse=True,
        )
        taken: set[int] = set()
        grown: set[int] = set()
        for overlap, _, i, track in pairs:
            if overlap < MIN_IOU or i in taken or track.track_id in grown:
                continue
            track.seen.append((frame.index, found[i]))
            taken.add(i)
            grown.add(track.track_id)
        for i, detection in enumerate(found):
            if i not in taken:
                self.tracks.append(_Track(self.next_id, [(frame.index, detection)]))
                self.next_id += 1
        self.keys += 1
        self.last_key = frame.index

    def _search(self, frame: Frame, alive: list[_Track]) -> list[Detection]:
        height = frame.size_wh[1]
        small = any((t.last[1].box[3] - t.last[1].box[1]) * COARSE_LINES < 90 * height for t in alive)
        fine = min(FINE_LINES, 2 * height)
        if small or self.keys % FINE_EVERY == 0:
            return _left_to_right(self.detector(frame, fine))
        found = self.detector(frame, min(COARSE_LINES, height))
        return _left_to_right(found or (self.detector(frame, fine) if not alive else []))

    def _release(self, until: int | None) -> Iterator[tuple[Frame, list[Face]]]:
        while self.pending and (until is None or self.pending[0].index <= until):
            frame = self.pending.popleft()
            yield frame, self._faces(frame.index)
        horizon = (self.pending[0].index if self.pending else self.last_key) - KEY_EVERY * (MAX_GAP + SPAN + 1)
        self.tracks = [t for t in self.tracks if t.last[0] >= horizon]
        for track in self.tracks:
            # Only detections near the frames still pending matter; a minimum stays, so that the track stays confirmed.
            while len(track.seen) > 2 * SPAN + 2 and track.seen[0][0] < horizon:
                track.seen.pop(0)

    def _faces(self, index: int) -> list[Face]:
        faces = []
        for track in self.tracks:
            if len(track.seen) < 2 and self.keys > 1:
                continue
            if not track.seen[0][0] <= index <= track.last[0]:
                continue
            public = self.public_ids.setdefault(track.track_id, len(self.public_ids))
            near = min(track.seen, key=lambda s: (abs(s[0] - index), s[0]))
            state = "detected" if near[0] == index else "interpolated"
            faces.append(Face(public, _smooth_box(track.seen, index), near[1].score, state))
        return sorted(faces, key=lambda f: f.track_id)


def _left_to_right(found: list[Detection]) -> list[Detection]:
    return sorted(found, key=lambda d: (d.box, -d.score))


def _smooth_box(seen: list[tuple[int, Detection]], index: int) -> Box:
    """The square face box at frame ``index`` by a local linear fit through the detections around it."""
    around = [(i, d.box) for i, d in seen if abs(i - index) <= SPAN * KEY_EVERY] or [
        (i, d.box) for i, d in sorted(seen, key=lambda s: abs(s[0] - index))[:2]
    ]
    times = [float(i - index) for i, _ in around]
    centre_x = _fit(times, [(b[0] + b[2]) / 2 for _, b in around], width=1.3 * KEY_EVERY, slope=True)
    centre_y = _fit(times, [(b[1] + b[3]) / 2 for _, b in around], width=1.3 * KEY_EVERY, slope=True)
    # A face's size changes slowly, and the detector's sizes come in coarse steps: a wider, level fit.
    half = _fit(times, [max(b[2] - b[0], b[3] - b[1]) / 2 for _, b in around], width=2.0 * KEY_EVERY, slope=False)
    return centre_x - half, centre_y - half, centre_x + half, centre_y + half


def _fit(times: list[float], values: list[float], *, width: float, slope: bool) -> float:
    """Value at time 0 of the Gaussian-weighted line (or level) through the points."""
    weights = [math.exp(-0.5 * (t / width) ** 2) for t in times]
    total = math.fsum(weights)
    mean_t = math.fsum(w * t for w, t in zip(weights, times, strict=True)) / total
    mean_v = math.fsum(w * v for w, v in zip(weights, values, strict=True)) / total
    spread = math.fsum(w * (t - mean_t) ** 2 for w, t in zip(weights, times, strict=True))
    if not slope or spread < 1e-9 * total:
        return mean_v
    gain = math.fsum(w * (t - mean_t) * (v - mean_v) for w, t, v in zip(weights, times, values, strict=True)) / spread
    return mean_v - gain * mean_t
