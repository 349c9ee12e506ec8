"""Verdicts at the levels of the label tree: confusion and recall of each level, and whether the levels agree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score

from forgeprep.datasets.taxonomy import class_at
from forgeprep.training.evaluation.metrics import confusion, recalls

Classes = Mapping[str, Sequence[str]]


def level_figures(
    rows: Sequence[Mapping[str, Any]],
    found: Classes,
    trained: Classes,
    shares: Mapping[str, npt.NDArray[np.float64]] | None = None,
) -> dict[str, Any]:
    """Figures of each level.

    Args:
        rows: samples with the columns of the label tree.
        found: level to the class found for each sample.
        trained: level to its classes as the detector numbers them; those that only the samples have come after.
        shares: level to the probabilities of these classes, (N, classes), for AUC.

    Returns:
        level -> ``classes``, ``confusion`` (true by row), ``recall`` of each class, ``average`` of the classes that
        have samples, ``acc``, ``auc``: of each class against the others, the mean over the classes for which it is
        defined; ``unknown``: samples whose class there is not known, which are in no other figure.
    """
    figures = {}
    for level, names in found.items():
        truth = [class_at(level, row) for row in rows]
        more = {name for name in truth if name is not None} - set(trained[level])
        classes = [*trained[level], *sorted(more)]
        known = [(classes.index(a), classes.index(b)) for a, b in zip(truth, names, strict=True) if a is not None]
        table = confusion([a for a, _ in known], [b for _, b in known], len(classes))
        each = recalls(table)
        figures[level] = {
            "classes": classes, "confusion": table.tolist(), "recall": [float(value) for value in each],
            "average": float(np.nanmean(each)) if known else float("nan"), "unknown": len(truth) - len(known),
            "acc": float(np.mean([a == b for a, b in known])) if known else float("nan"),
            "auc": _auc(truth, trained[level], (shares or {}).get(level)),
        }  # fmt: skip
    return figures


def _auc(truth: Sequence[str | None], classes: Sequence[str], shares: npt.NDArray[np.float64] | None) -> float:
    """AUC of each class against the others, over the samples whose class is known; the mean of those defined."""
    known = np.array([name is not None for name in truth], bool)
    each = []
    for number, name in enumerate(classes if shares is not None else ()):
        own = np.array([one == name for one in truth], bool)[known]
        if shares is not None and own.any() and not own.all():
            each.append(roc_auc_score(own, shares[known, number]))
    return float(np.mean(each)) if each else float("nan")


def agreement(rows: Iterable[Mapping[str, Any]], found: Classes) -> float:
    """The share of samples whose found classes are those of one place in the tree, right or wrong.

    The places are those of the samples; where one has no class at a level, any will do.
    """
    levels = list(found)
    places = {tuple(class_at(level, row) for level in levels) for row in rows}
    verdicts = list(zip(*found.values(), strict=True))
    fits = {v: any(all(a is None or a == b for a, b in zip(p, v, strict=True)) for p in places) for v in set(verdicts)}
    return float(np.mean([fits[verdict] for verdict in verdicts]))
