"""Samples of several frames: which frames they are made of."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forgeprep.errors import UsageError
from forgeprep.pipeline.configure import make_config
from forgeprep.stages.frames import FramesParams, select


@settings(max_examples=200, deadline=None)
@given(
    parts=st.lists(st.tuples(st.integers(1, 90), st.integers(1, 9)), min_size=1, max_size=4),
    length=st.integers(2, 9),
    stride=st.integers(1, 4),
    wanted=st.one_of(st.just("all"), st.integers(1, 12).map(str)),
    all_known=st.booleans(),
)
def test_windows_are_whole_and_apart(
    parts: list[tuple[int, int]], length: int, stride: int, wanted: str, all_known: bool
) -> None:
    """Stretches of labelled frames with gaps between them, or one clip of which all frames are."""
    starts = list(itertools.accumulate((n + gap for n, gap in parts), initial=0))
    stretches = [(s, n) for s, (n, _) in zip(starts, parts, strict=False)]
    known = [i for s, n in stretches for i in range(s, s + n)]
    if all_known:
        stretches, known = [(0, starts[-1])], []
    params = FramesParams(frames=wanted, sequence_length=length, sequence_stride=stride)
    frames = select(starts[-1], "train", params, [frozenset(known)] if known else [])
    windows = [frames[at : at + length] for at in range(0, len(frames), length)]
    most = sum(n // params.span for _, n in stretches)
    if most == 0:
        first, longest = max(stretches, key=lambda s: s[1])
        assert frames == tuple(range(first, first + longest, stride))
        assert len(frames) < length
        return
    assert len(windows) == (most if wanted == "all" else min(most, int(wanted)))
    for window in windows:
        assert len(window) == length
        assert {b - a for a, b in itertools.pairwise(window)} == {stride}
        assert any(s <= window[0] and window[-1] < s + n for s, n in stretches)
    assert all(a[-1] < b[0] for a, b in itertools.pairwise(windows))
    if len(windows) > 1 and len(stretches) == 1:
        assert (windows[0][0], windows[-1][-1]) == (0, stretches[0][1] - 1)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"sequence_stride": 2}, "--sequence-stride: needs --sequence-length"),
        ({"sequence_short": "pad"}, "--sequence-short: needs --sequence-length"),
        ({"sequence_length": 1}, "--sequence-length: "),
        ({"sequence_length": 8, "sequence_short": "stretch"}, "--sequence-short: "),
    ],
)
def test_options_that_contradict_are_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        make_config("ffpp", given)


def test_overlapping_samples_are_refused() -> None:
    params = FramesParams(frames="every:10", sequence_length=6, sequence_stride=2)
    with pytest.raises(UsageError, match="every:11 is the least"):
        select(100, "train", params)
    assert select(25, "train", FramesParams(frames="every:12", sequence_length=6, sequence_stride=2))[::6] == (0, 12)
