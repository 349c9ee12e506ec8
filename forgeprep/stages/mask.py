"""The manipulation mask: what differs between a fake and its original, or what the dataset provides."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from pydantic import Field

from forgeprep.ops.geometry import IntBox
from forgeprep.ops.masks import Pair, difference_masks
from forgeprep.ops.video import UInt8
from forgeprep.schemas.samples import columns_of
from forgeprep.stages.base import Sample, Stage, StageParams

PROVIDED_LEVEL = 1
"""Provided masks are lossy video: what is above this value of 255 counts as manipulated (the usual threshold)."""


class MaskParams(StageParams):
    """Parameters of the stage ``mask``."""

    mask_source: Literal["difference", "provided"] = Field(
        default="difference", description="difference (fake against original) or provided (the dataset's own masks)"
    )


def apply(samples: list[Sample], params: MaskParams) -> None:
    """Add the mask columns; a fake without a mask is dropped, never given an empty one."""
    real = [sample for sample in samples if sample.row["label"] == 0]
    fake = [sample for sample in samples if sample.row["label"] == 1]
    for sample in real:
        empty = np.zeros(sample.image.shape[:2], np.uint8)
        _fill(sample, empty, empty, "pristine", 1.0)
    if params.mask_source == "provided":
        for sample in fake:
            _provided(sample)
    else:
        _differences(fake)


def companions(params: MaskParams) -> frozenset[str]:
    """The dataset's mask videos are read only where they are asked for."""
    return frozenset({"mask"}) if params.mask_source == "provided" else frozenset()


def _provided(sample: Sample) -> None:
    given = sample.companions.get("mask")
    if given is None:
        sample.drop("no_mask")
        return
    mask = np.where(given > PROVIDED_LEVEL, 255, 0).astype(np.uint8)
    if mask.any():
        _fill(sample, mask, None, "provided", 1.0)
    else:
        sample.drop("no_mask", "the provided mask is empty here")


def _differences(samples: list[Sample]) -> None:
    paired = [sample for sample in samples if sample.original is not None]
    for sample in samples:
        if sample.original is None:
            sample.drop("no_original")
    tracks = {sample.row["track_id"] for sample in paired}
    for track in sorted(tracks):
        run = [sample for sample in paired if sample.row["track_id"] == track]
        pairs = [Pair(s.image, s.original, _padding(s)) for s in run if s.original is not None]
        for sample, found in zip(run, difference_masks(pairs, enlarge=run[0].row["enlarge"]), strict=True):
            if found.mask.any():
                _fill(sample, found.mask, found.difference, "difference", found.confidence)
            else:
                sample.drop("no_difference")


def _padding(sample: Sample) -> IntBox:
    """The crop's padding in its own pixels, which a resized crop has others of than the frame."""
    scale = sample.image.shape[0] / (sample.row["crop_box"][3] - sample.row["crop_box"][1])
    left, top, right, bottom = (math.ceil(scale * side) for side in sample.row["padding"])
    return left, top, right, bottom


def _fill(sample: Sample, mask: UInt8, difference: UInt8 | None, source: str, confidence: float) -> None:
    sample.row |= {
        "mask": mask,
        "difference": difference,
        "mask_source": source,
        "mask_threshold": None,
        "mask_agreement": None,
        "mask_fraction": float(np.count_nonzero(mask) / mask.size),
        "mask_confidence": confidence,
    }


STAGE = Stage(
    name="mask",
    summary="binary mask of the forged region, cleaned of compression noise",
    needs=("crop",),
    adds=columns_of("mask"),
    params=MaskParams,
    apply=apply,
    companions=companions,
)
