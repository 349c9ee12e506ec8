"""Find the faces on the original, and cut the same boxes out of the original and all its fakes, in step.

Only crops survive a frame: the lead's wait in runs of a few dozen for the fakes to come to the same frames.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from forgeprep.errors import MediaError
from forgeprep.ops.faces import FaceDetector, make_detector
from forgeprep.ops.video import read_header
from forgeprep.schemas.clips import Clip
from forgeprep.schemas.samples import columns_of
from forgeprep.stages.base import ClipLog, Group, GroupLog, Resources, Sample, Stage, common
from forgeprep.stages.cursor import Cursor
from forgeprep.stages.cut import CropParams, call_real, cut_gray, describe, drop
from forgeprep.stages.follow import Follower
from forgeprep.stages.lead import Run, choose, find_tubes, runs, survey


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
    # Others may stem from the same source, but nothing says from which frames.
    paired = [clip for clip in fakes if original is not None and clip.original_id == original.clip_id]
    for clip in fakes:
        log.clips[clip.clip_id].pairing = None if clip.original_id is None else "guessed" if clip.guessed else "stated"
    alone = [clip for clip in fakes if clip not in paired]
    if original is not None:
        # A reference is accounted for in its own split.
        own = log if original is not group.reference else GroupLog({original.clip_id: ClipLog(original)})
        found = _Followed(original, paired, root, group, params, companions, log)
        yield from found.samples(own, with_lead=own is log)
        alone += found.refused if found.readable else paired
    for clip in alone:
        yield from _without_its_original(clip, root, group, params, companions, log)


class _Followed:
    """An original and the fakes that are cut in step with it.

    Attributes:
        readable: whether the original gave any frame.
        refused: fakes whose guessed original turned out to be another picture; nothing of them was yielded.
    """

    def __init__(
        self,
        lead: Clip,
        fakes: list[Clip],
        root: Path,
        group: Group,
        params: CropParams,
        companions: frozenset[str],
        log: GroupLog,
    ) -> None:
        self.lead, self.root, self.group, self.params, self.log = lead, root, group, params, log
        self.followers = [Follower(clip, lead, root, params, companions, log, len(fakes)) for clip in fakes]
        self.readable = False
        self.refused: list[Clip] = []

    def samples(self, own: GroupLog, *, with_lead: bool) -> Iterator[list[Sample]]:
        """All samples, in runs of one clip each; the lead's are accounted for in ``own``."""
        for run in _lead_runs(self.lead, self.root, self.group, self.params, own, followed=bool(self.followers)):
            self.readable = True
            if with_lead:
                yield _lead_samples(self.lead, run, self.params, own, self.group, {})
            for follower in list(self.followers):
                samples = follower.samples(run, self.group)
                if follower.is_refused:
                    self._refuse(follower)
                else:
                    yield from samples
        for follower in self.followers:
            yield from follower.finish(self.group)
            follower.close()

    def _refuse(self, follower: Follower) -> None:
        follower.close()
        self.followers.remove(follower)
        self.refused.append(follower.clip)
        self.log.drops = [drop for drop in self.log.drops if drop.clip_id != follower.clip.clip_id]


def _without_its_original(
    clip: Clip, root: Path, group: Group, params: CropParams, companions: frozenset[str], log: GroupLog
) -> Iterator[list[Sample]]:
    """A fake whose original is unknown or unreadable; a guess that was refused goes on to the candidates."""
    refused = clip.original_id is not None and clip.guessed and log.clips[clip.clip_id].decoded > 0
    if refused:
        for name, path in clip.candidates.items():
            other = replace(clip, original_id=name)
            log.clips[clip.clip_id] = _entry(other, group, "candidate", clip.original_id)
            lead = replace(clip, clip_id=name, path=path, label=0, original_id=None, companions={}, spans=None)
            found = _Followed(lead, [other], root, group, params, companions, log)
            # The candidate has its own samples elsewhere.
            yield from found.samples(GroupLog({name: ClipLog(lead)}), with_lead=False)
            if found.readable and not found.refused:
                return
        clip, guess = replace(clip, original_id=None), clip.original_id
        log.clips[clip.clip_id] = _entry(clip, group, "refused", guess)
    beside = {name: Cursor(root / path) for name, path in sorted(clip.companions.items()) if name in companions}
    for run in _lead_runs(clip, root, group, params, log, followed=False):
        yield _lead_samples(clip, run, params, log, group, beside)
    for cursor in beside.values():
        cursor.close()


def _entry(clip: Clip, group: Group, pairing: str, guess: str | None) -> ClipLog:
    return ClipLog(clip, requested=len(group.frames), pairing=pairing, original_guess=guess)


def _lead_runs(
    clip: Clip, root: Path, group: Group, params: CropParams, log: GroupLog, *, followed: bool
) -> Iterator[Run]:
    """The lead clip in runs; drops for the whole clip if it cannot be opened."""
    entry = log.clips[clip.clip_id]
    try:
        entry.fps = read_header(root / clip.path).fps
        found = survey(root / clip.path, _detector(params.detector))
        chosen = choose(
            group.frames, found, top_up=group.top_up, known=common(group.labelled) if group.labelled else None
        )
        entry.decoded, entry.detected, entry.topped_up = chosen.decoded, chosen.detected, chosen.topped_up
        entry.tracks = found.tracks
        tubes = find_tubes(group.windows, found) if group.window else None
        yield from runs(root / clip.path, chosen, found, entry.fps, params, followed=followed, tubes=tubes)
    except MediaError as error:
        entry.error = error.message
        log.drops += [drop(group, clip, index, None, error.reason, error.message) for index in group.frames]


def _lead_samples(
    clip: Clip, run: Run, params: CropParams, log: GroupLog, group: Group, beside: dict[str, Cursor]
) -> list[Sample]:
    """The samples of the clip that the faces were found on: the original, or a fake without one."""
    log.drops += [drop(group, clip, index, None, reason) for index, reason in run.missing]
    if run.moments:
        log.clips[clip.clip_id].width, log.clips[clip.clip_id].height = run.size_wh
    samples = []
    for moment in run.moments:
        others = {name: cursor.at(moment.index) for name, cursor in beside.items()}
        for face, crop in zip(moment.faces, moment.crops, strict=False):
            place = moment.index, moment.time_s, run.size_wh
            sample = Sample(describe(clip, place, None, face, crop, params))
            for name, other in others.items():
                part = None if other is None else cut_gray(other, face.cut_box, run.size_wh, params)
                if part is not None:
                    sample.companions[name] = part
            if clip.label == 1 and len(moment.faces) > 1:
                sample.drop("no_original", "several faces, and no original to tell the forged one")
            told = clip.label_at(moment.index)
            if told is None:
                sample.drop("unlabelled")
            elif clip.label == 1 and told == 0:
                call_real(sample)
            samples.append(sample)
    return samples


@functools.cache
def _detector(name: str) -> FaceDetector:
    return make_detector(name)


_RESOURCES = {
    "libfacedetection": Resources(),
    "dlib-hog": Resources(),
    "whole": Resources(),
    "dlib-cnn": Resources(memory=2 << 30),
    "face-alignment": Resources(memory=3 << 30, gpus=0.25),
}


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
    resources=lambda params: _RESOURCES[params.detector],
    check=check,
)
