"""Where the spans of a spliced clip lie, and the file that holds them."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forgeprep.media.frames import Frame
from forgeprep.media.h264 import write_video
from forgeprep.media.regions import frame_rgb
from forgeprep.media.video import read_frames
from forgeprep.splice.spans import draw_spans, labels_of


@settings(max_examples=150, deadline=None)
@given(
    usable=st.lists(st.tuples(st.booleans(), st.integers(1, 40)), min_size=1, max_size=8),
    count=st.tuples(st.integers(1, 3), st.integers(0, 3)),
    length=st.tuples(st.integers(1, 12), st.integers(0, 30)),
    gap=st.integers(1, 15),
    seed=st.integers(0, 99),
)
def test_spans_keep_to_their_rule(
    usable: list[tuple[bool, int]], count: tuple[int, int], length: tuple[int, int], gap: int, seed: int
) -> None:
    frames = np.concatenate([np.full(n, good) for good, n in usable])
    counts, lengths = (count[0], sum(count)), (length[0], sum(length))
    spans = draw_spans(frames, np.random.default_rng(seed), count=counts, length=lengths, gap=gap)
    if spans is None:
        starts = [s for s in range(len(frames)) if frames[s : s + length[0]].sum() == length[0]]
        room = (len(frames) - gap) // length[0]
        packed, free = 0, 0
        for start in starts:
            if start >= free:
                packed, free = packed + 1, start + length[0] + gap
        assert min(packed, room) < counts[0]
        return
    assert counts[0] <= len(spans) <= counts[1]
    for start, n in spans:
        assert lengths[0] <= n <= lengths[1]
        assert start >= 0
        assert frames[start : start + n].sum() == n
    assert all(b - (a + n) >= gap for (a, n), (b, _) in itertools.pairwise(spans))
    assert len(frames) - sum(n for _, n in spans) >= gap
    parts = labels_of(spans, len(frames))
    assert [i for start, n, _ in parts for i in range(start, start + n)] == list(range(len(frames)))
    assert [(start, n) for start, n, label in parts if label] == spans


def test_all_placements_of_spans_are_equally_likely() -> None:
    """Two spans of 2 in 9 frames, at least 2 apart, of which frame 4 is not usable."""
    frames = np.ones(9, bool)
    frames[4] = False
    rng = np.random.default_rng(0)
    drawn = [draw_spans(frames, rng, count=(2, 2), length=(2, 2), gap=2) for _ in range(6000)]
    starts = [(a, b) for a, b in itertools.combinations((0, 1, 2, 5, 6, 7), 2) if b - a >= 4]
    counts = {pair: sum(d == [(pair[0], 2), (pair[1], 2)] for d in drawn) for pair in starts}
    assert sum(counts.values()) == len(drawn)
    expected = len(drawn) / len(starts)
    assert sum((n - expected) ** 2 / expected for n in counts.values()) < 30  # chi square, 7 degrees: 1 in 10,000


@pytest.mark.parametrize(("matrix", "full"), [("bt601", False), ("bt709", True), ("bt2020", False)])
def test_a_file_holds_the_planes_and_their_colours(matrix: str, full: bool, tmp_path: Path) -> None:
    """Odd sizes lose a row and a column; a frame of other colours is brought to those of the first."""
    ramp = np.add.outer(np.arange(47) * 2, np.arange(65)).astype(np.uint8) // 2 + 60
    chroma = np.full((24, 33), 120, np.uint8)
    frames = [Frame(i, i / 25, (ramp + i, chroma + i, chroma - i), matrix=matrix, full_range=full) for i in range(5)]
    other = Frame(5, 0.2, (ramp, chroma, chroma), matrix="bt601" if full else "bt709", full_range=not full)
    write_video(tmp_path / "a.mp4", [*frames, other], fps=30000 / 1001, crf=0)
    back = list(read_frames(tmp_path / "a.mp4"))
    for frame, read in zip(frames, back, strict=False):
        assert (read.matrix, read.full_range, read.size_wh) == (matrix, full, (64, 46))
        assert np.array_equal(read.y, frame.y[:46, :64])
        assert np.array_equal(read.planes[1], frame.planes[1][:23, :32])
    assert len(back) == 6
    assert np.abs(frame_rgb(back[5]).astype(int) - frame_rgb(other)[:46, :64]).max() <= 2
    assert [round(read.time_s * 30000) for read in back] == [1001 * i for i in range(6)]
