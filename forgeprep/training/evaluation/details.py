"""How far an evaluation's figures can be trusted: intervals, operating points, calibration, what is absent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from forgeprep.text import counted
from forgeprep.training.evaluation.calibration import NO_MAP, calibration
from forgeprep.training.evaluation.curves import Curve, point_figures
from forgeprep.training.evaluation.intervals import Bootstrap, Units, intervals
from forgeprep.training.evaluation.metrics import clip_means
from forgeprep.training.evaluation.truth import ClipFacts
from forgeprep.training.evaluation.verdicts import Verdicts

Level = Literal["frames", "clips"]
LEVELS: tuple[Level, ...] = ("frames", "clips")
KINDS = ("source", "identity")


@dataclass(frozen=True, slots=True)
class Judged:
    """Verdicts on a set, and what is known of it.

    Attributes:
        verdicts: those whose score is a number.
        clips: clip_id -> what it has in common with others.
        threshold: a score above it means fake.
        val_threshold: the one with the best balanced accuracy on val; None where it is not known.
        probability: whether scores claim to be probabilities.
        absent: of the split: ``frames`` and ``clips`` that have no sample.
        lost: samples that have no score of the detector's: why -> how many.
        rule: what is done about them: ``drop``, ``worst`` or ``score=NUMBER``.
        level: ``clips`` where an entry is a clip; there are no figures of frames then.
    """

    verdicts: Verdicts
    clips: Mapping[str, ClipFacts]
    threshold: float = 0.5
    val_threshold: float | None = None
    probability: bool = True
    absent: Mapping[str, int] = field(default_factory=dict)
    lost: Mapping[str, int] = field(default_factory=dict)
    rule: str = "drop"
    level: Level = "frames"

    @property
    def levels(self) -> tuple[Level, ...]:
        """The levels at which there are figures."""
        return LEVELS if self.level == "frames" else ("clips",)


@dataclass(frozen=True, slots=True)
class Entries:
    """Labels and scores at a level, and the clip that each is of, or is."""

    labels: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64]
    clip_ids: list[str]

    def units(self, clips: Mapping[str, ClipFacts], kind: str) -> Units:
        """What each entry belongs to."""
        return [clips[clip_id].units(kind) for clip_id in self.clip_ids]


def entries(judged: Judged, level: Level) -> Entries:
    """The samples, or the clips by the mean score of their samples; a clip is fake if any of its samples is."""
    rows, scores = judged.verdicts.rows, judged.verdicts.scores
    ids = [row["clip_id"] for row in rows]
    if level == "frames":
        return Entries(judged.verdicts.labels, scores, ids)
    if not rows:
        return Entries(np.zeros(0, np.int64), np.zeros(0), [])
    names, means = clip_means(ids, scores)
    fakes = {row["clip_id"] for row in rows if row["label"]}
    return Entries(np.array([name in fakes for name in names], np.int64), means, names)


def details(judged: Judged, bootstrap: Bootstrap | None) -> dict[str, Any]:
    """What stands beside a set's figures in ``evaluation.json``: see docs/how-to/evaluate.md.

    Without ``bootstrap``, there are no intervals.
    """
    found: dict[str, Any] = {name: {} for name in ("undefined", "intervals", "operating", "calibration")}
    found["absent"], found["rule"] = dict(judged.absent), judged.rule
    found["perturbed"] = any(clip.perturbation is not None for clip in judged.clips.values())
    found["lost"] = {why: number for why, number in judged.lost.items() if number}
    for level in judged.levels:
        own = entries(judged, level)
        reason = one_class(own.labels, level)
        if reason:
            found["undefined"][level] = reason
        if not len(own.labels):
            continue
        found["operating"][level] = _operating(own, judged)
        found["calibration"][level] = (
            calibration(own.labels, own.scores) if judged.probability else {"undefined": NO_MAP}
        )
        if bootstrap is not None and bootstrap.draws:
            curve = Curve(own.labels, own.scores, judged.threshold)
            found["intervals"][level] = {
                kind: intervals(curve, own.units(judged.clips, kind), bootstrap) for kind in KINDS
            }
    if found["intervals"] and bootstrap is not None:
        found["intervals"]["how"] = {
            **bootstrap.facts(), "identities_known": any(clip.people for clip in judged.clips.values()),
        }  # fmt: skip
    return found


def one_class(labels: npt.NDArray[np.int64], level: str) -> str | None:
    """Why figures that need both classes are undefined; None where they are not."""
    fakes, reals = int(np.count_nonzero(labels)), int(np.count_nonzero(labels == 0))
    if fakes and reals:
        return None
    if not fakes and not reals:
        return f"no {level}"
    return f"{counted(reals, 'real')} and {counted(fakes, 'fake')} among the {level}: one class alone"


def _operating(own: Entries, judged: Judged) -> dict[str, Any]:
    """The rates at the threshold, at that of val, and TPR at fixed FPR."""
    used = point_figures(own.labels, own.scores, judged.threshold)
    rates = ("acc", "balanced_acc", "fpr", "tpr")
    found = {
        "reals": int(np.count_nonzero(own.labels == 0)),
        "fakes": int(np.count_nonzero(own.labels)),
        "used": {"threshold": judged.threshold, **{name: used[name] for name in rates}},
        "val": None,
        **{name: value for name, value in used.items() if name.startswith("tpr@")},
    }
    if judged.val_threshold is not None:
        val = point_figures(own.labels, own.scores, judged.val_threshold)
        found["val"] = {"threshold": judged.val_threshold, **{name: val[name] for name in rates}}
    return found
