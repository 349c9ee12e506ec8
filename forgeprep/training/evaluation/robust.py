"""How verdicts hold where crops are perturbed: each perturbed sample against its clean twin.

A run with the stage ``perturb`` and one without, of the same dataset with the same settings, have the same samples
under the same ids: so a perturbed sample finds its twin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from forgeprep.training.evaluation.curves import point_figures
from forgeprep.training.evaluation.details import Judged

MIXTURES = "mixtures"
"""What drawn combinations of perturbations are called together."""

Floats = npt.NDArray[np.float64]


def robustness(judged: Mapping[str, Judged]) -> dict[str, Any]:
    """The key ``robustness`` of an evaluation: a row for each perturbation and severity; nothing without any.

    Args:
        judged: sets by name, clean and perturbed ones.
    """
    clean: dict[str, float] = {}
    for one in judged.values():
        for row, score in zip(one.verdicts.rows, one.verdicts.scores.tolist(), strict=True):
            if one.clips[row["clip_id"]].perturbation is None:
                clean[row["sample_id"]] = score
    groups: dict[tuple[str, int | None], list[tuple[int, float, float]]] = {}
    unpaired, threshold = 0, 0.5
    for one in judged.values():
        texts = {clip.perturbation for clip in one.clips.values()} - {None}
        for row, score in zip(one.verdicts.rows, one.verdicts.scores.tolist(), strict=True):
            text = one.clips[row["clip_id"]].perturbation
            if text is None:
                continue
            if row["sample_id"] not in clean:
                unpaired += 1
                continue
            threshold = one.threshold
            key = named(text, alone=len(texts) == 1)
            groups.setdefault(key, []).append((row["label"], clean[row["sample_id"]], score))
    if not groups and not unpaired:
        return {}
    rows = []
    for (name, severity), pairs in sorted(groups.items(), key=lambda group: (group[0][0], group[0][1] or 0)):
        labels, before, after = (np.array(column, float) for column in zip(*pairs, strict=True))
        rows.append(robust_row(name, severity, labels, before, after, threshold))
    return {"robustness": {"rows": rows, "unpaired": unpaired}}


def with_rows(robust: dict[str, Any], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The same with more rows; those that perturbed shards have given stand already, and stay."""
    found = robust.get("robustness", {"rows": [], "unpaired": 0})
    there = {(row["perturbation"], row["severity"]) for row in found["rows"]}
    every = [*found["rows"], *(row for row in rows if (row["perturbation"], row["severity"]) not in there)]
    every.sort(key=lambda row: (row["perturbation"], row["severity"] or 0))
    return {"robustness": {**found, "rows": every}}


def named(text: str, *, alone: bool) -> tuple[str, int | None]:
    """A perturbation's name and severity; of several at once their names, where all clips have the same (``alone``).

    >>> named("jpeg:3", alone=False), named("zoom:2+jpeg:3", alone=False), named("zoom:2+jpeg:3", alone=True)
    (('jpeg', 3), ('mixtures', None), ('zoom:2+jpeg:3', None))
    """
    if "+" in text:
        return (text if alone else MIXTURES), None
    name, _, severity = text.partition(":")
    return name, int(severity)


def robust_row(
    name: str, severity: int | None, labels: npt.ArrayLike, before: Floats, after: Floats, threshold: float
) -> dict[str, Any]:
    """Figures of perturbed samples beside those of their clean twins.

    Args:
        name: the perturbation.
        severity: 1 to 5, None for several at once.
        labels: (N,), 1 fake and 0 real.
        before: (N,), scores of the clean samples.
        after: (N,), scores of the same, perturbed.
        threshold: a score above it means fake.

    Returns:
        ``flip_rate``: the share of samples whose verdict changes; ``to_fake`` and ``to_real`` its two parts; ``acc``,
        ``balanced_acc``, ``auc``, and ``clean_`` in front for the twins: NaN where one class is missing.
    """
    was, now = before > threshold, after > threshold
    figures = point_figures(labels, after, threshold)
    clean = point_figures(labels, before, threshold)
    kept = ("acc", "balanced_acc", "auc")
    return {
        "perturbation": name,
        "severity": severity,
        "samples": len(before),
        "flip_rate": float(np.mean(was != now)),
        "to_fake": float(np.mean(~was & now)),
        "to_real": float(np.mean(was & ~now)),
        **{figure: figures[figure] for figure in kept},
        **{f"clean_{figure}": clean[figure] for figure in kept},
    }
