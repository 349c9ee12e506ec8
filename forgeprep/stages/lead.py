"""The clip that faces are found on: an original, or a fake without one.

It is read twice: once to find the faces, which tells what frames there are and which of them show a face; and once to
cut the chosen ones out, in runs that its fakes follow.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from forgeprep.ops.change import face_patch
from forgeprep.ops.faces import FaceDetector
from forgeprep.ops.frames import Frame, UInt8
from forgeprep.ops.geometry import Box, tube_box
from forgeprep.ops.pairing import Mask, is_checked, outside, thumb, thumb_size
from forgeprep.ops.sequence import is_sequence
from forgeprep.ops.spread import evenly
from forgeprep.ops.tracks import Face, Survey, find_faces
from forgeprep.ops.video import read_frames
from forgeprep.stages.cut import CropParams, cut, window

RUN_FRAMES = 32
RUN_BYTES = 16 << 20
"""A run ends after so many wanted frames or bytes of their crops, whichever comes first."""

PROBES = 16
"""So many frames of a clip, evenly spread, tell whether a faint forgery is there; which samples are wanted is all one.
"""

Tubes = dict[int, dict[int, Box]]


@dataclass(slots=True)
class Moment:
    """A frame of the lead clip, as far as its fakes need it.

    Attributes:
        faces: the faces, by track.
        patches: one for each face, if fakes follow.
        thumb: the whole picture in small with the cells outside all faces; only where the pairing is checked.
        wanted: whether samples are made of it; then ``crops`` holds one for each face.
        probe: whether it is one of the frames by which faint forgeries are told, see :data:`PROBES`.
        windows: one for each face, where fakes follow and the frame is wanted or a probe.
    """

    index: int
    time_s: float
    faces: list[Face]
    wanted: bool
    probe: bool = False
    patches: list[UInt8] = field(default_factory=list)
    thumb: tuple[UInt8, Mask] | None = None
    crops: list[UInt8] = field(default_factory=list)
    windows: list[UInt8] = field(default_factory=list)


@dataclass(slots=True)
class Run:
    """Consecutive frames of the lead clip, which has ``tracks`` faces in all.

    ``missing`` are wanted frames that give no sample, with the reason.
    """

    size_wh: tuple[int, int]
    fps: float
    tracks: int = 0
    moments: list[Moment] = field(default_factory=list)
    missing: list[tuple[int, str]] = field(default_factory=list)
    held: int = 0


@dataclass(frozen=True, slots=True)
class Chosen:
    """The frames to make samples of, what cannot be had with the reason, and how many are stand-ins.

    ``decoded`` and ``detected`` count wanted frames, before stand-ins.
    """

    frames: tuple[int, ...]
    missing: tuple[tuple[int, str], ...]
    topped_up: int
    decoded: int
    detected: int


def survey(path: Path, detector: FaceDetector) -> Survey:
    """Find the faces of a clip; raises MediaError if it cannot be opened.

    A picture without a face is searched once more at a third of the usual lines, which averages noise out: of heavily
    perturbed pictures whose face was missed, real and fake alike, that finds most.
    """
    found = find_faces(read_frames(path), detector, sparse=is_sequence(path))
    if len(found.frames) != 1 or found.tracks:
        return found
    lines = detector.coarse // 3
    return find_faces(read_frames(path), replace(detector, coarse=lines, fine=lines))


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
    decoded, detected = planned & there, [index for index in planned & there if found.has_face(index)]
    return Chosen(tuple(sorted(used)), tuple(missing), len(used - planned), len(decoded), len(detected))


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


def runs(
    path: Path,
    chosen: Chosen,
    found: Survey,
    fps: float,
    params: CropParams,
    *,
    followed: bool,
    tubes: Tubes | None = None,
) -> Iterator[Run]:
    """Read the clip again and yield it in runs, up to the last frame that is needed.

    With ``followed``, frames that are not wanted are in the runs too, with what it takes to tell where a fake was
    forged and whether it lies on its original; else only wanted ones. With ``tubes``, faces are cut out by these.
    """
    wanted, missing = set(chosen.frames), dict(chosen.missing)
    probes = _probes(found) if followed else frozenset()
    end = max((*chosen.frames, *missing), default=-1)
    run: Run | None = None
    for frame in read_frames(path):
        if frame.index > end and not followed:
            break
        if run is not None and run.size_wh != frame.size_wh:
            yield run
            run = None
        run = run or Run(frame.size_wh, fps, found.tracks)
        faces = found.faces_at(frame.index)
        if tubes is not None:
            faces = [replace(face, tube=tubes.get(frame.index, {}).get(face.track_id)) for face in faces]
        moment = Moment(frame.index, frame.time_s, faces, frame.index in wanted, frame.index in probes)
        _fill(moment, frame, params, followed)
        if moment.wanted or followed:
            run.moments.append(moment)
        run.held += sum(crop.nbytes for crop in (*moment.crops, *moment.windows))
        if sum(m.wanted for m in run.moments) >= RUN_FRAMES or run.held > RUN_BYTES or len(run.moments) >= 1024:
            yield run
            run = None
    run = run or Run((0, 0), fps, found.tracks)
    run.missing = sorted(missing.items())
    yield run


def _probes(found: Survey) -> frozenset[int]:
    with_face = [index for index in found.frames if found.has_face(index)]
    return frozenset(with_face[number] for number in evenly(len(with_face), PROBES))


def _fill(moment: Moment, frame: Frame, params: CropParams, followed: bool) -> None:
    """Cut out of a frame what its moment needs."""
    faces = moment.faces
    if moment.wanted:
        moment.crops = [cut(frame, face.cut_box, params) for face in faces]
    if not followed:
        return
    if moment.wanted or moment.probe:
        moment.windows = [window(frame, face.cut_box, params) for face in faces]
    moment.patches = [face_patch(frame, face.box) for face in faces]
    if moment.wanted or is_checked(frame.index):
        boxes: list[Box] = [face.box for face in faces]
        small = thumb_size(frame.size_wh)
        picture = thumb(frame, (0, 0, *frame.size_wh), small)
        moment.thumb = picture, outside(boxes, frame.size_wh, small)
