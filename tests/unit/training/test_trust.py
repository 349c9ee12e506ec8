"""Intervals, DeLong's test, calibration, flips: against scikit-learn, scipy and plain loops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap
from sklearn.metrics import average_precision_score, balanced_accuracy_score, roc_auc_score, roc_curve

from forgeprep.io.json_files import json_text
from forgeprep.ops.perturb.catalogue import CATALOGUE
from forgeprep.training.evaluation.calibration import calibration
from forgeprep.training.evaluation.curves import RATES, Curve, point_figures, rate_name
from forgeprep.training.evaluation.delong import compare, delong_covariance
from forgeprep.training.evaluation.detail_tables import robust_parts
from forgeprep.training.evaluation.details import Judged, details
from forgeprep.training.evaluation.document import evaluation_parts, markdown
from forgeprep.training.evaluation.intervals import Bootstrap, difference, intervals
from forgeprep.training.evaluation.metrics import equal_error_rate
from forgeprep.training.evaluation.output import write_evaluation
from forgeprep.training.evaluation.parts import Table
from forgeprep.training.evaluation.robust import robust_row, robustness
from forgeprep.training.evaluation.summary import summary
from forgeprep.training.evaluation.truth import ClipFacts
from forgeprep.training.evaluation.verdicts import Verdicts

LEVEL = st.integers(0, 12)
SAMPLE = st.tuples(st.booleans(), LEVEL, st.integers(0, 3))
FEW = Bootstrap(200)


@given(st.lists(SAMPLE, min_size=2, max_size=40))
def test_weighted_figures_are_those_of_samples_that_come_so_often(samples: list[tuple[bool, int, int]]) -> None:
    label, level, times = (np.array(column) for column in zip(*samples, strict=True))
    often, score = np.repeat(label, times), np.repeat(level / 12, times)
    curve = Curve(label, level / 12, 0.5)
    found = {name: value[0] for name, value in curve.figures(times[curve.order][None].astype(float)).items()}
    if len(set(often)) < 2:
        assert all(np.isnan(found[name]) for name in ("auc", "ap", "eer", "balanced_acc", rate_name(0.05)))
        return
    alarms, hits, _ = roc_curve(often, score, drop_intermediate=False)
    wanted = {
        "auc": roc_auc_score(often, score),
        "ap": average_precision_score(often, score),
        "eer": equal_error_rate(often, score),
        "acc": np.mean((score > 0.5) == often),
        "balanced_acc": balanced_accuracy_score(often, score > 0.5),
        **{rate_name(rate): hits[alarms <= rate].max() for rate in RATES},
    }
    assert {name: found[name] for name in wanted} == pytest.approx(wanted)


@given(st.lists(st.tuples(st.booleans(), LEVEL), min_size=2, max_size=30), st.floats(0.1, 5))
def test_figures_of_ranks_do_not_change_under_a_rising_map(samples: list[tuple[bool, int]], power: float) -> None:
    label, level = (np.array(column) for column in zip(*samples, strict=True))
    first = point_figures(label, level / 12, 0.5)
    other = point_figures(label, np.exp(level / 12 * power) - 7, 0.5)
    for name in ("auc", "ap", "eer", *map(rate_name, RATES)):
        assert other[name] == pytest.approx(first[name], nan_ok=True)


def draws(count: int, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    label = np.arange(count) % 2
    return label, label * 0.8 + rng.normal(size=count)


def test_intervals_are_those_of_scipy_where_each_sample_stands_alone() -> None:
    label, score = draws(150)
    units = [(str(number),) for number in range(150)]
    low, high = intervals(Curve(label, score, 0.5), units, Bootstrap(4000))["figures"]["auc"]

    def auc(at: Any) -> float:
        return float(roc_auc_score(label[at], score[at]))

    wanted = bootstrap((np.arange(150),), auc, n_resamples=700, method="percentile", vectorized=False, rng=1)
    assert (low, high) == pytest.approx(tuple(wanted.confidence_interval), abs=0.02)


def test_frames_that_resemble_each_other_make_no_interval_narrower() -> None:
    label, score = draws(60)
    units = [(f"group {number // 4}",) for number in range(60)]
    one = intervals(Curve(label, score, 0.5), units, FEW)
    thrice = intervals(
        Curve(np.repeat(label, 3), np.repeat(score, 3), 0.5), [unit for unit in units for _ in range(3)], FEW
    )
    assert one["units"] == 15
    assert one == intervals(Curve(label, score, 0.5), units, FEW)
    for name, interval in one["figures"].items():
        assert thrice["figures"].get(name) == pytest.approx(interval), name
    # As if every frame were a witness of its own, it would be.
    alone = intervals(Curve(np.repeat(label, 3), np.repeat(score, 3), 0.5), [(str(n),) for n in range(180)], FEW)
    assert np.ptp(alone["figures"]["auc"]) < 0.8 * np.ptp(one["figures"]["auc"])


def test_people_in_several_groups_make_the_interval_by_identity_wider() -> None:
    label, score = draws(80)
    groups = [f"g{number // 4}" for number in range(80)]
    own = [ClipFacts(group, (f"p{group}",)) for group in groups]
    curve = Curve(label, score, 0.5)
    by = {kind: intervals(curve, [clip.units(kind) for clip in own], FEW) for kind in ("source", "identity")}
    assert by["source"] == by["identity"]
    # Each fake shows the next group's person too.
    both = [(f"g{n // 4}", f"g{(n // 4 + 1) % 20}") if label[n] else (f"g{n // 4}",) for n in range(80)]
    crossed = intervals(curve, both, FEW)
    assert crossed["units"] == 20
    assert np.ptp(crossed["figures"]["auc"]) > np.ptp(by["source"]["figures"]["auc"])
    few = intervals(curve, [(str(n % 3),) for n in range(80)], FEW)
    assert (few["figures"], few["note"]) == ({}, "undefined, 3 are too few")


def oracle(label: Any, scores: Any) -> tuple[Any, Any]:
    """DeLong's covariance by its definition: all pairs of a fake and a real."""
    fakes, reals = np.flatnonzero(label), np.flatnonzero(label == 0)
    wins = np.array([[[0.5 * (s[i] == s[j]) + (s[i] > s[j]) for j in reals] for i in fakes] for s in scores])
    of_fakes, of_reals = wins.mean(axis=2), wins.mean(axis=1)
    return wins.mean(axis=(1, 2)), np.cov(of_fakes) / len(fakes) + np.cov(of_reals) / len(reals)


