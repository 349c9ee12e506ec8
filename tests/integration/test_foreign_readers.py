"""Shards are read by libraries that know nothing of forgeprep."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tests.helpers.shards_run import make_run

UInt8 = npt.NDArray[np.uint8]


def test_hugging_face_datasets_shows_pictures(
    tmp_path: Path, face_photo: UInt8, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    run = make_run(tmp_path / "run", face_photo)
    for kind, extension in (("parquet", "parquet"), ("webdataset", "tar")):
        files = {split: str(run / f"shards/{split}/*.{extension}") for split in ("train", "test")}
        loaded = datasets.load_dataset(kind, data_files=files, cache_dir=str(tmp_path / "cache"))
        assert {split: len(part) for split, part in loaded.items()} == {"train": 9, "test": 9}
        fake = loaded["train"][3]
        image, mask = (fake[name] for name in (("image", "mask") if kind == "parquet" else ("png", "mask.png")))
        assert (image.mode, image.size, mask.mode) == ("RGB", (96, 96), "L")
        assert set(np.unique(np.asarray(mask))) == {0, 255}
        values = fake if kind == "parquet" else fake["json"]
        assert (values["label"], values["image_size"], values["method"]) == (1, [96, 96], "Deepfakes")


def test_duckdb_counts_shards(tmp_path: Path, face_photo: UInt8) -> None:
    duckdb = pytest.importorskip("duckdb")
    run = make_run(tmp_path, face_photo)
    counts = duckdb.sql(
        "SELECT split, label, count(*), min(octet_length(image.bytes)) > 0 "
        f"FROM '{run}/shards/*/*.parquet' GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    assert counts == [("test", 0, 3, True), ("test", 1, 6, True), ("train", 0, 3, True), ("train", 1, 6, True)]


# webdataset leaves closing the tar to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed file", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("decoder", ["rgb8", "pil"])
def test_webdataset_reads_tars(tmp_path: Path, face_photo: UInt8, decoder: str) -> None:
    webdataset = pytest.importorskip("webdataset")
    run = make_run(tmp_path, face_photo)
    dataset = webdataset.WebDataset(str(run / "shards/train/ffpp-train-00000.tar"), shardshuffle=False).decode(decoder)
    samples = list(dataset)
    assert len(samples) == len({sample["__key__"] for sample in samples}) == 9
    assert np.asarray(samples[3]["png"]).shape == (96, 96, 3)
    assert samples[3]["json"]["method"] == "Deepfakes"
    assert bytes.fromhex(samples[3]["json"]["similarity"]) != bytes(25)
