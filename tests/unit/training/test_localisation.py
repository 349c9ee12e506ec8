"""Where and when: soft magnitudes and lines of time against cases by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from forgeprep.training.evaluation.metrics import MagnitudeCounts
from forgeprep.training.models.bmn import Bmn, sampling
from forgeprep.training.temporal.spans import Line, sequences_around
from forgeprep.training.temporal.timeline import (
    make_timeline,
    on_known_frames,
    proposals_of_maps,
    proposals_of_scores,
    suppress,
    targets,
)


def test_sequences_around_each_moment_by_hand() -> None:
    # Two faces, the second in the first frames alone; samples in any order.
    frames, tracks = [0, 1, 2, 3, 4, 5, 0, 1], [0, 0, 0, 0, 0, 0, 1, 1]
    order = np.array([3, 0, 6, 1, 5, 7, 2, 4])
    places = np.array(frames)[order]
    time = make_timeline("c", [0, 1, 2, 3, 4, 5], [0] * 6, None)
    line = Line(time, 10 + order, places, np.zeros(6), np.array(tracks)[order])
    members, at = sequences_around(line, 4, 1)
    assert members.tolist() == [
        [10, 10, 10, 11], [10, 10, 11, 12], [10, 11, 12, 13], [11, 12, 13, 14], [12, 13, 14, 15], [13, 14, 15, 15],
        [16, 16, 16, 17], [16, 16, 17, 17],
    ]  # fmt: skip
    assert list(at.values()) == [[0], [1], [2], [3], [4], [5], [0], [1]]
    # Sixteen frames: every second moment, which stands for its neighbour too.
    members, at = sequences_around(line, 16, 1)
    assert list(at.values()) == [[0, 1], [2, 3], [4, 5], [0, 1]]
    assert members[1].tolist() == [10] * 6 + [11, 12, 13, 14] + [15] * 6


def test_magnitude_figures_of_a_case_by_hand() -> None:
    truth = np.array([[0.0, 0.0, 0.15], [0.5, 0.1, 0.25]])
    found = np.array([[0.0, 0.04, 0.25], [0.49, 0.3, 0.05]])
    whole, parts = MagnitudeCounts(), MagnitudeCounts()
    whole.add(truth, found)
    for half in (slice(0, 1), slice(1, 2)):
        part = MagnitudeCounts()
        part.add(truth[half], found[half])
        parts.merge(part)
    figures = whole.figures()
    assert parts.figures() == figures
    assert figures == pytest.approx({
        # At .1, only the last pixel disagrees; at .2 also the third (.15, .25) and the fifth (.1, .3).
        "agree@0.1": 5 / 6, "agree@0.2": 3 / 6,
        # The pixels that are pristine in both, two of them, are no part of a true IoU.
        "iou@0.1": 3 / 4, "iou@0.2": 1 / 4,
        # Differences: 0, .04, .1, .01, .2, .2.
        "iou_diff@0.01": 2 / 6, "iou_diff@0.05": 3 / 6, "iou_diff@0.1": 4 / 6, "l1": 0.55 / 6,
    })  # fmt: skip
    empty = MagnitudeCounts()
    empty.add(np.zeros((2, 2)), np.zeros((2, 2)))
    assert empty.figures()["agree@0.1"] == 1
    assert np.isnan(empty.figures()["iou@0.1"])


def test_a_line_of_time_by_hand() -> None:
    line = make_timeline("c", [0, 1, 2, 3, 5, 6, 20, 21, 21], [0, 1, 1, 1, 1, 0, 1, 0, 1])
    # Frame 4 was dropped and is bridged; nobody knows of 7 to 20.
    assert line.cells.tolist() == [[0, 1], [1, 2], [2, 3], [3, 4.5], [4.5, 6], [6, 7], [20, 21], [21, 22]]
    assert line.spans() == [(1, 6), (20, 22)]
    assert line.known_share(0, 7) == 1
    assert line.known_share(6, 20) == pytest.approx(1 / 14)
    assert on_known_frames(line, [(5, 8, 0.9), (6, 20, 0.8), (19, 22, 0.7)]) == [(5, 8, 0.9), (19, 22, 0.7)]
    told = targets(line, 22)
    assert told["known"].tolist() == [True] * 7 + [False] * 13 + [True] * 2
    assert (told["start"][:5].tolist(), told["end"][4:8].tolist()) == ([1, 1, 0.5, 0, 0], [0.5, 1, 1, 0.5])
    assert told["overlap"][4, 1] == told["overlap"][1, 20] == 1
    assert told["overlap"][5, 1] == pytest.approx(5 / 6)
    assert not told["known_pairs"][13, 6]
    assert told["known_pairs"][6, 0]
    # Frames 0 to 4 and 9 to 15 are annotated: a dropped frame is bridged, what nobody annotated is not.
    parts = make_timeline("c", [0, 1, 3, 4, 9, 11, 12, 13], [1] * 8, [[0, 3, 1], [3, 2, 1], [9, 7, 1]])
    assert parts.spans() == [(0, 5), (9, 14)]
    every_fifth = make_timeline("c", [0, 5, 10, 15], [0, 1, 1, 0])
    assert every_fifth.spans() == [(3, 13)]


@given(st.integers(0, 27), st.integers(3, 12))
def test_the_truth_as_probabilities_gives_the_span_back(start: int, length: int) -> None:
    labels = [int(start <= frame < start + length) for frame in range(40)]
    line = make_timeline("c", range(40), labels)
    told = targets(line, 40)
    start_, end, overlap = (told[name].astype(np.float64) for name in ("start", "end", "overlap"))
    best = proposals_of_maps(line, start_, end, np.stack([overlap, overlap]))[0]
    assert best[:2] == pytest.approx((start, start + length))
    values = np.random.default_rng(start).random(40) * 0.3 + 0.6 * np.array(labels)
    assert proposals_of_scores(line, values)[0][:2] == (start, start + length)
    fading = suppress([(0, 10, 1.0), (0, 9, 0.9), (20, 30, 0.5)], 40)
    assert [p[:2] for p in fading] == [(0, 10), (20, 30), (0, 9)]


def test_mixing_channels_first_is_the_convolution_over_sampled_features() -> None:
    torch.manual_seed(0)
    net, scale, samples = Bmn(scale=6, channels=5, samples=4), 6, 4
    places, weights = sampling(scale, samples)
    # The proposal over cells 2 and 3 reaches from 1 to 5: its points lie there, evenly, each the mean of three.
    row = weights.reshape(-1, samples, scale)[places.tolist().index(1 * scale + 2)]
    at = np.linspace(1, 5, samples * 3) - 0.5
    expected = np.interp(at, np.arange(scale), np.arange(scale)).reshape(samples, 3).mean(axis=1)
    np.testing.assert_allclose(row @ np.arange(scale), expected, atol=1e-6)
    np.testing.assert_allclose(row.sum(axis=1), 1, atol=1e-6)
    dense = torch.zeros(samples, scale * scale, scale)
    dense[:, places] = torch.from_numpy(weights).view(-1, samples, scale).transpose(0, 1)
    x = torch.randn(2, 256, scale)
    sampled = torch.einsum("bct,nkt->bcnk", x, dense).view(2, 256, samples, scale, scale)
    torch.testing.assert_close(net.match(x), net.gather(sampled).squeeze(2), atol=1e-4, rtol=1e-4)


def test_what_is_unknown_does_not_move_the_network() -> None:
    torch.manual_seed(0)
    labels = [0] * 6 + [1] * 6 + [0] * 4
    line = make_timeline("c", [*range(12), *range(28, 32)], labels)
    net = Bmn(scale=16, channels=3)
    out = {k: v.detach().requires_grad_() for k, v in net(torch.randn(1, 3, 16)).items()}
    told = {name: torch.from_numpy(value)[None] for name, value in targets(line, 16).items()}
    torch.stack(list(net.losses(out, told).values())).sum().backward()
    for name in ("start", "end"):
        moved = out[name].grad != 0
        assert torch.equal(moved, told["known"])
    assert torch.equal((out["map"].grad != 0).any(dim=1), told["known_pairs"])
    assert not told["known"].all()
