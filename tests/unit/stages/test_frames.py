"""Frames for each label or method: the rules, and that an original and its fakes show the same moments."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from forgeprep.errors import UsageError
from forgeprep.schemas.clips import Clip
from forgeprep.stages.base import Group
from forgeprep.stages.crop.choice import Chosen
from forgeprep.stages.frames import FramesParams, asks_otherwise, check_asked, select, topped_up, wanted_of

REAL = Clip("x/real", "x", "r.mp4", "train", "x/1", None, 0, "real")
FAKES = [
    Clip(f"x/{method}", "x", f"{method}.mp4", "train", "x/1", "x/real", 1, "identity_replaced", method)
    for method in ("Deepfakes", "FaceSwap")
]
GROUP = Group("x/1", "train", (REAL, *FAKES), ())


def of_each(frames: str, count: int, length: int | None = None) -> dict[str, tuple[int, ...]]:
    wanted = wanted_of(count, GROUP, FramesParams(frames=frames, sequence_length=length))
    return {clip.clip_id[2:]: wanted.own.get(clip.clip_id, wanted.frames) for clip in GROUP.clips}


def test_what_means_the_same_is_written_the_same() -> None:
    same = ["real=270,fake=100", "fakes = 100, original=270", {"fake": 100, "Reals": 270}]
    assert {FramesParams(frames=one).frames for one in same} == {"real=270,fake=100"}  # type: ignore[arg-type]
    split = FramesParams(frames={"train": {"real": 9, "*": 3}, "valid": 4, "test": "all"})  # type: ignore[dict-item]
    assert split.frames == {"train": "real=9,*=3", "val": "4", "test": "all"}
    assert FramesParams(frames="*=9,FaceSwap=all,real=4").frames == "real=4,FaceSwap=all,*=9"
    assert (FramesParams(frames="32").frames, FramesParams().frames) == ("32", "32")


@pytest.mark.parametrize(
    ("frames", "told"),
    [
        ("real=0,fake=1", "must be a number from 1, 'all' or 'every:N', or one for each"),
        ("real=9,all", "'all' has no number"),
        ("real=9,original=4", "names 'real' twice"),
        ("=4,fake=3", "'' is no name of a method"),
        ("real=9,fake=every:3", "mixes numbers and every:N"),
        ({"train": 9, "fake": 3}, "frames for each split needs exactly"),
    ],
)
def test_rules_that_make_no_sense_are_refused(frames: object, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        FramesParams(frames=frames)  # type: ignore[arg-type]


def test_unknown_names_and_clips_without_a_rule_are_refused() -> None:
    with pytest.raises(UsageError, match=r"'faceswop': did you mean 'FaceSwap'\? \(known: \*, Deepfakes, F"):
        check_asked(FramesParams(frames="*=9,faceswop=3"), ["Deepfakes"], GROUP.clips)
    with pytest.raises(UsageError, match="says nothing of the method 'FaceSwap' of x/FaceSwap; add FaceSwap=N, fake=N"):
        check_asked(FramesParams(frames="real=9,deepfakes=3"), [], GROUP.clips)
    with pytest.raises(UsageError, match=r"says nothing of reals \(x/real\); add real=N or \*=N"):
        check_asked(FramesParams(frames="fake=9"), [], GROUP.clips)
    check_asked(FramesParams(frames="deepfakes=9,faceswap=2,real=1"), [], GROUP.clips)


@given(
    count=st.integers(1, 400),
    rules=st.tuples(*[st.one_of(st.just("all"), st.integers(1, 60).map(str))] * 3),
    length=st.sampled_from([None, 4]),
)
@settings(max_examples=150, deadline=None)
def test_fewer_frames_are_evenly_spread_ones_of_the_clip_that_gives_most(
    count: int, rules: tuple[str, str, str], length: int | None
) -> None:
    found = of_each("real={},Deepfakes={},FaceSwap={}".format(*rules), count, length)
    most = max(found.values(), key=len)
    step = length or 1
    windows = [most[at : at + step] for at in range(0, len(most), step)]
    for rule, frames in zip(rules, found.values(), strict=True):
        assert set(frames) <= set(most)
        alone = select(count, "train", FramesParams(frames=rule, sequence_length=length))
        # As many as if it were alone, and as even as those of the other allow.
        assert len(frames) == len(alone) or length is not None
        taken = [windows.index(frames[at : at + step]) for at in range(0, len(frames), step)]
        gaps = [b - a for a, b in pairwise(taken)]
        assert not gaps or max(gaps) - min(gaps) <= 1
    # One rule for all is what it was.
    assert set(of_each(rules[0], count, length).values()) == {
        select(count, "train", FramesParams(frames=rules[0], sequence_length=length))
    }


def test_stand_ins_are_the_same_for_an_original_and_its_fakes() -> None:
    params = FramesParams(frames="real=6,Deepfakes=3,FaceSwap=6")
    wanted = wanted_of(60, GROUP, params)
    group = topped_up(replace(GROUP, frames=wanted.frames, own=wanted.own), params)
    assert (group.top_up, len(group.spread), group.requested) == (True, 3, 15)
    # Frames 0 and 11 showed no face: 1 and 12 stand in.
    chosen = Chosen((1, 12, 23, 35, 47, 59), (), 2, 6, 4, frozenset(wanted.frames), frozenset({23, 35, 47, 59}))
    own = chosen.of_clip(group.frames_of("x/Deepfakes"), spread=True)
    assert own.frames == (1, 23, 59)
    assert (own.missing, own.topped_up, own.decoded, own.detected) == ((), 1, 3, 2)
    # Too few show a face: what is missing has its reason.
    few = Chosen((12, 23), ((0, "no_face"), (35, "no_face"), (47, "no_face"), (59, "no_face")), 0, 6, 2)
    assert few.of_clip((0, 23, 59), spread=True).missing == ((0, "no_face"),)
    assert few.of_clip((0, 23, 59), spread=False).frames == (23,)


@pytest.mark.parametrize(
    ("runs", "length", "windows"),
    [
        # As an exporter leaves them: pictures here and there, of which neighbours make a sample.
        ([[0, 4, 7], [29, 1, 1]], 2, [(0, 7), (21, 29)]),
        ([[0, 4, 7], [29, 1, 1]], 5, [(0, 7, 14, 21, 29)]),
        # A video of which some pictures were lost: no sample goes over the gap.
        ([[0, 5, 1], [9, 3, 1]], 3, [(1, 2, 3), (9, 10, 11)]),
    ],
)
def test_sequences_of_pictures_that_were_chosen_of_a_video_are_of_neighbours(
    runs: list[list[int]], length: int, windows: list[tuple[int, ...]]
) -> None:
    clips = tuple(replace(clip, frames=runs) for clip in GROUP.clips)
    wanted = wanted_of(40, replace(GROUP, clips=clips), FramesParams(frames="all", sequence_length=length))
    assert [wanted.frames[at : at + length] for at in range(0, len(wanted.frames), length)] == windows


def test_only_groups_whose_rules_have_changed_ask_otherwise() -> None:
    before, real = FramesParams(frames="real=9,fake=3"), replace(GROUP, clips=(REAL,))
    for now, changed, changed_alone in (
        ("real=9,fake=3", False, False),
        ("*=3,real=9", False, False),
        ("real=9,fake=4", True, False),
        ("real=8,fake=3", True, True),
        ("real=9,fake=3,FaceSwap=9", True, False),
    ):
        assert asks_otherwise(GROUP, before, FramesParams(frames=now)) == changed
        assert asks_otherwise(real, before, FramesParams(frames=now)) == changed_alone
