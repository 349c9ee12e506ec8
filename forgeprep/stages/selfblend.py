"""Self-blended images: of each real crop a fake that is blended onto itself, with its exact mask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from forgeprep.errors import UsageError
from forgeprep.faces.landmarkers import LANDMARKERS, get_landmarker
from forgeprep.ops.geometry import through
from forgeprep.ops.mask_signs import stray_share
from forgeprep.ops.perturb.draw import seeded
from forgeprep.ops.selfblend import LEAST_POINTS, Blend, self_blend
from forgeprep.params.selfblend import SelfblendParams as SelfblendParams
from forgeprep.schemas.selfblend import FAMILY, FORGERY, METHOD, blend_clip_id
from forgeprep.stages.base import Sample, Stage, matrix_of_sample


def derive(samples: list[Sample], params: SelfblendParams) -> list[Sample]:
    """A fake for each real sample of a real clip, with its mask; those that cannot be made are dropped.

    A face of a fake that was not forged (a bystander) is no source: its frame was coded with the forgery.
    """
    splits = params.selfblend_splits.split(",")
    reals = [sample for sample in samples if sample.label == 0 and sample.original_id is None]
    return [_blended(sample, params) for sample in reals if sample.split in splits]


def _blended(real: Sample, params: SelfblendParams) -> Sample:
    clip_id = blend_clip_id(real.clip_id)
    sample = replace(
        real,
        sample_id=f"{clip_id}/{real.track_id}/{real.frame_index:06d}",
        clip_id=clip_id,
        original_id=real.clip_id,
        original_frame=real.frame_index,
        label=1,
        visual_label=1,
        forgery=FORGERY,
        method=METHOD,
        family=FAMILY,
        original=real.image,
        columns=dict(real.columns),
        companions={},
    )
    if real.landmarks is None:
        sample.drop("no_landmarks", "a blend needs those of the whole face")
        return sample
    who = real.sample_id if params.selfblend_per == "frame" else f"{real.clip_id}/{real.track_id}"
    points = through(matrix_of_sample(real), np.array(real.landmarks, np.float64).reshape(-1, 2))
    blend = self_blend(real.image, points, seeded(params.selfblend_seed, "selfblend", who))
    if blend is None:
        sample.drop("no_blend")
        return sample
    sample.image = blend.image
    sample.columns |= _mask_columns(blend)
    return sample


def _mask_columns(blend: Blend) -> dict[str, Any]:
    mask = blend.mask
    return {
        "mask": mask,
        "mask_provided": None,
        "difference": None,
        "mask_magnitude": blend.alpha,
        "mask_source": "exact",
        "mask_threshold": None,
        "mask_agreement": None,
        "mask_fraction": float(np.count_nonzero(mask) / mask.size),
        "mask_confidence": 1.0,
        "mask_stray": stray_share(mask, None),
        "mask_jump": None,
    }


def check_run(params: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise UsageError where the run has no landmarks of the whole face."""
    name = params["crop"]["landmarks"]
    if name is None or get_landmarker(name).scheme.count < LEAST_POINTS:
        have = "there are none" if name is None else f"{name} has {get_landmarker(name).scheme.count} points"
        good = [name for name, one in LANDMARKERS.usable().items() if one.scheme.count >= LEAST_POINTS]
        raise UsageError(
            f"--stages selfblend: needs landmarks of the whole face, and {have}; give --landmarks {good[0]}"
            + (f" (or {', '.join(good[1:])})" if good[1:] else "")
        )


STAGE = Stage(
    name="selfblend",
    summary="self-blended images: a fake with an exact mask of each real crop",
    needs=("crop", "mask"),
    adds=(),
    params=SelfblendParams,
    derive=derive,
    check_run=check_run,
)
