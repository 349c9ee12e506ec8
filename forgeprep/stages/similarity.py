"""Local-similarity ground truth from the mask."""

from __future__ import annotations

from pydantic import Field

from forgeprep.ops.similarity import mask_grid, pack_grid
from forgeprep.schemas.samples import columns_of
from forgeprep.stages.base import Sample, Stage, StageParams


class SimilarityParams(StageParams):
    """Parameters of the stage ``similarity``."""

    side: int = Field(default=14, ge=1, le=256, description="cells along each edge of the similarity grid")


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
