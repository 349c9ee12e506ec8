"""One search for faces serves all compressions of a clip (``--boxes-from``)."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from forgeprep.pipeline.configure import make_config
from forgeprep.pipeline.plan import open_plan
from forgeprep.pipeline.run import execute, prepare_run
from forgeprep.shards.read import iter_rows, shard_paths
from tests.conftest import encode_video, run_cli
from tests.helpers.variants import pictures

GIVEN: dict[str, Any] = {"stages": "crop", "methods": "Deepfakes", "splits": "val", "frames": "4"}
HOMES = ("original_sequences/youtube", "manipulated_sequences/Deepfakes")
Boxes = dict[tuple[str, int, int], Any]


@pytest.fixture
def root(demo: Path, tmp_path: Path) -> Path:
    """The val pair at c23 and c40, without raw."""
    folder = tmp_path / "in"
    for home in HOMES:
        for quality in ("c23", "c40"):
            (folder / home / quality / "videos").mkdir(parents=True)
            for file in (demo / home / quality / "videos").iterdir():
                if file.stem[:3] in ("720", "672"):
                    shutil.copy(file, folder / home / quality / "videos")
    return folder


def run(root: Path, out: Path, compression: str, **more: Any) -> dict[str, Boxes]:
    """Compression -> clip, frame and track -> boxes."""
    config = make_config("ffpp", {**GIVEN, "compression": compression, **more})
    execute(prepare_run(config, root, out), workers=0, report=lambda *_: None)
    found: dict[str, Boxes] = {}
    for row in (row for path in shard_paths(out) for row in iter_rows(path)):
        key = row["clip_id"].split("/", 2)[2], row["frame_index"], row["track_id"]
        found.setdefault(row["compression"], {})[key] = row["face_box"], row["crop_box"]
    return found


def clips(out: Path) -> dict[str, dict[str, Any]]:
    return {row["clip_id"]: row for row in pq.read_table(out / "meta/clips.pq").to_pylist()}


def test_c23_and_c40_have_the_same_boxes_in_one_run_and_in_two(root: Path, tmp_path: Path) -> None:
    both = run(root, tmp_path / "both", "c23,c40")
    assert both["c23"] == both["c40"] != {}
    assert {key[0].split("/")[0] for key in both["c23"]} == {"youtube", "Deepfakes"}
    assert run(root, tmp_path / "c40", "c40")["c40"] == both["c40"]
    told = clips(tmp_path / "both")
    for quality in ("c23", "c40"):
        for name in ("youtube/720", "Deepfakes/720_672"):
            row = told[f"ffpp/{quality}/{name}"]
            assert row["boxes_from"] == "original_sequences/youtube/c23/videos/720.mp4"
            assert row["boxes_refused"] is None
    # On itself, c40 finds them elsewhere, and c23 where it did.
    own = run(root, tmp_path / "own", "c23,c40", boxes_from="own")
    assert own["c23"] == both["c23"]
    assert own["c40"] != both["c40"]
    reverse = run(root, tmp_path / "worst", "c23,c40", boxes_from="c40")
    assert reverse["c23"] == reverse["c40"] == own["c40"]


def test_sequences_have_them_too(root: Path, tmp_path: Path) -> None:
    """They are cut by one box for several frames, and read twice."""
    out = tmp_path / "out"
    config = make_config("ffpp", {**GIVEN, "compression": "c23,c40", "frames": "4", "sequence_length": 2})
    execute(prepare_run(config, root, out), workers=0, report=lambda *_: None)
    rows = [row for path in shard_paths(out) for row in iter_rows(path)]
    boxes: dict[str, list[Any]] = {"c23": [], "c40": []}
    for row in sorted(rows, key=lambda row: row["sample_id"]):
        boxes[row["compression"]].append((row["frame_index"], row["face_box"], row["crop_box"]))
    assert boxes["c23"] == boxes["c40"] != []


def test_files_that_are_not_alike_lend_nothing_and_the_table_says_so(root: Path, tmp_path: Path) -> None:
    own = run(root, tmp_path / "own", "c40", boxes_from="own")["c40"]
    lender = root / HOMES[0] / "c23/videos/720.mp4"
    frames = pictures(lender)
    damages = {
        "other pictures": lambda: shutil.copy(lender.with_name("672.mp4"), lender),
        "other length": lambda: encode_video(lender, frames[:-5], crf=23),
        "other size": lambda: encode_video(lender, [frame[:-16] for frame in frames], crf=23),
        "unreadable": lambda: lender.write_bytes(b"no video"),
    }
    for number, (why, damage) in enumerate(damages.items()):
        damage()
        out = tmp_path / str(number)
        assert {k: v for k, v in run(root, out, "c40")["c40"].items() if "720" in k[0].split("_")[0]} == {
            k: v for k, v in own.items() if "720" in k[0].split("_")[0]
        }
        row = clips(out)["ffpp/c40/youtube/720"]
        assert row["boxes_refused"].startswith(why)
        assert row["boxes_from"] == row["path"]
    # One frame less is alike, and the last frame has the faces of the one before.
    encode_video(lender, frames[:-1], crf=23)
    found = run(root, tmp_path / "less", "c40", frames="all")["c40"]
    assert clips(tmp_path / "less")["ffpp/c40/youtube/720"]["boxes_refused"] is None
    last = len(frames) - 1
    assert found["youtube/720", last, 0] == found["youtube/720", last - 1, 0]


def test_a_run_goes_on_as_it_began_and_keys_of_one_compression_stay(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(root, tmp_path / "run", "c40", boxes_from="own")
    again = prepare_run(make_config("ffpp", {**GIVEN, "compression": "c40"}), root, tmp_path / "run")
    assert again.config.boxes_from == "own"
    assert execute(again, workers=0, report=lambda *_: None).made == []
    inputs = [brief.inputs for brief in open_plan(tmp_path / "run/meta/plan.pq").briefs]
    for home in HOMES:
        shutil.rmtree(root / home / "c23")
    alone = prepare_run(make_config("ffpp", {**GIVEN, "compression": "c40"}), root, tmp_path / "new", write=False)
    assert [brief.inputs for brief in alone.shards] == inputs
    assert alone.fingerprint == again.fingerprint
    out = str(tmp_path / "bad")
    assert run_cli("run", "ffpp", "--root", str(root), "--out", out, "--boxes-from", "c32") == 2
    assert "c23" in capsys.readouterr().err
