"""Verdicts on samples, whoever has given them; needs no torch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from forgeprep.training.evaluation.metrics import MagnitudeCounts, PixelCounts


@dataclass(slots=True)
class Verdicts:
    """Verdicts on samples, one entry each.

    Attributes:
        rows: sample_id, clip_id, dataset, label, method, compression.
        scores: probability of fake.
        mask_means: mean of the map, of models that learn pixels alone; else None.
        classes: class found by an n-way model (0 real), and the true one; else None.
        levels: the class found for each sample, by level of the label tree.
        level_shares: the probabilities of the classes of a level as the model numbers them, (N, classes).
        pixels: counts by (compression, method), of samples with a mask.
        magnitudes: errors of the map as a magnitude, by method, of samples whose magnitude is known.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    scores: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    mask_means: npt.NDArray[np.float64] | None = None
    classes: npt.NDArray[np.int64] | None = None
    true_classes: npt.NDArray[np.int64] | None = None
    levels: dict[str, list[str]] = field(default_factory=dict)
    level_shares: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    pixels: dict[tuple[str | None, str | None], PixelCounts] = field(default_factory=dict)
    magnitudes: dict[str | None, MagnitudeCounts] = field(default_factory=dict)

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """0 real, 1 fake."""
        return np.array([row["label"] for row in self.rows], np.int64)

    def finite(self) -> Verdicts:
        """Those whose score is a number; a network that has diverged gives none. Pixels stay counted."""
        kept = np.flatnonzero(np.isfinite(self.scores))
        if len(kept) == len(self.scores):
            return self
        return replace(
            self,
            rows=[self.rows[at] for at in kept],
            scores=self.scores[kept],
            mask_means=None if self.mask_means is None else self.mask_means[kept],
            classes=None if self.classes is None else self.classes[kept],
            true_classes=None if self.true_classes is None else self.true_classes[kept],
            levels={level: [names[at] for at in kept] for level, names in self.levels.items()},
            level_shares={level: shares[kept] for level, shares in self.level_shares.items()},
        )
