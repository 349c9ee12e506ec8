from __future__ import annotations

import contextlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forgeprep.shards.encode import decode_image, encode_image
from tests.conftest import run_cli

Found = dict[str, Any]


@pytest.fixture(scope="module")
def first(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(demo, tmp_path_factory.mktemp("compare") / "first")


def run(root: Path, out: Path, *more: str) -> Path:
    values = {"--stages": "crop,mask", "--methods": "Deepfakes", "--frames": "4", "--workers": "0", "--size": "96"}
    values["--splits"] = "train,val"
    values |= dict(zip(more[::2], more[1::2], strict=True))
    flags = [text for pair in values.items() for text in pair]
    assert run_cli("run", "ffpp", "--root", str(root), "--out", str(out), *flags) == 0
    return out


def compared(a: Path, b: Path) -> tuple[int, Found]:
    """Exit code and JSON; the text for people goes to stdout."""
    with contextlib.redirect_stdout(io.StringIO()) as document:
        code = run_cli("compare", str(a), str(b), "--json")
    assert run_cli("compare", str(a), str(b)) == code
    return code, json.loads(document.getvalue())


def columns(found: Found) -> dict[str, Found]:
    return {column["name"]: column for column in found["columns"]}


@pytest.mark.parametrize(
    "more",
    [(), ("--format", "webdataset"), ("--format", "webdataset", "--shard-size", "16"), ("--shard-size", "8")],
    ids=["again", "tar", "small tars", "small shards"],
)
def test_the_same_samples_are_the_same_data_however_packed(
    more: tuple[str, ...], first: Path, demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = compared(first, run(demo, tmp_path / "out", *more))
    assert (code, found["same"], found["columns"]) == (0, True, [])
    assert found["common"] == 32
    assert found["by_checksum"] is (more == ())
    assert capsys.readouterr().out.strip().endswith("same data")
    assert compared(tmp_path / "out", first)[0] == 0


def test_what_differs_is_said(first: Path, demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = compared(first, run(demo, tmp_path / "jpeg", "--image-format", "jpeg"))
    assert code == 1
    assert set(columns(found)) == {"image"}
    assert columns(found)["image"]["samples"] == 32
    assert 0 < columns(found)["image"]["mean"] < 5 < columns(found)["image"]["largest"]
    assert found["settings"] == ["image_format: png -> jpeg"]

    code, found = compared(first, run(demo, tmp_path / "wide", "--enlarge", "2"))
    assert code == 1
    assert columns(found)["enlarge"]["largest"] == pytest.approx(0.7)
    assert columns(found)["mask"]["mean_iou"] < 0.8
    assert {"crop_box", "image", "mask_fraction"} <= set(columns(found))
    assert "face_box" not in columns(found)

    code, found = compared(first, run(demo, tmp_path / "large", "--size", "128"))
    assert columns(found)["image"]["other_size"] == 32

    code, found = compared(first, run(demo, tmp_path / "fewer", "--frames", "2", "--stages", "crop"))
    assert code == 1
    assert found["only_a"] > 0
    assert "mask" in found["columns_only_a"]
    assert found["columns_only_b"] == []
    assert "not the same data" in capsys.readouterr().out


def test_a_changed_mask_is_found_with_its_iou(first: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(first, other)
    path = next((other / "shards/train").iterdir())
    table = pq.read_table(path)
    rows = table.to_pylist()
    number = next(n for n, row in enumerate(rows) if row["label"] == 1)
    before = decode_image(rows[number]["mask"]["bytes"])
    after = before.copy()
    after[:20, :50] = 255 - after[:20, :50]
    rows[number]["mask"]["bytes"] = encode_image(after)
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), sink)
    path.write_bytes(sink.getvalue())
    # The record still has the old checksum, so equality by record says nothing: make it as a new run would.
    record_path = other / "state/train/ffpp-train-00000.json"
    record = json.loads(record_path.read_bytes())
    record["files"][0]["sha256"] = "0" * 64
    record_path.write_text(json.dumps(record))
    code, found = compared(first, other)
    assert code == 1
    (column,) = found["columns"]
    assert (column["name"], column["samples"], column["example"]) == ("mask", 1, rows[number]["sample_id"])
    iou = np.count_nonzero((before > 0) & (after > 0)) / np.count_nonzero((before > 0) | (after > 0))
    assert column["least_iou"] == pytest.approx(iou)
    assert column["mean_iou"] == pytest.approx((15 + iou) / 16)


def test_what_cannot_be_compared_is_one_line(first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli("compare", str(first), str(tmp_path)) == 2
    assert f"{tmp_path}: holds no run of forgeprep" in capsys.readouterr().err
    shutil.copytree(first, tmp_path / "gone")
    next((tmp_path / "gone/shards/val").iterdir()).unlink()
    assert run_cli("compare", str(first), str(tmp_path / "gone")) == 1
    assert "missing; run again" in capsys.readouterr().err
    shutil.copytree(first, tmp_path / "cut")
    path = next((tmp_path / "cut/shards/val").iterdir())
    path.write_bytes(path.read_bytes()[:1000])
    record_path = tmp_path / "cut/state/val/ffpp-val-00000.json"
    record_path.write_text(record_path.read_text().replace('"sha256":"', '"sha256":"x'))
    assert run_cli("compare", str(first), str(tmp_path / "cut")) == 1
    assert str(path) in capsys.readouterr().err
