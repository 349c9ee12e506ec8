"""The way of a source group: the original is read in stretches, each fake comes to the same frames, samples go on.

A fake whose original was guessed tries one candidate after the other until one fits. What is left without an original,
or has one that cannot be read, is cut by the faces found on itself. Of dozens of large fakes some come after the
others, beside their original once more: each holds its decoder's frames.
"""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from forgeprep.errors import MediaError
from forgeprep.media import guard
from forgeprep.media.forward_reader import ForwardReader
from forgeprep.media.video import Learned
from forgeprep.params.crop import CropParams
from forgeprep.schemas.clips import BOXES, Clip
from forgeprep.stages.base import ClipLog, Group, GroupLog, Sample
from forgeprep.stages.crop.boxes import finder_of
from forgeprep.stages.crop.crops import drop
from forgeprep.stages.crop.fake import FITS, Fake
from forgeprep.stages.crop.given_landmarks import with_landmarks
from forgeprep.stages.crop.original import Stretch, chosen_of, read_original
from forgeprep.stages.crop.own_faces import own_samples
from forgeprep.stages.crop.periods import with_frames
from forgeprep.stages.crop.sound import with_sound

IN_STEP_BYTES = 512 << 20
"""What the fakes that are read in step may hold: 8 of 1080 lines."""
HELD_FRAMES = 10
"""Frames that each of them holds, where it has so many: six or seven in its decoder, three outside."""


@dataclass(frozen=True, slots=True)
class _Making:
    root: Path
    params: CropParams
    companions: frozenset[str]
    log: GroupLog


def samples_of_group(
    group: Group, root: Path, params: CropParams, companions: frozenset[str], log: GroupLog
) -> Iterator[list[Sample]]:
    """Yield the group's samples in runs of one clip each; everything that cannot be made goes to ``log``.

    Args:
        group: the clips and the frames wanted of them.
        root: the dataset's folder.
        params: how faces are found and cut out.
        companions: kinds of the dataset's own files that are cut out too, such as ``mask``.
        log: filled in: what became of each clip, and all drops.
    """
    make = _Making(root, params, companions - {BOXES}, log)
    group, told = with_frames(group, root)
    for clip in group.clips:
        frames = group.frames_of(clip.clip_id)
        log.clips[clip.clip_id] = ClipLog(clip, frames, requested=len(frames), warnings=told.get(clip.clip_id, []))
    without = {clip.clip_id: clip for clip in group.clips if clip.label == 1}
    for original in _originals(group):
        # Others may stem from the same source, but nothing says from which frames.
        # Of what looks real, nothing is to be compared.
        unseen = [clip for clip in without.values() if clip.audio_only == "yes"]
        fakes = [clip for clip in without.values() if original.clip_id in clip.options and clip not in unseen]
        if fakes or original in group.clips:
            part = group if original is group.original else group.part(original, fakes)
            for samples, paired in _original_and_fakes(original, fakes, part, make):
                for clip_id in paired:
                    del without[clip_id]
                yield samples
    for clip in without.values():
        yield from _alone(clip, group, make)


def _originals(group: Group) -> list[Clip]:
    """The reals that the fakes are compared with: the original, then others of the group and of elsewhere."""
    others = [clip for clip in group.members if clip.label == 0]
    return sorted(others, key=lambda clip: clip is not group.original)


def _original_and_fakes(
    original: Clip, clips: list[Clip], group: Group, make: _Making
) -> Iterator[tuple[list[Sample], list[str]]]:
    """Runs of samples of a real and of its fakes; at the end, the fakes that are settled by it."""
    left = yield from _in_step(original, clips, group, make)
    while left:
        # PyAV's pictures refer to themselves, and the C library keeps what is freed.
        gc.collect()
        guard.release_memory()
        left = yield from _in_step(original, left, group, make, again=True)


def _in_step(
    original: Clip, clips: list[Clip], group: Group, make: _Making, *, again: bool = False
) -> Generator[tuple[list[Sample], list[str]], None, list[Clip]]:
    """The same for as many fakes as can be read at a time; returns the others.

    If the real is read ``again``, it gives no samples any more.
    """
    log = make.log
    # A reference is accounted for in its own group.
    known = original.clip_id in log.clips and not again
    own = log if known else GroupLog({original.clip_id: ClipLog(original)})
    for clip in (original, *clips) if own is log else clips:
        log.clips[clip.clip_id].frames = group.frames_of(clip.clip_id)
    fakes: list[Fake] = []
    readable, end = False, None
    for stretch in _stretches(original, group, make, own, with_fakes=bool(clips)):
        if not readable:
            fakes = _fakes(clips[: _at_a_time(original, stretch.size_wh)], original, make)
        readable, end = True, stretch.chosen
        if own is log:
            yield _with_more(own_samples(original, stretch, make.params, log, group, {}), original, make.root), []
        for fake in fakes:
            for samples in fake.samples(stretch, group):
                yield _with_more(samples, fake.clip, make.root), []
        if own is not log and all(fake.is_refused() for fake in fakes):
            break
    settled = []
    for fake in fakes if readable else _fakes(clips, original, make):
        if readable:
            log.clips[fake.clip.clip_id].boxes_from = own.clips[original.clip_id].boxes_from
        for samples in fake.finish(group, *end) if end is not None else []:
            yield _with_more(samples, fake.clip, make.root), []
        if _settle(fake, original, group, log, readable=readable):
            settled.append(fake.clip.clip_id)
    yield [], settled
    return clips[len(fakes) :] if readable else []


