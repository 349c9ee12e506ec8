"""Sequences: samples of several frames in a row, for forgery detectors of videos.

A row holds the columns that all frames share as they are and all others as lists with an entry a frame. Its frames are
cut out by one box, so that their pictures are of one size.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from forgeprep.schemas.samples import ONCE, SEQUENCE_COLUMNS

UInt8 = npt.NDArray[np.uint8]
Row = dict[str, Any]

MARK = SEQUENCE_COLUMNS[0].name
"""The column that tells a sequence from a single frame."""


@dataclass(frozen=True, slots=True)
class SequenceArrays:
    """A sequence as arrays.

    Attributes:
        images: uint8 (T, H, W, 3), RGB.
        masks: uint8 (T, H, W), 255 forged and 0 pristine; 0 where ``has_mask`` is false.
        has_mask: bool (T,), whether there is a mask of the frame.
        labels: int8 (T,), 0 real and 1 fake.
        real_frames: how many of the T frames are not padding.
    """

    images: UInt8
    masks: UInt8
    has_mask: npt.NDArray[np.bool_]
    labels: npt.NDArray[np.int8]
    real_frames: int


def is_sequence(row: Mapping[str, Any]) -> bool:
    """Whether a row is a sample of several frames."""
    return MARK in row


def sequence_arrays(row: Row) -> SequenceArrays:
    """The frames of a sequence, from a row whose pictures are decoded; the run needs no masks for that."""
    images = np.stack(row["image"])
    masks = np.zeros(images.shape[:3], np.uint8)
    given = row.get("mask") or [None] * len(images)
    for place, mask in zip(masks, given, strict=True):
        if mask is not None:
            place[:] = mask
    labels = np.asarray(row[MARK], np.int8)
    return SequenceArrays(images, masks, np.array([m is not None for m in given]), labels, len(images) - row["padded"])


def join_frames(frames: Sequence[Row], length: int, once: Collection[str] = ONCE) -> Row:
    """A sequence of ``length`` frames; where there are fewer, the last one is repeated.

    Args:
        frames: rows of single frames, their pictures encoded as ``{"bytes", "path"}``.
        length: frames of the sample.
        once: columns that it has once: they come from the first forged frame, else from the first.
    """
    padded = [*frames, *[frames[-1]] * (length - len(frames))]
    forged = [frame for frame in frames if frame["label"] == 1]
    # One that is seen to be forged says more than one that is heard to be.
    first = next((frame for frame in forged if frame.get("visual_label") != 0), (forged or frames)[0])
    sample_id = frames[0]["sample_id"]
    row: Row = {}
    for name in frames[0]:
        if name in once:
            row[name] = first[name]
        else:
            row[name] = [_renamed(frame[name], sample_id, frame, place) for place, frame in enumerate(padded)]
        if name == "label":
            row[MARK] = [frame["label"] for frame in padded]
            row["padded"] = length - len(frames)
    row["sample_id"] = sample_id
    return row


def split_frames(row: Row, once: Collection[str] = ONCE) -> list[Row]:
    """The frames of a sequence as rows of single frames, in order, those that are padding too.

    Columns of ``once`` are in each of them, and so is whatever is no list.
    """
    count = len(row[MARK])
    shared = {name for name, value in row.items() if name in once or not isinstance(value, list)} - {MARK, "padded"}
    frames = []
    for place, label in enumerate(row[MARK]):
        frame = {
            name: value if name in shared else value[place]
            for name, value in row.items()
            if name not in (MARK, "padded") and (name in shared or len(value) == count)
        }
        frame["label"] = label
        if label == 0:
            real = {"forgery": "real", "method": None, "family": None}
            frame |= {name: value for name, value in real.items() if name in frame}
        elif frame.get("visual_label") == 0 and "forgery" in frame:
            frame |= {"forgery": "audio", "family": None} if "family" in frame else {"forgery": "audio"}
        if "frame_index" in frame and "track_id" in frame and "clip_id" in frame:
            frame["sample_id"] = f"{frame['clip_id']}/{frame['track_id']}/{frame['frame_index']:06d}"
        frames.append(frame)
    return frames


def poster(row: Row, *, worst: bool = False) -> int:
    """The number of the frame that stands for a sample: of a fake the middle one of those forged.

    With ``worst``, it is the one whose mask is least sure. A sample of one frame has the number 0 alone.
    """
    if not is_sequence(row):
        return 0
    places = [place for place, label in enumerate(row[MARK]) if label == row["label"]]
    # A literal mask has no confidence, but may have an IoU with the dataset's own.
    for name in ("mask_confidence", "mask_agreement") if worst else ():
        least = [(row[name][p], p) for p in places if row.get(name) and row[name][p] is not None]
        if least:
            return min(least)[1]
    return places[len(places) // 2]


def frame_of(row: Row, number: int) -> Row:
    """A frame of a sample, as a row of a single frame."""
    return split_frames(row)[number] if is_sequence(row) else row


def _renamed(value: Any, sample_id: str, frame: Row, place: int) -> Any:
    """A picture under the name that it has in a sequence: ``ID.003.mask.png``."""
    if not isinstance(value, dict) or value.keys() != {"bytes", "path"}:
        return value
    return {"bytes": value["bytes"], "path": f"{sample_id}.{place:03d}{value['path'].removeprefix(frame['sample_id'])}"}
