from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forgeprep.errors import StorageError, UsageError, VerifyError
from forgeprep.io.atomic import atomic_write_bytes
from forgeprep.shards import write
from forgeprep.shards.encode import UInt8, encode_row
from forgeprep.shards.formats import FORMATS, parquet
from forgeprep.shards.formats.webdataset import tar_key
from forgeprep.shards.read import iter_rows, shard_paths
from forgeprep.shards.records import iter_records, read_record, record_path, write_record
from forgeprep.shards.write import ShardWriter
from tests.helpers.shards_run import columns, make_row, shard_rows, write_shard


@pytest.fixture
def rows(face_photo: UInt8) -> list[dict[str, Any]]:
    return shard_rows(face_photo, "train", [0, 1])


def as_stored(row: dict[str, Any]) -> dict[str, Any]:
    """A row with its numbers in the precision of its columns."""
    stored = dict(row)
    for column in columns():
        value = stored[column.name]
        if "float" in str(column.type) and value is not None:
            kind = np.float64 if str(column.type) == "double" else np.float32
            stored[column.name] = np.asarray(value, kind).tolist()
    return stored


def assert_same_rows(found: Iterator[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    for row, other in itertools.zip_longest(found, expected):
        assert row.keys() == other.keys()
        for name, value in row.items():
            np.testing.assert_array_equal(value, other[name], err_msg=name) if isinstance(value, np.ndarray) else None
            assert isinstance(value, np.ndarray) or value == other[name], name


@pytest.mark.parametrize("extension", ["parquet", "tar"])
def test_both_formats_give_back_the_rows(
    tmp_path: Path, rows: list[dict[str, Any]], extension: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "GROUP_ROWS", 7)
    rows[3]["difference"] = None
    rows[4] |= {"landmarks": [1.5, 2.25], "landmark_scheme": "five"}
    write_shard(tmp_path, "train/ffpp-train-00000", rows)
    path = tmp_path / f"shards/train/ffpp-train-00000.{extension}"
    assert_same_rows(iter_rows(path), [as_stored(row) for row in rows])
    assert [r["image"]["path"] for r in iter_rows(path, ["image"], decode=False)] == [
        f"{row['sample_id']}.png" for row in rows
    ]
    with pytest.raises(UsageError, match="did you mean 'image'"):
        list(iter_rows(path, ["imag"]))


def test_row_groups_end_by_content_and_bytes_repeat(
    tmp_path: Path, rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "GROUP_BYTES", 100_000)
    first = write_shard(tmp_path / "a", "train/ffpp-train-00000", rows)
    again = write_shard(tmp_path / "b", "train/ffpp-train-00000", rows)
    assert first == again
    sizes = [
        pq.ParquetFile(tmp_path / "a/shards/train/ffpp-train-00000.parquet").metadata.row_group(i).total_byte_size
        for i in (0, 1)
    ]
    assert all(100_000 < size < 140_000 for size in sizes)
    for file in first["files"]:
        path = tmp_path / "a" / file["path"]
        assert path.read_bytes() == (tmp_path / "b" / file["path"]).read_bytes()
        assert path.stat().st_size == file["bytes"]


def test_reading_holds_no_more_than_a_row_group(
    tmp_path: Path, face_photo: UInt8, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "GROUP_BYTES", 500_000)
    monkeypatch.setattr(parquet, "_BATCH_ROWS", 2)
    rows = shard_rows(face_photo, "train", range(5), size=200)
    record = write_shard(tmp_path, "train/ffpp-train-00000", rows, formats=("parquet",))
    assert record["files"][0]["bytes"] > 4_000_000
    before = pa.total_allocated_bytes()
    held = [pa.total_allocated_bytes() - before for _ in iter_rows(tmp_path / "shards/train/ffpp-train-00000.parquet")]
    assert len(held) == len(rows)
    assert max(held) < 2_000_000


def test_a_shard_without_rows_opens(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, "val/ffpp-val-00003", columns(), ("parquet", "webdataset"), {}) as writer:
        files = writer.commit()
    assert [(file.path, file.rows) for file in files] == [
        ("shards/val/ffpp-val-00003.parquet", 0),
        ("shards/val/ffpp-val-00003.tar", 0),
    ]
    assert all(list(iter_rows(tmp_path / file.path)) == [] for file in files)
    assert shard_paths(tmp_path) == shard_paths(tmp_path, "val") == [tmp_path / "shards/val/ffpp-val-00003.parquet"]


def write_all(out: Path, rows: list[dict[str, Any]], formats: tuple[str, ...], fault: type[Exception] | None) -> None:
    with ShardWriter(out, "train/ffpp-train-00000", columns(), formats, {}) as writer:
        for row in rows:
            writer.add(encode_row(row, columns(), "png", 95))
        if fault is not None:
            raise fault("stop")
        writer.commit()


def test_nothing_stays_without_a_commit(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    with pytest.raises(RuntimeError, match="stop"):
        write_all(tmp_path, rows, ("parquet", "webdataset"), RuntimeError)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_row_that_does_not_fit_is_named(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    row = encode_row(rows[0], columns(), "png", 95)
    with ShardWriter(tmp_path, "train/ffpp-train-00000", columns(), ("webdataset",), {}) as writer:
        with pytest.raises(VerifyError, match=r"000000: 'image' is empty"):
            writer.add({**row, "image": None})
        writer.add({**row, "detection_score": float("nan")})
        with pytest.raises(VerifyError, match="not finite"):
            writer.commit()


def test_keys_stay_distinct_without_dots() -> None:
    ids = ["d/a.b/0/000001", "d/a_b/0/000001", "d/a%2Eb/0/000001", "d/a/b/0/000001"]
    keys = {tar_key(sample_id) for sample_id in ids}
    assert len(keys) == len(ids)
    assert not any("." in key for key in keys)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("name", ["parquet", "webdataset"])
@pytest.mark.parametrize("group_rows", [2, 1000])
def test_a_full_disk_is_one_line_and_leaves_no_shard(
    small_disk: Path, face_photo: UInt8, name: str, group_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "GROUP_ROWS", group_rows)
    extension = FORMATS.get(name).suffix
    rows = shard_rows(face_photo, "train", [0], size=290)
    with pytest.raises(StorageError, match=rf"00000\.{extension}: no space left; free some") as raised:
        write_all(small_disk, rows, (name,), None)
    assert "\n" not in str(raised.value)
    assert list(small_disk.rglob("*.*")) == []
    with pytest.raises(StorageError, match="no space left"):
        atomic_write_bytes(small_disk / "big", bytes(1 << 20))
    assert list(small_disk.rglob("*.*")) == []


def test_an_output_that_cannot_be_a_folder_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "shards").write_bytes(b"")
    with pytest.raises(StorageError, match=r"00000\.parquet: cannot be written"):
        ShardWriter(tmp_path, "train/ffpp-train-00000", columns(), ("parquet",), {})
    with pytest.raises(StorageError, match="x: cannot be written"):
        atomic_write_bytes(tmp_path / "shards" / "x", b"")


def test_a_record_is_read_whole_or_not_at_all(tmp_path: Path, face_photo: UInt8) -> None:
    record = write_shard(tmp_path, "train/ffpp-train-00000", [make_row(face_photo, "train", 0, None, 0)])
    assert read_record(tmp_path, "train/ffpp-train-00000") == record
    assert read_record(tmp_path, "train/ffpp-train-00001") is None
    text = record_path(tmp_path, "train/ffpp-train-00000").read_bytes()
    for damaged in (
        b"",
        b"[]",
        text[:-20],
        text.replace(b'"rows":1', b'"rows":"1"'),
        text.replace(b'"drops":[[', b'"drops":[4,['),
    ):
        record_path(tmp_path, "train/ffpp-train-00000").write_bytes(damaged)
        assert read_record(tmp_path, "train/ffpp-train-00000") is None
        assert list(iter_records(tmp_path)) == [("train/ffpp-train-00000", None)]
    write_record(tmp_path, record)
    assert list(iter_records(tmp_path)) == [("train/ffpp-train-00000", record)]


def test_importing_shards_is_light() -> None:
    code = "import sys, forgeprep.shards; sys.exit(bool({'pyarrow', 'numpy', 'cv2'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
