"""Find the faces on the original, and cut the same boxes out of the original and all its fakes, in lockstep.

Only crops survive a frame. The original is read a few frames ahead (the tracker's look-ahead); its crops wait in runs
of at most :data:`RUN_FRAMES` frames for the fakes to come to the same frames.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydantic import Field

from forgeprep.errors import MediaError
from forgeprep.ops.faces import Detector, DetectorName, make_detector
from forgeprep.ops.geometry import IntBox, crop_gray, crop_rgb, padding_of, resize_square, square_crop_box
from forgeprep.ops.masks import difference_level
from forgeprep.ops.tracks import Face, track_faces
from forgeprep.ops.video import Frame, UInt8, read_frames
from forgeprep.schemas.clips import Clip
from forgeprep.schemas.drops import Drop
from forgeprep.schemas.samples import columns_of
from forgeprep.stages.base import ClipLog, Group, GroupLog, Sample, Stage, StageParams

RUN_FRAMES = 32
RUN_BYTES = 16 << 20
"""A run of samples ends after so many frames or bytes of the original's crops, whichever comes first."""
ALTERED_SHARE = 0.5
"""A face counts as forged if its mean difference is at least this share of the clip's most different face."""


class CropParams(StageParams):
    """Parameters of the stage ``crop``."""

    detector: DetectorName = Field(default="dlib-hog", description="dlib-hog, dlib-cnn or face-alignment")
    enlarge: float = Field(default=1.3, ge=1.0, le=4.0, description="side of the crop over side of the face box")
    size: int | None = Field(
        default=None, ge=16, le=4096, description="resize crops to this side in pixels; default: native resolution"
    )


@dataclass(slots=True)
class _Slot:
    """A wanted frame of the lead clip: its faces and their crops, or why there are none."""

    index: int
    time_s: float = 0.0
    size_wh: tuple[int, int] = (0, 0)
    faces: list[Face] = field(default_factory=list)
    crops: list[UInt8] = field(default_factory=list)
    reason: str | None = None


def stream(
    group: Group, root: Path, params: CropParams, companions: frozenset[str], log: GroupLog
) -> Iterator[list[Sample]]:
    """Yield the group's samples in runs of one clip each; everything that cannot be made goes to ``log``.

    An original that cannot be read leaves its fakes without one: they are then cut by boxes of their own.
    """
    for clip in group.clips:
        log.clips[clip.clip_id] = ClipLog(clip, requested=len(group.frames))
    original = group.original
    fakes = [clip for clip in group.clips if clip.label == 1]
    lead_ok = False
    if original is not None:
        followers = [_Follower(clip, root, companions, log) for clip in fakes]
        for run in _runs(original, root, group, params, log):
            lead_ok = True
            yield _lead_samples(original, run, params, log, group)
            for follower in followers:
                yield follower.samples(run, params, group)
        for follower in followers:
            follower.close()
    if not lead_ok:
        for clip in fakes:
            for run in _runs(clip, root, group, params, log):
                yield _lead_samples(clip, run, params, log, group)


def _runs(clip: Clip, root: Path, group: Group, params: CropParams, log: GroupLog) -> Iterator[list[_Slot]]:
    """The lead clip's wanted frames in runs; drops for the whole clip if it cannot be opened."""
    run: list[_Slot] = []
    held = 0
    try:
        for slot in _slots(clip, root, group.frames, params, log):
            run.append(slot)
            held += sum(crop.nbytes for crop in slot.crops)
            if len(run) == RUN_FRAMES or held > RUN_BYTES:
                yield run
                run, held = [], 0
        if run:
            yield run
    except MediaError as error:
        log.clips[clip.clip_id].error = error.message
        log.drops += [_drop(group, clip, index, None, error.reason, error.message) for index in group.frames]


