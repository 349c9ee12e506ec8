"""What a training says of a data set, as figures by path: ``methods/Deepfakes/acc``, ``levels/method/auc``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from forgeprep.datasets.taxonomy import class_at
from forgeprep.training.evaluation.evaluate import Verdicts, as_taken, find_verdicts
from forgeprep.training.evaluation.levels import level_figures
from forgeprep.training.evaluation.metrics import verdict_figures
from forgeprep.training.evaluation.tables import clip_figures, summary
from forgeprep.training.inference.loaded import load_model
from forgeprep.training.sample_index import load_index
from forgeprep.training.temporal.spans import evaluate_spans, is_of_spans

KINDS = ("method", "forgery", "family", "identity")
"""Levels of the label tree whose classes are judged each by itself, its fakes with all reals."""


def figures_of(
    run: Path,
    out: Path,
    *,
    split: str,
    reading: Mapping[str, Any],
    samples: int | None = None,
    device: str | None = None,
    workers: int | None = None,
) -> dict[str, Any]:
    """The figures of a training on a split of shards.

    Args:
        run: the training.
        out: the shards.
        split: what is judged.
        reading: options of the model that say how its output is read.
        samples: at most so many, evenly spread; None for all.
        device: where.
        workers: threads that decode; None as in training.

    Returns:
        ``frames``, ``clips``, ``methods``, ``pixels``, ``magnitude`` and so on as ``evaluation.json`` has them;
        ``n_way/recall`` and ``levels/LEVEL/recall`` by class; ``kinds/LEVEL/CLASS``, the verdict figures of the fakes
        of a class and all reals; ``spans`` of a model that localises in time.

    Raises:
        UsageError: there is no such split, or the model does not take its samples.
        VerifyError: a shard or the checkpoint is damaged.
    """
    if is_of_spans(run):
        found = evaluate_spans(run, [out], split=split, device=device)["sets"][str(out)]
        return {"spans": found["ways"]["bmn"], "samples": found["clips"]}
    loaded = load_model(run, device, options=reading).with_workers(workers)
    index = as_taken(load_index([out], split, numbered=loaded.config["methods"]), loaded.model)
    count = len(index) if samples is None else min(samples, len(index))
    numbers = np.unique(np.linspace(0, len(index) - 1, count).astype(np.int64))
    verdicts = find_verdicts(loaded, index, numbers=numbers)
    figures = summary(verdicts, index.methods, loaded.threshold)
    figures.pop("curve")
    figures["frames"]["balanced_acc"] = balanced_accuracy(verdicts, loaded.threshold)
    if "n_way" in figures:
        n_way = figures["n_way"]
        figures["n_way"] = {
            "recall": dict(zip(n_way["classes"], n_way["recall"], strict=True)),
            "average": n_way["average"],
        }
    if verdicts.levels:
        names = loaded.config["options"]["names"]
        found = level_figures(verdicts.rows, verdicts.levels, names, verdicts.level_shares)
        figures["levels"] = {
            level: {**f, "recall": dict(zip(f["classes"], f["recall"], strict=True)), "confusion": None}
            for level, f in found.items()
        }
    return {**figures, "threshold": loaded.threshold, "kinds": _kinds(verdicts, loaded.threshold)}


def balanced_accuracy(verdicts: Verdicts, threshold: float) -> float:
    """The mean of the recalls of reals and fakes; NaN where one is missing."""
    labels, called = verdicts.labels, verdicts.scores > threshold
    recalls = [np.mean(called[labels == label] == label) for label in (0, 1) if (labels == label).any()]
    return float(np.mean(recalls)) if len(recalls) == 2 else math.nan


def _kinds(verdicts: Verdicts, threshold: float) -> dict[str, dict[str, dict[str, float]]]:
    """The figures of each class of each level: its fakes, and all reals."""
    labels = verdicts.labels
    found: dict[str, dict[str, dict[str, float]]] = {}
    for level in KINDS:
        names = np.array([class_at(level, row) or "" for row in verdicts.rows])
        found[level] = {}
        for name in sorted(set(names[labels == 1]) - {""}):
            chosen = (names == name) | (labels == 0)
            clips = clip_figures(verdicts.rows, verdicts.scores, chosen, threshold)
            found[level][name] = {
                **verdict_figures(labels[chosen], verdicts.scores[chosen], threshold),
                **{f"clip_{figure}": value for figure, value in clips.items()},
                "fakes": int(np.count_nonzero(names == name)), "reals": int(np.count_nonzero(labels == 0)),
            }  # fmt: skip
    return found


def at_path(figures: Mapping[str, Any], path: str) -> tuple[float | None, str | None]:
    """The figure at a path, as a share; else None, and why it is not there."""
    value: Any = figures
    for part in path.split("/"):
        if not isinstance(value, Mapping) or part not in value:
            return None, f"no {part}"
        value = value[part]
    if value is None or not math.isfinite(value):
        return None, "undefined"
    return float(value), None
