"""Samples are cut out of a frame and described, alike for an original and its fakes."""

from __future__ import annotations

import math
from collections.abc import Mapping

import cv2
import numpy as np

from forgeprep.faces.tracks import Face
from forgeprep.media.frames import Frame, UInt8
from forgeprep.media.regions import Box, IntBox, crop_gray, crop_rgb, padding_of, window_rgb
from forgeprep.ops.alignment import aligned_gray, aligned_rgb, outside
from forgeprep.ops.evidence import PIXELS, WIDE, Pair, grid_side
from forgeprep.ops.geometry import inverse, matrix_of_box, resize_square, square_crop_box
from forgeprep.ops.masks import Crop
from forgeprep.params.crop import CropParams
from forgeprep.schemas.clips import Clip
from forgeprep.schemas.drops import Drop
from forgeprep.stages.base import Group, Sample
from forgeprep.stages.crop.detector import margin_of, scheme_of

MAX_SKEW = 0.02
"""By so much the sides of a companion may be in another proportion: a codec rounds them to even numbers."""


def can_cut(face: Face, params: CropParams) -> bool:
    """Whether a face can be cut: an aligned crop needs landmarks."""
    return params.align == "none" or face.aligned is not None


def cut_face(frame: Frame, face: Face, params: CropParams) -> UInt8:
    """The crop of a face, uint8 (H, H, 3) RGB."""
    if face.aligned is not None:
        return aligned_rgb(frame, face.aligned)
    crop = crop_rgb(frame, square_crop_box(face.cut_box, params.enlarge))
    return crop if params.size is None else resize_square(crop, params.size)


def cut_gray(frame: Frame, face: Face, size_wh: tuple[int, int], params: CropParams) -> UInt8 | None:
    """A crop of a companion video, scaled to the clip's frame where sizes differ; nearest: no new values.

    None where the companion's picture has another shape: nothing says what was cut off.
    """
    (width, height), (own_width, own_height) = size_wh, frame.size_wh
    if abs(own_width * height - width * own_height) > MAX_SKEW * width * own_height:
        return None
    if frame.size_wh != size_wh:
        scaled = np.asarray(cv2.resize(frame.y, size_wh, interpolation=cv2.INTER_NEAREST), np.uint8)
        frame = Frame(frame.index, frame.time_s, (scaled,), "gray", (0, 0), full_range=frame.full_range)
    if face.aligned is not None:
        return aligned_gray(frame, face.aligned)
    crop = crop_gray(frame, square_crop_box(face.cut_box, params.enlarge))
    if params.size is None:
        return crop
    return np.asarray(cv2.resize(crop, (params.size, params.size), interpolation=cv2.INTER_NEAREST), np.uint8)


def add_companions(
    sample: Sample, beside: Mapping[str, Frame | None], face: Face, size_wh: tuple[int, int], params: CropParams
) -> None:
    """Cut a face out of the companions' frames too, as far as that is possible."""
    for name, companion in beside.items():
        part = None if companion is None else cut_gray(companion, face, size_wh, params)
        if part is None:
            sample.lost_companions.add(name)
        else:
            sample.companions[name] = part


def window_box(face: Box, params: CropParams) -> IntBox:
    """The square around a face that a fake and its original are compared in."""
    # Where the whole picture is taken as the face, the face itself is about as much smaller as in a usual crop.
    wide = WIDE / 1.3 if params.detector == "whole" else max(WIDE, margin_of(params))
    return square_crop_box(face, wide)


def window(frame: Frame, face: Box, params: CropParams) -> UInt8:
    """What a mask is made from: the surroundings of a face, uint8 (S, S, 3) RGB, see :class:`Pair`."""
    return window_rgb(frame, window_box(face, params), PIXELS * grid_side(max(WIDE, margin_of(params))))


def compared(
    windows: tuple[UInt8, UInt8], face: Face, size_wh: tuple[int, int], params: CropParams
) -> tuple[Pair, Crop]:
    """A fake's window and its original's, and where the fake's crop lies in it; box and frame size are the fake's."""
    around, box = window_box(face.cut_box, params), crop_box(face, params)
    side = around[2] - around[0]
    left, top, right, bottom = (pad / side for pad in padding_of(around, size_wh))
    x0, y0, x1, y1 = ((box[i] - around[i % 2]) / side for i in range(4))
    pair = Pair(*windows, (left, top, right, bottom))
    if face.aligned is not None:
        back = inverse(face.aligned.matrix)
        back[:, 2] += 0.5 - np.array(around[:2])
        seen = max(0, around[0]), max(0, around[1]), min(size_wh[0], around[2]), min(size_wh[1], around[3])
        unseen = outside(face.aligned, seen)
        return pair, Crop(face.aligned.side, (x0, y0, x1, y1), matrix=back / side, outside=unseen)
    # A resized crop has padding of its own.
    crop_side = params.size or box[2] - box[0]
    scale = crop_side / (box[2] - box[0])
    pads = padding_of(box, size_wh)
    padding = (
        math.ceil(scale * pads[0]),
        math.ceil(scale * pads[1]),
        math.ceil(scale * pads[2]),
        math.ceil(scale * pads[3]),
    )
    return pair, Crop(crop_side, (x0, y0, x1, y1), padding)


def crop_box(face: Face, params: CropParams) -> IntBox:
    """The crop in frame pixels; of an aligned one, the upright box around it."""
    return square_crop_box(face.cut_box, params.enlarge) if face.aligned is None else face.aligned.box


def sample_at(
    clip: Clip,
    place: tuple[int, float, tuple[int, int]],
    original_frame: int | None,
    face: Face,
    crop: UInt8,
    params: CropParams,
) -> Sample:
    """A sample that is as its clip's label says.

    Args:
        clip: the clip that it was cut from.
        place: frame index, time in seconds, and frame size of that clip.
        original_frame: index of the same frame in the original; None for an original.
        face: the face, its box in that clip's pixels.
        crop: the crop.
        params: how it was cut.
    """
    index, time_s, size_wh = place
    box = crop_box(face, params)
    matrix = matrix_of_box(box, len(crop)) if face.aligned is None else face.aligned.matrix
    return Sample(
        sample_id=f"{clip.clip_id}/{face.track_id}/{index:06d}",
        dataset=clip.dataset,
        split=clip.split,
        source_id=clip.source_id,
        clip_id=clip.clip_id,
        original_id=clip.original_id,
        frame_index=index,
        original_frame=original_frame,
        timestamp_s=None if math.isnan(time_s) else time_s,
        track_id=face.track_id,
        label=clip.label,
        forgery=clip.forgery,
        method=clip.method,
        family=clip.family,
        compression=clip.compression,
        frame_size=size_wh,
        face_box=face.box,
        crop_box=box,
        enlarge=margin_of(params),
        padding=padding_of(box, size_wh),
        detector=params.detector,
        detection=face.detection,
        detection_score=face.score,
        landmarks=None if face.landmarks is None else [float(value) for value in face.landmarks.ravel()],
        landmark_scheme=None if face.landmarks is None else scheme_of(params),
        crop_matrix=[float(value) for value in matrix.ravel()],
        image=crop,
    )


def call_real(sample: Sample) -> None:
    """Label a sample of a fake that is not altered itself."""
    sample.label, sample.forgery, sample.method, sample.family = 0, "real", None, None


def drop(group: Group, clip: Clip, index: int, track: int | None, reason: str, detail: str | None = None) -> Drop:
    """A drop of a planned sample; ``index`` is the original's frame, where the clip has an original."""
    return Drop(group.split, group.source_id, clip.clip_id, index, track, reason, detail)
