from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rich.console import Console

from forgeprep.commands.summary_tables import summary_tables
from forgeprep.errors import UsageError
from forgeprep.report import draw, panels
from forgeprep.report.panels import SheetRow
from forgeprep.report.sheet import _choose, contact_sheet
from forgeprep.report.summary import Counts, Files, Kind, Summary, size_text, summarise
from forgeprep.shards.encode import UInt8
from forgeprep.shards.records import record_path
from tests.conftest import read_picture
from tests.helpers.shards_run import make_row, make_run, shard_rows, write_shard, write_tables


def text_of(summary: Summary, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    for table in summary_tables(summary):
        console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_run_is_counted_from_its_records(tmp_path: Path, face_photo: UInt8) -> None:
    summary = summarise(make_run(tmp_path, face_photo))
    assert list(summary.counts) == [
        Kind(split, "c23", method, int(method is not None))
        for split in ("train", "test")
        for method in (None, "Deepfakes", "FaceSwap")
    ]
    assert summary.counts[Kind("train", "c23", "FaceSwap", 1)] == Counts(clips=1, written=3, dropped=1)
    assert summary.total == Counts(clips=6, written=18, dropped=2)
    assert summary.drops == {"past_end": 2}
    assert [clip["clip_id"] for clip in summary.short] == ["ffpp/c23/FaceSwap/000_001", "ffpp/c23/FaceSwap/010_011"]
    size = (tmp_path / "shards/train/ffpp-train-00000.tar").stat().st_size
    assert summary.files["train", "webdataset"] == Files(1, 9, size)
    text = text_of(summary)
    for part in ("the clip ends before this frame", "Deepfakes", size_text(size), "all"):
        assert part in text
    assert max(map(len, text.splitlines())) <= 80


def test_an_unfinished_run_says_so(tmp_path: Path, face_photo: UInt8) -> None:
    out = make_run(tmp_path, face_photo)
    (out / "run.json").write_text('{"stages": [], "shards": 3}')
    record_path(out, "test/ffpp-test-00000").write_bytes(b"{")
    summary = summarise(out)
    assert (summary.shards, summary.planned_shards, summary.damaged) == (1, 3, ["test/ffpp-test-00000"])
    text = text_of(summary, 120)
    assert "1 of 3 shards are made" in text
    assert "damaged records: test/ffpp-test-00000" in text


def test_names_with_brackets_are_printed_as_they_are(tmp_path: Path) -> None:
    clip = dict.fromkeys(("requested", "decoded", "detected", "written", "dropped"), 1)
    summary = Summary(tmp_path, short=[{**clip, "clip_id": "x/[bold]a", "error": "[/] bad"}] * 20)
    text = text_of(summary, 120)
    assert "x/[bold]a" in text
    assert "[/] bad" in text
    assert "and 5 more" in text


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no run"):
        summarise(tmp_path)
    (tmp_path / "run.json").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="damaged"):
        summarise(tmp_path)


def column(sheet: UInt8, row: int, number: int) -> UInt8:
    """A cell of the first group of a sheet."""
    y = draw.TITLE + draw.BAND + row * (panels.SIDE + draw.GAP)
    x = draw.MARGIN + draw.TEXT + number * (panels.SIDE + draw.GAP)
    return sheet[y : y + panels.SIDE, x : x + panels.SIDE]


def read_rgb(path: Path) -> UInt8:
    return read_picture(path)[..., ::-1]


