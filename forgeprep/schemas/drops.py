"""Why a planned sample was not made: a closed list, so that nothing is skipped in silence.

:data:`REASONS` are those of forgeprep itself; a stage of another package declares its own (``Stage.drops``). All that a
run may have are written into its ``run.json``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

REASONS: dict[str, str] = {
    "unreadable": "the file is missing, empty or no video that the decoder can open",
    "worker_died": "the clip, or one that belongs to it, kills or hangs the process that reads it",
    "decode_error": "the frame, or the stream before it, could not be decoded",
    "missing_frame": "the folder of pictures has none of this number",
    "past_end": "the clip ends before this frame",
    "no_face": "no face was found at this frame",
    "no_landmarks": "crops are aligned, and no landmarks of a face were found on this face",
    "bystander": "a face of a fake that the forgery did not touch",
    "no_original": "a stage needs the original, and the original is missing or unreadable",
    "size_mismatch": "the fake's picture is another size than its original's, and not simply scaled or letterboxed",
    "unaligned": "no frame of the fake shows the original's frame",
    "unlabelled": "the dataset says of other frames of the clip whether they are forged, but not of this one",
    "short_clip": "the clip has fewer frames than a sample of several frames has",
    "tube_broken": "the face is not there in all frames of a sample, or its shot ends",
    "no_mask": "provided masks were asked for, and there is none for this frame",
    "no_difference": "the fake does not differ visibly from its original at this frame",
    "mask_lost": "the perturbation moved all of a small forged region out of the crop",
    "no_blend": "too little of the face is on the crop to blend it onto itself",
    "no_visual_change": "nothing visible differs from the original in the whole clip, as in an audio-only fake",
}
"""Reason -> what it means."""

TRANSIENT = frozenset({"unreadable", "decode_error", "worker_died"})
"""Reasons that may be gone on another try: after a file was fetched again, or the storage has recovered."""


@dataclass(frozen=True, slots=True)
class Reason:
    """A drop reason of a stage: what it means, and whether it may be gone on another try (``--retry-failed``)."""

    meaning: str
    transient: bool = False


def reasons_of_run(run: Mapping[str, Any]) -> dict[str, Reason]:
    """Name -> reason: all that the samples of a run may be dropped for, from its ``run.json``."""
    told = run.get("drop_reasons")
    if told is None:
        return {name: Reason(meaning, name in TRANSIENT) for name, meaning in REASONS.items()}
    return {name: Reason(one["meaning"], one.get("transient", False)) for name, one in told.items()}


@dataclass(frozen=True, slots=True)
class Drop:
    """A planned sample that could not be made.

    ``frame_index`` counts from 0 in the clip, for a fake in its original; ``track_id`` is None where no face is known;
    ``detail`` says more in words (an error's text), for people.
    """

    split: str
    source_id: str
    clip_id: str
    frame_index: int
    track_id: int | None
    reason: str
    detail: str | None = None


DROP_SCHEMA = pa.schema(
    [
        pa.field("split", pa.string(), nullable=False),
        pa.field("source_id", pa.string(), nullable=False),
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("frame_index", pa.int32(), nullable=False),
        pa.field("track_id", pa.int32()),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string()),
    ]
)
