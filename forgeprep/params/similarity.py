"""Parameters of the stage ``similarity``."""

from __future__ import annotations

from pydantic import Field

from forgeprep.params import StageParams


class SimilarityParams(StageParams):
    """Parameters of the stage ``similarity``."""

    side: int = Field(default=14, ge=1, le=256, description="cells along each edge of the similarity grid")


PARAMS = SimilarityParams
