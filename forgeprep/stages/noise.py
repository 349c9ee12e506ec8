"""The wavelet noise residual of each crop."""

from __future__ import annotations

from forgeprep.ops.noise import noise_residual, quantise, to_gray
from forgeprep.params.noise import NoiseParams as NoiseParams
from forgeprep.schemas.samples import columns_of
from forgeprep.stages.base import Sample, Stage

_SIGMA = {"c40": 10.0}
_DEFAULT_SIGMA = 5.0


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
