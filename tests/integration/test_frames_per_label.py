"""``--frames`` for each label or method, through the command line: planned, made, changed by ``--update``."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from forgeprep.schemas.splits import read_split
from forgeprep.shards.read import iter_rows, shard_paths
from tests.conftest import run_cli


def moments(out: Path) -> dict[tuple[str, str, str], set[int]]:
    """Split, source and method -> the original's frames that there are samples of."""
    found = defaultdict(set)
    for path in shard_paths(out):
        for row in iter_rows(path):
            frame = row["frame_index"] if row["original_frame"] is None else row["original_frame"]
            found[row["split"], row["source_id"], row["method"] or "real"].add(frame)
    return dict(found)


def requested(out: Path) -> dict[str, dict[str, int]]:
    """Split -> method -> frames wanted of each of its clips; all of them are written or dropped."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for clip in pq.read_table(out / "meta/clips.pq").to_pylist():
        assert clip["written"] + clip["dropped"] == clip["requested"]
        found[read_split(clip["split"])][clip["method"] or "real"] = clip["requested"]
    return dict(found)


def test_reals_and_fakes_are_balanced_and_an_update_remakes_what_it_changes(
    demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, settings = tmp_path / "out", tmp_path / "settings.yaml"
    settings.write_text("frames: {train: {real: 8, '*': 2, FaceSwap: 4}, val: 3, test: 'real=3,fake=1'}\n")
    flags = ["ffpp", "--root", str(demo), "--out", str(out), "--stages", "crop", "--size", "64", "--workers", "0"]
    flags += ["--methods", "Deepfakes,FaceSwap", "--format", "parquet,webdataset"]
    assert run_cli("run", *flags, "--config", str(settings)) == 0
    told = capsys.readouterr().out
    assert "expected frames by label: train 16 real, 12 fake; val 6 real, 12 fake; test 6 real, 4 fake" in told
    assert run_cli("verify", str(out)) == 0
    found = moments(out)
    assert requested(out) == {
        "train": {"real": 8, "Deepfakes": 2, "FaceSwap": 4},
        "val": {"real": 3, "Deepfakes": 3, "FaceSwap": 3},
        "test": {"real": 3, "Deepfakes": 1, "FaceSwap": 1},
    }
    for (split, source, _), frames in found.items():
        assert frames <= found[split, source, "real"]
    # Other frames of one split: without --update that is another run; with it the other splits stay.
    settings.write_text("frames: {train: 'FaceSwap=4,real=8,*=2', val: 3, test: 'real=3,fake=2'}\n")
    capsys.readouterr()
    assert run_cli("run", *flags, "--config", str(settings)) == 2
    assert "--update makes what is new or changed" in capsys.readouterr().err
    before = {path.name: path.read_bytes() for path in (out / "state").glob("*/*.json")}
    assert run_cli("run", *flags, "--config", str(settings), "--update") == 0
    assert "update: other frames are wanted: 0 new shards, 1 made again, 2 kept as they are" in capsys.readouterr().out
    after = {path.name: path.read_bytes() for path in (out / "state").glob("*/*.json")}
    assert {name for name in after if after[name] != before[name]} == {"ffpp-test-00000.json"}
    assert requested(out)["test"] == {"real": 3, "Deepfakes": 2, "FaceSwap": 2}
    # The same again finds all as it is; what is asked for by a setting of the stage is the same.
    rule = json.loads((out / "run.json").read_text())["config"]["params"]["frames"]["frames"]
    assert rule == {"train": "real=8,FaceSwap=4,*=2", "val": "3", "test": "real=3,fake=2"}
    assert run_cli("run", *flags, "--config", str(settings)) == 0
    assert run_cli("verify", str(out)) == 0
    assert run_cli("status", str(out)) == 0
    assert {path.name: path.read_bytes() for path in (out / "state").glob("*/*.json")} == after
    capsys.readouterr()
    assert run_cli("run", *flags[:5], "--set", "frames.frames=real=9,Deepfake=3") == 2
    assert "unknown name in --frames 'Deepfake': did you mean 'Deepfakes'?" in capsys.readouterr().err
    assert run_cli("datasets", "show", "ffpp", "--root", str(demo), "--frames", "real=9,*=2") == 0
    # Six reals and 24 fakes, as raw, c23 and c40.
    assert "frames at most, of all compressions together: 162 real, 144 fake" in capsys.readouterr().out