def _slots(clip: Clip, root: Path, wanted: tuple[int, ...], params: CropParams, log: GroupLog) -> Iterator[_Slot]:
    entry = log.clips[clip.clip_id]
    todo = iter(wanted)
    due = next(todo, None)
    tracks: set[int] = set()
    for frame, faces in track_faces(read_frames(root / clip.path), _detector(params.detector)):
        while due is not None and due < frame.index:
            yield _Slot(due, reason="decode_error")
            due = next(todo, None)
        if due is None:
            break
        if due != frame.index:
            continue
        _note_frame(entry, frame)
        tracks.update(face.track_id for face in faces)
        entry.tracks = len(tracks)
        entry.detected += bool(faces)
        crops = [_cut(frame, square_crop_box(face.box, params.enlarge), params) for face in faces]
        yield _Slot(due, frame.time_s, frame.size_wh, faces, crops, None if faces else "no_face")
        due = next(todo, None)
    while due is not None:
        yield _Slot(due, reason="past_end")
        due = next(todo, None)


def _lead_samples(clip: Clip, run: list[_Slot], params: CropParams, log: GroupLog, group: Group) -> list[Sample]:
    """The samples of the clip that the faces were found on: the original, or a fake without one."""
    samples = []
    for slot in run:
        if slot.reason is not None:
            log.drops.append(_drop(group, clip, slot.index, None, slot.reason))
        for face, crop in zip(slot.faces, slot.crops, strict=True):
            sample = Sample(_row(clip, slot, face, crop, params))
            if clip.label == 1 and len(slot.faces) > 1:
                sample.drop("no_original", "several faces, and no original to tell the forged one")
            samples.append(sample)
    return samples


class _Follower:
    """A fake read in step with its original. It stays open over the runs, so that nothing is decoded twice."""

    def __init__(self, clip: Clip, root: Path, companions: frozenset[str], log: GroupLog) -> None:
        self.clip = clip
        self.log = log
        self.entry = log.clips[clip.clip_id]
        self.frames = _Cursor(root / clip.path)
        self.companions = {
            name: _Cursor(root / path) for name, path in sorted(clip.companions.items()) if name in companions
        }
        self.levels: dict[int, tuple[float, int]] = {}

    def samples(self, run: list[_Slot], params: CropParams, group: Group) -> list[Sample]:
        """The fake's samples at the run's frames, cut by the original's boxes."""
        samples: list[Sample] = []
        for slot in run:
            frame = self.frames.at(slot.index)
            if frame is not None:
                _note_frame(self.entry, frame)
            self.entry.error = self.frames.error
            self.entry.detected += frame is not None and bool(slot.faces)
            reason, detail = self._refuse(slot, frame)
            if reason is not None or frame is None:
                tracks: list[int | None] = [face.track_id for face in slot.faces]
                drops = [_drop(group, self.clip, slot.index, track, reason or "", detail) for track in tracks or [None]]
                self.log.drops += drops
                continue
            samples += self._cut(slot, frame, params)
        self._mark_bystanders(samples)
        self.entry.tracks = self.log.clips[self.clip.original_id or ""].tracks
        return samples

    def close(self) -> None:
        """Let the decoders go."""
        for cursor in (self.frames, *self.companions.values()):
            cursor.close()

    def _refuse(self, slot: _Slot, frame: Frame | None) -> tuple[str | None, str | None]:
        if frame is None:
            return self.frames.missing(slot.index)
        if slot.reason is not None:
            return slot.reason, "in the original"
        if frame.size_wh != slot.size_wh:
            return "size_mismatch", "{}x{}, its original {}x{}".format(*frame.size_wh, *slot.size_wh)
        return None, None

    def _cut(self, slot: _Slot, frame: Frame, params: CropParams) -> list[Sample]:
        samples = []
        companions = {name: cursor.at(slot.index) for name, cursor in self.companions.items()}
        for face, original in zip(slot.faces, slot.crops, strict=True):
            box = square_crop_box(face.box, params.enlarge)
            row = _row(self.clip, slot, face, _cut(frame, box, params), params)
            row["timestamp_s"] = frame.time_s
            extras = {n: _cut_gray(f, box, slot.size_wh, params) for n, f in companions.items() if f is not None}
            samples.append(Sample(row, original, extras))
        return samples

    def _mark_bystanders(self, samples: list[Sample]) -> None:
        """Where a clip shows several people, the forged one is the one that differs from the original."""
        seen = {sample.row["track_id"] for sample in samples} | set(self.levels)
        if len(seen) < 2:
            return
        for sample in samples:
            assert sample.original is not None
            total, count = self.levels.get(sample.row["track_id"], (0.0, 0))
            level = difference_level(sample.image, sample.original)
            self.levels[sample.row["track_id"]] = total + level, count + 1
        means = {track: total / count for track, (total, count) in self.levels.items()}
        most = max(means.values())
        for sample in samples:
            if means[sample.row["track_id"]] < ALTERED_SHARE * most:
                sample.drop("bystander")


