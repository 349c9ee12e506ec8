"""The wavelet noise residual of each crop."""

from __future__ import annotations

from pydantic import Field

from forgeprep.ops.noise import noise_residual, quantise, to_gray
from forgeprep.schemas.samples import columns_of
from forgeprep.stages.base import Sample, Stage, StageParams

_SIGMA = {"c40": 10.0}
_DEFAULT_SIGMA = 5.0


class NoiseParams(StageParams):
    """Parameters of the stage ``noise``."""

    sigma: float | None = Field(
        default=None, gt=0, le=100, description="noise level of the filter, 0-255 scale; default 10 at c40, else 5"
    )


def apply(samples: list[Sample], params: NoiseParams) -> None:
    """Add ``noise`` and ``noise_sigma``."""
    for sample in samples:
        sigma = params.sigma or _SIGMA.get(sample.compression or "", _DEFAULT_SIGMA)
        sample.columns["noise"] = quantise(noise_residual(to_gray(sample.image), sigma))
        sample.columns["noise_sigma"] = sigma


STAGE = Stage(
    name="noise",
    summary="wavelet noise residual of the gray crop (Mihcak et al. 1999)",
    needs=("crop",),
    adds=columns_of("noise"),
    params=NoiseParams,
    apply=apply,
    additive=True,
)
