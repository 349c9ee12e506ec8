from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from forgeprep.errors import UsageError
from forgeprep.schemas.columns import facts_of
from forgeprep.schemas.samples import columns_of
from forgeprep.shards.encode import UInt8
from forgeprep.shards.records import read_record, record_path
from forgeprep.shards.verify import verify
from tests.helpers.shards_run import make_run, shard_rows, write_shard, write_tables

Rows = list[dict[str, Any]]

PARQUET = "shards/train/ffpp-train-00000.parquet"
TAR = "shards/train/ffpp-train-00000.tar"
RECORD = "state/train/ffpp-train-00000.json"
FAKE = f"{PARQUET}: ffpp/c23/Deepfakes/000_001/0/000000"
"""The train shard's row 3."""


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0x10
    path.write_bytes(data)


def truncate(path: Path, lost: int = 3000) -> None:
    path.write_bytes(path.read_bytes()[:-lost])


def edit_record(out: Path, **changes: Any) -> None:
    path = record_path(out, "train/ffpp-train-00000")
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def rename_drop(out: Path) -> None:
    record = read_record(out, "train/ffpp-train-00000")
    assert record is not None
    record["drops"][0][5] = "bad_luck"
    edit_record(out, drops=record["drops"])


FILE_DAMAGE: dict[str, tuple[Callable[[Path], object], list[tuple[str, str]]]] = {
    "flipped byte": (lambda out: flip(out / PARQUET), [(PARQUET, "SHA-256 is not the record's")]),
    "flipped byte of a tar": (lambda out: flip(out / TAR), [(TAR, "SHA-256 is not the record's")]),
    "deleted shard": (lambda out: (out / PARQUET).unlink(), [(PARQUET, "the file is missing")]),
    "truncated parquet": (lambda out: truncate(out / PARQUET), [(PARQUET, "but the record says")]),
    "truncated tar": (
        lambda out: (out / TAR).write_bytes((out / TAR).read_bytes()[:99_999]),
        [(TAR, "unexpected end")],
    ),
    "empty shard": (lambda out: (out / PARQUET).write_bytes(b""), [(PARQUET, "0 bytes, but the record says")]),
    "row count": (lambda out: edit_record(out, rows=8, planned=9), [(PARQUET, "9 rows, but the shard has 8")]),
    "lost sample": (lambda out: edit_record(out, planned=11), [(RECORD, "11 samples were planned")]),
    "drop reason": (rename_drop, [(RECORD, "unknown drop reason 'bad_luck'")]),
    "damaged record": (
        lambda out: truncate(record_path(out, "train/ffpp-train-00000")),
        [(RECORD, "the record is damaged; 'forgeprep verify ")],
    ),
    "lost record": (
        lambda out: record_path(out, "train/ffpp-train-00000").unlink(),
        [(RECORD, "the record is missing; 'forgeprep verify ")],
    ),
    "leftover": (
        lambda out: (out / "shards/train/.1.parquet.tmp").touch(),
        [("shards/train/.1.parquet.tmp", "left over")],
    ),
    "stray shard": (
        lambda out: (out / "shards/train/ffpp-train-00009.tar").touch(),
        [("shards/train/ffpp-train-00009.tar", "no record")],
    ),
    "lost index": (lambda out: (out / "meta/drops.pq").unlink(), [("meta/drops.pq", "missing")]),
    "damaged index": (lambda out: truncate(out / "meta/clips.pq"), [("meta/clips.pq", "damaged")]),
    "old index": (
        lambda out: write_tables(out, [read_record(out, "test/ffpp-test-00000") or {}]),
        [
            ("meta/clips.pq", "does not agree"),
            ("meta/shards.pq", "2 rows here, 4 there"),
            ("meta/drops.pq", "1 row here"),
        ],
    ),
}


@pytest.mark.parametrize("damage", FILE_DAMAGE)
def test_damaged_files_are_found(tmp_path: Path, face_photo: UInt8, damage: str) -> None:
    out = make_run(tmp_path, face_photo)
    assert verify(out) == []
    act, expected = FILE_DAMAGE[damage]
    act(out)
    assert_found(verify(out), expected)


def assert_found(problems: list[Any], expected: list[tuple[str, str]]) -> None:
    for where, what in expected:
        assert any(where in problem.where + problem.what and what in problem.what for problem in problems), problems


def smaller_mask(row: dict[str, Any]) -> None:
    row["mask"] = cv2.resize(row["mask"], (95, 96), interpolation=cv2.INTER_NEAREST)


def gray_mask(row: dict[str, Any]) -> None:
    row["mask"] = row["mask"] // 2


def no_mask(row: dict[str, Any]) -> None:
    row |= {"mask": np.zeros_like(row["mask"]), "mask_fraction": 0.0, "similarity": bytes(25)}


def literal(row: dict[str, Any]) -> None:
    row |= {"mask_source": "literal", "mask_confidence": None}


def shifted_provided(row: dict[str, Any]) -> None:
    row["mask_provided"] = np.roll(row["mask"], 30, axis=1)


