"""Between steps 2 and 3 of a frame: its faces get landmarks, and by these the places of aligned crops."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from forgeprep.faces.landmarks import REACH, FramesWithFaces, with_landmarks
from forgeprep.faces.tracks import Face
from forgeprep.media.frame_folder import is_frame_folder
from forgeprep.media.frames import Frame
from forgeprep.media.regions import Box
from forgeprep.ops.alignment import TEMPLATES, Aligned, Points, align
from forgeprep.params.crop import CropParams
from forgeprep.stages.crop.detector import landmarker_of, margin_of, parts_to_align

Places = dict[int, dict[int, tuple[Points | None, Aligned]]]
"""Frame -> track -> its landmarks, and its crop."""
MOST_OFF = 4.0
"""Times that the face of the landmarks may be larger or smaller than that of the box."""


def with_places(
    frames: FramesWithFaces, params: CropParams, wanted: frozenset[int] | Callable[[int], bool], path: Path
) -> FramesWithFaces:
    """Frames whose faces have landmarks and aligned crops where these are wanted; as they come if none are asked for.

    Args:
        frames: in order, with their faces.
        params: which landmarks, and how crops are aligned.
        wanted: the frames that samples are made of.
        path: the clip.
    """
    find = landmarker_of(params)
    if find is None:
        return frames
    is_wanted = wanted if callable(wanted) else wanted.__contains__
    # Pictures of a folder may lie any time apart.
    found = with_landmarks(frames, find, is_wanted, reach=0 if is_frame_folder(path) else REACH)
    return (
        found if params.align == "none" else ((frame, [_aligned(f, params) for f in faces]) for frame, faces in found)
    )


def _aligned(face: Face, params: CropParams) -> Face:
    if face.landmarks is None:
        return face
    crop = _crop_of([face.landmarks], params) if np.ptp(face.landmarks, axis=0).max() > 0 else None
    if crop is None or not _fits(crop.square(margin_of(params)), face.box):
        return replace(face, landmarks=None)
    return replace(face, aligned=crop)


def _fits(square: Box, box: Box) -> bool:
    """Whether landmarks are those of the face in a box, by the box that they stand for.

    What a landmarker makes of something that is no face may give crops of any size, and without bounds.
    """
    side = box[2] - box[0]
    apart = math.hypot(square[0] + square[2] - box[0] - box[2], square[1] + square[3] - box[1] - box[3]) / 2
    return side / MOST_OFF < square[2] - square[0] < side * MOST_OFF and apart < side


def _crop_of(points: Sequence[Points], params: CropParams) -> Aligned:
    return align(points, parts_to_align(params), TEMPLATES[params.align], params.enlarge, params.size)


def find_places(frames: FramesWithFaces, params: CropParams, windows: Iterable[tuple[int, ...]]) -> Places:
    """The crops of faces whose place depends on several frames.

    With one matrix for a clip, all frames of a window share it, also those without landmarks. With one for each frame,
    they share the size, and the box that holds all of them.

    Args:
        frames: all frames of the windows, with landmarks.
        params: how crops are aligned.
        windows: the frames of each sample of several frames, or those of the clip.
    """
    points: dict[int, dict[int, Points | None]] = {}
    for frame, faces in frames:
        points[frame.index] = {face.track_id: face.landmarks for face in faces}
    places: Places = defaultdict(dict)
    for indices in windows:
        for track in sorted({track for index in indices for track in points.get(index, {})}):
            there = {index: points[index][track] for index in indices if track in points.get(index, {})}
            seen = {index: own for index, own in there.items() if own is not None}
            if not seen:
                continue
            shared = _crop_of(list(seen.values()), params)
            crops = dict.fromkeys(there, shared)
            if params.align_per == "frame":
                sized = params.model_copy(update={"size": shared.side})
                crops = {index: _crop_of([own], sized) for index, own in seen.items()}
                x0, y0, x1, y1 = zip(*(crop.box for crop in crops.values()), strict=True)
                reach = min(x0), min(y0), max(x1), max(y1)
                crops = {index: replace(crop, reach=reach) for index, crop in crops.items()}
            for index, crop in crops.items():
                places[index][track] = there[index], crop
    return places


def at_places(
    frames: Iterable[tuple[Frame, Sequence[Face]]], places: Places, params: CropParams
) -> Iterator[tuple[Frame, Sequence[Face]]]:
    """Frames whose faces have the landmarks and the crops that were found before."""
    for frame, faces in frames:
        here = places.get(frame.index, {})
        yield frame, [_placed(face, here.get(face.track_id), params) for face in faces]


def _placed(face: Face, place: tuple[Points | None, Aligned] | None, params: CropParams) -> Face:
    if place is None:
        return face
    points, crop = place
    # What a fake is compared in lies around the face where crops follow it, else around the crop.
    tube = crop.square(margin_of(params)) if params.align_per == "clip" else None
    return replace(face, landmarks=points, aligned=crop, tube=tube)
