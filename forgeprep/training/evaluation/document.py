"""The tables of an evaluation: made once, printed in a terminal and written as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from forgeprep.training.evaluation.detail_tables import detail_parts, robust_parts
from forgeprep.training.evaluation.metrics import metrics
from forgeprep.training.evaluation.parts import Part as Part
from forgeprep.training.evaluation.parts import Table as Table
from forgeprep.training.evaluation.parts import defined
from forgeprep.training.evaluation.parts import markdown as markdown
from forgeprep.training.evaluation.parts import md_table as md_table
from forgeprep.training.evaluation.parts import per_cent as per_cent
from forgeprep.training.evaluation.parts import short_names as short_names
from forgeprep.training.evaluation.summary import REAL
from forgeprep.training.models import get_model, model_names
from forgeprep.training.seen import seen_line

_SHOWN = ("acc", "auc", "clip_auc", "fg_iou", "bg_iou", "miou", "pixel_f1")


def evaluation_parts(evaluations: Sequence[Mapping[str, Any]]) -> list[Part]:
    """The tables of several trainings; published figures stand below ours where they are of the same data."""
    parts: list[Part] = ["# Evaluation"]
    if len(evaluations) > 1:
        runs, heads, values = matrix(evaluations)
        cells = [[name, *(defined(value) for value in row)] for name, row in zip(runs, values, strict=True)]
        parts += ["AUC by frame, trained (rows) against tested (columns)", Table(["run", *heads], cells)]
    for evaluation in evaluations:
        step = "" if evaluation["step"] is None else f" at step {evaluation['step']}"
        parts += [
            f"## {evaluation['model']}, {evaluation['run']}{step}",
            f"Split {evaluation['split']}; fake from a score above {evaluation['threshold']:.3f}. Per cent.",
        ]
        for name, found in evaluation["sets"].items():
            parts.append(f"### {name}: {found['samples']:,} samples")
            parts += [seen_line(found["seen"])] if "seen" in found else []
            parts += [*_set_parts(found), *_published_parts(evaluation, found)]
        if "robustness" in evaluation:
            parts += robust_parts(evaluation["robustness"])
    return parts


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
    return short_names([evaluation["run"] for evaluation in evaluations]), heads, values


def _set_parts(found: Mapping[str, Any]) -> list[Part]:
    keys = ["acc", *(metric.name for metric in metrics() if metric.name in found["frames"])]
    levels = ("clips",) if found.get("level") == "clips" else ("frames", "clips")
    rows = [[level, *(defined(found[level][k]) for k in keys)] for level in levels]
    rows += [[name, *(defined(f[k]) for k in keys)] for name, f in found["compressions"].items() if name != "-"]
    parts: list[Part] = [Table(["", *(k.upper() for k in keys)], rows)]
    methods = found["methods"]
    kinds = [k for k in _SHOWN if any(k in f for f in methods.values())]
    cells = [[name, str(f["samples"]), *(_cell(f, k) for k in kinds)] for name, f in methods.items()]
    parts.append(Table(["method", "samples", *(k.removeprefix("pixel_").replace("_", " ") for k in kinds)], cells))
    if "magnitude" in found:
        heads = list(next(iter(found["magnitude"].values())))
        cells = [[name, *(per_cent(f[head]) for head in heads)] for name, f in found["magnitude"].items()]
        parts.append(Table(["magnitude", *heads], cells))
    if "n_way" in found:
        n_way = found["n_way"]
        cells = [["", *map(per_cent, n_way["recall"]), per_cent(n_way["average"])]]
        parts.append(Table(["recall", *n_way["classes"], "average"], cells))
    for level, figures in found.get("levels", {}).items():
        told = [*figures["recall"], *(figures.get(name) for name in ("average", "acc", "auc"))]
        parts.append(
            Table([f"recall by {level}", *figures["classes"], "average", "ACC", "AUC"], [["", *map(per_cent, told)]])
        )
    if "levels_agree" in found:
        parts.append(f"Levels that agree with one place in the tree: {per_cent(found['levels_agree'])} %")
    return [*parts, *detail_parts(found)]


def _published_parts(evaluation: Mapping[str, Any], found: Mapping[str, Any]) -> list[Part]:
    """The paper's figures, where it trained and tested alike and such figures are here too."""
    # The papers learnt from all fakes that they tested, and tested no perturbed samples. Evaluations of earlier
    # versions do not tell.
    learned = evaluation.get("learned")
    if found.get("perturbed") or (learned is not None and not set(found["methods"]) <= {REAL, *learned}):
        return []
    parts: list[Part] = []
    for title, row in published(evaluation["model"], found["datasets"], list(found["compressions"]), found).items():
        parts += [
            f"Published, {title} (of the paper's training and samples, not of these):",
            Table(["", *row], [["published", *map(str, row.values())]]),
        ]
    return parts


def _cell(figures: Mapping[str, Any], name: str) -> str:
    """A figure that does not apply is a dash; one that lacks a class is undefined, of pixels a dash too."""
    value = figures.get(name)
    return defined(value) if name in figures and name in ("auc", "clip_auc") else per_cent(value)


def published(
    model: str, datasets: Sequence[str], compressions: Sequence[str], found: Mapping[str, Any] | None = None
) -> dict[str, dict[str, Any]]:
    """What the model's paper reports of single trainings on the same dataset and compression.

    Args:
        model: its name.
        datasets: those of the samples; figures of one dataset do not stand beside those of several.
        compressions: those of the samples.
        found: the figures of these samples; where a row is of a kind that they lack (``of``), it is left out.

    Returns:
        title -> column -> figure; empty where the paper has nothing of that.
    """
    return {
        title: _figures(row)
        for title, row in _published(model).items()
        if not _is_cross(row)
        and _is_of(row, datasets, compressions)
        and (found is None or row.get("of") is None or row["of"] in found)
    }


def published_cross(protocol: str, model: str, datasets: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What the model's paper reports of a benchmark protocol on a dataset: trained on -> tested on -> AUC."""
    found = _published(model).get(protocol, {})
    return _figures(found) if _is_cross(found) and _is_of(found, datasets, None) else {}


def _published(model: str) -> dict[str, dict[str, Any]]:
    # The evaluation of a model whose package is gone can still be shown.
    return get_model(model).published_figures() if model in model_names() else {}


def _figures(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("data", "of")}


def _is_cross(figures: Mapping[str, Any]) -> bool:
    return all(isinstance(row, Mapping) for row in _figures(figures).values())


def _is_of(row: Mapping[str, Any], datasets: Sequence[str], compressions: Sequence[str] | None) -> bool:
    """Whether figures are of this data; those that do not say of which (``data``) are of any."""
    kinds = row.get("data")
    if kinds is None:
        return True
    return any(
        [kind["dataset"]] == list(datasets)
        and (compressions is None or "compression" not in kind or kind["compression"] in compressions)
        for kind in ([kinds] if isinstance(kinds, Mapping) else kinds)
    )
