"""The landmarks of faces along a clip: found on the full frame inside each face's box, and smoothed along its track.

Only frames that are wanted have landmarks. Those of the :data:`REACH` frames on each side are looked for too, since the
smoothing needs them; the frames are held that long.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from forgeprep.faces.landmarkers.base import Find, Points
from forgeprep.faces.tracks import Face
from forgeprep.media.frames import Frame

REACH, WIDTH = 2, 1.2
"""Frames on each side that take part in smoothing, and the standard deviation of their weights in frames."""
STRAY = 0.06, 0.12
"""Shares of the box's side: smoothing that moves the points by more than the first, in the mean, is taken back in part,
by more than the second altogether. So do fast turns keep their points, and failures of a neighbour harm no one."""

FramesWithFaces = Iterable[tuple[Frame, Sequence[Face]]]


def with_landmarks(
    frames: FramesWithFaces, find: Find, wanted: Callable[[int], bool], *, reach: int = REACH
) -> Iterator[tuple[Frame, list[Face]]]:
    """Frames as they come, their faces with landmarks where they are wanted and can be found.

    Args:
        frames: in order, with their faces.
        find: the landmarker.
        wanted: whether a frame's landmarks are.
        reach: frames on each side that smoothing takes in; 0 for pictures that do not follow each other.
    """
    held: deque[tuple[Frame, Sequence[Face]]] = deque()
    found: dict[int, dict[int, Points | None]] = {}
    for frame, faces in frames:
        index = frame.index
        if any(wanted(index + step) for step in range(-reach, reach + 1)):
            found[index] = {face.track_id: find(frame, face.box) for face in faces}
        held.append((frame, faces))
        while held and held[0][0].index + reach <= index:
            yield _with_points(*held.popleft(), found, wanted, reach)
        found = {number: own for number, own in found.items() if number >= index - 2 * reach}
    for frame, faces in held:
        yield _with_points(frame, faces, found, wanted, reach)


def _with_points(
    frame: Frame,
    faces: Sequence[Face],
    found: dict[int, dict[int, Points | None]],
    wanted: Callable[[int], bool],
    reach: int,
) -> tuple[Frame, list[Face]]:
    if not wanted(frame.index):
        return frame, list(faces)
    smooth = []
    for face in faces:
        near = {step: found.get(frame.index + step, {}).get(face.track_id) for step in range(-reach, reach + 1)}
        there = {step: points for step, points in near.items() if points is not None}
        smooth.append(replace(face, landmarks=smooth_points(there, face.box[2] - face.box[0])))
    return frame, smooth


def smooth_points(found: dict[int, Points], side: float) -> Points | None:
    """A face's landmarks at a frame, by a local linear fit through those of the frames around it (Cleveland 1979).

    Args:
        found: frames, counted from the wanted one -> the points there.
        side: of the face's box in pixels.

    Returns:
        float64 (n, 2); None where there are none at the frame itself, nor on both sides of it.
    """
    own = found.get(0)
    if own is None and not (any(step < 0 for step in found) and any(step > 0 for step in found)):
        return None
    times = np.array(sorted(found), np.float64)
    points = np.stack([found[int(time)] for time in times])
    weights = np.exp(-0.5 * (times / WIDTH) ** 2)
    weights /= weights.sum()
    middle = float(weights @ times)
    spread = float(weights @ (times - middle) ** 2)
    mean = np.tensordot(weights, points, 1)
    if spread > 0:
        slope = np.tensordot(weights * (times - middle), points, 1) / spread
        mean = mean - middle * slope
    if own is None:
        return np.asarray(mean, np.float64)
    moved = float(np.hypot(*(mean - own).T).mean()) / side
    back = min(1.0, max(0.0, (moved - STRAY[0]) / (STRAY[1] - STRAY[0])))
    return np.asarray(mean + back * (own - mean), np.float64)