def _fakes(clips: list[Clip], original: Clip, make: _Making) -> list[Fake]:
    """Fakes that are read in step, and share the room in which samples wait."""
    return [Fake(clip, original, make.root, make.params, make.companions, make.log, len(clips)) for clip in clips]


def _at_a_time(original: Clip, size_wh: tuple[int, int]) -> int:
    """How many fakes of a size are read in step with their original; the same on every machine."""
    held = min(HELD_FRAMES, original.end or HELD_FRAMES) * 3 * size_wh[0] * size_wh[1]
    return max(1, IN_STEP_BYTES // max(1, held))


def _settle(fake: Fake, original: Clip, group: Group, log: GroupLog, *, readable: bool) -> bool:
    """Write down what became of a fake beside an original; False where it has to go on without."""
    fake.reader.close()
    clip_id = fake.clip.clip_id
    entry = log.clips[clip_id]
    if fake.clip.guessed:
        entry.guesses.append((original.clip_id, fake.told() if readable else "unreadable"))
    if readable and fake.verdict == FITS:
        entry.clip, entry.pairing = fake.clip, "guessed" if fake.clip.guessed else "stated"
        entry.requested = len(group.frames_of(clip_id))
        entry.warnings += fake.warnings()
        entry.learn(fake.reader.learned)
        return True
    log.clips[clip_id] = ClipLog(
        entry.clip, entry.frames, requested=entry.requested, guesses=entry.guesses, warnings=entry.warnings
    )
    if fake.clip.periods is not None and fake.reader.unfit is not None:
        entry.warnings.append(fake.reader.unfit[1])
    return False


def _alone(clip: Clip, group: Group, make: _Making) -> Iterator[list[Sample]]:
    """The samples of a fake by the faces found on itself."""
    entry = make.log.clips[clip.clip_id]
    kinds = {name: path for name, path in sorted(clip.companions.items()) if name in make.companions}
    beside = {name: ForwardReader(make.root / path) for name, path in kinds.items()}
    if entry.guesses:
        entry.pairing = "refused"
        group = group.part(clip)
        entry.frames = group.frames_of(clip.clip_id)
        entry.requested = len(entry.frames)
        if clip.periods is not None:
            entry.warnings.append("it does not lie on its original: taken without, labelled as the dataset's list says")
    else:
        found = "stated" if clip.audio_only == "yes" else "missing"
        entry.pairing = "none" if clip.original_id is None else found
    # A guess costs nothing, also one of what is not on disk, where the dataset has a mask of its own.
    if clip.guessed and (entry.guesses or beside):
        clip = entry.clip = replace(clip, original_id=None)
    for stretch in _stretches(clip, group, make, make.log, with_fakes=False):
        yield _with_more(own_samples(clip, stretch, make.params, make.log, group, beside), clip, make.root)
    for reader in beside.values():
        reader.close()


def _with_more(samples: list[Sample], clip: Clip, root: Path) -> list[Sample]:
    """With what else the dataset knows of them."""
    return with_landmarks(with_sound(samples, clip), clip, root)


def _stretches(clip: Clip, group: Group, make: _Making, log: GroupLog, *, with_fakes: bool) -> Iterator[Stretch]:
    """The clip that faces are found on, in stretches; drops for the whole clip if it cannot be opened."""
    entry, learned = log.clips[clip.clip_id], Learned()
    try:
        finder = finder_of(clip, make.root, make.params)
        entry.boxes_refused = finder.refused
        for stretch in read_original(clip, finder, group, make.params, learned, with_fakes=with_fakes):
            entry.boxes_from = finder.found_on
            if stretch.chosen is not None:
                every, entry.tracks = stretch.chosen
                chosen = chosen_of(clip.clip_id, group, every)
                entry.decoded, entry.detected, entry.topped_up = chosen.decoded, chosen.detected, chosen.topped_up
            yield stretch
    except MediaError as error:
        entry.error = error.message
        log.drops += [drop(group, clip, index, None, error.reason, error.message) for index in entry.frames]
    entry.learn(learned)