@given(st.lists(st.tuples(st.booleans(), LEVEL, LEVEL), min_size=4, max_size=25))
def test_delong_is_its_definition(samples: list[tuple[bool, int, int]]) -> None:
    label, one, two = (np.array(column) for column in zip(*samples, strict=True))
    found = compare(label, one, two)
    if min(label.sum(), (~label).sum()) < 2:
        assert found.reason is not None
        return
    aucs, covariance = delong_covariance(label, np.stack([one, two]))
    wanted, wanted_covariance = oracle(label, [one, two])
    assert aucs == pytest.approx(wanted)
    assert aucs == pytest.approx([roc_auc_score(label, one), roc_auc_score(label, two)])
    assert covariance == pytest.approx(wanted_covariance)
    back = compare(label, two, one)
    assert back.difference == pytest.approx(-found.difference)
    if found.reason is None:
        assert (back.low, back.p) == pytest.approx((-found.high, found.p))
        assert (found.p < 0.05) == (not found.low <= 0 <= found.high)
    assert compare(label, one, one).reason == "the difference does not vary between samples"


def test_delong_is_right_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    label = np.arange(80) % 2
    shared = label * 0.7 + rng.normal(size=(400, 80))
    pairs = [shared + 0.7 * rng.normal(size=shared.shape) for _ in range(2)]
    p = np.array([compare(label, a, b).p for a, b in zip(*pairs, strict=True)])
    assert 0.02 < np.mean(p < 0.05) < 0.09
    # The frames of 80 clips, ten alike each, taken for 800 that are independent, are wrongly sure.
    sure = compare(np.repeat(label, 10), np.repeat(pairs[0][0], 10), np.repeat(pairs[1][0], 10))
    assert sure.p < p[0]
    curves = [Curve(label, pair[0], 0.5) for pair in pairs]
    low, high = difference(curves[0], curves[1], [(str(n),) for n in range(80)], "auc", Bootstrap(2000)) or (0, 0)
    found = compare(label, pairs[0][0], pairs[1][0])
    assert (low, high) == pytest.approx((found.low, found.high), abs=0.03)


def test_calibration() -> None:
    found = calibration([0, 1, 1, 1], [0.1, 0.1, 0.9, 0.9], bins=2)
    assert found["bins"] == [
        {"low": 0.0, "high": 0.5, "samples": 2, "score": 0.1, "fakes": 0.5},
        {"low": 0.5, "high": 1.0, "samples": 2, "score": 0.9, "fakes": 1.0},
    ]
    assert found["ece"] == pytest.approx((0.4 + 0.1) / 2)
    assert found["brier"] == pytest.approx((0.01 + 0.81 + 0.01 + 0.01) / 4)
    assert calibration([0, 1], [0.0, 1.0])["ece"] == 0
    assert calibration([0, 1], [-3.0, 4.0]) == {"undefined": "2 scores lie outside [0, 1]"}
    # Where clips have one and frames have none, that is told too.
    one = judged([0, 1], [-0.2, 0.4, 0.7, 0.9])
    found = {**summary(one.verdicts, (), 0.5), **details(one, FEW)}
    evaluation = {"run": "r", "model": "m", "step": 1, "split": "test", "threshold": 0.5, "sets": {"s": found}}
    text = markdown(evaluation_parts([evaluation]))
    assert "Calibration of frames undefined: 1 score lies outside [0, 1]." in text


