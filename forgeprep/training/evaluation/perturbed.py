"""Judge clean samples again after perturbing them, one perturbation and severity at a time.

The draws are those of the stage ``perturb`` with its default seed: where crops are stored without loss, scores are
those of a run that was made with ``--perturb NAME:SEVERITY``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from forgeprep.errors import UsageError
from forgeprep.ops.perturb.catalogue import CATALOGUE, SEVERITIES, perturb
from forgeprep.ops.perturb.codecs import missing_encoder
from forgeprep.ops.perturb.draw import draw, parse, seeded
from forgeprep.params.perturb import PerturbParams
from forgeprep.training.evaluation.details import Judged
from forgeprep.training.evaluation.evaluate import find_verdicts
from forgeprep.training.evaluation.robust import robust_row
from forgeprep.training.inference.loaded import LoadedModel
from forgeprep.training.sample_index import SampleIndex

Row = dict[str, Any]
EVERYTHING = "all"


@dataclass(frozen=True, slots=True)
class Grid:
    """What is tried.

    Attributes:
        cells: names and severities.
        samples: so many of each set, evenly spread; None: all.
    """

    cells: tuple[tuple[str, int], ...]
    samples: int | None = None


def grid_of(text: str, samples: int | None = None) -> Grid:
    """The perturbations in a text: ``all``, or names, each at all severities unless it says one (``jpeg,zoom:3``).

    Raises:
        UsageError: an unknown name or severity, or an encoder that is not here.
    """
    chain = parse(",".join(CATALOGUE) if text.strip() == EVERYTHING else text).chain
    if not chain:
        raise UsageError(f"--perturb {text}: give names of perturbations, or all; shares make shards ('run --perturb')")
    lacking = missing_encoder([name for name, _ in chain])
    if lacking is not None:
        raise UsageError(f"--perturb: this build of PyAV has no encoder {lacking}; install the wheel of av")
    cells = [(name, given) for name, severity in chain for given in ([severity] if severity else SEVERITIES)]
    return Grid(tuple(dict.fromkeys(cells)), samples)


def perturbed_rows(
    loaded: LoadedModel,
    sets: Mapping[Path, tuple[SampleIndex, Judged]],
    grid: Grid,
    tell: Callable[[int, int], None] = lambda done, of: None,
) -> list[dict[str, Any]]:
    """A row of :func:`forgeprep.training.evaluation.robust.robust_row` for each cell, over all sets that are clean.

    ``tell`` is told how many cells of how many are done.
    """
    clean = [
        (index, {row["sample_id"]: score for row, score in zip(one.verdicts.rows, one.verdicts.scores, strict=True)})
        for index, one in sets.values()
        if all(clip.perturbation is None for clip in one.clips.values())
    ]
    if not clean:
        raise UsageError("--perturb: these shards are perturbed already; give clean ones")
    found = []
    for done, (name, severity) in enumerate(grid.cells):
        tell(done, len(grid.cells))
        labels, before, after = [], [], []
        for index, scores in clean:
            count = min(len(index), grid.samples or len(index))
            numbers = np.linspace(0, len(index) - 1, count).round().astype(np.int64)
            verdicts = find_verdicts(loaded, index, numbers=numbers, change=changing(name, severity)).finite()
            for row, score in zip(verdicts.rows, verdicts.scores.tolist(), strict=True):
                if row["sample_id"] in scores:
                    labels.append(row["label"])
                    before.append(scores[row["sample_id"]])
                    after.append(score)
        found.append(robust_row(name, severity, labels, np.array(before), np.array(after), loaded.threshold))
    return found


def changing(name: str, severity: int) -> Callable[[Row], Row]:
    """What perturbs a sample as it is read: its picture, and those of its frames."""
    asked, seed = parse(f"{name}:{severity}"), PerturbParams().perturb_seed

    def change(row: Row) -> Row:
        steps = draw(asked, seeded(seed, "clip", row["clip_id"]))
        changed = dict(row)
        if isinstance(row.get("image"), np.ndarray):
            changed["image"], _ = perturb(row["image"], steps, seeded(seed, "sample", row["sample_id"]))
        if "frames" in row:
            changed["frames"] = [change(frame) for frame in row["frames"]]
        return changed

    return change
