"""Parameters of the stage ``noise``."""

from __future__ import annotations

from pydantic import Field

from forgeprep.params import StageParams


class NoiseParams(StageParams):
    """Parameters of the stage ``noise``."""

    sigma: float | None = Field(
        default=None, gt=0, le=100, description="noise level of the filter, 0-255 scale; default: 10 at c40, else 5"
    )


PARAMS = NoiseParams
