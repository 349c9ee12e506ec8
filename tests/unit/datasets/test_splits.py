"""Splits that are made here: never a leak, and the shares that were asked for."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from forgeprep.datasets.splits import (
    class_texts,
    give_both,
    leaks,
    split_by_ratio,
    split_closed_list,
    split_together,
)
from forgeprep.schemas.clips import Clip, Split


@given(
    videos=st.lists(st.tuples(st.integers(0, 30), st.sets(st.integers(0, 8), max_size=3)), min_size=1, max_size=40),
    seed=st.integers(0, 5),
)
def test_splits_made_here_never_part_a_source_or_a_person(videos: list[tuple[int, set[int]]], seed: int) -> None:
    clips = [
        Clip(f"x/{i}", "x", "p", "train", f"x/{source}", None, 0, "real", identities=[str(p) for p in sorted(people)])
        for i, (source, people) in enumerate(videos)
    ]
    done = split_together(clips, (0.6, 0.2, 0.2), seed)
    assert not leaks(done)
    assert [clip.clip_id for clip in done] == [clip.clip_id for clip in clips]
    assert {c.clip_id: c.split for c in split_together(clips[::-1], (0.6, 0.2, 0.2), seed)} == {
        c.clip_id: c.split for c in done
    }


@given(count=st.integers(0, 200), shares=st.tuples(*[st.integers(0, 10)] * 3).filter(any), seed=st.integers(0, 3))
def test_ratios_are_met_and_every_split_is_served(count: int, shares: tuple[int, int, int], seed: int) -> None:
    ratios = [share / sum(shares) for share in shares]
    dealt: Counter[str] = Counter(split_by_ratio(map(str, range(count)), ratios, seed).values())
    assert dealt.total() == count
    for split, ratio in zip(("train", "val", "test"), ratios, strict=True):
        # Five standard deviations, and the name that a split without one is given.
        spread = 5 * (ratio * (1 - ratio) * count) ** 0.5 + 1
        assert dealt[split] == 0 if ratio == 0 else abs(dealt[split] - ratio * count) <= spread
        assert dealt[split] or ratio == 0 or count < 3


@given(count=st.integers(1, 60), more=st.integers(0, 60), seed=st.integers(0, 5))
def test_new_names_move_no_old_one(count: int, more: int, seed: int) -> None:
    old, ratios = [f"a{n}" for n in range(count)], (0.8, 0.1, 0.1)
    before = split_by_ratio(old, ratios, seed)
    # Those that stand in a run, whichever way they came there.
    both = split_by_ratio([*old, *(f"b{n}" for n in range(more))], ratios, seed, settled=before)
    assert {name: both[name] for name in old} == before
    # From scratch, only a split that had nobody else loses the name that it was lent.
    fresh = split_by_ratio([*old, *(f"b{n}" for n in range(more))], ratios, seed)
    assert sum(fresh[name] != before[name] for name in old) <= 3
    if min(Counter(before.values())[split] for split in ("train", "val", "test")) > 1:
        assert {name: fresh[name] for name in old} == before


@given(count=st.integers(0, 200), shares=st.tuples(*[st.integers(0, 10)] * 3).filter(any), seed=st.integers(0, 3))
def test_ratios_of_a_closed_list_are_kept_to_one_name(count: int, shares: tuple[int, int, int], seed: int) -> None:
    ratios = [share / sum(shares) for share in shares]
    dealt: Counter[str] = Counter(split_closed_list(map(str, range(count)), ratios, seed).values())
    assert dealt.total() == count
    for split, ratio in zip(("train", "val", "test"), ratios, strict=True):
        assert dealt[split] == 0 if ratio == 0 else abs(dealt[split] - ratio * count) <= 2
        assert dealt[split] or ratio == 0 or count < 3


@given(kinds=st.lists(st.sampled_from([(0,), (1,), (0, 1)]), max_size=12), seed=st.integers(0, 3))
def test_each_split_of_a_small_set_has_both_classes(kinds: list[tuple[int, ...]], seed: int) -> None:
    ratios = (0.6, 0.2, 0.2)
    clips = [
        Clip(f"x/{i}/{label}", "x", "p", "train", f"x/{i}", None, label, "real" if not label else "identity_replaced")
        for i, labels in enumerate(kinds)
        for label in labels
    ]
    done = split_together(clips, ratios, seed)
    assert not leaks(done)
    for label in (0, 1):
        sources = sum(label in labels for labels in kinds)
        found = {clip.split for clip in done if clip.label == label}
        # Where sources hold one class each, there is always one that can go.
        if all(len(labels) == 1 for labels in kinds):
            assert len(found) == min(3, sources)
    # Nothing moves where each split has both classes already, and what is settled never does.
    names = {clip.source_id: clip.split for clip in done}
    own = {name: {c.label for c in clips if c.source_id == name} for name in names}
    if not class_texts(done, ("train", "val", "test")):
        assert give_both(names, own, ratios) == names
    assert give_both(names, own, ratios, kept=names) == names


def test_a_split_that_lacks_a_class_is_told() -> None:
    splits: list[tuple[Split, int]] = [("train", 0), ("train", 1), ("val", 0), ("test", 0), ("test", 1)]
    clips = [Clip(f"x/{i}", "x", "p", split, f"x/{i}", None, label, "real") for i, (split, label) in enumerate(splits)]
    [line] = class_texts(clips, ("train", "val", "test"))
    assert line.startswith("val holds no fakes: no AUC can be measured there; give more sources")
    assert class_texts(clips, ("train", "test")) == []
    [line] = class_texts([clip for clip in clips if not clip.label], ("train", "val"))
    assert line.startswith("there are no fakes here")
    assert class_texts([], ("train", "val")) == []