def rows(labels: list[int], frames: int = 2) -> list[dict[str, Any]]:
    return [
        {"sample_id": f"c{number}/0/{frame}", "clip_id": f"c{number}", "dataset": "x", "label": label,
         "compression": None, "method": "Fake" if label else None}
        for number, label in enumerate(labels)
        for frame in range(frames)
    ]  # fmt: skip


def judged(labels: list[int], scores: list[float], perturbation: str | None = None, **more: Any) -> Judged:
    made = rows(labels)
    clips = {row["clip_id"]: ClipFacts(row["clip_id"], perturbation=perturbation) for row in made}
    return Judged(Verdicts(made, np.array(scores)), clips, **more)


def test_of_one_class_figures_are_undefined_in_words_and_null_in_json(tmp_path: Path) -> None:
    one = judged([0] * 6, [0.1, 0.7] * 6, val_threshold=0.6)
    found = {**summary(one.verdicts, (), 0.5), **details(one, FEW)}
    assert found["undefined"] == {
        "frames": "12 reals and 0 fakes among the frames: one class alone",
        "clips": "6 reals and 0 fakes among the clips: one class alone",
    }
    evaluation = {"run": "r", "model": "m", "step": 1, "split": "test", "threshold": 0.5, "sets": {"s": found}}
    text = markdown(evaluation_parts([evaluation]))
    assert "| frames | 50.00 | undefined | undefined | undefined |" in text
    assert "Undefined: 12 reals and 0 fakes among the frames: one class alone." in text
    # What a set of reals does tell: how many of them are called fake, at 0.5 and at val's threshold.
    assert "| frames, 0.500 | 50.00 | undefined | 50.00 | undefined |" in text
    assert "| frames, val: 0.600 | 50.00 |" in text
    assert "nan" not in text.lower()
    assert '"auc": null' in json_text(found)
    assert found["intervals"]["frames"]["source"]["figures"]["fpr"] == [0.5, 0.5]
    assert found["intervals"]["frames"]["source"]["figures"]["auc"] is None
    assert tmp_path / "roc.png" not in write_evaluation([evaluation], tmp_path)[1]


def test_a_perturbed_sample_is_compared_with_its_clean_twin() -> None:
    clean = judged([0, 1], [0.2, 0.6, 0.8, 0.9])
    hard = judged([0, 1], [0.7, 0.6, 0.4, 0.9], "jpeg:3")
    mixed = judged([0, 1], [0.2, 0.6, 0.8, 0.9], "zoom:2+jpeg:3")
    found = robustness({"clean": clean, "hard": hard, "mixed": mixed})["robustness"]
    first, second = found["rows"]
    assert (first["perturbation"], first["severity"], first["samples"]) == ("jpeg", 3, 4)
    assert (first["flip_rate"], first["to_fake"], first["to_real"]) == (0.5, 0.25, 0.25)
    assert (first["clean_acc"], first["acc"], first["clean_auc"]) == (0.75, 0.25, 1.0)
    assert (second["perturbation"], second["severity"], second["flip_rate"]) == ("zoom:2+jpeg:3", None, 0)
    assert robustness({"clean": clean}) == {}
    assert robustness({"hard": hard})["robustness"] == {"rows": [], "unpaired": 4}
    alone = robust_row("jpeg", 1, [0, 0], np.array([0.2, 0.6]), np.array([0.6, 0.6]), 0.5)
    assert np.isnan(alone["auc"])
    assert alone["flip_rate"] == 0.5


def test_many_perturbations_have_severities_as_columns() -> None:
    labels, clean = np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9])
    found = [
        robust_row(name, severity, labels, clean, np.where(np.arange(4) < severity - 2, 0.95, clean), 0.5)
        for name in CATALOGUE
        for severity in range(1, 6)
    ]
    _, line, flips, _, auc = robust_parts({"rows": found, "unpaired": 0})
    assert line == "Of 4 samples, by severity; 0 is clean."
    assert isinstance(flips, Table)
    assert isinstance(auc, Table)
    assert flips.rows[0][1:] == ["0.00", "0.00", "0.00", "25.00", "50.00", "50.00"]
    assert auc.rows[0][1:] == ["100.00", "100.00", "100.00", "50.00", "0.00", "25.00"]
    assert len(flips.rows) == len(CATALOGUE) == 36
    parts = robust_parts({"rows": found[:3], "unpaired": 2})
    assert isinstance(parts[1], Table)
    assert [row[0] for row in parts[1].rows] == ["clean", *(f"{next(iter(CATALOGUE))}:{n}" for n in (1, 2, 3))]
    assert str(parts[2]).startswith("2 perturbed samples without a clean twin")
