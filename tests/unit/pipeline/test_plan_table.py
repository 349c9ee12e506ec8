"""Millions of clips are listed and planned in columns: the clips and the plan are those of a list of clips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forgeprep.datasets import get_dataset, scan_tables
from forgeprep.datasets.base import ScanOptions, count_clips
from forgeprep.datasets.scan import make_scan
from forgeprep.datasets.splits import leaks
from forgeprep.errors import UsageError
from forgeprep.pipeline.plan import make_plan
from forgeprep.pipeline.plan_rows import inputs_of
from forgeprep.pipeline.plan_table import plan_table
from forgeprep.schemas.clip_lines import input_lines
from forgeprep.schemas.clip_table import ClipTable, folders_of
from forgeprep.schemas.clips import SPLITS, Clip
from forgeprep.stages.base import Group, Wanted

NAMES = st.sampled_from(["16/a/f1", "16/a/f2", "16/b/f1", "17/a/f1", "odd\\\\x/ü", "plain", "1/a/b/f1", "1/a"])
SPANS = st.none() | st.just([[0, 2, 0], [2, 3, 1]])


@st.composite
def clip_lists(draw: st.DrawFn) -> list[Clip]:
    clips = []
    for name in draw(st.lists(NAMES, min_size=1, max_size=8, unique=True)):
        label = draw(st.integers(0, 1))
        original = draw(st.none() | NAMES) if label else None
        clips.append(
            Clip(
                f"forgerynet/{name}", "forgerynet", f"in/{name}.jpg", draw(st.sampled_from(SPLITS)),
                f"forgerynet/{original or name}", f"forgerynet/{original}" if original else None, label,
                "identity_replaced" if label else "real", "FaceShifter" if label else None,
                guessed=original is not None,
                candidates=[f"forgerynet/{draw(NAMES)}"] if original and draw(st.booleans()) else None,
                companions=draw(st.sampled_from([{}, {"magnitude": "m/1.jpg"}, {"mask": "a.png", "magnitude": "b"}])),
                identities=draw(st.lists(st.sampled_from("xyz"), max_size=2)),
                spans=draw(SPANS) if label else None, frames=draw(st.sampled_from([None, None, [[0, 4, 1]]])),
                audio_label=draw(st.sampled_from([None, None, 0, 1])), audio_only=draw(st.sampled_from(["no", "yes"])),
                size_bytes=draw(st.integers(0, 1 << 40)), frame_count=draw(st.sampled_from([1, 1, 4])),
            )
        )  # fmt: skip
    return clips


def table_of(clips: list[Clip]) -> ClipTable:
    table = ClipTable()
    for clip in clips:
        table.append(clip)
    return table


@given(clips=clip_lists(), splits=st.sampled_from([SPLITS, ("train", "test")]))
@settings(max_examples=80)
def test_a_table_is_listed_and_planned_as_a_list(clips: list[Clip], splits: tuple[str, ...]) -> None:
    table = table_of(clips)
    assert list(table) == clips
    dataset, options = get_dataset("forgerynet"), ScanOptions(splits=splits)  # type: ignore[arg-type]
    try:
        scan = make_scan(dataset, Path("/nowhere"), list(clips), options)
    except UsageError:  # None of these splits.
        return
    other = make_scan(dataset, Path("/nowhere"), table, options)
    assert replace(other, clips=list(other.clips)) == scan
    assert leaks(scan_tables.leaking(table)) == leaks(scan.clips)
    assert scan_tables.counts(table).items() >= dict(count_clips(scan.clips)).items()
    told = [lines for _, lines in input_lines(table) if lines is not None]
    assert sum(map(len, told)) == sum(clip.frames is None and len(clip.companions) < 2 for clip in scan.clips)
    assert sum(folders_of(table).values()) == sum(1 + len(clip.companions) for clip in scan.clips)

    def select(count: int, group: Group) -> Wanted:
        return Wanted(tuple(range(min(count, 3))))

    how = Path("/nowhere"), select, 4, lambda count: None, "forgerynet", None
    plans = [make_plan(scan.clips, *how), plan_table(table, *how)]
    assert plans[0] == plans[1]
    assert inputs_of(scan.clips[0]) == inputs_of(table[0])


def test_a_name_that_stands_twice_is_refused() -> None:
    clip = Clip("forgerynet/a", "forgerynet", "p", "train", "forgerynet/a", None, 0, "real", frame_count=1)
    with pytest.raises(UsageError, match=r"1 clip has two files under /nowhere: forgerynet/a \(p and p\)"):
        make_scan(get_dataset("forgerynet"), Path("/nowhere"), table_of([clip, clip]), ScanOptions())
