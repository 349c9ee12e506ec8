"""``forgeprep evaluate``: figures of forgery models by method, compression and dataset, beside the published ones."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from forgeprep.io.atomic import atomic_write_bytes
from forgeprep.shards.records import table_bytes
from forgeprep.text import counted
from forgeprep.training.evaluation.evaluate import Verdicts, as_taken, find_verdicts
from forgeprep.training.evaluation.levels import agreement, level_figures
from forgeprep.training.evaluation.metrics import (
    MagnitudeCounts,
    PixelCounts,
    clip_means,
    confusion,
    metrics,
    recalls,
    verdict_figures,
)
from forgeprep.training.inference.loaded import LoadedModel
from forgeprep.training.models import get_model, model_names
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
    """Judge a split of each run of shards; returns what :func:`write_evaluation` writes. ``watch`` is told of each."""
    config = loaded.config
    sets = {}
    for out in shards:
        index = as_taken(load_index([out], split, numbered=config["methods"]), loaded.model)
        verdicts = find_verdicts(loaded, index)
        watch(out, verdicts)
        # A model of pixels calls an image a fake from the share of forged pixels that was best on val.
        sets[str(out)] = summary(verdicts, index.methods, loaded.threshold)
        if verdicts.levels:
            sets[str(out)] |= {
                "levels": level_figures(verdicts.rows, verdicts.levels, config["options"]["names"]),
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
        classes = len(methods)
        table = confusion(verdicts.true_classes, np.minimum(verdicts.classes, classes - 1), classes)
        each = recalls(table)
        found["n_way"] = {
            "classes": [name or REAL for name in methods], "confusion": table.tolist(),
            "recall": [float(value) for value in each], "average": float(np.nanmean(each)),
        }  # fmt: skip
    return found


def write_evaluation(evaluations: Sequence[Mapping[str, Any]], to: Path) -> list[Path]:
    """Write ``evaluation.json``, ``evaluation.md`` and the plots; returns the files."""
    from forgeprep.training.evaluation.plots import draw_confusion, draw_curves, draw_matrix

    to.mkdir(parents=True, exist_ok=True)
    files = [to / "evaluation.json", to / "evaluation.md", to / "roc.png"]
    atomic_write_bytes(files[0], json.dumps(plain(list(evaluations)), indent=1).encode() + b"\n")
    atomic_write_bytes(files[1], markdown(evaluations).encode())
    draw_curves(evaluations, files[2])
    for number, evaluation in enumerate(evaluations):
        short = set_names(list(evaluation["sets"]))
        for name, found in evaluation["sets"].items():
            if "n_way" in found:
                files.append(to / f"confusion-{number}-{short[name]}.png")
                draw_confusion(found["n_way"], files[-1])
            for level, figures in found.get("levels", {}).items():
                files.append(to / f"confusion-{level}-{number}-{short[name]}.png")
                draw_confusion(figures, files[-1])
    if len(evaluations) > 1:
        files.append(to / "matrix.png")
        draw_matrix(*matrix(evaluations), files[-1])
    return files


def write_scores(verdicts: Verdicts, file: Path) -> None:
    """Write the score of each sample as Parquet, from which all figures of verdicts can be recomputed."""
    table = pa.Table.from_pylist(verdicts.rows).append_column("score", pa.array(verdicts.scores))
    atomic_write_bytes(file, table_bytes(table))


def set_names(shards: Sequence[Path | str]) -> dict[str, str]:
    """Folder -> a short name for files: its own name, with a number before it where several have the same."""
    names = [Path(out).name for out in shards]
    return {
        str(out): name if names.count(name) == 1 else f"{number}-{name}"
        for number, (out, name) in enumerate(zip(shards, names, strict=True))
    }


def matrix(evaluations: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[str], npt.NDArray[np.float64]]:
    """AUC of each run (rows) on each method of each set (columns): cross-method and cross-dataset at once."""
    columns: dict[tuple[str, str], None] = {}
    for evaluation in evaluations:
        for name, found in evaluation["sets"].items():
            columns |= dict.fromkeys((name, method) for method in found["methods"] if method != REAL)
            columns[name, "all"] = None
    values = np.full((len(evaluations), len(columns)), np.nan)
    for i, evaluation in enumerate(evaluations):
        for j, (name, method) in enumerate(columns):
            found = evaluation["sets"].get(name, {})
            figures = found.get("frames", {}) if method == "all" else found.get("methods", {}).get(method, {})
            values[i, j] = figures.get("auc", np.nan)
    several = len({name for name, _ in columns}) > 1
    heads = [f"{Path(name).name}: {method}" if several else method for name, method in columns]
    return [Path(evaluation["run"]).name for evaluation in evaluations], heads, values


def markdown(evaluations: Sequence[Mapping[str, Any]]) -> str:
    """The tables as Markdown; a row of published figures stands below ours where the paper has one."""
    lines = ["# Evaluation", ""]
    if len(evaluations) > 1:
        runs, heads, values = matrix(evaluations)
        cells = [[name, *(per_cent(value) for value in row)] for name, row in zip(runs, values, strict=True)]
        lines += ["AUC by frame, trained (rows) against tested (columns)", "", *md_table(["run", *heads], cells)]
    for evaluation in evaluations:
        lines += [f"## {evaluation['model']}, {evaluation['run']} at step {evaluation['step']}", ""]
        lines += [f"Split {evaluation['split']}; fake from a score above {evaluation['threshold']:.3f}.", ""]
        for name, found in evaluation["sets"].items():
            lines += [
                f"### {name}: {counted(found['samples'], 'sample')}",
                "",
                *_set_tables(evaluation["model"], found),
            ]
    return "\n".join(lines) + "\n"


def _set_tables(model: str, found: Mapping[str, Any]) -> list[str]:
    keys = ["acc", *(metric.name for metric in metrics() if metric.name in found["frames"])]
    rows = [
        ["frames", *(per_cent(found["frames"][k]) for k in keys)],
        ["clips", *(per_cent(found["clips"][k]) for k in keys)],
    ]
    rows += [[name, *(per_cent(f[k]) for k in keys)] for name, f in found["compressions"].items() if name != "-"]
    lines = md_table(["", *(k.upper() for k in keys)], rows)
    methods = found["methods"]
    kinds = [
        k
        for k in ("acc", "auc", "clip_auc", "fg_iou", "bg_iou", "miou", "pixel_f1")
        if any(k in f for f in methods.values())
    ]
    cells = [[name, str(f["samples"]), *(per_cent(f.get(k, math.nan)) for k in kinds)] for name, f in methods.items()]
    lines += md_table(["method", "samples", *(k.replace("_", " ") for k in kinds)], cells)
    if "magnitude" in found:
        heads = list(next(iter(found["magnitude"].values())))
        cells = [[name, *(per_cent(f[head]) for head in heads)] for name, f in found["magnitude"].items()]
        lines += md_table(["magnitude", *heads], cells)
    if "n_way" in found:
        n_way = found["n_way"]
        lines += md_table(
            ["recall", *n_way["classes"], "average"],
            [["", *map(per_cent, n_way["recall"]), per_cent(n_way["average"])]],
        )
    for level, figures in found.get("levels", {}).items():
        cells = [["", *map(per_cent, figures["recall"]), per_cent(figures["average"])]]
        lines += md_table([f"recall by {level}", *figures["classes"], "average"], cells)
    if "levels_agree" in found:
        lines += [f"Levels that agree with one place in the tree: {per_cent(found['levels_agree'])} %", ""]
    for title, row in published(model).items():
        lines += [f"Published, {title} (on FaceForensics++, not on these samples):", ""]
        lines += md_table(list(row), [[str(value) for value in row.values()]])
    return lines


def published(model: str) -> dict[str, dict[str, Any]]:
    """What the model's paper reports of single trainings: title -> column -> figure; empty where that is nothing."""
    return {title: row for title, row in _published(model).items() if not _is_cross(row)}


def published_cross(protocol: str, model: str) -> dict[str, dict[str, Any]]:
    """What the model's paper reports of a benchmark protocol: trained on -> tested on -> AUC."""
    found = _published(model).get(protocol, {})
    return found if _is_cross(found) else {}


def _published(model: str) -> dict[str, dict[str, Any]]:
    # The evaluation of a model whose package is gone can still be shown.
    return get_model(model).published_figures() if model in model_names() else {}


def _is_cross(figures: Mapping[str, Any]) -> bool:
    return all(isinstance(row, Mapping) for row in figures.values())


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


def md_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table, and an empty one."""
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows), ""]


def per_cent(value: float | None) -> str:
    """A share as text in per cent; a dash where there is none."""
    return "-" if value is None or math.isnan(value) else f"{100 * value:.2f}"


def plain(value: Any) -> Any:
    """JSON has no NaN: null stands for it."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
