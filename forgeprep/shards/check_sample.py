"""What must hold within one sample."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from forgeprep.errors import VerifyError
from forgeprep.ops.mask_signs import stray_share
from forgeprep.ops.similarity import mask_grid, pack_grid
from forgeprep.schemas.columns import Column
from forgeprep.schemas.samples import MAIN, SAMPLE_COLUMNS
from forgeprep.shards.encode import decode_image
from forgeprep.shards.sequences import split_frames

UInt8 = npt.NDArray[np.uint8]

MASK_SOURCES = ("difference", "provided", "literal", "exact", "pristine", "absent")


def row_problems(row: dict[str, Any], columns: Sequence[Column] = SAMPLE_COLUMNS) -> Iterator[str]:
    """Say what is wrong with a sample; nothing if all is well. Columns that the row lacks are not checked.

    Args:
        row: a row as :func:`forgeprep.shards.read.iter_rows` gives it with ``decode=False``.
        columns: the columns of single frames.
    """
    yield from _label_problems(row)
    yield from _perturbation_problems(row)
    yield from _geometry_problems(row)
    decoded: dict[str, UInt8] = {}
    for column in columns:
        if column.is_picture and row.get(column.name) is not None:
            try:
                decoded[column.name] = decode_image(row[column.name]["bytes"] or b"")
            except VerifyError as error:
                yield f"{column.name}: {error}"
    yield from _size_problems(row, decoded, columns)
    yield from _own_problems(row, decoded, columns)
    if "mask_source" in row and (row["mask_source"] == "absent") != (row["mask"] is None):
        yield f"mask_source is '{row['mask_source']}', but there is {'no' if row['mask'] is None else 'a'} mask"
    if "mask_source" in row:
        yield from _source_problems(row)
    if "mask" in decoded and decoded["mask"].ndim == 2:
        yield from _mask_problems(row, decoded["mask"])
        if "mask_provided" in decoded and decoded["mask_provided"].shape == decoded["mask"].shape:
            yield from _provided_problems(row, decoded["mask"], decoded["mask_provided"])
        yield from _sign_problems(row, decoded["mask"], decoded.get("difference"))


def sequence_problems(row: dict[str, Any], length: int, columns: Sequence[Column] = SAMPLE_COLUMNS) -> Iterator[str]:
    """The same for a sample of ``length`` frames: what is wrong with it, and with each of its frames."""
    once = {"padded", *(column.name for column in columns if column.in_sequence != "each")}
    for name in sorted(row.keys() - once | {"frame_labels"}):
        if not isinstance(row[name], list) or len(row[name]) != length:
            yield f"{name} is no list of {length} values, one a frame"
            return
    frames = split_frames(row, once)
    if row["sample_id"] != frames[0]["sample_id"]:
        yield f"sample_id should be {frames[0]['sample_id']} by its clip, track and first frame"
    if row["label"] != max(row["frame_labels"]):
        yield f"label is {row['label']}, but the frames' labels are {row['frame_labels']}"
    if not 0 <= row["padded"] < length:
        yield f"padded is {row['padded']}, of {length} frames"
        return
    last = length - 1 - row["padded"]
    steps = {b["frame_index"] - a["frame_index"] for a, b in pairwise(frames[: last + 1])}
    if any(step < 0 for step in steps):
        yield "its frames are not in order"
    for place, frame in enumerate(frames[: last + 1]):
        yield from (f"frame {place}: {what}" for what in row_problems(frame, columns))
    for frame in frames[last + 1 :]:
        if {**frame, **_without_paths(frame)} != {**frames[last], **_without_paths(frames[last])}:
            yield "what pads it is not its last frame"


def _without_paths(frame: dict[str, Any]) -> dict[str, Any]:
    return {name: value["bytes"] for name, value in frame.items() if isinstance(value, dict)}


def _label_problems(row: dict[str, Any]) -> Iterator[str]:
    expected = f"{row['clip_id']}/{row['track_id']}/{row['frame_index']:06d}"
    if row["sample_id"] != expected:
        yield f"sample_id should be {expected} by its clip, track and frame"
    label, forgery, method = row["label"], row["forgery"], row["method"]
    if label not in (0, 1):
        yield f"label is {label}, neither 0 nor 1"
    elif not (label == 0) == (forgery == "real") == (method is None):
        yield f"label {label}, forgery '{forgery}' and method {method!r} contradict each other"
    yield from _sound_problems(row)
    # A real may have an original: a frame of a fake that was not forged.
    if row["original_id"] == row["clip_id"]:
        yield "its original_id is its own clip"


def _sound_problems(row: dict[str, Any]) -> Iterator[str]:
    # Runs of earlier versions lack both.
    seen, heard = row.get("visual_label"), row.get("audio_label")
    for name, value in (("visual_label", seen), ("audio_label", heard)):
        if value not in (None, 0, 1):
            yield f"{name} is {value}, neither 0 nor 1 nor null"
    if seen == 1 and row["label"] == 0:
        yield "label is 0, but visual_label 1"
    if (row["forgery"] == "audio") != (row["label"] == 1 and seen == 0):
        yield f"label {row['label']}, visual_label {seen} and forgery '{row['forgery']}' contradict each other"
    elif row["forgery"] == "audio" and heard != 1:
        yield f"forgery is 'audio', but audio_label {heard}"


def _perturbation_problems(row: dict[str, Any]) -> Iterator[str]:
    if "perturbation_params" not in row:
        return
    names, params = row["perturbation"], row["perturbation_params"]
    try:
        told = [] if params is None else json.loads(params)
        fits = len(told) == (0 if names is None else names.count("+") + 1) and all(isinstance(p, dict) for p in told)
    except (ValueError, TypeError):
        fits = False
    if not fits:
        yield f"perturbation is {names!r}, but perturbation_params are {params!r}"


def _geometry_problems(row: dict[str, Any]) -> Iterator[str]:
    points, scheme = row.get("landmarks"), row.get("landmark_scheme")
    if "landmark_scheme" in row and (points is None) != (scheme is None):
        yield f"landmark_scheme is {scheme!r}, but there are {'no' if points is None else 'some'} landmarks"
    if points is not None and (len(points) % 2 or not np.isfinite(points).all()):
        yield "landmarks are no pairs of numbers"
    if row.get("crop_matrix") is not None:
        a, b, c, d, e, f = row["crop_matrix"]
        if not np.isfinite([a, b, c, d, e, f]).all() or a * e - b * d <= 0:
            yield "crop_matrix takes no frame to a crop"


def _size_problems(row: dict[str, Any], decoded: dict[str, UInt8], columns: Sequence[Column]) -> Iterator[str]:
    image = decoded.get(MAIN)
    if image is not None and _size(image) != tuple(row["image_size"]):
        yield f"image is {_text(_size(image))}, but image_size says {_text(row['image_size'])}"
    for column in columns:
        picture = decoded.get(column.name)
        if picture is None:
            continue
        kinds = ("gray", "RGB") if picture.ndim == 2 else ("RGB", "gray")
        if column.channels is not None and (column.channels == 1) != (picture.ndim == 2):
            yield f"{column.name} is {kinds[0]}, not {kinds[1]}"
        if column.like_crop and image is not None and _size(picture) != _size(image):
            yield f"{column.name} is {_text(_size(picture))}, but the crop is {_text(_size(image))}"


def _own_problems(row: dict[str, Any], decoded: dict[str, UInt8], columns: Sequence[Column]) -> Iterator[str]:
    """What columns say of their own values."""
    for column in columns:
        value = decoded.get(column.name) if column.is_picture else row.get(column.name)
        if column.check is not None and value is not None:
            try:
                problem = column.check(value, row)
            except Exception as error:  # what damage makes another's function raise cannot be foreseen
                problem = f"cannot be checked ({type(error).__name__}: {error})"
            if problem is not None:
                yield f"{column.name}: {problem}"


def _mask_problems(row: dict[str, Any], mask: UInt8) -> Iterator[str]:
    counts = np.bincount(mask.reshape(-1), minlength=256)
    forged = int(counts[255])
    if counts[0] + forged != mask.size:
        yield f"mask holds {mask.size - counts[0] - forged} pixels that are neither 0 nor 255"
    # What is forged in its sound alone looks real.
    looks_real = row["label"] == 0 or row.get("visual_label") == 0
    if looks_real and counts[0] != mask.size:
        yield "mask of a real is not all zero"
    if not looks_real and counts[0] == mask.size:
        yield "mask of a fake is all zero"
    if looks_real != (row["mask_source"] == "pristine"):
        yield f"label {row['label']} and mask_source '{row['mask_source']}' contradict each other"
    share = forged / mask.size
    # Half a pixel, plus what float32 rounds off.
    if not abs(share - row["mask_fraction"]) <= 0.5 / mask.size + 1e-6:
        yield f"mask_fraction is {row['mask_fraction']:.6f}, but the mask's is {share:.6f}"
    if row.get("similarity") is not None and row["similarity"] != pack_grid(mask_grid(mask, row["similarity_side"])):
        yield "similarity does not follow from the mask"


def _source_problems(row: dict[str, Any]) -> Iterator[str]:
    source = row["mask_source"]
    if source not in MASK_SOURCES:
        yield f"mask_source is '{source}', which is none of {', '.join(MASK_SOURCES)}"
    if source == "literal":
        yield from (
            f"a literal mask has no {n}" for n in ("mask_threshold", "mask_confidence") if row.get(n) is not None
        )
    if row.get("mask_provided") is not None and source not in ("difference", "literal"):
        yield f"mask_source is '{source}', but there is a mask_provided beside the mask"


def _provided_problems(row: dict[str, Any], mask: UInt8, provided: UInt8) -> Iterator[str]:
    both, either = np.count_nonzero(mask & provided), np.count_nonzero(mask | provided)
    if np.count_nonzero(provided == 255) != np.count_nonzero(provided):
        yield "mask_provided holds pixels that are neither 0 nor 255"
    # A perturbation moves both, and the agreement is from before.
    elif row["perturbation"] is None and either and abs(both / either - (row["mask_agreement"] or 0.0)) > 1e-5:
        yield f"mask_agreement is {row['mask_agreement']}, but the IoU of mask and mask_provided is {both / either:.6f}"


def _sign_problems(row: dict[str, Any], mask: UInt8, difference: UInt8 | None) -> Iterator[str]:
    # Runs of earlier versions lack both.
    stray, jump = row.get("mask_stray"), row.get("mask_jump")
    if jump is not None and not 0 <= jump <= 1:
        yield f"mask_jump is {jump}, which is not from 0 to 1"
    if stray is None:
        return
    # A perturbation moves the mask, and the share is from before.
    fits = row["perturbation"] is None and (difference is None or difference.shape == mask.shape)
    expected = stray_share(mask, difference) if fits else None
    if not 0 <= stray <= 1 or (expected is not None and abs(stray - expected) > 1e-4):
        yield f"mask_stray is {stray:.6f}" + ("" if expected is None else f", but the mask's is {expected:.6f}")


def _size(picture: UInt8) -> tuple[int, int]:
    return picture.shape[1], picture.shape[0]


def _text(size_wh: Sequence[int]) -> str:
    return "x".join(str(side) for side in size_wh)
