"""Where a face is not found again, a correlation tracker carries it on (Danelljan et al. 2014, in dlib)."""

from __future__ import annotations

import numpy as np

from forgeprep.faces.appearance import look_at, same_face
from forgeprep.faces.tracks import Point, Track
from forgeprep.media.frames import Frame, UInt8
from forgeprep.media.regions import Box
from forgeprep.media.scale import area_mean
from forgeprep.ops.geometry import iou

TRACKER_LINES = 360
"""Rows of the picture that the correlation tracker works on."""
LEAST_PEAK = 7.0
"""Peak-to-sidelobe ratio below which the correlation tracker has lost the face."""
MIN_IOU = 0.25
"""Overlap that a box moved on by correlation has with the one before."""
FACE_OVER_BOX = 1.17
"""Height of libfacedetection's box over the side of dlib's, about."""


class Carrier:
    """Carries tracks from the last key frame to the next one.

    Attributes:
        key: the last key frame of the shot; None before the first.
    """

    def __init__(self) -> None:
        self.key: Frame | None = None
        self._grays: dict[int, UInt8] = {}

    def start(self, key: Frame | None) -> None:
        """Go on from this key frame; None where a shot has ended."""
        self.key = key
        if key is not None:
            self._grays = {index: gray for index, gray in self._grays.items() if index == key.index}

    def carry(self, track: Track, frame: Frame, found: list[Box], least: float) -> None:
        """Move a track on by correlation, from the last key frame to this one, but not onto a face that was found.

        Such a face is another's, or was refused. ``least``: log-odds of being the same face that are asked for.
        """
        import dlib

        if self.key is None or track.last.index != self.key.index:
            return
        before, gray = self._gray(self.key), self._gray(frame)
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
        height = face_height(box) / min(frame.size_wh)
        track.points.append(Point(frame.index, box, track.last.score, height, tracked=True))

    def _gray(self, frame: Frame) -> UInt8:
        """The luma at the coarse scale, contiguous."""
        if frame.index not in self._grays:
            width, height = frame.size_wh
            if height <= TRACKER_LINES:
                self._grays[frame.index] = np.array(frame.y)
            else:
                size = max(1, round(width * TRACKER_LINES / height)), TRACKER_LINES
                self._grays[frame.index] = area_mean(frame.y, size)
        return self._grays[frame.index]


def face_height(box: Box) -> float:
    """Height of a face from the chin to the hairline, from its box, which ends at the brows."""
    return FACE_OVER_BOX * (box[3] - box[1])
