from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forgeprep.errors import UsageError
from forgeprep.io.atomic import atomic_write_bytes
from forgeprep.report.pairs import look_at_clips, unusual
from forgeprep.schemas.clips import CLIP_SCHEMA
from forgeprep.shards.encode import UInt8
from forgeprep.shards.read import iter_rows, shard_paths
from forgeprep.shards.records import iter_records, record_path, write_record
from tests.conftest import run_cli
from tests.helpers.html import NASTY, Parsed, parsed, write_report
from tests.helpers.shards_run import make_run, shard_rows, write_shard, write_tables

SECTIONS = [
    "sheets", "worst", "samples", "coverage", "masks", "agreement", "pairs", "spans", "boxes", "noise", "similarity",
]  # fmt: skip


def number(text: str) -> float:
    return float(text.replace(",", ""))


def edit_clips(out: Path, change: Callable[[dict[str, Any]], None]) -> None:
    for _, record in iter_records(out):
        assert record is not None
        for clip in record["clips"]:
            change(clip)
        write_record(out, record)


def test_the_page_is_whole_and_needs_nothing_else(tmp_path: Path, face_photo: UInt8) -> None:
    out = make_run(tmp_path, face_photo)
    found = parsed(out)
    assert found.attributes("html") == [{"lang": "en"}]
    assert [own["id"] for own in found.attributes("section")] == SECTIONS
    assert [name for name, _ in found.elements if name == "h1"] == ["h1"]
    ids = [own["id"] for _, own in found.elements if "id" in own]
    assert len(ids) == len(set(ids))
    pictures = found.attributes("img")
    assert len(pictures) > 20
    assert all(own["alt"] and str(own["src"]).startswith("data:image/") for own in pictures)
    links = [str(own[key]) for _, own in found.elements for key in ("href", "src") if key in own]
    assert all(link.startswith(("#", "data:")) for link in links)
    assert {"verdict", *SECTIONS} <= {link[1:] for link in links if link.startswith("#")} <= set(ids)
    assert len(found.attributes("script")) == len(found.attributes("style")) == 1
    assert not {"link", "iframe", "base", "object"} & {name for name, _ in found.elements}
    html = (out / "report" / "index.html").read_text(encoding="utf-8")
    assert not any(word in html for word in ("http://", "https://", "url(", "@import"))


def test_its_figures_are_those_of_the_tables(tmp_path: Path, face_photo: UInt8) -> None:
    out = make_run(tmp_path, face_photo)
    found = parsed(out)
    rows = [row for path in shard_paths(out) for row in iter_rows(path, decode=False)]
    counts = Counter((row["compression"], row["method"] or "real", row["split"]) for row in rows)
    head, *lines, foot = found.tables["samples-table"]
    assert head == ["compression", "method", "label", "train", "test", "all"]
    assert {(c, m, s): int(n) for c, m, _, *own in lines for s, n in zip(head[3:5], own, strict=False)} == counts
    assert foot == ["all", "", "", "9", "9", "18"]
    _, *lines, foot = found.tables["coverage-table"]
    assert ["c23", "FaceSwap", "2", "0", "8", "6", "2", "2", ""] in lines
    assert foot == ["all", "", "6", "0", "20", "18", "2", "2", ""]
    assert found.tables["drops-table"][1][:2] == ["past_end", "2"]
    for anchor, column in (("area-table", "mask_fraction"), ("agreement-table", "mask_agreement")):
        for method, count, least, _, _, _, most, mean, _ in found.tables[anchor][1:]:
            values = [row[column] for row in rows if row["method"] == method]
            assert int(count) == len(values)
            expected = [min(values), max(values), float(np.mean(values))]
            assert [number(least), number(most), number(mean)] == pytest.approx(expected, abs=6e-4)
    assert "How the faces were found: detected 18." in found.text
    noise = [row["noise"] for path in shard_paths(out) for row in iter_rows(path) if row["method"] == "FaceSwap"]
    variance = np.mean([((picture.astype(float) - 128) / 5).var() for picture in noise])
    cells = next(line for line in found.tables["noise-table"] if line[0] == "FaceSwap")
    assert number(cells[5]) == pytest.approx(variance, abs=0.006)


def test_the_same_samples_give_the_same_page_in_either_format(tmp_path: Path, face_photo: UInt8) -> None:
    out = make_run(tmp_path, face_photo, formats=("parquet", "webdataset"))
    both = write_report(out).read_bytes()
    assert write_report(out, tmp_path / "else" / "page.html").read_bytes() == both
    for path in out.glob("shards/*/*.parquet"):
        path.unlink()
    assert write_report(out).read_bytes() == both


