from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from forgeprep.report.draw import draw_sheet
from forgeprep.report.page import gather, render_page
from forgeprep.report.panels import OWN_PANELS, SIDE, SheetRow, picture_columns
from forgeprep.report.sheet import contact_sheet
from forgeprep.schemas.columns import facts_of
from forgeprep.schemas.samples import IMAGE_TYPE, Column
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
        with ShardWriter(out, f"{split}/00000", [*columns(), EDGES], ("parquet",), {"forgeprep": "k"}) as writer:
            for row in shard_rows(photo, split, [source]):
                writer.add(encode_row({**row, "edge_map": edges_of(row["image"])}, [*columns(), EDGES], "png", 95))
            writer.commit()
    run = json.loads((out / "run.json").read_bytes())
    (out / "run.json").write_text(json.dumps({**run, "columns": facts}))
    return out


def test_pictures_of_other_stages_are_drawn_where_the_run_tells_of_them(tmp_path: Path, face_photo: UInt8) -> None:
    told = run_with_edges(tmp_path / "told", face_photo, FACTS)
    hidden = run_with_edges(tmp_path / "hidden", face_photo, [*FACTS[:-1], {**FACTS[-1], "draw": "none"}])
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
    assert picture_columns({}) == picture_columns({"stages": ["crop"]}) == OWN_PANELS
