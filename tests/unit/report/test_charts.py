"""Charts of the report."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from forgeprep.report import charts, measure
from forgeprep.report.render import render
from forgeprep.report.tables import Head, Link, Table
from forgeprep.report.verdict import Notice, Verdict
from tests.helpers.html import NASTY, Parsed


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 2.3, [0, 0.5, 1, 1.5, 2]),
        (-0.1, 0.013, [-0.1, -0.05, 0]),
        (0.2, 9.7, [2, 4, 6, 8]),
        (0, 3e-7, [0, 1e-7, 2e-7, 3e-7]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert charts.ticks(low, high) == pytest.approx(expected)


def test_a_histogram_of_many_values_needs_no_more_room() -> None:
    values = np.random.default_rng(0).beta(2, 5, 5000)
    found = measure.Histogram(0, 1)
    for value in values:
        found.add(value)
    assert found.mean == pytest.approx(values.mean())
    for share in (0.05, 0.5, 0.95):
        assert found.quantile(share) == pytest.approx(np.quantile(values, share), abs=2e-3)
    assert (found.quantile(0), found.bins.sum()) == (values.min(), 5000)


def test_charts_and_pieces_escape_what_they_are_given() -> None:
    shown = [charts.ranges([(NASTY, 0, 1, 2)], NASTY), charts.histogram([1, 0, 3], NASTY), charts.spans(0, [], NASTY)]
    shown += [charts.ranges([], ""), charts.histogram([], ""), charts.share(0.5, NASTY)]
    content = Table(NASTY, NASTY, [Head(NASTY), Head(NASTY, "chart")], [[NASTY, one] for one in shown], [NASTY, NASTY])
    verdict = Verdict([NASTY], [Notice(NASTY, (Link(NASTY, NASTY),))])
    facts = {"dataset": NASTY, "stages": [NASTY], "verdict": verdict, "figures": [(NASTY, NASTY)], "sections": []}
    run = SimpleNamespace(summary=SimpleNamespace(out=NASTY))
    found = Parsed(render("header.html.j2", found=run, settings=content, **facts))
    assert not {"script", "img"} & {name for name, _ in found.elements}
    assert len(found.attributes("svg")) == len(shown)
    # Eight values of the header, five of the table, a cell of each row, and what four charts and a label say.
    assert found.text.count("<script>") == 8 + 5 + len(shown) + 5