class _Cursor:
    """Random access forward: the frame at an index that only grows."""

    def __init__(self, path: Path) -> None:
        self.stream = read_frames(path)
        self.current: Frame | None = None
        self.ended = False
        self.error: str | None = None
        self.reason = "past_end"

    def at(self, index: int) -> Frame | None:
        while not self.ended and (self.current is None or self.current.index < index):
            try:
                self.current = next(self.stream)
            except StopIteration:
                self.ended, self.current = True, None
            except MediaError as error:
                self.ended, self.current = True, None
                self.error, self.reason = error.message, error.reason
        return self.current if self.current is not None and self.current.index == index else None

    def missing(self, index: int) -> tuple[str, str | None]:
        """Why there is no frame ``index``: a drop reason and its detail."""
        if self.ended:
            return self.reason, self.error
        return "decode_error", None

    def close(self) -> None:
        self.stream.close()  # type: ignore[attr-defined]


@functools.cache
def _detector(name: str) -> Detector:
    return make_detector(name)


def _cut(frame: Frame, box: IntBox, params: CropParams) -> UInt8:
    crop = crop_rgb(frame, box)
    return crop if params.size is None else resize_square(crop, params.size)


def _cut_gray(frame: Frame, box: IntBox, size_wh: tuple[int, int], params: CropParams) -> UInt8:
    """A crop of a companion video, scaled to the clip's frame where sizes differ; nearest: no new values."""
    import cv2

    if frame.size_wh != size_wh:
        scaled = np.asarray(cv2.resize(frame.y, size_wh, interpolation=cv2.INTER_NEAREST), np.uint8)
        frame = Frame(frame.index, frame.time_s, scaled, frame.u, frame.v, frame.matrix, frame.full_range)
    crop = crop_gray(frame, box)
    if params.size is None:
        return crop
    return np.asarray(cv2.resize(crop, (params.size, params.size), interpolation=cv2.INTER_NEAREST), np.uint8)


def _row(clip: Clip, slot: _Slot, face: Face, crop: UInt8, params: CropParams) -> dict[str, object]:
    box = square_crop_box(face.box, params.enlarge)
    return {
        "sample_id": f"{clip.clip_id}/{face.track_id}/{slot.index:06d}",
        "dataset": clip.dataset,
        "split": clip.split,
        "source_id": clip.source_id,
        "clip_id": clip.clip_id,
        "original_id": clip.original_id,
        "frame_index": slot.index,
        "timestamp_s": slot.time_s,
        "track_id": face.track_id,
        "label": clip.label,
        "forgery": clip.forgery,
        "method": clip.method,
        "generator": clip.generator,
        "compression": clip.compression,
        "perturbation": None,
        "frame_size": list(slot.size_wh),
        "face_box": list(face.box),
        "crop_box": list(box),
        "enlarge": params.enlarge,
        "padding": list(padding_of(box, slot.size_wh)),
        "detector": params.detector,
        "detection": face.detection,
        "detection_score": face.score,
        "landmarks": None,
        "image": crop,
        "image_size": [crop.shape[1], crop.shape[0]],
    }


def _note_frame(entry: ClipLog, frame: Frame) -> None:
    entry.decoded += 1
    entry.width, entry.height = frame.size_wh


def _drop(group: Group, clip: Clip, index: int, track: int | None, reason: str, detail: str | None = None) -> Drop:
    return Drop(group.split, group.source_id, clip.clip_id, index, track, reason, detail)


def check(params: CropParams) -> None:
    """Load the detector once, so that missing weights show before the run and not in every worker."""
    _detector(params.detector)


STAGE = Stage(
    name="crop",
    summary="find faces on the original and cut them out of it and all its fakes",
    needs=("frames",),
    adds=columns_of("crop"),
    params=CropParams,
    source=stream,
    check=check,
)
