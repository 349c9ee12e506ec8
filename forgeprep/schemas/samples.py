"""A sample: one definition of its columns, from which Parquet, WebDataset and the docs are made.

Every column belongs to the stage that adds it. ``SAMPLE_COLUMNS`` is the whole list in file order; a run's shards hold
the columns of its stages (:func:`sample_schema`).

In the shards of sequences a sample has several frames: columns that say so (:attr:`Column.in_sequence`) stand once, all
others are lists with an entry a frame (:func:`sequence_columns`).
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from forgeprep.schemas.columns import IMAGE_TYPE, Column, Kind, sequence_column

__all__ = [
    "IMAGE_TYPE",
    "MAIN",
    "ONCE",
    "SAME",
    "SAMPLE_COLUMNS",
    "SEQUENCE_COLUMNS",
    "Column",
    "Kind",
    "columns_of",
    "sample_schema",
    "sequence_columns",
]

MAIN = "image"
"""The crop: its member in a tar has no name but the key's."""


def _ints(n: int) -> pa.DataType:
    return pa.list_(pa.int32(), n)


SAMPLE_COLUMNS: tuple[Column, ...] = (
    Column(
        "sample_id",
        "key",
        pa.string(),
        "clip_id/track/frame, e.g. ffpp/c23/Deepfakes/071_054/0/000123",
        in_sequence="once",
    ),
    Column("dataset", "key", pa.string(), "name of the dataset, e.g. ffpp", in_sequence="once"),
    Column("split", "key", pa.string(), "train, validation or test", in_sequence="once"),
    Column(
        "source_id",
        "key",
        pa.string(),
        "the source group: an original and its fakes at one compression",
        in_sequence="once",
    ),
    Column("clip_id", "key", pa.string(), "the clip, e.g. ffpp/c23/Deepfakes/071_054", in_sequence="once"),
    Column(
        "original_id",
        "key",
        pa.string(),
        "clip_id of the original; null for a clip that is real itself",
        nullable=True,
        in_sequence="once",
    ),
    Column("frame_index", "key", pa.int32(), "index of the frame in the clip, from 0, in order of presentation"),
    Column(
        "original_frame", "key", pa.int32(), "index of the same frame in the original; null without one", nullable=True
    ),
    Column(
        "timestamp_s",
        "key",
        pa.float64(),
        "presentation time of the frame in seconds; null where the clip is a folder of pictures",
        nullable=True,
    ),
    Column(
        "track_id", "key", pa.int32(), "the face's track; the same in an original and its fakes", in_sequence="once"
    ),
    Column("label", "key", pa.int8(), "0 real, 1 fake; of this face at this frame", in_sequence="once"),
    Column(
        "visual_label",
        "key",
        pa.int8(),
        "0 what is seen of this face at this frame is real, 1 it is forged; null where a dataset's label may be of the "
        "sound alone",
        nullable=True,
    ),
    Column(
        "audio_label",
        "key",
        pa.int8(),
        "0 the sound is real while this frame is shown, 1 it is forged; null where nothing tells, or there is no sound",
        nullable=True,
    ),
    Column(
        "forgery",
        "key",
        pa.string(),
        "real, or what was forged: identity_replaced, identity_remained, …; audio for a fake whose sound alone is "
        "forged at this frame",
        in_sequence="once",
    ),
    Column(
        "method",
        "key",
        pa.string(),
        "forgery method as the dataset calls it; null for a real",
        nullable=True,
        in_sequence="once",
    ),
    Column(
        "family",
        "key",
        pa.string(),
        "kind of program that forged, e.g. gan; null for a real, and where it is not known",
        nullable=True,
        in_sequence="once",
    ),
    Column(
        "compression",
        "key",
        pa.string(),
        "raw, c23, c40; null where there is one quality",
        nullable=True,
        in_sequence="once",
    ),
    Column(
        "perturbation",
        "key",
        pa.string(),
        "perturbations and severities, e.g. zoom:2+jpeg:3; null for none",
        nullable=True,
        in_sequence="once",
    ),
    Column("frame_size", "crop", _ints(2), "width, height of the frame in pixels", in_sequence="same"),
    Column("face_box", "crop", pa.list_(pa.float32(), 4), "x0, y0, x1, y1 of the smoothed face box in frame pixels"),
    Column(
        "crop_box",
        "crop",
        _ints(4),
        "x0, y0, x1, y1 of the crop in frame pixels; may reach outside the frame",
        in_sequence="same",
    ),
    Column("enlarge", "crop", pa.float32(), "side of the crop over side of the face box", in_sequence="once"),
    Column(
        "padding",
        "crop",
        _ints(4),
        "left, top, right, bottom: pixels of crop_box outside the frame (black)",
        in_sequence="same",
    ),
    Column("detector", "crop", pa.string(), "face detector that found it, e.g. libfacedetection", in_sequence="once"),
    Column(
        "detection", "crop", pa.string(), "detected (on this frame), interpolated (between two detections) or tracked"
    ),
    Column(
        "detection_score",
        "crop",
        pa.float32(),
        "score at the nearest detection, on the detector's scale",
        nullable=True,
    ),
    Column(
        "landmarks",
        "crop",
        pa.list_(pa.float32()),
        "x0, y0, x1, y1, … in frame pixels, from the centre of the first pixel; smoothed along the track; a fake has "
        "those of its original; null without",
        nullable=True,
    ),
    Column(
        "landmark_scheme",
        "crop",
        pa.string(),
        "which points the landmarks are: dlib-5, ibug-68, dlib-81 or five; null without",
        nullable=True,
        in_sequence="once",
    ),
    Column(
        "crop_matrix",
        "crop",
        pa.list_(pa.float64(), 6),
        "a, b, c, d, e, f: the frame's point (x, y) lies at (a x + b y + c, d x + e y + f) in the crop; both count "
        "from the centre of the first pixel",
        nullable=True,
    ),
    Column("image", "crop", IMAGE_TYPE, "the crop, RGB", kind="image", as_run=True, channels=3),
    Column("image_size", "crop", _ints(2), "width, height of the crop in pixels", in_sequence="same"),
    Column(
        "mask",
        "mask",
        IMAGE_TYPE,
        "8-bit gray, 255 forged, 0 pristine; size of the crop; null where mask_source is absent",
        nullable=True,
        kind="image",
        packing="runs",
        channels=1,
        like_crop=True,
        draw="none",
    ),
    Column(
        "mask_provided",
        "mask",
        IMAGE_TYPE,
        "the dataset's own mask, as mask, where mask itself was made by comparison with the original; may be all 0; "
        "null where the dataset has none, or where it is the mask",
        nullable=True,
        kind="image",
        packing="runs",
        channels=1,
        like_crop=True,
        draw="none",
    ),
    Column(
        "difference",
        "mask",
        IMAGE_TYPE,
        "8-bit gray: how likely each pixel was forged; 128 as likely as not, 20 more for each unit of log-odds, 0 not "
        "compared (reals, padding); size of the crop; null where there is no original, and for self-blended images",
        nullable=True,
        kind="image",
        channels=1,
        like_crop=True,
    ),
    Column(
        "mask_magnitude",
        "mask",
        IMAGE_TYPE,
        "8-bit gray: how much each pixel was altered, as the dataset itself says, or of a self-blended image the share "
        "of the source; null where nothing says so",
        nullable=True,
        kind="image",
        channels=1,
        like_crop=True,
        draw="none",
    ),
    Column(
        "mask_source",
        "mask",
        pa.string(),
        "difference, provided, literal (the plain difference above a level), exact (a self-blended image: where it was "
        "blended), pristine (a real: all zero), or absent (a fake for which no original is known)",
    ),
    Column(
        "mask_threshold",
        "mask",
        pa.int16(),
        "level of the difference above which the mask was cut; null if it was not, as a literal mask: its level is the "
        "run's literal_threshold",
        nullable=True,
    ),
    Column(
        "mask_agreement",
        "mask",
        pa.float32(),
        "IoU of the mask made by comparison with the original and the dataset's own; null where there are not both",
        nullable=True,
    ),
    Column(
        "mask_fraction",
        "mask",
        pa.float32(),
        "forged share of the crop's pixels, 0 to 1; null without mask",
        nullable=True,
    ),
    Column(
        "mask_confidence",
        "mask",
        pa.float32(),
        "0 to 1: the IoU that the mask is expected to have with the forged region; 1 for provided masks; null without "
        "mask, and for literal ones",
        nullable=True,
    ),
    Column(
        "mask_stray",
        "mask",
        pa.float32(),
        "0 to 1: of what differs, the share further than a tenth of the crop from the mask's largest part; of the mask "
        "as it was made, before perturbations; null for reals, and without mask",
        nullable=True,
    ),
    Column(
        "mask_jump",
        "mask",
        pa.float32(),
        "0 to 1: by how much the mask's area, measured in face boxes, differs from the mean of the frames before and "
        "after; before perturbations; null for reals, without mask, and without such a frame within a second",
        nullable=True,
    ),
    Column(
        "perturbation_params",
        "perturb",
        pa.string(),
        "JSON list: for each perturbation in turn its exact parameters; null for none",
        nullable=True,
        in_sequence="once",
    ),
    Column(
        "noise",
        "noise",
        IMAGE_TYPE,
        "wavelet noise residual, 8-bit gray: value = (byte - 128) / 5",
        kind="image",
        packing="residual",
        channels=1,
        like_crop=True,
    ),
    Column("noise_sigma", "noise", pa.float32(), "sigma of the noise filter on the 0-255 scale", in_sequence="once"),
    Column(
        "similarity",
        "similarity",
        pa.binary(),
        "mask on a side x side grid, row-major, 1 bit a cell (np.packbits); the (side^2)^2 map is the XOR of its "
        "cells; null without mask",
        nullable=True,
        suffix="hex",
    ),
    Column("similarity_side", "similarity", pa.int16(), "side of the grid", in_sequence="once"),
)


