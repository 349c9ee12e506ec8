from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest

from forgeprep.errors import UsageError
from forgeprep.report.draw import draw_sheet
from forgeprep.report.measure import measure
from forgeprep.report.page import gather, render_page
from forgeprep.report.panels import OWN_PANELS, SIDE, SheetRow, panel_of, picture_columns
from forgeprep.report.pictures import look_at_pictures
from forgeprep.report.sheet import contact_sheet
from forgeprep.schemas.columns import IMAGE_TYPE, Column, Row, facts_of
from forgeprep.shards.encode import UInt8, encode_row
from forgeprep.shards.write import ShardWriter
from tests.helpers.shards_run import columns, make_row, make_run, shard_rows

EDGES = Column("edge_map", "edges", IMAGE_TYPE, "edges of the crop, 8-bit gray; white where strong", kind="image")
FACTS = [facts_of(column) for column in (*columns(), EDGES)]


def edges_of(image: UInt8) -> UInt8:
    return np.asarray(cv2.Canny(image, 80, 160), np.uint8)


def run_with_edges(out: Path, photo: UInt8, facts: list[dict[str, Any]]) -> Path:
    """A run whose shards have the column of a stage that forgeprep does not know, and whose run.json tells of it."""
    make_run(out, photo, formats=("parquet",))
    for split, source in (("train", 0), ("test", 10)):
        with ShardWriter(
            out, f"{split}/ffpp-{split}-00000", [*columns(), EDGES], ("parquet",), {"forgeprep": "k"}
        ) as writer:
            for row in shard_rows(photo, split, [source]):
                writer.add(encode_row({**row, "edge_map": edges_of(row["image"])}, [*columns(), EDGES], "png", 95))
            writer.commit()
    run = json.loads((out / "run.json").read_bytes())
    (out / "run.json").write_text(json.dumps({**run, "columns": facts}))
    return out


def test_pictures_of_other_stages_are_drawn_where_the_run_tells_of_them(tmp_path: Path, face_photo: UInt8) -> None:
    told = run_with_edges(tmp_path / "told", face_photo, FACTS)
    hidden = run_with_edges(tmp_path / "hidden", face_photo, [*FACTS[:-1], facts_of(replace(EDGES, draw="none"))])
    widths = []
    for out in (told, hidden):
        contact_sheet(out, tmp_path / "sheet.png", samples_per_method=1)
        widths.append(cv2.imread(str(tmp_path / "sheet.png")).shape[1])
    assert widths[0] - widths[1] == SIDE + 14
    found = gather(told)
    shown = [one for sheet in found.pictures.sheets.values() for one in sheet]
    assert shown
    assert all("edge_map" in one.panels for one in shown)
    page = render_page(found)
    assert page.count(">edge map</div>") == len(shown)
    assert f"edge map (edges of the crop, 8-bit gray) of {shown[0].pick.sample_id}" in page
    assert "edge map" not in render_page(gather(hidden))


def test_a_picture_of_another_stage_is_drawn_as_it_is_stored(face_photo: UInt8) -> None:
    sample = make_row(face_photo, "train", 0, "Deepfakes", 0, SIDE)
    sample["edge_map"] = edges_of(sample["image"])
    panels = picture_columns({"columns": FACTS})
    assert [panel.name for panel in panels] == [*(panel.name for panel in OWN_PANELS), "edge_map"]
    drawn = panels[-1].draw(SheetRow("", sample, None))
    assert drawn is not None
    np.testing.assert_array_equal(drawn, np.repeat(sample["edge_map"][..., None], 3, axis=2))
    sheet = draw_sheet([SheetRow("", sample, None)], panels)
    assert (sheet.shape[1] - draw_sheet([SheetRow("", sample, None)]).shape[1]) == SIDE + 14


def test_a_run_that_does_not_tell_of_its_columns_has_the_pictures_of_forgeprep() -> None:
    assert picture_columns({}) == picture_columns({"stages": ["key", "crop", "mask", "noise"]}) == OWN_PANELS


def test_a_damaged_list_of_columns_is_refused_in_one_line() -> None:
    for damaged in ([{"name": "x"}], ["x"], 3, [{**FACTS[-1], "type": "nothing[]"}]):
        with pytest.raises(UsageError, match=r"run\.json: its list of columns is damaged"):
            picture_columns({"stages": [], "columns": damaged})


def stripes(value: bytes, row: Row) -> UInt8:
    """The bytes as gray columns; ``row`` gives the height."""
    return np.tile(np.frombuffer(value, np.uint8), (row["image_size"][1], 1))


def test_a_function_of_the_column_draws_what_is_no_picture(face_photo: UInt8) -> None:
    sample = make_row(face_photo, "train", 0, "Deepfakes", 0, SIDE)
    sample["levels"] = bytes(range(SIDE))
    column = Column("levels", "bands", pa.binary(), "a level for each column of pixels", draw=stripes)
    drawn = panel_of(column).draw(SheetRow("", sample, None))
    assert drawn is not None
    np.testing.assert_array_equal(drawn[..., 1], stripes(sample["levels"], sample))
    assert panel_of(column).draw(SheetRow("", {**sample, "levels": None}, None)) is None


def test_a_function_that_fails_costs_its_pictures_and_not_the_report(tmp_path: Path, face_photo: UInt8) -> None:
    def fail(value: Any, row: Row) -> UInt8:
        raise ZeroDivisionError("no colours")

    def wrong(value: Any, row: Row) -> Any:
        return np.zeros((8, 8), np.float32)

    picks = measure(run_with_edges(tmp_path, face_photo, FACTS)).picks
    for draw, said in ((fail, "no colours"), (wrong, r"got float32 \(8, 8\)")):
        panel = panel_of(replace(EDGES, draw=draw))
        with pytest.raises(UsageError, match=said):
            panel.draw(SheetRow("", {"sample_id": "a", "edge_map": np.zeros((4, 4), np.uint8)}, None))
        sample = make_row(face_photo, "train", 0, None, 0, SIDE) | {"edge_map": np.zeros((4, 4), np.uint8)}
        sheet = draw_sheet([SheetRow("", sample, None)], [*OWN_PANELS[1:2], panel])
        np.testing.assert_array_equal(sheet[96 + 46 :][:SIDE, 28 + 290 :][:, :SIDE], sample["image"])
        found = look_at_pictures(picks, [*OWN_PANELS, panel])
        shown = [one for sheet in found.sheets.values() for one in sheet]
        assert len(found.problems) == len(shown)
        assert "the column 'edge_map'" in found.problems[0]
        assert "'edges'" in found.problems[0]
        assert all("image" in one.panels and "edge_map" not in one.panels for one in shown)
