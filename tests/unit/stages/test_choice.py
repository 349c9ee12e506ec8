"""Which frames of a clip are taken."""

from __future__ import annotations

from array import array

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from forgeprep.faces.tracks import Survey
from forgeprep.stages.crop.choice import choose
from forgeprep.stages.frames import FramesParams, select


class Known(Survey):
    """A survey whose outcome is given."""

    def __init__(self, frames: list[int], faceless: set[int]) -> None:
        super().__init__(array("i", frames))
        self.faceless = faceless

    def has_face(self, index: int) -> bool:
        return index not in self.faceless


@given(
    count=st.integers(1, 200),
    wanted=st.integers(1, 40),
    faceless=st.sets(st.integers(0, 199)),
    lost=st.sets(st.integers(0, 199), max_size=10),
)
@settings(deadline=None)
def test_frames_without_a_face_are_made_up_for_and_never_twice(
    count: int, wanted: int, faceless: set[int], lost: set[int]
) -> None:
    asked = select(count + 5, "train", FramesParams(frames=str(wanted)))
    found = Known([i for i in range(count) if i not in lost], faceless)
    has_face = {i for i in found.frames if i not in faceless}
    strict, filled = choose(asked, found, top_up=False), choose(asked, found, top_up=True)
    assert strict.frames == tuple(i for i in asked if i in has_face)
    for chosen in (strict, filled):
        assert len(chosen.frames) + len(chosen.missing) == len(asked)
        assert list(chosen.frames) == sorted(set(chosen.frames))
        assert set(chosen.frames) <= has_face
    # A clip that ends before its header says gets its frames spread over what there is.
    last = max(found.frames, default=-1)
    spread = select(last + 1, "train", FramesParams(frames=str(wanted))) if 0 <= last < asked[-1] else asked
    assert has_face.intersection(spread) <= set(filled.frames)
    assert len(filled.frames) == min(len(asked), len(has_face))
    assert filled.topped_up == len(set(filled.frames) - set(asked))
    assert filled.detected == len(has_face.intersection(asked))
    for index, reason in strict.missing:
        assert reason == (
            "past_end" if index > max(found.frames, default=-1) else "decode_error" if index in lost else "no_face"
        )


@given(count=st.integers(1, 3000), wanted=st.integers(1, 400))
def test_frames_are_spread_over_the_whole_clip(count: int, wanted: int) -> None:
    """Peers' defect 3: "evenly distributed" must not be the first N."""
    chosen = select(count, "train", FramesParams(frames=str(wanted)))
    assert len(chosen) == len(set(chosen)) == min(count, wanted)
    assert list(chosen) == sorted(chosen)
    if len(chosen) > 1:
        assert (chosen[0], chosen[-1]) == (0, count - 1)
        assert max(np.diff(chosen)) - min(np.diff(chosen)) <= 1


@given(count=st.integers(1, 500), step=st.integers(1, 50))
def test_every_nth_and_all(count: int, step: int) -> None:
    assert select(count, "val", FramesParams(frames=f"every:{step}")) == tuple(range(0, count, step))
    assert select(count, "val", FramesParams(frames="all")) == tuple(range(count))
    mixed = FramesParams(frames={"train": "all", "val": "1", "test": "every:3"})
    assert select(count, "test", mixed) == tuple(range(0, count, 3))
    assert len(select(count, "val", mixed)) == 1
