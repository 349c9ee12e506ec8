"""The tables of :mod:`forgeprep.training.evaluation.details`, of robustness, and of comparisons."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from forgeprep.ops.perturb.catalogue import SEVERITIES
from forgeprep.text import counted
from forgeprep.training.evaluation.curves import RATES, rate_name
from forgeprep.training.evaluation.intervals import FEW, FEWEST
from forgeprep.training.evaluation.parts import UNDEFINED, Part, Table, defined, per_cent

_INTERVALS = ("acc", "balanced_acc", "auc", "eer", "ap", rate_name(0.01))
_LONG = 24
"""Rows of a table of perturbations; where there are more, severities are its columns."""
_NOTHING: Any = object()
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
        rule = found["rule"]
        told = {"drop": "in no figure", "worst": "taken as wrong"}.get(rule, f"taken as {rule.removeprefix('score=')}")
        parts.append(f"Without a score: {_counts(lost)}; {told}.")
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
    coarse = {level: f["reals"] for level, f in levels.items() if f["fakes"] and 0 < f["reals"] < 1 / min(RATES)}
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
    reasons = {level: f["undefined"] for level, f in levels.items() if level not in known}
    if not known:
        return [f"Calibration undefined: {next(iter(reasons.values()))}."] if reasons else []
    return [
        Table(
            ["calibration", "ECE", "Brier"],
            [[level, f"{100 * f['ece']:.2f}", f"{f['brier']:.4f}"] for level, f in known.items()],
        ),
        *(f"Calibration of {level} undefined: {reason}." for level, reason in reasons.items()),
    ]


def robust_parts(robustness: Mapping[str, Any]) -> list[Part]:
    """The tables of perturbations: how many verdicts flip, and figures below those of the clean twins."""
    found = robustness["rows"]
    parts: list[Part] = ["### Perturbed against clean, by frame"] if found else []
    same = len({(row["samples"], row["clean_acc"]) for row in found}) == 1
    if len(found) > _LONG and same and all(row["severity"] is not None for row in found):
        parts += [f"Of {counted(found[0]['samples'], 'sample')}, by severity; 0 is clean.", *_by_severity(found)]
    elif found:
        parts.append(_by_row(found))
    if robustness["unpaired"]:
        parts.append(
            f"{counted(robustness['unpaired'], 'perturbed sample')} without a clean twin: give the clean run of the "
            "same settings as another --shards."
        )
    return parts


def _by_row(found: Sequence[Mapping[str, Any]]) -> Table:
    """A row for each perturbation and severity."""
    rows: list[list[str]] = []
    before: list[str] = []
    for row in found:
        clean = ["clean", f"{row['samples']:,}", "", "", "", *(defined(row[f"clean_{key}"]) for key in _ROBUST)]
        if clean != before:  # Seldom more than once: all have the same samples.
            rows.append(before := clean)
        name = row["perturbation"] + ("" if row["severity"] is None else f":{row['severity']}")
        rates = [per_cent(row["flip_rate"]), per_cent(row["to_fake"]), per_cent(row["to_real"])]
        rows.append([name, f"{row['samples']:,}", *rates, *(defined(row[key]) for key in _ROBUST)])
    return Table(["perturbation", "samples", "flips", "to fake", "to real", "ACC", "balanced", "AUC"], rows)


def _by_severity(found: Sequence[Mapping[str, Any]]) -> list[Part]:
    """A table for the flip rate, and one each for ACC and AUC, a column for each severity."""
    names = list(dict.fromkeys(row["perturbation"] for row in found))
    cells = {(row["perturbation"], row["severity"]): row for row in found}
    parts: list[Part] = []
    for key in ("flip_rate", "acc", "auc"):
        before = found[0][f"clean_{key}"] if key != "flip_rate" else 0.0
        rows = []
        for name in names:
            values = [cells.get((name, severity), {}).get(key, _NOTHING) for severity in SEVERITIES]
            rows.append([name, defined(before), *("-" if value is _NOTHING else defined(value) for value in values)])
        title = "flips" if key == "flip_rate" else figure_name(key)
        parts.append(Table([title, "0", *map(str, SEVERITIES)], rows))
    return parts


def comparison_parts(comparisons: Sequence[Mapping[str, Any]]) -> list[Part]:
    """The table of DeLong's tests; a difference is the second's AUC less the first's."""
    rows, notes = [], []
    for one in comparisons:
        p = UNDEFINED if one["p"] is None or math.isnan(one["p"]) else _p(one["p"])
        delong = None if p == UNDEFINED else (one["low"], one["high"])
        rows.append([
            f"{one['first']} → {one['second']}", *(defined(auc) for auc in one["auc"]), defined(one["difference"]),
            interval(delong), p, interval(one["by_source"]),
        ])  # fmt: skip
        if one["reason"]:
            notes.append(f"{one['first']} → {one['second']}: {one['reason']}.")
    level = comparisons[0]["level"]
    heads = ["first → second", "first AUC", "second AUC", "difference", "95 % (DeLong)", "p", "95 % (by source)"]
    told = (
        "DeLong's test takes the entries for independent. The frames of a clip are not, so clips are compared."
        if level == "clips"
        else "DeLong's test takes the entries for independent, which the frames of a clip are not: p is too small."
    )
    groups = comparisons[0]["groups"]
    if groups < FEW:
        few = "make no interval" if groups < FEWEST else "make too narrow an interval"
        notes.append(f"By source: {counted(groups, 'group')} {few}.")
    number = counted(comparisons[0]["entries"], level.removesuffix("s"))
    return [f"## Do they differ? {number} that all of them score", Table(heads, rows), *notes, told]


def _p(value: float) -> str:
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def _counts(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in numbers.items())
