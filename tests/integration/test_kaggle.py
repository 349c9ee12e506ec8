"""The copy of FaceForensics++ on Kaggle: one folder a method, the compression in the name of the folder around them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from forgeprep.shards.read import iter_rows, shard_paths
from tests.conftest import run_cli
from tests.helpers.trees import put

HOME = "FaceForensics++_C23"


def test_a_run_is_that_of_the_authors_layout(demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for method in ("Deepfakes", "FaceSwap"):
        shutil.copytree(demo / "manipulated_sequences" / method / "c23" / "videos", tmp_path / "in" / HOME / method)
    shutil.copytree(demo / "original_sequences/youtube/c23/videos", tmp_path / "in" / HOME / "original")
    put(tmp_path / "in" / HOME, "csv/Deepfakes.csv", "DeepFakeDetection/01_02__outside_talking_laughing__YVGY8LOK.mp4")
    flags = ["--stages", "crop,mask", "--frames", "3", "--workers", "0"]
    # One level above, as Kaggle mounts it.
    assert run_cli("run", "ffpp", "--root", str(tmp_path / "in"), "--out", str(tmp_path / "flat"), *flags) == 0
    assert "it is another dataset, and its originals are not here" in " ".join(capsys.readouterr().out.split())
    methods = ["--methods", "Deepfakes,FaceSwap"]
    assert run_cli("run", "ffpp", "--root", str(demo), "--out", str(tmp_path / "as_ever"), *methods, *flags) == 0
    assert run_cli("verify", str(tmp_path / "flat")) == 0
    names, masks = [], 0
    for out in ("flat", "as_ever"):
        rows = [row for path in shard_paths(tmp_path / out) for row in iter_rows(path)]
        names.append({(row["sample_id"], row["split"], row["source_id"], row["compression"]) for row in rows})
        masks += sum(bool(row["mask"].any()) for row in rows)
        clips = pq.read_table(tmp_path / out / "meta/clips.pq").to_pylist()
        assert {clip["pairing"] for clip in clips if clip["label"]} == {"stated"}
    assert names[0] == names[1]
    assert masks >= 2 * 2 * 6 * 2
