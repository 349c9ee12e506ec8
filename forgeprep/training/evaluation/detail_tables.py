"""The tables of :mod:`forgeprep.training.evaluation.details`, of robustness, and of comparisons."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from forgeprep.text import counted
from forgeprep.training.evaluation.curves import RATES, rate_name
from forgeprep.training.evaluation.intervals import FEWEST
from forgeprep.training.evaluation.parts import UNDEFINED, Part, Table, defined, per_cent

_INTERVALS = ("acc", "balanced_acc", "auc", "eer", "ap", rate_name(0.01))
_ROBUST = ("acc", "balanced_acc", "auc")
_NAMES = {"balanced_acc": "balanced ACC", "acc": "ACC", "auc": "AUC", "eer": "EER", "ap": "AP", "fpr": "FPR"}


def figure_name(figure: str) -> str:
    """A figure as tables name it: ``tpr@0.01`` as ``TPR at FPR 1 %``."""
    if figure.startswith("tpr@"):
        return f"TPR at FPR {100 * float(figure[4:]):g} %"
    return _NAMES.get(figure, figure.upper())


def detail_parts(found: Mapping[str, Any]) -> list[Part]:
    """The tables of a set, as far as it has any: intervals, operating points, calibration; then what is absent."""
    parts: list[Part] = [f"Undefined: {reason}." for reason in found.get("undefined", {}).values()]
    parts += [*_interval_parts(found), *_operating_parts(found), *_calibration_parts(found)]
    lost = found.get("lost", {})
    if lost:
        parts.append(f"Samples by what became of them: {_counts(lost)}.")
    absent = found.get("absent", {})
    if any(absent.values()):
        parts.append(
            f"Of this split, {counted(absent['frames'], 'planned frame')} and {counted(absent['clips'], 'whole clip')} "
            "have no crop, and are in no figure; 'forgeprep inspect' tells why."
        )
    return parts


def interval(values: Sequence[float] | None) -> str:
    """An interval in per cent."""
    return UNDEFINED if values is None else f"{100 * values[0]:.2f} to {100 * values[1]:.2f}"


def _interval_parts(found: Mapping[str, Any]) -> list[Part]:
    levels = {level: kinds for level, kinds in found.get("intervals", {}).items() if level != "how"}
    if not levels:
        return []
    how = found["intervals"]["how"]
    first = next(iter(levels.values()))
    heads = [
        f"by source ({counted(first['source']['units'], 'group')})",
        f"by identity ({counted(first['identity']['units'], 'person', 'people')})",
    ]
    if not any(part["figures"] for kinds in levels.values() for part in kinds.values()):
        groups = counted(first["source"]["units"], "source group")
        people = counted(first["identity"]["units"], "person", "people")
        return [f"Intervals undefined: {groups} and {people}; a bootstrap takes {FEWEST} at least."]
    rows = []
    for level, kinds in levels.items():
        values = {**found["operating"][level], **found["operating"][level]["used"], **found[level]}
        for figure in _INTERVALS:
            cells = [interval(kinds[kind]["figures"].get(figure)) for kind in ("source", "identity")]
            rows.append([f"{level} {figure_name(figure)}", defined(values[figure]), *cells])
    notes = [f"{kind}: {part['note']}" for kind, part in first.items() if part["note"]]
    if not how["identities_known"]:
        notes.append("identity: the dataset names nobody, so these are its source groups")
    lines = [
        f"Intervals of {100 * how['confidence']:g} %: bootstrap of {how['draws']:,} draws, whole groups or people at a "
        "time, seed " + str(how["seed"]) + "."
    ]
    return [*lines, Table(["", "figure", *heads], rows), *([f"Intervals {'; '.join(notes)}."] if notes else [])]


def _operating_parts(found: Mapping[str, Any]) -> list[Part]:
    levels = found.get("operating", {})
    if not levels:
        return []
    names = [rate_name(rate) for rate in RATES]
    cells = [[level, *(defined(f[name]) for name in names)] for level, f in levels.items()]
    parts: list[Part] = [Table(["TPR at FPR", *(f"{100 * rate:g} %" for rate in RATES)], cells)]
    coarse = {level: f["reals"] for level, f in levels.items() if 0 < f["reals"] < 1 / min(RATES)}
    if coarse:
        told = ", ".join(f"1 of {counted(reals, 'real')} ({level})" for level, reals in coarse.items())
        parts.append(f"An FPR below {told} allows no false alarm at all.")
    rows = []
    for level, figures in levels.items():
        for kind in ("used", "val"):
            at = figures[kind]
            if at is not None and (kind == "used" or at["threshold"] != figures["used"]["threshold"]):
                rates = [defined(at[name]) for name in ("fpr", "tpr", "acc", "balanced_acc")]
                rows.append([f"{level}, {'val: ' if kind == 'val' else ''}{at['threshold']:.3f}", *rates])
    return [*parts, Table(["fake above", "FPR", "TPR", "ACC", "balanced ACC"], rows)]


def _calibration_parts(found: Mapping[str, Any]) -> list[Part]:
    levels = found.get("calibration", {})
    known = {level: f for level, f in levels.items() if "undefined" not in f}
    if not known:
        return [f"Calibration undefined: {next(iter(levels.values()))['undefined']}."] if levels else []
    return [
        Table(
            ["calibration", "ECE", "Brier"],
            [[level, f"{100 * f['ece']:.2f}", f"{f['brier']:.4f}"] for level, f in known.items()],
        )
    ]


def robust_parts(robustness: Mapping[str, Any]) -> list[Part]:
    """The table of perturbations: how many verdicts flip, and figures below those of the clean twins."""
    rows: list[list[str]] = []
    before: list[str] = []
    for row in robustness["rows"]:
        clean = ["clean", f"{row['samples']:,}", "", "", "", *(defined(row[f"clean_{key}"]) for key in _ROBUST)]
        if clean != before:  # Seldom more than once: all have the same samples.
            rows.append(before := clean)
        name = row["perturbation"] + ("" if row["severity"] is None else f":{row['severity']}")
        rates = [per_cent(row["flip_rate"]), per_cent(row["to_fake"]), per_cent(row["to_real"])]
        rows.append([name, f"{row['samples']:,}", *rates, *(defined(row[key]) for key in _ROBUST)])
    heads = ["perturbation", "samples", "flips", "to fake", "to real", "ACC", "balanced", "AUC"]
    parts: list[Part] = ["### Perturbed against clean, by frame", Table(heads, rows)] if rows else []
    if robustness["unpaired"]:
        parts.append(
            f"{counted(robustness['unpaired'], 'perturbed sample')} without a clean twin: give the clean run of the "
            "same settings as another --shards."
        )
    return parts


def comparison_parts(comparisons: Sequence[Mapping[str, Any]]) -> list[Part]:
    """The table of DeLong's tests."""
    rows, notes = [], []
    for one in comparisons:
        p = UNDEFINED if one["p"] is None or math.isnan(one["p"]) else _p(one["p"])
        delong = None if p == UNDEFINED else (one["low"], one["high"])
        rows.append([
            f"{one['second']} - {one['first']}", *(defined(auc) for auc in one["auc"]), defined(one["difference"]),
            interval(delong), p, interval(one["by_source"]),
        ])  # fmt: skip
        if one["reason"]:
            notes.append(f"{one['second']} - {one['first']}: {one['reason']}.")
    level = comparisons[0]["level"]
    heads = ["", "first AUC", "second AUC", "difference", "95 % (DeLong)", "p", "95 % (by source)"]
    told = (
        "DeLong's test takes the entries for independent. The frames of a clip are not, so clips are compared."
        if level == "clips"
        else "DeLong's test takes the entries for independent, which the frames of a clip are not: p is too small."
    )
    number = counted(comparisons[0]["entries"], level.removesuffix("s"))
    return [f"## Do they differ? {number} that all of them score", Table(heads, rows), *notes, told]


def _p(value: float) -> str:
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def _counts(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in numbers.items())
