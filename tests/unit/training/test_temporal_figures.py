"""AP, mAP and AR of temporal localisation, against a case worked out by hand, and what must hold of any case."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forgeprep.training.temporal.figures import average_precision, average_recall, recall_at, temporal_figures, tiou

TRUTH = {"a": [(0.0, 10.0), (20.0, 30.0)], "b": [(0.0, 10.0)], "c": []}
FOUND = {
    "a": [
        (0.0, 8.0, 0.9),  # tIoU .8 with the first span
        (1.0, 10.0, 0.8),  # .9 with the first, which is taken up to .8
        (20.0, 26.0, 0.3),  # .6 with the second
    ],
    "b": [(5.0, 15.0, 0.7), (0.0, 10.0, 0.6)],  # 1/3, and exact
    "c": [(0.0, 5.0, 0.5)],  # no span there
}


def test_a_case_by_hand() -> None:
    # By score: a .9, a .8, b .7, b .6, c .5, a .3. Three spans in all.
    # tIoU .5: hit, miss (taken), miss, hit, miss, hit: precision 1, 2/4, 3/6.
    assert average_precision(TRUTH, FOUND, 0.5) == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)
    # .75: hit, miss, miss, hit, miss, miss.
    assert average_precision(TRUTH, FOUND, 0.75) == pytest.approx((1 + 1 / 2) / 3)
    # .9: miss (.8), hit, miss, hit: precision 1/2 and 2/4.
    assert average_precision(TRUTH, FOUND, 0.9) == pytest.approx((1 / 2 + 1 / 2) / 3)
    # .95: only b's exact one, fourth of all.
    assert average_precision(TRUTH, FOUND, 0.95) == pytest.approx(1 / 4 / 3)
    figures = temporal_figures(TRUTH, FOUND)
    # .5 .55 .6: 2/3; .65 .7 .75 .8: 1/2; .85 .9: 1/3; .95: 1/12.
    assert figures["map"] == pytest.approx((3 * 2 / 3 + 4 / 2 + 2 / 3 + 1 / 12) / 10)
    # Two best: .9 and nothing of a's spans, 1 of b's. At .5 … .9 two of three are covered, at .95 one.
    assert figures["ar@2"] == pytest.approx((9 * 2 / 3 + 1 / 3) / 10)
    # Five best: a's second span too, up to .6.
    assert figures["ar@5"] == pytest.approx((3 * 1 + 6 * 2 / 3 + 1 / 3) / 10)
    assert recall_at(TRUTH, FOUND, 2, 0.5) == pytest.approx(2 / 3)
    assert tiou([(0, 8)], [(0, 10), (8, 9)]).tolist() == [[0.8, 0.0]]


SPANS = st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20)).map(lambda s: (s[0], s[0] + s[1])), max_size=4)


@given(truth=st.dictionaries(st.text("abc", min_size=1, max_size=2), SPANS), found=st.data())
def test_what_holds_of_any_case(truth: dict[str, list[tuple[int, int]]], found: st.DataObject) -> None:
    truth = {clip: sorted(set(spans)) for clip, spans in truth.items()}
    if not any(truth.values()):
        assert all(math.isnan(value) for value in temporal_figures(truth, {}).values())
        return
    assert set(temporal_figures(truth, {}).values()) == {0.0}
    perfect = {clip: [(a, b, 1.0) for a, b in spans] for clip, spans in truth.items()}
    assert temporal_figures(truth, perfect)["map"] == 1
    assert average_recall(truth, perfect, 5) == 1
    scores = st.floats(0, 1, width=16)
    drawn = {clip: [(a, b, found.draw(scores)) for a, b in found.draw(SPANS)] for clip in truth}
    figures = temporal_figures(truth, drawn)
    assert all(0 <= value <= 1 for value in figures.values())
    turned = {clip: drawn[clip][::-1] for clip in reversed(list(drawn))}
    assert temporal_figures(dict(reversed(list(truth.items()))), turned) == figures
    assert figures["ar@2"] <= figures["ar@5"]
    # Of a worse proposal below all others no figure falls.
    lower = {clip: [*spans, (90, 91, -1.0)] for clip, spans in drawn.items()}
    assert temporal_figures(truth, lower) == pytest.approx(figures)
    scaled = {clip: [(2 * a, 2 * b, s) for a, b, s in spans] for clip, spans in drawn.items()}
    doubled = {clip: [(2 * a, 2 * b) for a, b in spans] for clip, spans in truth.items()}
    assert temporal_figures(doubled, scaled) == pytest.approx(figures)
