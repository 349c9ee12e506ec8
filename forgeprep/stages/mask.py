"""The manipulation mask: what differs between a fake and its original, or what the dataset provides."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from forgeprep.ops.frames import UInt8
from forgeprep.ops.masks import DifferenceMask, difference_masks
from forgeprep.schemas.samples import columns_of
from forgeprep.stages.base import Sample, Stage, StageParams

LEVELS = {"mask": 1, "magnitude": 25}
"""A dataset's own mask counts as manipulated above this value of 255, by its kind.

``mask`` is black and white, but lossy: above 1 is the usual threshold. ``magnitude`` says how much a pixel was altered;
25 is a tenth, the lower of the two levels that ForgeryNet's evaluation uses.
"""


class MaskParams(StageParams):
    """Parameters of the stage ``mask``."""

    mask_source: Literal["difference", "provided"] = Field(
        default="difference", description="difference (fake against original) or provided (the dataset's own masks)"
    )
    missing_original: Literal["drop", "absent"] = Field(
        default="drop",
        description="fakes whose original is not on disk: drop them, or keep them with the dataset's own mask or none",
    )


def apply(samples: list[Sample], params: MaskParams) -> None:
    """Add the mask columns; a fake without a mask is dropped, never given an empty one.

    A fake for which no original is known, and without a mask in the dataset, is kept with its mask absent: null.
    """
    fakes = [sample for sample in samples if sample.row["label"] == 1]
    found = _differences(fakes)
    for sample in samples:
        if sample.row["label"] == 0:
            empty = np.zeros(sample.image.shape[:2], np.uint8)
            _fill(sample, empty, "pristine", DifferenceMask(empty, empty, 0, 1.0))
        elif params.mask_source == "provided":
            _fill_provided(sample, found.get(sample.row["sample_id"]), params)
        else:
            _fill_difference(sample, found.get(sample.row["sample_id"]), params)


def companions(_: MaskParams) -> frozenset[str]:
    """The dataset's own masks are read wherever they are: if they do not serve, they are compared."""
    return frozenset(LEVELS)


def _differences(samples: list[Sample]) -> dict[str, DifferenceMask]:
    """Sample -> its difference mask; nothing for samples without an original."""
    found: dict[str, DifferenceMask] = {}
    for track in sorted({sample.row["track_id"] for sample in samples}):
        run = [s for s in samples if s.row["track_id"] == track and s.compared is not None]
        together = [s.compared for s in run if s.compared is not None]
        pairs, crops = [pair for pair, _ in together], [crop for _, crop in together]
        masks = difference_masks(pairs, crops, enlarge=run[0].row["enlarge"]) if run else []
        found |= {sample.row["sample_id"]: mask for sample, mask in zip(run, masks, strict=True)}
    return found


def _fill_difference(sample: Sample, found: DifferenceMask | None, params: MaskParams) -> None:
    if found is None and _may_be_absent(sample, params):
        _fill_provided(sample, None, params)
    elif found is None:
        sample.drop("no_original")
    elif not found.mask.any():
        sample.drop("no_difference")
    else:
        _fill(sample, found.mask, "difference", found, agreement=_agreement(_provided(sample), found))


def _may_be_absent(sample: Sample, params: MaskParams) -> bool:
    return sample.row["original_id"] is None or (sample.compared is None and params.missing_original == "absent")


def _fill_provided(sample: Sample, found: DifferenceMask | None, params: MaskParams) -> None:
    mask = _provided(sample)
    if mask is None and _may_be_absent(sample, params):
        sample.row |= dict.fromkeys((column.name for column in STAGE.adds), None) | {"mask_source": "absent"}
    elif mask is None:
        sample.drop("no_mask")
    elif not mask.any():
        sample.drop("no_mask", "the provided mask is empty here")
    else:
        _fill(sample, mask, "provided", found, agreement=_agreement(mask, found))


def _provided(sample: Sample) -> UInt8 | None:
    for kind, level in LEVELS.items():
        if kind in sample.companions:
            return np.where(sample.companions[kind] > level, 255, 0).astype(np.uint8)
    return None


def _agreement(provided: UInt8 | None, found: DifferenceMask | None) -> float | None:
    if provided is None or found is None:
        return None
    either = np.count_nonzero(provided | found.mask)
    return np.count_nonzero(provided & found.mask) / either if either else None


def _fill(
    sample: Sample, mask: UInt8, source: str, found: DifferenceMask | None, *, agreement: float | None = None
) -> None:
    used = found if source == "difference" else None
    sample.row |= {
        "mask": mask,
        "difference": None if found is None else found.difference,
        "mask_magnitude": sample.companions.get("magnitude"),
        "mask_source": source,
        "mask_threshold": None if used is None else used.threshold,
        "mask_agreement": agreement,
        "mask_fraction": float(np.count_nonzero(mask) / mask.size),
        "mask_confidence": 1.0 if used is None else used.confidence,
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
