"""Rows of a batch by its codes: the samples, and self-blended images that are made of them on the fly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from forgeprep.datasets.taxonomy import LEVELS, class_at
from forgeprep.ops.geometry import matrix_of_row, through
from forgeprep.ops.selfblend import LEAST_POINTS, Blend, self_blend
from forgeprep.schemas.selfblend import FAMILY, FORGERY, METHOD, blend_clip_id
from forgeprep.training.batches import Codes
from forgeprep.training.data import Samples
from forgeprep.training.recipe import Recipe
from forgeprep.training.sample_index import Ints, SampleIndex

Row = dict[str, Any]

PLACES = ("landmarks", "landmark_scheme", "crop_matrix", "crop_box", "image_size")
"""Columns that say where a sample's landmarks lie on its crop."""
_KIND = {"label": 1, "forgery": FORGERY, "method": METHOD, "family": FAMILY}


def with_blend_classes(index: SampleIndex) -> SampleIndex:
    """The index, whose methods and classes have those of self-blended images too."""
    methods = index.methods if METHOD in index.methods else (*index.methods, METHOD)
    classes = {}
    for level in LEVELS:
        names = {*index.classes.get(level, ("real",)), class_at(level, _KIND)} - {"real", None}
        classes[level] = ("real", *sorted(name for name in names if name is not None))
    return replace(index, methods=methods, classes=classes)


def read_rows(samples: Samples, codes: Ints, recipe: Recipe, epoch: int, methods: tuple[str | None, ...]) -> list[Row]:
    """The rows of a batch, each sample decoded once; ``time`` says the how-manieth time it comes.

    A real whose blend is in the batch is what lies outside of the blend's mask, bit by bit: where the blend has another
    background, so has the real. A blend that cannot be made is left out.

    Args:
        samples: where they are read.
        codes: see :class:`forgeprep.training.batches.Codes`.
        recipe: its seed, with the epoch and the sample, is where all chance comes from.
        epoch: from 0.
        methods: as :attr:`SampleIndex.methods`.
    """
    count = len(samples)
    told = Codes.of(codes, count)
    unique, places = np.unique(told.numbers, return_inverse=True)
    read = samples.read(unique)
    keys = list(zip(told.numbers.tolist(), told.times.tolist(), strict=True))
    wanted = list(zip(keys, places.tolist(), told.blends.tolist(), strict=True))
    pairs = {key: blended(read[at], (recipe.seed, epoch, *key, 4)) for key, at, blend in wanted if blend}
    rows: list[Row] = []
    for key, at, blend in wanted:
        pair = pairs.get(key)
        if blend and pair is not None:
            rows.append({**pair[1], "time": key[1], "method_number": methods.index(METHOD)})
        elif not blend:
            rows.append({**(read[at] if pair is None else pair[0]), "time": key[1]})
    return rows


def blended(row: Row, key: tuple[int, ...]) -> tuple[Row, Row] | None:
    """A real as the target of a self-blend, and the blend; None where none can be made of it.

    The frames of a sequence share what is drawn, so that blends do not flicker.

    Args:
        row: of a real, with :data:`PLACES`; pictures are decoded.
        key: numbers that all chance follows from.
    """
    if "frames" in row:
        made = [blended(frame, key) for frame in row["frames"]]
        found = [one for one in made if one is not None]
        if len(found) < len(made):
            return None
        real, fake = ({**row, "frames": [pair[side] for pair in found]} for side in (0, 1))
        return {**real, "image": found[0][0]["image"]}, _named(fake) | {"image": found[0][1]["image"]}
    points = crop_points(row)
    if points is None or len(points) < LEAST_POINTS:
        return None
    blend = self_blend(row["image"], points, np.random.default_rng(key), change_target=True)
    if blend is None:
        return None
    return {**row, "image": blend.target, "noise": None}, _named(row) | _pictures(row, blend)


def _pictures(row: Row, blend: Blend) -> Row:
    made = {"image": blend.image, "mask": blend.mask, "mask_magnitude": blend.alpha, "noise": None}
    return {name: value for name, value in made.items() if name in row}


def _named(row: Row) -> Row:
    """The row as that of a fake of its own clip."""
    clip_id = blend_clip_id(row["clip_id"])
    return {**row, **_KIND, "clip_id": clip_id, "sample_id": clip_id + row["sample_id"].removeprefix(row["clip_id"])}


def crop_points(row: Row) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """The landmarks of a row on its crop, (N, 2) from the centre of the first pixel; None where it has none."""
    if row.get("landmarks") is None:
        return None
    return through(matrix_of_row(row), np.array(row["landmarks"], np.float64).reshape(-1, 2))
