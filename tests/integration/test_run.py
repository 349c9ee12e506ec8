"""The main job, end to end on the demo dataset, and what must hold whatever interrupts it."""

from __future__ import annotations

import shutil
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from forgeprep.demo import load_truth, make_demo
from forgeprep.errors import ConfigMismatch
from forgeprep.ops.noise import dequantise, noise_residual, to_gray
from forgeprep.ops.similarity import mask_grid, unpack_grid
from forgeprep.pipeline.configure import make_config
from forgeprep.pipeline.run import execute, prepare_run
from forgeprep.schemas.samples import SAMPLE_COLUMNS
from forgeprep.shards.read import iter_rows, shard_paths
from forgeprep.shards.records import iter_records
from forgeprep.shards.verify import verify
from tests.helpers.runs import SMALL, checksums, command, run, wait_for

ALL: dict[str, Any] = {
    "stages": "crop,mask,noise,similarity",
    "compression": "raw,c23",
    "frames": "6",
    "format": "both",
}


@pytest.fixture(scope="module")
def everything(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("all") / "out"
    assert run(demo, out, **ALL).failed == []
    return out


@pytest.fixture(scope="module")
def rows(everything: Path) -> list[dict[str, Any]]:
    return [row for path in shard_paths(everything) for row in iter_rows(path)]


def test_every_planned_sample_is_a_row_or_a_drop(everything: Path, rows: list[dict[str, Any]]) -> None:
    records = [record for _, record in iter_records(everything) if record is not None]
    assert sum(record["rows"] for record in records) == len(rows)
    for record in records:
        assert record["planned"] == record["rows"] + len(record["drops"]) == record["requested"]
    clips = pq.read_table(everything / "meta/clips.pq").to_pylist()
    assert len(clips) == 2 * 6 * 5
    assert all(c["requested"] == 6 == c["written"] + c["dropped"] for c in clips)
    assert all((c["fps"], c["width"], c["height"]) == (25.0, 320, 240) for c in clips)
    assert verify(everything) == []


def test_columns_labels_and_splits(rows: list[dict[str, Any]]) -> None:
    assert list(rows[0]) == [column.name for column in SAMPLE_COLUMNS if column.stage != "perturb"]
    split_of = {"071": "train", "054": "train", "720": "val", "672": "val", "953": "test", "974": "test"}
    for row in rows:
        dataset, compression, method, stem, track, frame = row["sample_id"].split("/")
        assert (dataset, compression, int(track), int(frame)) == (
            "ffpp",
            row["compression"],
            row["track_id"],
            row["frame_index"],
        )
        assert row["split"] == split_of[stem[:3]]
        assert row["label"] == (method != "youtube")
        assert row["method"] == (None if method == "youtube" else method)
        assert row["original_id"] == (None if method == "youtube" else f"ffpp/{compression}/youtube/{stem[:3]}")
        assert row["timestamp_s"] == pytest.approx(row["frame_index"] / 25)


def test_a_fake_and_its_original_share_their_boxes(rows: list[dict[str, Any]]) -> None:
    place = {(r["clip_id"], r["track_id"], r["frame_index"]): r for r in rows}
    fakes = [row for row in rows if row["label"]]
    assert len(fakes) > 270
    for fake in fakes:
        original = place[fake["original_id"], fake["track_id"], fake["frame_index"]]
        for name in ("crop_box", "face_box", "frame_size", "padding", "image_size"):
            assert fake[name] == original[name]
        outside = cv2.dilate(fake["mask"], np.ones((31, 31), np.uint8)) == 0
        if fake["compression"] == "raw":
            apart = cv2.absdiff(fake["image"], original["image"])[outside]
            assert np.mean(apart > 2) < 0.01


@pytest.fixture(scope="module")
def hard(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """A pair of the demo in its full size at c40, and its samples: what so strong a compression leaves of a small face
    is too little to be measured."""
    root = tmp_path_factory.mktemp("hard") / "in"
    make_demo(root, people=2, seconds=1.2, compressions=("c40",), workers=1)
    run(root, root.parent / "out", stages="crop,mask", compression="c40", frames="6")
    return root, [row for path in shard_paths(root.parent / "out") for row in iter_rows(path)]


@pytest.mark.parametrize(("compression", "least"), [("raw", 0.90), ("c23", 0.80), ("c40", 0.65)])
def test_masks_meet_the_truth(
    compression: str, least: float, demo: Path, rows: list[dict[str, Any]], hard: tuple[Path, list[dict[str, Any]]]
) -> None:
    root, samples = hard if compression == "c40" else (demo, rows)
    truth: dict[tuple[str, str], Any] = {}
    overlaps: dict[str, list[float]] = defaultdict(list)
    stray = []
    for row in samples:
        if row["label"] == 0:
            assert not row["mask"].any()
            continue
        if row["compression"] != compression:
            continue
        method, stem = row["clip_id"].split("/")[2:]
        if (method, stem) not in truth:
            truth[method, stem] = load_truth(root / f"truth/{method}/{stem}.npz")
        x0, y0, x1, y1 = row["crop_box"]
        wide = np.pad(truth[method, stem][row["frame_index"]], 400)
        true = wide[y0 + 400 : y1 + 400, x0 + 400 : x1 + 400]
        found = row["mask"] > 0
        overlaps[method].append((found & true).sum() / (found | true).sum())
        reach = 2 * round(0.1 * len(true)) + 1
        near = cv2.dilate(true.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))) > 0
        stray.append(np.mean(found & ~near))
    means = {method: np.mean(values) for method, values in overlaps.items()}
    assert len(means) == 4
    assert np.mean(list(means.values())) >= least, means
    assert np.mean(stray) < 0.01


