"""A stage added later reads the shards, not the videos, and gives what it would have given from the start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from forgeprep.errors import UsageError
from forgeprep.pipeline.add import prepare_added
from forgeprep.pipeline.progress import Progress
from forgeprep.pipeline.run import execute
from forgeprep.shards.verify import verify
from tests.helpers.runs import checksums, run

GIVEN: dict[str, Any] = {"frames": "3", "splits": "val,test", "methods": "Deepfakes,NeuralTextures", "shard_size": 9}


@pytest.mark.parametrize("shape", ["both", "webdataset"])
def test_stages_added_later_give_the_same_bytes(shape: str, demo: Path, tmp_path: Path) -> None:
    run(demo, tmp_path / "whole", stages="crop,mask,noise,similarity", format=shape, side=7, **GIVEN)
    moved = tmp_path / "moved"
    moved.symlink_to(demo)
    out = tmp_path / "out"
    run(moved, out, stages="crop,mask", format=shape, **GIVEN)
    moved.unlink()
    stopped = prepare_added(out, ["noise"], {})
    assert len(stopped.shards) > 2

    def stop(shard: str, progress: Progress) -> None:
        if shard == stopped.shards[1].name and progress.rows > 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(stopped, workers=0, report=stop)
    with pytest.raises(UsageError, match="is not finished"):
        prepare_added(out, ["similarity"], {})
    again = execute(prepare_added(out, ["noise"], {}), workers=0, report=lambda *_: None)
    assert again.kept == [stopped.shards[0].name]
    assert len(again.made) == len(stopped.shards) - 1
    execute(prepare_added(out, ["similarity"], {"side": 7}), workers=0, report=lambda *_: None)
    assert checksums(out) == checksums(tmp_path / "whole")
    assert verify(out) == []


def test_what_cannot_be_added_is_refused(demo: Path, tmp_path: Path) -> None:
    given = {**GIVEN, "splits": "val"}
    run(demo, tmp_path / "crops", stages="crop", **given)
    run(demo, tmp_path / "lossy", stages="crop,mask", image_format="jpeg", **given)
    for out, names, asked, problem in (
        ("crops", ["similarity"], {}, "'mask' needs the videos; make a new run with --stages frames,crop,mask"),
        ("lossy", ["noise"], {}, "stored as jpeg, with losses"),
        ("crops", ["noise"], {"side": 7}, "--side belongs to the stage 'similarity'"),
        ("crops", ["noise"], {"sigma": -1.0}, "--sigma"),
    ):
        before = checksums(tmp_path / out)
        with pytest.raises(UsageError, match=problem):
            prepare_added(tmp_path / out, names, asked)
        assert checksums(tmp_path / out) == before
