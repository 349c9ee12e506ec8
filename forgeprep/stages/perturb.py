"""Perturbed crops: what happens to pictures on their way, drawn again for each clip."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np

from forgeprep.errors import UsageError
from forgeprep.media.regions import Box
from forgeprep.ops.geometry import inverse, through
from forgeprep.ops.perturb.catalogue import CATALOGUE, OTHERS, Step, perturb
from forgeprep.ops.perturb.codecs import missing_encoder
from forgeprep.ops.perturb.draw import draw, parse, seeded
from forgeprep.ops.perturb.warps import Warp
from forgeprep.params.perturb import PerturbParams as PerturbParams
from forgeprep.schemas.samples import columns_of
from forgeprep.stages.base import Sample, Stage, matrix_of_sample


def apply(samples: list[Sample], params: PerturbParams) -> None:
    """Perturb the crops, and set ``perturbation`` and ``perturbation_params``.

    A clip has one draw for all its frames and faces; a picture is a clip of one frame. The noise of single pixels
    follows from the seed and the sample's id.
    """
    asked, splits = parse(params.perturb), params.perturb_splits.split(",")
    for sample in samples:
        steps: tuple[Step, ...] = ()
        if sample.split in splits:
            shared = params.perturb_pairing == "shared" and sample.original_id is not None
            name = (shared and sample.original_id) or sample.clip_id
            steps = draw(asked, seeded(params.perturb_seed, "clip", name))
        noise = seeded(params.perturb_seed, "sample", sample.sample_id)
        sample.image, warps = perturb(sample.image, steps, noise)
        sample.perturbation = "+".join(f"{step.name}:{step.severity}" for step in steps) or None
        sample.columns["perturbation_params"] = json.dumps([step.params for step in steps]) if steps else None
        if warps:
            _move(sample, warps)


def _move(sample: Sample, warps: Sequence[Warp]) -> None:
    """Let all that lies on the crop go where its pixels went."""
    columns = sample.columns
    for warp in warps:
        for name in ("difference", "mask_magnitude"):
            if columns.get(name) is not None:
                columns[name] = warp.levels(columns[name])
        sample.companions = {name: warp.levels(part) for name, part in sample.companions.items()}
        if sample.original is not None:
            sample.original = warp.picture(sample.original)
    if columns.get("mask") is not None:
        _move_mask(sample, warps)
    sample.face_box = _moved_box(sample, warps)
    if sample.landmarks is not None:
        sample.landmarks = _moved_landmarks(sample, sample.landmarks, warps)


def _move_mask(sample: Sample, warps: Sequence[Warp]) -> None:
    columns = sample.columns
    for name in ("mask", "mask_provided"):
        for warp in warps if columns.get(name) is not None else ():
            columns[name] = warp.mask(columns[name])
    forged = np.count_nonzero(columns["mask"])
    columns["mask_fraction"] = float(forged / columns["mask"].size)
    if sample.looks_forged and not forged:
        sample.drop("mask_lost", sample.perturbation)


def _moved_box(sample: Sample, warps: Sequence[Warp]) -> Box:
    """The box stays upright where the crop is turned: its middle goes along, and its sides by their lengths."""
    matrix = matrix_of_sample(sample)
    sides = np.array(sample.face_box).reshape(2, 2)
    middle, half = through(matrix, sides.mean(axis=0)[None] - 0.5)[0] + 0.5, (sides[1] - sides[0]) / 2
    scale = math.hypot(matrix[0, 0], matrix[1, 0])
    box: Box = (*(middle - scale * half), *(middle + scale * half))
    for warp in warps:
        box = warp.box(box)
    moved = np.array(box).reshape(2, 2)
    middle, half = through(inverse(matrix), moved.mean(axis=0)[None] - 0.5)[0] + 0.5, (moved[1] - moved[0]) / 2 / scale
    x0, y0, x1, y1 = (float(value) for value in (*(middle - half), *(middle + half)))
    return x0, y0, x1, y1


def _moved_landmarks(sample: Sample, landmarks: Sequence[float], warps: Sequence[Warp]) -> list[float]:
    """Landmarks and crop_matrix count from the centre of the upper left pixel, warps from its corner."""
    matrix = matrix_of_sample(sample)
    points = through(matrix, np.array(landmarks, np.float64).reshape(-1, 2)) + 0.5
    for warp in warps:
        points = warp.points(points)
    return [float(value) for value in through(inverse(matrix), points - 0.5).ravel()]


def check(params: PerturbParams) -> None:
    """Refuse what would fail at the first clip that draws it."""
    chain = parse(params.perturb).chain
    lacking = missing_encoder([name for name, _ in chain] or CATALOGUE)
    if lacking is not None:
        raise UsageError(
            f"--perturb: this build of PyAV has no encoder {lacking}; install the wheel of av, or name perturbations "
            "that do without"
        )


def versions(params: PerturbParams) -> dict[str, str]:
    """The packages of the perturbations that are named and not forgeprep's own."""
    packages = OTHERS.packages([name for name, _ in parse(params.perturb).chain]).values()
    return dict(package.rsplit(" ", 1) for package in packages)


STAGE = Stage(
    name="perturb",
    summary="perturb the crops by a catalogue of 36 perturbations and mixtures of them",
    needs=("crop",),
    adds=columns_of("perturb"),
    params=PerturbParams,
    apply=apply,
    check=check,
    versions=versions,
)
