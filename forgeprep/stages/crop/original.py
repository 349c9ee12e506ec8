"""Steps 1 to 3, for the clip that faces are found on: an original, or a fake without one.

It is decoded, its faces are tracked, and what its fakes need of each frame is cut out: only that outlives the frame,
in stretches of a few dozen wanted frames, at whose end the fakes come to the same frames.

Most clips are read once. Twice are read: clips of which frames without a face are replaced by others, since which ones
is known only at the end; samples of several frames, which are cut by one box; folders of pictures; and what
:mod:`forgeprep.faces.lookahead` cannot hold.
"""

from __future__ import annotations

import functools
import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile

from forgeprep.faces.landmarks import REACH, FramesWithFaces
from forgeprep.faces.tracks import Face, Survey
from forgeprep.media.frame_folder import is_frame_folder
from forgeprep.media.frames import Frame, UInt8
from forgeprep.media.video import Learned, read_frames
from forgeprep.ops.change import face_patch
from forgeprep.ops.pairing import chroma_thumb, is_checked, outside, tells_time, thumb, thumb_size
from forgeprep.params.crop import CropParams
from forgeprep.schemas.clips import Clip
from forgeprep.schemas.drops import Drop
from forgeprep.stages.base import Group, common
from forgeprep.stages.crop.boxes import Finder
from forgeprep.stages.crop.choice import Chosen, ProbeFrames, Tubes, choose, find_tubes
from forgeprep.stages.crop.crops import can_cut, cut_face, drop, window
from forgeprep.stages.crop.outside import Thumb
from forgeprep.stages.crop.places import at_places, find_places, with_places