def test_noise_and_similarity_follow_from_crop_and_mask(rows: list[dict[str, Any]]) -> None:
    for row in rows[::25]:
        sigma = 10.0 if row["compression"] == "c40" else 5.0
        assert row["noise_sigma"] == sigma
        residual = np.clip(noise_residual(to_gray(row["image"]), sigma), -25.5, 25.3)
        assert np.abs(dequantise(row["noise"]) - residual).max() <= 0.1 + 1e-3
        assert np.array_equal(unpack_grid(row["similarity"], 14), mask_grid(row["mask"], 14))


def test_both_formats_hold_the_same(everything: Path) -> None:
    for parquet in shard_paths(everything, "val"):
        for one, other in zip(iter_rows(parquet), iter_rows(parquet.with_suffix(".tar")), strict=True):
            assert one.keys() == other.keys()
            for name in one:
                same = np.array_equal if isinstance(one[name], np.ndarray) else lambda a, b: a == b
                assert same(one[name], other[name]), name


# mlcroissant and the rdflib below it use what is deprecated.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_croissant_reads_the_run(everything: Path, rows: list[dict[str, Any]]) -> None:
    import mlcroissant  # takes seconds

    described = mlcroissant.Dataset(jsonld=str(everything / "croissant.json"))
    assert not described.metadata.issues.errors | described.metadata.issues.warnings
    assert described.metadata.date_published is not None
    found = {record["samples/sample_id"].decode(): record for record in described.records("samples")}
    assert set(found) == {row["sample_id"] for row in rows}
    for row in rows[::7]:
        record = found[row["sample_id"]]
        assert np.array_equal(np.asarray(record["samples/image"]), row["image"])
        assert (record["samples/label"], record["samples/crop_box"]) == (row["label"], row["crop_box"])
        assert record["samples/noise_sigma"] == row["noise_sigma"]
    for table in ("shards", "clips", "drops"):
        assert len(list(described.records(table))) == pq.read_metadata(everything / f"meta/{table}.pq").num_rows


def test_others_readers_open_the_folder_as_it_is(
    everything: Path, rows: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets, duckdb = pytest.importorskip("datasets"), pytest.importorskip("duckdb")
    loaded = datasets.load_dataset(str(everything), cache_dir=str(tmp_path / "cache"))
    assert list(loaded) == ["train", "validation", "test"]
    for split, part in loaded.items():
        assert set(part["split"]) == {split}
        assert part.features["label"].names == ["real", "fake"]
        assert {part.features["label"].int2str(n) for n in part["label"]} == {"real", "fake"}
    assert loaded["train"][0]["image"].mode == "RGB"
    everywhere = f"'{everything}/**/*.parquet'"
    assert duckdb.sql(f"SELECT count(*), count(DISTINCT sample_id) FROM {everywhere}").fetchall() == [(len(rows),) * 2]
    by_table = duckdb.sql(f"SELECT split, sum(written) FROM read_parquet('{everything}/meta/clips.pq') GROUP BY 1")
    by_shard = duckdb.sql(f"SELECT split, count(*) FROM {everywhere} GROUP BY 1")
    assert sorted(by_table.fetchall()) == sorted(by_shard.fetchall())
    column = pq.read_metadata(shard_paths(everything)[0]).row_group(0).column(0)
    assert column.has_column_index
    assert column.has_offset_index
    names = [path.name for path in everything.glob("shards/*/*")]
    assert len(set(names)) == len(names)


def test_a_folder_belongs_to_one_configuration_and_one_run(demo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(demo, out, stages="crop", frames="2")
    with pytest.raises(ConfigMismatch, match="frames: 2 -> 3"):
        run(demo, out, stages="crop", frames="3")
    prepared = prepare_run(make_config("ffpp", {"stages": "crop", "frames": "3"}), demo, out, overwrite=True)
    execute(prepared, workers=0, report=lambda *_: None)
    assert verify(out) == []
    process = subprocess.Popen(command(demo, tmp_path / "busy", "--workers", "0"), stdout=subprocess.DEVNULL)
    wait_for(lambda: list((tmp_path / "busy").glob("shards/*/.*.tmp")))
    second = subprocess.run(command(demo, tmp_path / "busy"), capture_output=True, text=True, check=False)
    assert second.returncode == 2
    assert "another run is working in this folder" in second.stderr
    process.kill()
    process.wait()


def test_a_moved_dataset_is_the_same_dataset(demo: Path, tmp_path: Path, quiet: dict[str, str]) -> None:
    moved = tmp_path / "Daten säzte 1"
    shutil.copytree(demo, moved)
    run(moved, tmp_path / "out mit ü", **SMALL)
    assert checksums(tmp_path / "out mit ü") == quiet
