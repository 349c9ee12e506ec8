"""``forgeprep evaluate``: figures of forgery models by method, compression and dataset."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from forgeprep.io.atomic import atomic_write_bytes
from forgeprep.shards.records import table_bytes
from forgeprep.training.evaluation.evaluate import Verdicts, as_taken, find_verdicts
from forgeprep.training.evaluation.levels import agreement, level_figures
from forgeprep.training.evaluation.metrics import (
    MagnitudeCounts,
    PixelCounts,
    clip_means,
    confusion,
    recalls,
    verdict_figures,
)
from forgeprep.training.inference.loaded import LoadedModel
from forgeprep.training.sample_index import load_index

REAL = "real"
Selection = npt.NDArray[np.bool_]


def evaluate_run(
    loaded: LoadedModel,
    shards: Sequence[Path],
    *,
    split: str = "test",
    watch: Callable[[Path, Verdicts], None] = lambda *_: None,
) -> dict[str, Any]:
    """Judge a split of each run of shards; returns what ``evaluation.json`` holds. ``watch`` is told of each."""
    config = loaded.config
    sets = {}
    for out in shards:
        index = as_taken(load_index([out], split, numbered=config["methods"]), loaded.model)
        verdicts = find_verdicts(loaded, index)
        watch(out, verdicts)
        # A model of pixels calls an image a fake from the share of forged pixels that was best on val.
        sets[str(out)] = summary(verdicts, index.methods, loaded.threshold)
        if verdicts.levels:
            names = config["options"]["names"]
            sets[str(out)] |= {
                "levels": level_figures(verdicts.rows, verdicts.levels, names, verdicts.level_shares),
                "levels_agree": agreement(verdicts.rows, verdicts.levels),
            }
    return {
        "run": str(loaded.run), "model": config["model"], "options": config["options"], "step": loaded.facts["step"],
        "split": split, "threshold": loaded.threshold, "sets": sets,
    }  # fmt: skip


def summary(verdicts: Verdicts, methods: Sequence[str | None], threshold: float) -> dict[str, Any]:
    """Frame and clip figures of all samples and by compression and method, pixels, and n-way recalls."""
    rows, labels, scores = verdicts.rows, verdicts.labels, verdicts.scores
    method = np.array([row["method"] or REAL for row in rows])
    quality = np.array([row["compression"] or "-" for row in rows])
    names = [REAL, *sorted({name for name in method if name != REAL})]
    everything = np.ones(len(rows), bool)
    found: dict[str, Any] = {
        "samples": len(rows),
        "datasets": sorted({row["dataset"] for row in rows}),
        "frames": verdict_figures(labels, scores, threshold),
        "clips": clip_figures(rows, scores, everything, threshold),
        "methods": {},
        "compressions": {},
    }
    for name in names:
        chosen = (method == name) | (method == REAL)
        found["methods"][name] = {
            "samples": int(np.count_nonzero(method == name)),
            "acc": float(np.mean(((scores > threshold) == labels)[method == name])) if name in method else math.nan,
            **({} if name == REAL else {
                "auc": verdict_figures(labels[chosen], scores[chosen], threshold)["auc"],
                "clip_auc": clip_figures(rows, scores, chosen, threshold)["auc"],
            }),
            **_pixels(verdicts, lambda key, name=name: (key[1] or REAL) == name),
        }  # fmt: skip
    for name in sorted(set(quality)):
        chosen = quality == name
        found["compressions"][name] = {
            **verdict_figures(labels[chosen], scores[chosen], threshold),
            **_pixels(verdicts, lambda key, name=name: (key[0] or "-") == name),
        }
    found["pixels"] = _pixels(verdicts, lambda key: True)
    # Reals have none to be found, so they alone tell nothing.
    if any(method is not None for method in verdicts.magnitudes):
        found["magnitude"] = _magnitudes(verdicts)
    found["curve"] = _roc(labels, scores)
    if verdicts.classes is not None and verdicts.true_classes is not None:
        # What is found may be none of the samples' classes: it stands apart, and is wrong.
        more = range(len(methods), int(verdicts.classes.max(initial=0)) + 1)
        names = [*(name or REAL for name in methods), *(f"class {number}" for number in more)]
        table = confusion(verdicts.true_classes, verdicts.classes, len(names))
        each = recalls(table)
        found["n_way"] = {
            "classes": names, "confusion": table.tolist(),
            "recall": [float(value) for value in each], "average": float(np.nanmean(each)),
        }  # fmt: skip
    return found


def write_scores(verdicts: Verdicts, file: Path) -> None:
    """Write the score of each sample as Parquet, from which all figures of verdicts can be recomputed."""
    table = pa.Table.from_pylist(verdicts.rows).append_column("score", pa.array(verdicts.scores))
    atomic_write_bytes(file, table_bytes(table))


def clip_figures(
    rows: Sequence[Mapping[str, Any]], scores: npt.NDArray[np.float64], chosen: Selection, threshold: float
) -> dict[str, float]:
    """Figures of clips by the mean score of their chosen samples; a clip is fake if any of its samples is.

    A clip of which unforged frames alone are chosen, though others are forged, is in no figure: it is not a real one.
    ``clips`` counts those that are.
    """
    fakes = {row["clip_id"] for row in rows if row["label"]}
    taken = [row for row, take in zip(rows, chosen, strict=True) if take]
    names, means = clip_means([row["clip_id"] for row in taken], scores[chosen])
    found = {row["clip_id"] for row in taken if row["label"]}
    labels = np.array([name in found for name in names], bool)
    kept = labels == np.array([name in fakes for name in names], bool)
    return {"clips": int(kept.sum()), **verdict_figures(labels[kept], means[kept], threshold)}


def _pixels(verdicts: Verdicts, wanted: Any) -> dict[str, float]:
    total = PixelCounts()
    for key, counts in verdicts.pixels.items():
        if wanted(key):
            total.merge(counts)
    return total.figures() if total.size else {}


def _magnitudes(verdicts: Verdicts) -> dict[str, dict[str, float]]:
    """Errors of magnitudes of all samples, of the fakes alone, and by method."""
    everything, fakes = MagnitudeCounts(), MagnitudeCounts()
    for method, counts in verdicts.magnitudes.items():
        everything.merge(counts)
        if method is not None:
            fakes.merge(counts)
    named = {method or REAL: counts for method, counts in sorted(verdicts.magnitudes.items(), key=lambda m: m[0] or "")}
    return {name: c.figures() for name, c in {"all": everything, "fakes": fakes, **named}.items() if c.size}


def _roc(labels: npt.NDArray[np.int64], scores: npt.NDArray[np.float64]) -> list[list[float]]:
    from sklearn.metrics import roc_curve

    if len(np.unique(labels)) < 2:
        return []
    alarms, hits, _ = roc_curve(labels, scores)
    return [alarms.tolist(), hits.tolist()]
