"""Local-similarity ground truth from the mask."""

from __future__ import annotations

from forgeprep.ops.similarity import mask_grid, pack_grid
from forgeprep.params.similarity import SimilarityParams as SimilarityParams
from forgeprep.schemas.samples import columns_of
from forgeprep.stages.base import Sample, Stage


def apply(samples: list[Sample], params: SimilarityParams) -> None:
    """Add ``similarity`` and ``similarity_side``."""
    for sample in samples:
        mask = sample.columns["mask"]
        sample.columns["similarity"] = None if mask is None else pack_grid(mask_grid(mask, params.side))
        sample.columns["similarity_side"] = params.side


STAGE = Stage(
    name="similarity",
    summary="the mask on a grid, 1 bit a cell: ground truth of local similarity",
    needs=("mask",),
    adds=columns_of("similarity"),
    params=SimilarityParams,
    apply=apply,
    additive=True,
)