STRETCH_FRAMES = 32
STRETCH_BYTES = 16 << 20
"""A stretch ends after so many wanted frames or bytes of their crops, whichever comes first."""
STRETCH_MOMENTS = 1024
WAITING_BYTES = 64 << 20
"""What the stretches of a clip may hold that wait for its end, to know whether all wanted frames show a face."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A frame of the clip, as far as its fakes need it.

    Attributes:
        faces: the faces, by track.
        wanted: whether samples are made of it.
        probe: whether it is one of the frames by which faint forgeries are told, see :data:`choice.PROBES`.
        crops: uint8 (H, H, 3) RGB, one for each face, if the frame is wanted; None for one that cannot be cut.
        patches: uint8 (48, 48) luma, one for each face, with fakes.
        windows: uint8 (S, S, 3) RGB, one for each face, with fakes and the frame is wanted or a probe.
        thumb: the whole picture in small; only where the pairing is checked.
    """

    index: int
    time_s: float
    faces: tuple[Face, ...]
    wanted: bool
    probe: bool
    crops: tuple[UInt8 | None, ...]
    patches: tuple[UInt8, ...]
    windows: tuple[UInt8, ...]
    thumb: Thumb | None

    @property
    def nbytes(self) -> int:
        """Bytes of the pictures that it holds."""
        pictures = (*self.crops, *self.patches, *self.windows)
        return sum(picture.nbytes for picture in pictures if picture is not None)

    @property
    def cropped(self) -> list[tuple[Face, UInt8]]:
        """The faces that samples are made of, with their crops."""
        return [(face, crop) for face, crop in zip(self.faces, self.crops, strict=False) if crop is not None]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive frames of the clip, of one size.

    Attributes:
        size_wh: width and height of the frames.
        fps: frames per second; 0 where the file does not say.
        chosen: which frames are used in all, and how many tracks there are: known with the last stretch only.
        own: the frames of those clips that do not give all that are wanted.
    """

    size_wh: tuple[int, int] = (0, 0)
    fps: float = 0.0
    moments: list[Moment] = field(default_factory=list)
    chosen: tuple[Chosen, int] | None = None
    own: Mapping[str, frozenset[int]] = field(default_factory=dict)

    def wants(self, clip_id: str, moment: Moment) -> bool:
        """Whether a clip gives samples at a moment."""
        return moment.wanted and (clip_id not in self.own or moment.index in self.own[clip_id])


def read_original(
    clip: Clip, finder: Finder, group: Group, params: CropParams, learned: Learned, *, with_fakes: bool
) -> Iterator[Stretch]:
    """Read the clip that faces are found on, in stretches; the last one may be without frames.

    With ``with_fakes``, frames that are not wanted are in the stretches too, with what it takes to tell where a fake
    was forged and whether it lies on its original.

    Raises:
        MediaError: the clip cannot be opened.
    """

    def stretches(frames: FramesWithFaces, wanted: Iterable[int]) -> Iterator[Stretch]:
        probes, asked = ProbeFrames(clip.end if with_fakes else 0), frozenset(wanted)
        moments = (
            (_moment(frame, faces, frame.index in asked, probes, params, with_fakes=with_fakes), frame.size_wh)
            for frame, faces in frames
        )
        return _joined(moments, learned, with_fakes=with_fakes)

    of_clips = functools.partial(_of_clips, group)
    path = finder.path
    # What holds for all frames of a clip is known when all have been seen.
    for_all = params.align != "none" and (params.align_per == "clip" or group.sequence_length is not None)
    if group.sequence_length is not None or is_frame_folder(path) or for_all:
        found = finder.survey()
    else:
        found = Survey()
        seen = iter(finder.frames(learned, found))
        once = stretches(with_places(seen, params, frozenset(group.frames), path), group.frames)
        if not group.top_up and group.spread.isdisjoint(group.own):
            yield from of_clips(once, None)
            yield Stretch(chosen=(_chosen(clip, group, found), found.tracks))
            return
        waiting = _held(once)
        deque(seen, maxlen=0)
        chosen = _chosen(clip, group, found)
        if waiting is not None and _wanted(waiting) == chosen.frames:
            yield from of_clips(waiting, chosen)
            yield Stretch(chosen=(chosen, found.tracks))
            return
    chosen = _chosen(clip, group, found)
    tubes = find_tubes(group.sequences, found) if group.sequence_length else None
    last = max(chosen.frames, default=-1) + REACH
    wanted = frozenset(chosen.frames)
    windows = group.sequences if group.sequence_length else [chosen.frames]

    def again(until: float) -> Iterator[tuple[Frame, Sequence[Face]]]:
        frames = takewhile(lambda frame: frame.index <= until, read_frames(path, learned))
        return _known(frames, found, tubes)

    whole = again(math.inf if with_fakes else last)
    if for_all:
        places = find_places(with_places(again(last), params, wanted, path), params, windows)
        yield from of_clips(stretches(at_places(whole, places, params), wanted), chosen)
    else:
        yield from of_clips(stretches(with_places(whole, params, wanted, path), wanted), chosen)
    yield Stretch(chosen=(chosen, found.tracks))


def frames_of(clip_id: str, group: Group, chosen: Chosen | None) -> tuple[int, ...]:
    """The frames that a clip gives samples at; before it is known which are ``chosen``, as planned."""
    if chosen is None:
        return group.frames_of(clip_id)
    return chosen_of(clip_id, group, chosen).frames


def chosen_of(clip_id: str, group: Group, chosen: Chosen) -> Chosen:
    """What is used and what is missing of the frames of a clip."""
    own = group.own.get(clip_id)
    return chosen if own is None else chosen.of_clip(own, spread=clip_id in group.spread)


def no_landmarks(group: Group, clip: Clip, moment: Moment) -> list[Drop]:
    """Drops of the faces at a moment that cannot be cut; where it is not wanted, none."""
    lost = [face for face, crop in zip(moment.faces, moment.crops, strict=False) if crop is None]
    return [drop(group, clip, moment.index, face.track_id, "no_landmarks") for face in lost]


def _chosen(clip: Clip, group: Group, found: Survey) -> Chosen:
    """Which frames are used, now that all are known."""
    known = common(group.labelled) if group.labelled else None
    chosen = choose(group.frames, found, top_up=group.top_up, known=known)
    return replace(chosen, missing=tuple((index, _told(clip, index, reason)) for index, reason in chosen.missing))


def _wanted(stretches: Iterable[Stretch]) -> tuple[int, ...]:
    return tuple(moment.index for stretch in stretches for moment in stretch.moments if moment.wanted)


def _told(clip: Clip, index: int, reason: str) -> str:
    """Why a frame cannot be had; of a folder of pictures its names tell more."""
    return clip.lost(index, reason) if reason in ("past_end", "decode_error") else reason


def _known(frames: Iterable[Frame], found: Survey, tubes: Tubes | None) -> Iterator[tuple[Frame, Sequence[Face]]]:
    """Frames with faces that are known already, and their tubes."""
    for frame in frames:
        faces = found.faces_at(frame.index)
        if tubes is not None:
            faces = [replace(face, tube=tubes.get(frame.index, {}).get(face.track_id)) for face in faces]
        yield frame, faces


def _moment(
    frame: Frame, faces: Sequence[Face], asked: bool, probes: ProbeFrames, params: CropParams, *, with_fakes: bool
) -> Moment:
    """Cut out of a frame what is needed of it."""
    wanted = asked and bool(faces)
    probe = with_fakes and bool(faces) and probes.take(frame.index)
    checked = with_fakes and (wanted or is_checked(frame.index) or tells_time(frame.index))
    crops = [cut_face(frame, face, params) if can_cut(face, params) else None for face in faces] if wanted else []
    return Moment(
        index=frame.index,
        time_s=frame.time_s,
        faces=tuple(faces),
        wanted=wanted,
        probe=probe,
        crops=tuple(crops),
        patches=tuple(face_patch(frame, face.box) for face in faces) if with_fakes else (),
        windows=tuple(window(frame, face.cut_box, params) for face in faces)
        if with_fakes and (wanted or probe)
        else (),
        thumb=_thumb(frame, faces) if checked else None,
    )


def _thumb(frame: Frame, faces: Sequence[Face]) -> Thumb:
    small = thumb_size(frame.size_wh)
    keep = outside([face.box for face in faces], frame.size_wh, small)
    return Thumb(thumb(frame, (0, 0, *frame.size_wh), small), keep, chroma_thumb(frame, small))


def _joined(
    moments: Iterable[tuple[Moment, tuple[int, int]]], learned: Learned, *, with_fakes: bool
) -> Iterator[Stretch]:
    """Moments in stretches; without fakes, without those that are not wanted."""
    stretch, held, wanted = Stretch(), 0, 0
    for moment, size_wh in moments:
        if stretch.moments and stretch.size_wh != size_wh:
            yield stretch
            stretch = Stretch()
        if not stretch.moments:
            stretch, held, wanted = Stretch(size_wh, learned.fps or 0.0), 0, 0
        if moment.wanted or with_fakes:
            stretch.moments.append(moment)
        held, wanted = held + moment.nbytes, wanted + moment.wanted
        if wanted >= STRETCH_FRAMES or held > STRETCH_BYTES or len(stretch.moments) >= STRETCH_MOMENTS:
            yield stretch
            stretch = Stretch()
    if stretch.moments:
        yield stretch


def _of_clips(group: Group, made: Iterable[Stretch], chosen: Chosen | None) -> Iterator[Stretch]:
    own = {name: frozenset(frames_of(name, group, chosen)) for name in group.own}
    return (replace(stretch, own=own) for stretch in made)


def _held(stretches: Iterator[Stretch]) -> list[Stretch] | None:
    """All stretches, or None if they are too much to hold."""
    waiting, size = [], 0
    for stretch in stretches:
        waiting.append(stretch)
        size += sum(moment.nbytes for moment in stretch.moments)
        if size > WAITING_BYTES:
            return None
    return waiting