SEQUENCE_COLUMNS: tuple[Column, ...] = (
    Column(
        "frame_labels",
        "key",
        pa.list_(pa.int8()),
        "label of each frame; label is 1 if one of them is",
        in_sequence="once",
    ),
    Column(
        "padded", "key", pa.int16(), "frames at the end that repeat the last one of a short clip", in_sequence="once"
    ),
)
"""Columns that only shards of sequences have, after ``label``."""

ONCE = frozenset(c.name for c in (*SAMPLE_COLUMNS, *SEQUENCE_COLUMNS) if c.in_sequence != "each")
"""Built-in columns that a sequence has once."""

SAME = frozenset(c.name for c in SAMPLE_COLUMNS if c.in_sequence == "same")
"""Those of them that all frames of a sequence must share."""


def columns_of(stage: str) -> tuple[Column, ...]:
    """The built-in columns that ``stage`` adds; "key" gives those that every sample has."""
    return tuple(c for c in SAMPLE_COLUMNS if c.stage == stage)


def sequence_columns(columns: Sequence[Column]) -> tuple[Column, ...]:
    """The columns of shards of sequences: those that differ between frames become lists, and two are added."""
    found: list[Column] = []
    for column in columns:
        found.append(sequence_column(column))
        if column.name == "label":
            found += SEQUENCE_COLUMNS
    return tuple(found)


def sample_schema(columns: Sequence[Column]) -> pa.Schema:
    """The Arrow schema of shards with these columns, without the Hugging Face metadata."""
    return pa.schema([pa.field(c.name, c.type, nullable=c.nullable) for c in columns])