def test_a_sheet_shows_samples_beside_their_originals(tmp_path: Path, face_photo: UInt8) -> None:
    side = panels.SIDE
    out = make_run(tmp_path / "run", face_photo, size=side)
    contact_sheet(out, tmp_path / "a" / "sheet.png", samples_per_method=2)
    contact_sheet(out, tmp_path / "b.png", samples_per_method=2)
    assert (tmp_path / "a" / "sheet.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    sheet = read_rgb(tmp_path / "b.png")
    width = 2 * draw.MARGIN + draw.TEXT + 6 * (side + draw.GAP) - draw.GAP
    height = draw.TITLE + draw.MARGIN + 3 * draw.BAND + 6 * (side + draw.GAP)
    assert sheet.shape == (height, width, 3)
    # Reals have a group of their own, the last, beside no original.
    reals = sheet[2 * (draw.BAND + 2 * (side + draw.GAP)) :]
    assert (column(reals, 0, 0)[-20:] == panels.EMPTY).all()
    np.testing.assert_array_equal(column(reals, 0, 1), make_row(face_photo, "train", 0, None, 0, side)["image"])
    original = make_row(face_photo, "train", 0, None, 0, side)
    fake = make_row(face_photo, "train", 0, "Deepfakes", 0, side)
    np.testing.assert_array_equal(column(sheet, 0, 0), original["image"])
    np.testing.assert_array_equal(column(sheet, 0, 1), fake["image"])
    np.testing.assert_array_equal(column(sheet, 0, 4)[..., 0], fake["noise"])
    redder = column(sheet, 0, 2).astype(int)[..., 0] > fake["image"][..., 0].astype(int) + 5
    assert redder[fake["mask"] > 0].mean() > 0.8
    assert redder[cv2.dilate(fake["mask"], np.ones((5, 5))) == 0].mean() == 0


def test_samples_are_spread_over_clips_and_frames(tmp_path: Path, face_photo: UInt8) -> None:
    records = [
        write_shard(tmp_path, f"train/ffpp-train-{source:05d}", shard_rows(face_photo, "train", [source], 32))
        for source in range(4)
    ]
    write_tables(tmp_path, records)
    picks = [pick for picks in _choose(tmp_path, 4).values() for pick in picks if not pick.why]
    assert {pick.sample_id.split("/")[3] for pick in picks if pick.group[0] == "FaceSwap"} == {"001_002", "003_004"}
    everything = [pick for picks in _choose(tmp_path, 24).values() for pick in picks]
    assert len(everything) == len({pick.sample_id for pick in everything})
    assert {pick.sample_id[-6:] for pick in everything} == {"000000", "000012", "000024"}


@pytest.mark.parametrize(("source", "figure"), [("difference", "mask_confidence"), ("literal", "mask_agreement")])
def test_half_of_the_samples_have_the_least_sure_masks(
    tmp_path: Path, face_photo: UInt8, source: str, figure: str
) -> None:
    records = []
    for number in range(4):
        rows = shard_rows(face_photo, "train", [number], 32)
        for row in rows:
            if row["label"]:
                row["mask_source"] = source
                row |= {"mask_confidence": None, "mask_threshold": None} if source == "literal" else {}
        low = {1: [0.2, 0.1, 0.3], 3: [0.8, 0.4, 0.8]}.get(number, [0.9] * 3)
        for row, value in zip([row for row in rows if row["method"] == "FaceSwap"], low, strict=True):
            row[figure] = value
        records.append(write_shard(tmp_path, f"train/ffpp-train-{number:05d}", rows))
    write_tables(tmp_path, records)
    picks = [pick for picks in _choose(tmp_path, 5).values() for pick in picks if pick.group[0] == "FaceSwap"]
    assert len({pick.sample_id for pick in picks}) == 5
    why = f"lowest {'IoU' if source == 'literal' else 'confidence'}"
    # Of a clip one, though its other frames are less sure than the next clip's.
    assert {pick.sample_id: pick.why for pick in picks if pick.why} == {
        "ffpp/c23/FaceSwap/001_002/0/000012": why,
        "ffpp/c23/FaceSwap/003_004/0/000012": why,
    }
    contact_sheet(tmp_path, tmp_path / "sheet.png", samples_per_method=1)


def test_where_two_masks_disagree_is_filled_with_the_colour_of_the_one_that_says_forged(face_photo: UInt8) -> None:
    sample = make_row(face_photo, "train", 0, "Deepfakes", 0, panels.SIDE)
    sample["mask"], sample["mask_provided"] = np.zeros((2, panels.SIDE, panels.SIDE), np.uint8)
    sample["mask"][40:200, 40:140] = 255
    sample["mask_provided"][40:200, 100:200] = 255
    drawn = panels.overlay(SheetRow("", sample, None))
    assert drawn is not None
    for place, colour, part in (
        ((50, 90), panels.RED, panels.FILL),
        ((150, 190), panels.CYAN, panels.FILL),
        ((110, 130), panels.RED, 0),
    ):
        inner = np.s_[50:190, slice(*place)]
        expected = (1 - part) * sample["image"][inner] + part * np.array(colour)
        np.testing.assert_allclose(drawn[inner], expected, atol=1)
    pristine = np.s_[:30]
    np.testing.assert_array_equal(drawn[pristine], sample["image"][pristine])
    evidence = panels.difference(SheetRow("", sample, None))
    assert evidence is not None
    # The evidence is gray, so that what is redder or bluer there is an outline.
    lines = evidence[60:180].astype(int)
    assert (lines[:, 40, 0] - lines[:, 40, 2] > 150).all()
    assert (lines[:, 199, 2] - lines[:, 199, 0] > 150).all()
    assert (lines[:, 60:90] == lines[:, 60:90, :1]).all()


def test_specks_of_a_literal_mask_get_no_outlines(face_photo: UInt8) -> None:
    sample = make_row(face_photo, "train", 0, "Deepfakes", 0, panels.SIDE) | {"mask_source": "literal"}
    sample["mask"] = np.zeros((panels.SIDE, panels.SIDE), np.uint8)
    sample["mask"].reshape(15, 16, 15, 16)[:, 4:12, :, 4:12] = 255
    specks = panels.overlay(SheetRow("", sample, None))
    solid = panels.overlay(SheetRow("", sample | {"mask_source": "difference"}, None))
    assert specks is not None
    assert solid is not None
    veiled = (1 - panels.VEIL) * sample["image"] + panels.VEIL * np.array(panels.RED)
    np.testing.assert_allclose(specks, np.where(sample["mask"][..., None], veiled, sample["image"]), atol=1)
    assert np.mean((solid == panels.RED).all(axis=2)) > 0.2


@pytest.mark.parametrize(
    ("stages", "formats", "columns"),
    [(("crop",), ("webdataset",), 2), (("crop", "mask"), ("parquet",), 4), (("crop", "noise"), ("parquet",), 3)],
)
def test_columns_that_the_run_lacks_are_left_out(
    tmp_path: Path, face_photo: UInt8, stages: tuple[str, ...], formats: tuple[str, ...], columns: int
) -> None:
    out = make_run(tmp_path, face_photo, stages=stages, formats=formats)
    contact_sheet(out, tmp_path / "sheet.png", samples_per_method=1)
    width = 2 * draw.MARGIN + draw.TEXT + columns * (panels.SIDE + draw.GAP) - draw.GAP
    assert read_rgb(tmp_path / "sheet.png").shape[1] == width


@pytest.mark.parametrize("kept", ["reals", "fakes"])
def test_a_sheet_of_reals_or_of_fakes_without_originals(tmp_path: Path, face_photo: UInt8, kept: str) -> None:
    rows: list[dict[str, Any]] = [
        row for row in shard_rows(face_photo, "train", [0]) if (row["label"] == 0) == (kept == "reals")
    ]
    write_tables(tmp_path, [write_shard(tmp_path, "train/ffpp-train-00000", rows)])
    contact_sheet(tmp_path, tmp_path / "sheet.png")
    sheet = read_rgb(tmp_path / "sheet.png")
    blank = (column(sheet, 0, 0)[-20:] == panels.EMPTY).all()
    assert blank == (kept == "fakes")


def test_a_sheet_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no samples to show"):
        contact_sheet(tmp_path, tmp_path / "sheet.png")
    with pytest.raises(UsageError, match="at least 1"):
        contact_sheet(tmp_path, tmp_path / "sheet.png", samples_per_method=0)
