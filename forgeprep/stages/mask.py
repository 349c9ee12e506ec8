"""The manipulation mask: what differs between a fake and its original, or what the dataset provides."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np

from forgeprep.media.frames import UInt8
from forgeprep.ops.evidence_net import network_sha256
from forgeprep.ops.literal_masks import literal_mask
from forgeprep.ops.mask_signs import area_jumps, stray_share
from forgeprep.ops.masks import DifferenceMask, difference_masks
from forgeprep.params.mask import MaskParams as MaskParams
from forgeprep.schemas.samples import columns_of
from forgeprep.stages.base import Sample, Stage

LEVELS = {"mask": 1, "magnitude": 25}
"""A dataset's own mask counts as manipulated above this value of 255, by its kind.

``mask`` is black and white, but lossy: above 1 is the usual threshold. ``magnitude`` says how much a pixel was altered;
25 is a tenth, the lower of the two levels that ForgeryNet's evaluation uses.
"""


def apply(samples: list[Sample], params: MaskParams) -> None:
    """Add the mask columns; a fake without a mask is dropped, never given an empty one.

    A fake for which no original is known, and without a mask in the dataset, is kept with its mask absent: null. So is
    one whose original is not on disk, if ``missing_original`` says so.
    """
    fakes = [sample for sample in samples if sample.looks_forged]
    found = _differences(fakes)
    for sample in samples:
        if not sample.looks_forged:
            empty = np.zeros(sample.image.shape[:2], np.uint8)
            _fill(sample, empty, "pristine", DifferenceMask(empty, empty, 0, 1.0))
        elif params.mask_source == "provided" or (params.mask_source == "available" and _is_provided(sample)):
            _fill_provided(sample, found.get(sample.sample_id), params)
        else:
            _fill_compared(sample, found.get(sample.sample_id), params)
    _add_jumps([sample for sample in fakes if sample.reason is None and sample.columns["mask"] is not None])


def companions(_: MaskParams) -> frozenset[str]:
    """The dataset's own masks are read wherever they are: if they do not serve, they are compared."""
    return frozenset(LEVELS)


def _differences(samples: list[Sample]) -> dict[str, DifferenceMask]:
    """Sample -> its difference mask; nothing for samples without an original."""
    found: dict[str, DifferenceMask] = {}
    for track in sorted({sample.track_id for sample in samples}):
        run = [s for s in samples if s.track_id == track and s.compared is not None]
        together = [s.compared for s in run if s.compared is not None]
        pairs, crops = [pair for pair, _ in together], [crop for _, crop in together]
        masks = difference_masks(pairs, crops, enlarge=run[0].enlarge, forged=True) if run else []
        found |= {sample.sample_id: mask for sample, mask in zip(run, masks, strict=True)}
    return found


def _add_jumps(samples: list[Sample]) -> None:
    """Fill in how far each mask's area is from that of its neighbours, in areas of the face."""
    for track in sorted({sample.track_id for sample in samples}):
        run = sorted((s for s in samples if s.track_id == track), key=lambda s: s.frame_index)
        jumps = area_jumps([_area_on_face(s) for s in run], [s.frame_index for s in run], [s.timestamp_s for s in run])
        for sample, jump in zip(run, jumps, strict=True):
            sample.columns["mask_jump"] = jump


def _area_on_face(sample: Sample) -> float:
    (x0, y0, x1, y1), (left, top, right, bottom) = sample.face_box, sample.crop_box
    share = (right - left) * (bottom - top) / max((x1 - x0) * (y1 - y0), 1e-6)
    return float(sample.columns["mask_fraction"] * share)


def _may_be_absent(sample: Sample, params: MaskParams) -> bool:
    """Whether a fake is kept without a mask: none can be had of it, and that is nobody's fault."""
    missing = sample.original is None and params.missing_original == "absent"
    return sample.original_id is None or missing


def _fill_compared(sample: Sample, found: DifferenceMask | None, params: MaskParams) -> None:
    """A mask by comparison with the original: the literal one, or the one that was found in the evidence."""
    provided = _provided(sample)
    if found is None and _may_be_absent(sample, params):
        _fill_provided(sample, None, params)
    elif found is None:
        sample.drop("no_original")
    else:
        mask = found.mask
        if params.mask_source == "literal" and sample.original is not None:
            mask = literal_mask(sample.image, sample.original, params.literal_threshold)
        if mask.any():
            source = "literal" if params.mask_source == "literal" else "difference"
            _fill(sample, mask, source, found, agreement=_agreement(provided, mask))
            sample.columns["mask_provided"] = provided
        elif sample.guessed and provided is not None and provided.any():
            _fill(sample, provided, "provided", found)
        else:
            sample.drop("no_difference")


def _fill_provided(sample: Sample, found: DifferenceMask | None, params: MaskParams) -> None:
    mask = _provided(sample)
    # A magnitude that stays below the level says that the forgery is weak, not that there is none.
    if mask is None and found is None and not sample.lost_companions.isdisjoint(LEVELS):
        sample.drop("no_mask", "the clip's mask cannot be read, ends earlier, or has another shape")
        return
    weak = "magnitude" in sample.companions and params.mask_source == "difference" and not np.any(mask)
    if (mask is None or weak) and _may_be_absent(sample, params):
        sample.columns |= dict.fromkeys((column.name for column in STAGE.adds), None)
        sample.columns |= {"mask_source": "absent", "mask_magnitude": sample.companions.get("magnitude")}
    elif mask is None:
        sample.drop("no_mask")
    elif not mask.any():
        sample.drop("no_mask", "the provided mask is empty here")
    else:
        _fill(sample, mask, "provided", found, agreement=None if found is None else _agreement(mask, found.mask))


def _is_provided(sample: Sample) -> bool:
    """Whether there is a provided mask that says where; an empty one says nothing of a fake."""
    mask = _provided(sample)
    return mask is not None and bool(mask.any())


def _provided(sample: Sample) -> UInt8 | None:
    for kind, level in LEVELS.items():
        if kind in sample.companions:
            return np.where(sample.companions[kind] > level, 255, 0).astype(np.uint8)
    return None


def _agreement(provided: UInt8 | None, made: UInt8) -> float | None:
    if provided is None:
        return None
    either = np.count_nonzero(provided | made)
    return np.count_nonzero(provided & made) / either if either else None


def _fill(
    sample: Sample, mask: UInt8, source: str, found: DifferenceMask | None, *, agreement: float | None = None
) -> None:
    used = found if source == "difference" else None
    sample.columns |= {
        "mask": mask,
        "mask_provided": None,
        "difference": None if found is None else found.difference,
        "mask_magnitude": sample.companions.get("magnitude"),
        "mask_source": source,
        "mask_threshold": None if used is None else used.threshold,
        "mask_agreement": agreement,
        "mask_fraction": float(np.count_nonzero(mask) / mask.size),
        # How well a literal mask fits, nothing tells: 1 would say that it is perfect.
        "mask_confidence": used.confidence if used else None if source == "literal" else 1.0,
        "mask_stray": stray_share(mask, None if found is None else found.difference) if sample.looks_forged else None,
        "mask_jump": None,
    }


STAGE = Stage(
    name="mask",
    summary="binary mask of the forged region, cleaned of compression noise",
    needs=("crop",),
    adds=columns_of("mask"),
    params=MaskParams,
    apply=apply,
    companions=companions,
    versions=lambda _: {"mask network": network_sha256(), "onnxruntime": version("onnxruntime")},
)
