"""Samples of the clip that its faces were found on: an original, or a fake without one."""

from __future__ import annotations

import numpy as np

from forgeprep.media.forward_reader import ForwardReader
from forgeprep.media.frames import Frame
from forgeprep.params.crop import CropParams
from forgeprep.schemas.clips import Clip
from forgeprep.stages.base import Group, GroupLog, Sample
from forgeprep.stages.crop.crops import add_companions, call_real, drop, sample_at
from forgeprep.stages.crop.original import Stretch, chosen_of, no_landmarks
from forgeprep.stages.mask import LEVELS

LEAST_MASKED = 0.02
"""A provided mask lies on a face if it covers so much of it, and a quarter of what it covers of another one."""


def own_samples(
    clip: Clip, stretch: Stretch, params: CropParams, log: GroupLog, group: Group, beside: dict[str, ForwardReader]
) -> list[Sample]:
    """The samples at a stretch, with the crops of the companion files ``beside``; what is missing is dropped."""
    if stretch.chosen is not None:
        chosen = chosen_of(clip.clip_id, group, stretch.chosen[0])
        log.drops += [drop(group, clip, index, None, reason) for index, reason in chosen.missing]
    if stretch.moments:
        log.clips[clip.clip_id].width, log.clips[clip.clip_id].height = stretch.size_wh
    samples: list[Sample] = []
    for moment in stretch.moments:
        if not stretch.wants(clip.clip_id, moment):
            continue
        made = []
        others = {name: reader.at(moment.index) for name, reader in beside.items()}
        if "whole" in clip.companions:
            others["mask"] = _all_of(moment.index, stretch.size_wh)
        log.drops += no_landmarks(group, clip, moment)
        for face, crop in moment.cropped:
            place = moment.index, moment.time_s, stretch.size_wh
            sample = sample_at(clip, place, None, face, crop, params)
            add_companions(sample, others, face, stretch.size_wh, params)
            told = clip.label_at(moment.index)
            if told is None:
                sample.drop("unlabelled")
            elif clip.label == 1 and told == 0:
                call_real(sample)
            made.append(sample)
        if clip.label == 1 and clip.audio_only != "yes" and len(moment.faces) > 1:
            _tell_faces_apart(made, params)
        samples += made
    return samples


def _all_of(index: int, size_wh: tuple[int, int]) -> Frame:
    """A mask of the whole frame."""
    white = np.full((size_wh[1], size_wh[0]), 255, np.uint8)
    return Frame(index, 0.0, (white,), "gray", (0, 0), full_range=True)


def _tell_faces_apart(samples: list[Sample], params: CropParams) -> None:
    """Of several faces in a frame of a fake without an original, those are forged that the provided mask lies on."""
    shares = [_masked(sample) for sample in samples]
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


def _masked(sample: Sample) -> float | None:
    """The share of the face that the provided mask covers, 0 to 1; None where there is no mask.

    A pixel below the level at which a mask counts as such adds a part, so that weak magnitudes tell faces apart too.
    """
    kind = next((name for name in LEVELS if name in sample.companions), None)
    if kind is None:
        return None
    crop = sample.companions[kind]
    # The face's own box, so that a neighbour in the crop does not count.
    rim = round(len(crop) * (1 - 1 / sample.enlarge) / 2)
    face = crop[rim : len(crop) - rim, rim : len(crop) - rim]
    return float(np.minimum(face / LEVELS[kind], 1.0).mean())
