"""The copy of FaceForensics++ on Kaggle: one folder a method, the compression in the name of the folder around them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from forgeprep.datasets.base import ScanOptions
from forgeprep.datasets.ffpp import FFPP
from forgeprep.errors import UsageError
from forgeprep.shards.read import iter_rows, shard_paths
from tests.conftest import run_cli
from tests.trees import put

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
        clips = pq.read_table(tmp_path / out / "clips.parquet").to_pylist()
        assert {clip["pairing"] for clip in clips if clip["label"]} == {"stated"}
    assert names[0] == names[1]
    assert masks >= 2 * 2 * 6 * 2


def test_the_root_may_be_the_copy_or_what_holds_it_and_its_name_tells_the_compression(tmp_path: Path) -> None:
    put(tmp_path, f"{HOME}/original/071.mp4", f"{HOME}/original/Thumbs.db", f"{HOME}/FaceShifter/071_054.mp4")
    put(tmp_path, "x/ff_c40/original/071.mp4", "x/own/original/071.mp4")

    def ids(root: Path, *compressions: str) -> list[str]:
        found = FFPP.scan(root, ScanOptions(compressions or None))
        return [clip.clip_id for clip in found.clips] + [line for line in found.warnings if "nothing says" in line]

    both = ["ffpp/c23/FaceShifter/071_054", "ffpp/c23/youtube/071"]
    assert ids(tmp_path) == ids(tmp_path / HOME) == both
    assert ids(tmp_path / "x", "c40") == ids(tmp_path / "x" / "ff_c40", "c40") == ["ffpp/c40/youtube/071"]
    own = tmp_path / "x" / "own"
    assert ids(own) == ["ffpp/c23/youtube/071", f"nothing says how {own} is compressed: taken as c23"]
    with pytest.raises(UsageError, match="the compressions there are: c40"):
        ids(tmp_path / "x" / "ff_c40")
    with pytest.raises(UsageError, match=rf"did you mean --root {tmp_path}/FaceForensics\+\+_C23\?"):
        ids(tmp_path / HOME / "original")