ROW_DAMAGE: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "wrong size mask": (smaller_mask, "mask is 95x96, but the crop is 96x96"),
    "non-binary mask": (gray_mask, "pixels that are neither 0 nor 255"),
    "fake without mask": (no_mask, "mask of a fake is all zero"),
    "mask fraction": (lambda row: row.update(mask_fraction=0.2), "mask_fraction is 0.200000, but the mask's is"),
    "similarity": (lambda row: row.update(similarity=b"\xff" * 25), "similarity does not follow"),
    "mask source": (lambda row: row.update(mask_source="guess"), "mask_source is 'guess', which is none of"),
    "level of a literal mask": (literal, "a literal mask has no mask_threshold"),
    "agreement": (shifted_provided, "mask_agreement is 0.89999"),
    "stray": (lambda row: row.update(mask_stray=0.5), "mask_stray is 0.500000, but the mask's is"),
    "jump": (lambda row: row.update(mask_jump=-1.0), "mask_jump is -1.0, which is not from 0 to 1"),
    "image size": (lambda row: row.update(image_size=[96, 97]), "image is 96x96, but image_size says 96x97"),
    "gray crop": (lambda row: row.update(image=row["image"][..., 0]), "image is gray"),
    "colour residual": (lambda row: row.update(noise=row["image"]), "noise is RGB"),
    "label": (
        lambda row: row.update(label=0),
        "label 0, forgery 'identity_replaced' and method 'Deepfakes'",
    ),
    "masked real": (
        lambda row: row.update(label=0, forgery="real", method=None, original_id=None),
        "mask of a real is not all zero",
    ),
    "split": (lambda row: row.update(split="val"), "split is 'val', but the shard's is 'train'"),
}


@pytest.mark.parametrize("damage", ROW_DAMAGE)
def test_wrong_samples_are_found(tmp_path: Path, face_photo: UInt8, damage: str) -> None:
    out = make_run(tmp_path, face_photo)
    rows = shard_rows(face_photo, "train", [0])
    act, what = ROW_DAMAGE[damage]
    act(rows[3])
    rewrite(out, rows)
    assert_found(verify(out), [(FAKE, what)])


def rewrite(out: Path, rows: Rows, shard: str = "train/ffpp-train-00000") -> None:
    write_shard(out, shard, rows)
    records = [read_record(out, name) for name in sorted({"train/ffpp-train-00000", "test/ffpp-test-00000", shard})]
    write_tables(out, [record for record in records if record is not None])


def test_a_sample_that_is_there_twice_is_found(tmp_path: Path, face_photo: UInt8) -> None:
    out = make_run(tmp_path, face_photo)
    rewrite(
        out,
        shard_rows(face_photo, "train", [5])[:2] + shard_rows(face_photo, "train", [0])[1:2],
        "train/ffpp-train-00001",
    )
    problems = verify(out)
    place = f"its sample_id is also that of row 1 of {PARQUET}"
    assert_found(problems, [("shards/train/ffpp-train-00001.parquet: row 2", place)])
    assert len(problems) == 1


def test_a_source_group_in_two_splits_is_found(tmp_path: Path, face_photo: UInt8) -> None:
    out = make_run(tmp_path, face_photo)
    rewrite(out, shard_rows(face_photo, "test", [0])[:3], "test/ffpp-test-00000")
    problems = verify(out)
    assert_found(problems, [(PARQUET, "the source group ffpp/c23/000 is in the splits test, train")])
    assert_found(problems, [(PARQUET, "the clip ffpp/c23/original/000 is in the splits test, train")])


def test_formats_with_different_rows_are_found(tmp_path: Path, face_photo: UInt8) -> None:
    out = make_run(tmp_path, face_photo)
    rows = shard_rows(face_photo, "train", [0])
    rows[3]["timestamp_s"] = 9.0
    other = write_shard(tmp_path / "other", "train/ffpp-train-00000", rows)["files"][1]
    (out / TAR).write_bytes((tmp_path / "other" / TAR).read_bytes())
    record = read_record(out, "train/ffpp-train-00000")
    assert record is not None
    edit_record(out, files=[record["files"][0], other])
    assert_found(verify(out), [(TAR, "not as in shards/train/ffpp-train-00000.parquet: timestamp_s")])


def test_columns_must_be_those_of_the_stages(tmp_path: Path, face_photo: UInt8) -> None:
    out = make_run(tmp_path, face_photo, stages=("crop", "mask"), image_format="jpeg")
    assert verify(out, workers=1) == []
    document = json.loads((out / "run.json").read_text())
    facts = [facts_of(column) for stage in ("key", "crop", "noise") for column in columns_of(stage)]
    (out / "run.json").write_text(json.dumps(document | {"stages": ["crop", "noise"], "columns": facts}))
    problems = verify(out)
    for path in (PARQUET, TAR):
        assert_found(problems, [(path, "'noise_sigma' is missing"), (path, "'mask_source' belongs to none")])


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no run of forgeprep"):
        verify(tmp_path / "nowhere")
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(UsageError, match=r"run\.json: damaged"):
        verify(tmp_path)