def test_what_comes_from_outside_is_escaped(tmp_path: Path, face_photo: UInt8) -> None:
    rows = shard_rows(face_photo, "train", [0])
    for row in rows[3:6]:
        row |= {"method": NASTY, "compression": NASTY, "clip_id": NASTY, "sample_id": NASTY + row["sample_id"]}
    record = write_shard(tmp_path, "train/ffpp-train-00000", rows)
    for clip in record["clips"]:
        clip |= {
            "written": 0,
            "error": NASTY,
            "pair_similarity": 0.2,
            "offset": 3,
            "detected_spans": [[0.0, 0.1], [0.5, 1]],
        }
    record["drops"][0][5] = NASTY
    write_record(tmp_path, record)
    write_tables(tmp_path, [])
    run = {"shards": 2, "config": {"dataset": NASTY, "params": {NASTY: {NASTY: NASTY}}}, "versions": {NASTY: NASTY}}
    atomic_write_bytes(tmp_path / "run.json", json.dumps({"stages": [NASTY], "root": NASTY, **run}).encode())
    atomic_write_bytes(record_path(tmp_path, "train/<b>1"), b"{")
    found = parsed(tmp_path)
    assert "b>1" not in {name for name, _ in found.elements}
    assert len(found.attributes("script")) == 1
    assert all(str(own["src"]).startswith("data:") for own in found.attributes("img"))
    assert not any(name.startswith("on") for _, own in found.elements for name in own)
    assert found.text.count("<script>alert('x')</script>") > 10
    assert "train/<b>1" in found.text


@pytest.mark.parametrize(
    ("stages", "formats", "lacks"),
    [
        (("crop",), ("parquet",), ("no masks", "no noise residuals", "no similarity maps")),
        (("crop", "mask"), ("webdataset",), ("no noise residuals", "no similarity maps")),
        (("crop", "noise"), ("webdataset",), ("no masks", "no similarity maps")),
    ],
)
def test_what_a_run_lacks_is_said(
    tmp_path: Path, face_photo: UInt8, stages: tuple[str, ...], formats: tuple[str, ...], lacks: tuple[str, ...]
) -> None:
    found = parsed(make_run(tmp_path, face_photo, stages=stages, formats=formats))
    for lack in lacks:
        assert f"The run has {lack}" in found.text
    assert found.text.count("The run has no") == len(lacks)
    assert found.attributes("img")


def test_an_empty_run_an_unfinished_one_and_a_damaged_one_get_a_page(tmp_path: Path, face_photo: UInt8) -> None:
    empty = tmp_path / "empty"
    atomic_write_bytes(empty / "run.json", b'{"stages": ["crop"], "shards": 2, "requested": 20}')
    text = parsed(empty).text
    assert "no samples (0 rows)" in text
    assert "unfinished: 0 of 2 shards are made, 20 frames" in text
    out = make_run(tmp_path / "run", face_photo, formats=("parquet",))
    run = json.loads((out / "run.json").read_bytes())
    (out / "run.json").write_text(json.dumps({**run, "shards": 3, "requested": 30}))
    (out / "shards/train/ffpp-train-00000.parquet").unlink()
    (out / "shards/test/ffpp-test-00000.parquet").write_bytes(b"PAR1")
    text = parsed(out).text
    assert "unfinished: 2 of 3 shards are made, 10 frames" in text
    assert "Not readable: train/ffpp-train-00000: shards/train/ffpp-train-00000.parquet is missing" in text
    assert "Not readable: test/ffpp-test-00000: " in text


def test_a_folder_without_a_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="holds no run"):
        write_report(tmp_path)
    assert run_cli("report", str(tmp_path / "nowhere")) == 2
    assert "holds no run" in capsys.readouterr().err


def test_the_command_writes_where_it_is_told(
    tmp_path: Path, face_photo: UInt8, capsys: pytest.CaptureFixture[str]
) -> None:
    out = make_run(tmp_path / "run", face_photo)
    assert run_cli("report", str(out), "--to", str(tmp_path / "a.html")) == 0
    assert "a.html" in capsys.readouterr().out
    assert Parsed((tmp_path / "a.html").read_text(encoding="utf-8")).tables
    assert not (out / "report").exists()


def test_unusual_pairs_and_partial_forgeries_are_listed(tmp_path: Path, face_photo: UInt8) -> None:
    out = make_run(tmp_path, face_photo)
    plain = {"offset": 0, "rate": 1.0, "scale": 1.0, "shift": [0.0, 0.0], "pair_similarity": 0.99}
    plain |= {"visual_change": True, "detected_spans": [[0.0, 1.44]], "fps": 25.0}
    odd = {"offset": -4, "rate": 0.5, "scale": 0.75, "shift": [0.0, 8.0], "pair_similarity": 0.4}

    def change(clip: dict[str, Any]) -> None:
        if clip["label"]:
            clip |= plain
        if clip["clip_id"] == "ffpp/c23/FaceSwap/000_001":
            clip |= {**odd, "visual_change": False, "detected_spans": [[0.0, 0.2], [1.0, 1.2]]}

    edit_clips(out, change)
    clips = look_at_clips(out)
    assert (clips.pairs, clips.odd_count, clips.partial_count) == (4, 1, 1)
    assert unusual({**dict.fromkeys(CLIP_SCHEMA.names), **plain}) == []
    tables = parsed(out).tables
    cells = ["ffpp/c23/FaceSwap/000_001", "-4", "0.5", "0.75", "0.400", "2", "no"]
    assert tables["odd-table"][1][:-1] == cells
    assert len(tables["odd-table"][1][-1].split(", ")) == 7
    assert tables["partial-table"][1] == [cells[0], "1.44", "0.00 to 0.20, 1.00 to 1.20", ""]
    assert tables["spans-table"] == [["method", "1", "2"], ["Deepfakes", "2", "0"], ["FaceSwap", "1", "1"]]
