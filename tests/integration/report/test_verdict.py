"""What the report begins with, and the list of the most doubtful samples."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from forgeprep.report import page
from forgeprep.report.choose import Group
from forgeprep.report.verdict import verdict_of
from forgeprep.report.worst import HEADER
from forgeprep.shards.encode import UInt8
from forgeprep.shards.records import write_record
from tests.conftest import run_cli
from tests.helpers.html import Parsed, write_report
from tests.helpers.shards_run import make_run, shard_rows, write_shard, write_tables

Row = dict[str, Any]
BAD = {"000_001/0/000012": "mask_stray", "002_003/0/000012": "mask_jump", "004_005/0/000024": "mask_confidence"}
"""Samples of FaceSwap that each have one bad sign."""


def spoilt(row: Row) -> None:
    """A bad sign for some samples of FaceSwap."""
    sign = BAD.get("/".join(row["sample_id"].split("/")[-3:]))
    if row["method"] == "FaceSwap" and sign:
        row[sign] = 0.3


def write(out: Path, photo: UInt8, change: Callable[[Row], None], split: str = "train", keep: int = 0) -> Path:
    """A run of three shards; ``keep``: how many of its first samples the second has."""
    records = []
    for source in (0, 2, 4):
        rows = shard_rows(photo, split if source == 2 else "train", [source], 48)
        for row in rows:
            change(row)
        records.append(
            write_shard(out, f"{rows[0]['split']}/{source:05d}", rows[: keep or None if source == 2 else None])
        )
    write_tables(out, records)
    return out


def test_what_needs_a_look_leads_to_the_pictures_of_it(tmp_path: Path, face_photo: UInt8) -> None:
    # The split val has the real's three samples only.
    found = page.gather(write(tmp_path, face_photo, spoilt, "val", keep=3))
    verdict = verdict_of(found)
    said = [notice.text for notice in verdict.look]
    starts = ["The split val has no fakes", "Low confidence", "High stray", "3 clips of 7 lost samples"]
    assert len(said) == len(starts)
    assert all(text.startswith(start) for text, start in zip(said, starts, strict=True))
    assert all("1 mask of 12 (8.3\N{NO-BREAK SPACE}%)" in text for text in said[1:3])
    html = Parsed(page.render_page(found))
    cards = {own["id"]: own for own in html.attributes("figure") if "id" in own}
    confidence, stray = (notice.links[0] for notice in verdict.look[1:3])
    assert confidence.words == stray.words == "FaceSwap (c23) 17\N{NO-BREAK SPACE}%"
    assert cards[confidence.href[1:]]["data-confidence"] == "0.3000"
    assert cards[stray.href[1:]]["data-stray"] == "0.3000"
    lost = [link.href[1:] for link in verdict.look[3].links[:-1]]
    assert lost
    assert all(anchor in cards for anchor in lost)
    assert any("jumps by more than 15 %" in line for line in verdict.well)
    assert not any("confidence" in line or "stray" in line for line in verdict.well)


def test_masks_that_differ_from_the_datasets_own_need_a_look(tmp_path: Path, face_photo: UInt8) -> None:
    def apart(row: Row) -> None:
        if row["label"]:
            # Too near for a doubt about the masks alone.
            row["mask_agreement"] = 0.67 if row["method"] == "FaceSwap" else 0.9

    verdict = verdict_of(page.gather(write(tmp_path, face_photo, apart)))
    notice = next(one for one in verdict.look if one.text.startswith("Masks differ from the dataset's own"))
    assert "1 method of 2" in notice.text
    assert [link.words for link in notice.links] == ["FaceSwap (c23) 0.67", "figures"]
    assert notice.links[0].href.startswith("#g")


def test_a_jump_is_shown_between_its_neighbours(tmp_path: Path, face_photo: UInt8) -> None:
    found = page.gather(write(tmp_path, face_photo, spoilt))
    sheet = found.pictures.sheets[Group("FaceSwap", "c23")]
    first = next(shown for shown in sheet if shown.why == "jump")
    assert first.pick.sample_id.endswith("002_003/0/000012")
    assert {"before", "overlay", "after"} <= first.panels.keys()
    assert first.panels["before"] != first.panels["overlay"] != first.panels["after"]
    assert all("before" not in shown.panels for shown in sheet if shown.why != "jump")


def test_a_run_without_faults_needs_no_look(tmp_path: Path, face_photo: UInt8) -> None:
    rows = shard_rows(face_photo, "train", [0], 48)
    record = write_shard(tmp_path, "train/00000", rows, drops=[])
    record["clips"][-1] |= {"dropped": 0}
    write_tables(tmp_path, [record])
    write_record(tmp_path, record)
    verdict = verdict_of(page.gather(tmp_path))
    assert verdict.look == []
    for part in ("All 9 planned samples", "train has reals and fakes", "under 0.5", "jumps", "stray"):
        assert any(part in line for line in verdict.well), part


def test_the_worst_samples_are_listed_in_a_file(
    tmp_path: Path, face_photo: UInt8, capsys: pytest.CaptureFixture[str]
) -> None:
    out, file = write(tmp_path / "run", face_photo, spoilt), tmp_path / "a" / "worst.csv"
    assert run_cli("report", str(out), "--worst", "4", "--csv", str(file)) == 0
    assert str(file) in capsys.readouterr().out
    with file.open(encoding="utf-8", newline="") as text:
        rows = list(csv.DictReader(text))
    assert tuple(rows[0]) == HEADER
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4"]
    names = ["004_005/0/000024", "000_001/0/000012", "002_003/0/000012"]
    assert ["/".join(row["sample_id"].split("/")[-3:]) for row in rows[:3]] == names
    assert [row["signs"] for row in rows] == ["confidence", "stray", "jump", ""]
    assert [float(row["doubt"]) for row in rows[:3]] == pytest.approx([0.7, 0.3, 0.3], abs=0.03)
    assert rows[0]["mask_confidence"] == "0.3"
    assert rows[0]["shard"] == "train/00004"
    table = Parsed((out / "report/index.html").read_text(encoding="utf-8")).tables["worst-table"]
    assert [line[1] for line in table[1:]] == [row["sample_id"] for row in rows]
    assert run_cli("report", str(out), "--worst", "0", "--csv", str(file)) == 2


def test_sequences_are_ranked_by_their_worst_frame_and_older_runs_by_what_they_have(tmp_path: Path) -> None:
    data = Path(__file__).parents[2] / "data"
    for name in ("run-schema-0", "run-schema-0-sequences"):
        found = page.gather(data / name, 2)
        fakes = [kind for kind in found.measures.rows if kind.label]
        assert len(found.measures.worst) == min(2, sum(found.measures.rows[kind] for kind in fakes))
        assert all(row["mask_stray"] is None and row["frame_index"] >= 0 for row in found.measures.worst)
        # Nothing is claimed of what is not known; the pictures are measured.
        assert not any("stray" in line or "jump" in line for line in verdict_of(found).well)
        shown = [shown for sheet in found.pictures.sheets.values() for shown in sheet if shown.signs]
        assert shown
        assert any(one.signs.stray is not None for one in shown if one.signs)


def test_a_run_of_masks_alone_has_no_list(tmp_path: Path, face_photo: UInt8) -> None:
    out = make_run(tmp_path, face_photo, stages=("crop",))
    write_report(out, table=tmp_path / "worst.csv")
    assert (tmp_path / "worst.csv").read_text() == ",".join(HEADER) + "\n"
    html = Parsed((out / "report/index.html").read_text(encoding="utf-8"))
    assert "worst" not in [own.get("id") for own in html.attributes("section")]
