"""Find the faces on the original, and cut the same boxes out of the original and all its fakes, in step.

Only crops survive a frame: the lead's wait in runs of a few dozen for the fakes to come to the same frames.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from forgeprep.errors import MediaError
from forgeprep.ops.faces import FaceDetector, make_detector
from forgeprep.ops.video import read_rate
from forgeprep.schemas.clips import Clip
from forgeprep.schemas.samples import columns_of
from forgeprep.stages.base import ClipLog, Group, GroupLog, Resources, Sample, Stage, common
from forgeprep.stages.cursor import Cursor
from forgeprep.stages.cut import CropParams, call_real, cut_gray, describe, drop
from forgeprep.stages.follow import FITS, Follower
from forgeprep.stages.lead import Run, choose, find_tubes, runs, survey
from forgeprep.stages.mask import LEVELS

LEAST_MASKED = 0.02
"""A provided mask lies on a face if it covers so much of it, and a quarter of what it covers of another one."""


def stream(
    group: Group, root: Path, params: CropParams, companions: frozenset[str], log: GroupLog
) -> Iterator[list[Sample]]:
    """Yield the group's samples in runs of one clip each; everything that cannot be made goes to ``log``.

    A fake whose original was guessed tries one candidate after the other until one fits. What is left without an
    original, or has one that cannot be read, is cut by boxes of its own.
    """
    make = _Making(root, params, companions, log)
    for clip in group.clips:
        log.clips[clip.clip_id] = ClipLog(clip, group.frames, requested=len(group.frames))
    fakes = [clip for clip in group.clips if clip.label == 1]
    open_ = {clip.clip_id: clip for clip in fakes}
    for lead in _leads(group):
        # Others may stem from the same source, but nothing says from which frames.
        trying = [clip for clip in open_.values() if lead.clip_id in clip.options]
        if trying or lead in group.clips:
            part = group if lead is group.original else group.part(lead, trying)
            for samples, paired in _lead_and_follow(lead, trying, part, make):
                for clip_id in paired:
                    del open_[clip_id]
                yield samples
    for clip in open_.values():
        yield from _alone(clip, group, make)


@dataclass(frozen=True, slots=True)
class _Making:
    root: Path
    params: CropParams
    companions: frozenset[str]
    log: GroupLog


def _leads(group: Group) -> list[Clip]:
    """The reals that the fakes are compared with: the original, then others of the group and of elsewhere."""
    others = [clip for clip in group.members if clip.label == 0]
    return sorted(others, key=lambda clip: clip is not group.original)


def _lead_and_follow(
    lead: Clip, trying: list[Clip], group: Group, make: _Making
) -> Iterator[tuple[list[Sample], list[str]]]:
    """Runs of samples of a real and of the fakes that follow it, with the fakes that are settled by it: at the end."""
    root, params, log = make.root, make.params, make.log
    # A reference is accounted for in its own group.
    own = log if lead.clip_id in log.clips else GroupLog({lead.clip_id: ClipLog(lead)})
    for clip in (lead, *trying) if own is log else trying:
        log.clips[clip.clip_id].frames = group.frames
    followers = [Follower(clip, lead, root, params, make.companions, log, len(trying)) for clip in trying]
    readable = False
    for run in _lead_runs(lead, root, group, params, own, followed=bool(trying)):
        readable = True
        if own is log:
            yield _lead_samples(lead, run, params, log, group, {}), []
        for follower in followers:
            for samples in follower.samples(run, group):
                yield samples, []
        if own is not log and all(follower.is_refused() for follower in followers):
            break
    settled = []
    for follower in followers:
        for samples in follower.finish(group) if readable else []:
            yield samples, []
        follower.close()
        clip_id = follower.clip.clip_id
        entry = log.clips[clip_id]
        if follower.clip.guessed:
            entry.guesses.append((lead.clip_id, follower.told() if readable else "unreadable"))
        if readable and follower.verdict == FITS:
            entry.clip, entry.pairing = follower.clip, "guessed" if follower.clip.guessed else "stated"
            entry.requested = len(group.frames)
            settled.append(clip_id)
        else:
            log.clips[clip_id] = ClipLog(entry.clip, group.frames, requested=entry.requested, guesses=entry.guesses)
    yield [], settled


def _alone(clip: Clip, group: Group, make: _Making) -> Iterator[list[Sample]]:
    """The samples of a fake by the faces found on itself."""
    entry = make.log.clips[clip.clip_id]
    beside = {n: Cursor(make.root / p) for n, p in sorted(clip.companions.items()) if n in make.companions}
    if entry.guesses:
        entry.pairing = "refused"
        group = group.part(clip)
        entry.frames, entry.requested = group.frames, len(group.frames)
    else:
        entry.pairing = "none" if clip.original_id is None else "missing"
    # A guess costs nothing, also one of what is not on disk, where the dataset has a mask of its own.
    if clip.guessed and (entry.guesses or beside):
        clip = entry.clip = replace(clip, original_id=None)
    for run in _lead_runs(clip, make.root, group, make.params, make.log, followed=False):
        yield _lead_samples(clip, run, make.params, make.log, group, beside)
    for cursor in beside.values():
        cursor.close()


def _lead_runs(
    clip: Clip, root: Path, group: Group, params: CropParams, log: GroupLog, *, followed: bool
) -> Iterator[Run]:
    """The lead clip in runs; drops for the whole clip if it cannot be opened."""
    entry = log.clips[clip.clip_id]
    try:
        entry.fps = read_rate(root / clip.path)
        found = survey(root / clip.path, _detector(params.detector, params.min_face))
        chosen = choose(
            group.frames, found, top_up=group.top_up, known=common(group.labelled) if group.labelled else None
        )
        chosen = replace(chosen, missing=_told(chosen.missing, clip))
        entry.decoded, entry.detected, entry.topped_up = chosen.decoded, chosen.detected, chosen.topped_up
        entry.tracks = found.tracks
        tubes = find_tubes(group.windows, found) if group.window else None
        yield from runs(root / clip.path, chosen, found, entry.fps, params, followed=followed, tubes=tubes)
    except MediaError as error:
        entry.error = error.message
        log.drops += [drop(group, clip, index, None, error.reason, error.message) for index in group.frames]


def _told(missing: Sequence[tuple[int, str]], clip: Clip) -> tuple[tuple[int, str], ...]:
    """Frames that cannot be had, with the reason; of a folder of pictures its names tell more."""
    gone = ("past_end", "decode_error")
    return tuple((index, clip.lost(index, reason) if reason in gone else reason) for index, reason in missing)


def _lead_samples(
    clip: Clip, run: Run, params: CropParams, log: GroupLog, group: Group, beside: dict[str, Cursor]
) -> list[Sample]:
    """The samples of the clip that the faces were found on: the original, or a fake without one."""
    log.drops += [drop(group, clip, index, None, reason) for index, reason in run.missing]
    if run.moments:
        log.clips[clip.clip_id].width, log.clips[clip.clip_id].height = run.size_wh
    samples: list[Sample] = []
    for moment in run.moments:
        made = []
        others = {name: cursor.at(moment.index) for name, cursor in beside.items()}
        for face, crop in zip(moment.faces, moment.crops, strict=False):
            place = moment.index, moment.time_s, run.size_wh
            sample = Sample(describe(clip, place, None, face, crop, params))
            for name, other in others.items():
                part = None if other is None else cut_gray(other, face.cut_box, run.size_wh, params)
                if part is not None:
                    sample.companions[name] = part
            told = clip.label_at(moment.index)
            if told is None:
                sample.drop("unlabelled")
            elif clip.label == 1 and told == 0:
                call_real(sample)
            made.append(sample)
        if clip.label == 1 and len(made) > 1:
            _tell_faces_apart(made, params)
        samples += made
    return samples


def _tell_faces_apart(samples: list[Sample], params: CropParams) -> None:
    """Of several faces in a frame of a fake without an original, those are forged that the provided mask lies on."""
    shares = [_masked(sample, params) for sample in samples]
    most = max((share for share in shares if share is not None), default=0.0)
    for sample, share in zip(samples, shares, strict=True):
        if share is None or most < LEAST_MASKED:
            sample.drop("no_original", "several faces, and no original to tell the forged one")
        elif share >= max(LEAST_MASKED, most / 4):
            continue
        elif params.bystanders == "skip":
            sample.drop("bystander")
        else:
            call_real(sample)


def _masked(sample: Sample, params: CropParams) -> float | None:
    """The share of the face that the provided mask covers, 0 to 1; None where there is no mask.

    A pixel below the level at which a mask counts as such adds a part, so that weak magnitudes tell faces apart too.
    """
    kind = next((name for name in LEVELS if name in sample.companions), None)
    if kind is None:
        return None
    crop = sample.companions[kind]
    # The face's own box, so that a neighbour in the crop does not count.
    rim = round(len(crop) * (1 - 1 / params.enlarge) / 2)
    face = crop[rim : len(crop) - rim, rim : len(crop) - rim]
    return float(np.minimum(face / LEVELS[kind], 1.0).mean())


@functools.cache
def _detector(name: str, min_face: float) -> FaceDetector:
    return make_detector(name, min_face)


_RESOURCES = {
    "libfacedetection": Resources(),
    "dlib-hog": Resources(),
    "whole": Resources(),
    "dlib-cnn": Resources(memory=2 << 30),
    "face-alignment": Resources(memory=3 << 30, gpus=0.25),
}


def check(params: CropParams) -> None:
    """Load the detector once, so that missing weights show before the run and not in every worker."""
    _detector(params.detector, params.min_face)


STAGE = Stage(
    name="crop",
    summary="find faces on the original and cut them out of it and all its fakes",
    needs=("frames",),
    adds=columns_of("crop"),
    params=CropParams,
    source=stream,
    resources=lambda params: _RESOURCES[params.detector],
    check=check,
)
