"""How source groups are spread over shards, and what these are called."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from forgeprep.commands import preflight
from forgeprep.curate.targets import Part, Target, plan_of
from forgeprep.datasets.base import Scan
from forgeprep.pipeline.configure import make_config
from forgeprep.pipeline.plan import Plan, make_plan
from forgeprep.pipeline.run_folder import Prepared
from forgeprep.schemas.clips import SPLITS, Clip, Forgery, Split
from forgeprep.shards.names import shard_name
from forgeprep.stages.base import Wanted


def planned(*, shards: int | None = None, dataset: str | None = "ffpp", frames: int = 10) -> Plan:
    """Of 6 reals in train and 2 in val, each of 100 frames, with two fakes."""
    splits: list[Split] = ["train", "train", "train", "train", "train", "train", "val", "val"]
    clips = []
    for number, split in enumerate(splits):
        real = f"ffpp/{number}"
        for method in (None, "a", "b"):
            kind: Forgery = "identity_replaced" if method else "real"
            name = f"{real}/{method}" if method else real
            clips.append(
                Clip(
                    name,
                    "ffpp",
                    f"{name}.mp4",
                    split,
                    real,
                    real if method else None,
                    int(bool(method)),
                    kind,
                    method,
                    frame_count=100,
                )
            )
    wanted = Wanted(tuple(range(frames)))
    return make_plan(clips, Path("/nowhere"), lambda *_: wanted, 2000, dataset=dataset, shards=shards)


def test_as_many_shards_as_are_asked_for_but_no_group_is_divided() -> None:
    assert [brief.name for brief in planned().briefs] == ["train/ffpp-train-00000", "val/ffpp-val-00000"]
    plan = planned(shards=4)
    assert [brief.split for brief in plan.briefs] == ["train"] * 4 + ["val"] * 2
    assert [brief.groups for brief in plan.briefs] == [2, 2, 1, 1, 1, 1]
    names = [brief.name for brief in plan.briefs]
    assert len({name.rpartition("/")[2] for name in names}) == 6
    assert names == [shard.name for shard in plan.shards()]
    assert [brief.name for brief in planned(dataset=None).briefs] == ["train/00000", "val/00000"]


def test_of_a_clip_of_two_runs_the_frames_of_both_are_planned() -> None:
    # The second run took another number of frames, so its samples lie beside those of the first.
    groups = {(source, 0): planned(frames=frames).shard(1).groups for source, frames in enumerate((4, 6))}
    clips = tuple({"clip_id": clip.clip_id} for group in groups[0, 0] for clip in group.clips[:2])
    joined = plan_of(Target("val/x", "val", (Part(0, 0), Part(1, 0)), clips, ()), groups)
    assert sum(group.requested for group in joined.groups) == 2 * 2 * 6
    alone = {**groups, (1, 0): [replace(group, clips=group.clips[:1]) for group in groups[1, 0]]}
    joined = plan_of(Target("val/x", "val", (Part(0, 0), Part(1, 0)), clips, ()), alone)
    assert sum(group.requested for group in joined.groups) == 2 * (6 + 4)


def test_base_names_differ_whatever_a_dataset_is_called(tmp_path: Path) -> None:
    odd = [
        "a",
        "a-train",
        "a b",
        "a_b",
        "a~20b",
        "a.b",
        "a/b",
        ".a",
        "é",
        "e\u0301",
        "日本" * 60,
        "日本" * 61,
        "x" * 300,
    ]
    names = [shard_name(dataset, split, n) for dataset in odd for split in SPLITS for n in (0, 1, 123456)]
    bases = [name.partition("/")[2] for name in names]
    assert len({base.lower() for base in bases}) == len(bases)
    for name in bases:
        assert re.fullmatch(r"[A-Za-z0-9_~-]{1,140}", name)
        (tmp_path / f".{name}.parquet.0123456789ab.tmp").touch()


def test_few_shards_are_told_before_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = make_config("ffpp", {"stages": "crop"})
    for shards, told in ((None, "train has 1 shard,"), (4, "train has 4 shards,"), (6, None)):
        preflight.print_plan(Prepared(config, tmp_path, tmp_path, Scan([]), {}, planned(shards=shards), "f", ("s",)))
        said = " ".join(capsys.readouterr().out.split())
        assert ("--shards N makes more, up to one a source group (6)" in said) == (told is not None)
        assert told is None or told in said
    config = make_config("ffpp", {"stages": "crop", "shards": 9})
    preflight.print_plan(Prepared(config, tmp_path, tmp_path, Scan([]), {}, planned(shards=9), "f", ("s",)))
    said = " ".join(capsys.readouterr().out.split())
    assert "--shards 9: shards hold whole source groups, and there are fewer (train 6" in said
