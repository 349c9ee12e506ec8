from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from forgeprep.errors import UsageError
from forgeprep.io.atomic import atomic_write_bytes
from forgeprep.report import charts, doubt, measure, page
from forgeprep.report.pairs import look_at_clips, unusual
from forgeprep.report.pictures import look_at_pictures, stray_share
from forgeprep.report.render import render
from forgeprep.report.tables import Head, Table
from forgeprep.schemas.clips import CLIP_SCHEMA
from forgeprep.shards.encode import UInt8
from forgeprep.shards.read import iter_rows, shard_paths
from forgeprep.shards.records import iter_records, record_path, write_record
from tests.conftest import run_cli
from tests.shards_run import make_run, shard_rows, write_shard, write_tables

VOID = {"meta", "img", "rect", "path", "circle", "br"}
SECTIONS = ["samples", "coverage", "masks", "agreement", "sheets", "pairs", "segments", "boxes", "noise", "similarity"]
NASTY = "<script>alert('x')</script>\"&<img src=http://x.example/a.png onerror=alert(1)>"


class Parsed(HTMLParser):
    """A page taken apart: every element must be closed in its place."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.texts: list[str] = []
        self._rows: list[list[str]] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        own = dict(attributes)
        self.elements.append((name, own))
        if name not in VOID:
            self.open.append(name)
        if name == "table":
            self._rows = self.tables[str(own["id"])] = []
        elif name == "tr":
            self._rows.append([])
        elif name in ("td", "th"):
            self._rows[-1].append("")

    def handle_endtag(self, name: str) -> None:
        if name not in VOID:
            assert self.open.pop() == name

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if {"td", "th"} & set(self.open) and "svg" not in self.open:
            self._rows[-1][-1] += data

    def attributes(self, name: str) -> list[dict[str, str | None]]:
        return [own for element, own in self.elements if element == name]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def parsed(out: Path) -> Parsed:
    return Parsed(page.write_report(out).read_text(encoding="utf-8"))


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
    assert {link[1:] for link in links if link.startswith("#")} == set(SECTIONS)
    assert not {"script", "link", "iframe", "base", "object"} & {name for name, _ in found.elements}
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
    both = page.write_report(out).read_bytes()
    assert page.write_report(out, tmp_path / "else" / "page.html").read_bytes() == both
    for path in out.glob("shards/*/*.parquet"):
        path.unlink()
    assert page.write_report(out).read_bytes() == both


def test_what_comes_from_outside_is_escaped(tmp_path: Path, face_photo: UInt8) -> None:
    rows = shard_rows(face_photo, "train", [0])
    for row in rows[3:6]:
        row |= {"method": NASTY, "compression": NASTY, "clip_id": NASTY, "sample_id": NASTY + row["sample_id"]}
    record = write_shard(tmp_path, "train/00000", rows)
    for clip in record["clips"]:
        clip |= {"written": 0, "error": NASTY, "pair_similarity": 0.2, "offset": 3, "segments": [[0.0, 0.1], [0.5, 1]]}
    record["drops"][0][5] = NASTY
    write_record(tmp_path, record)
    write_tables(tmp_path, [])
    run = {"shards": 2, "config": {"dataset": NASTY, "params": {NASTY: {NASTY: NASTY}}}, "versions": {NASTY: NASTY}}
    atomic_write_bytes(tmp_path / "run.json", json.dumps({"stages": [NASTY], "root": NASTY, **run}).encode())
    atomic_write_bytes(record_path(tmp_path, "train/<b>1"), b"{")
    found = parsed(tmp_path)
    assert not {"script", "b>1"} & {name for name, _ in found.elements}
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
    (out / "shards/train/00000.parquet").unlink()
    (out / "shards/test/00000.parquet").write_bytes(b"PAR1")
    text = parsed(out).text
    assert "unfinished: 2 of 3 shards are made, 10 frames" in text
    assert "Not readable: train/00000: shards/train/00000.parquet is missing" in text
    assert "Not readable: test/00000: " in text


def test_a_folder_without_a_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="holds no run"):
        page.write_report(tmp_path)
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


def test_few_pictures_are_decoded_and_the_worst_are_among_them(
    tmp_path: Path, face_photo: UInt8, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "SAMPLED", 12)
    records = []
    for source in range(8):
        rows = shard_rows(face_photo, "train", [source], 32)
        for row in rows:
            if row["method"] == "FaceSwap" and source == 5 and row["frame_index"] == 12:
                row["mask_confidence"] = 0.1
        records.append(write_shard(tmp_path, f"train/{source:05d}", rows))
    write_tables(tmp_path, records)
    found = measure.measure(tmp_path)
    assert [sum(pick.even for pick in own) for own in found.picks.values()] == [4, 4, 4]
    pictures = look_at_pictures(found.picks)
    assert len(pictures.looked_at) <= 12 + 2 * measure.LOWEST
    worst, *_ = pictures.sheets["FaceSwap"]
    assert (worst.pick.sample_id, worst.why) == ("ffpp/c23/FaceSwap/005_006/0/000012", "lowest confidence")
    assert {"original", "image", "overlay", "difference", "noise", "similarity"} == worst.panels.keys()
    clips = [shown.pick.clip_id for shown in pictures.sheets["FaceSwap"] if shown.why == "lowest confidence"]
    assert len(clips) == len(set(clips)) == 3


def test_stray_is_what_differs_far_from_the_main_region() -> None:
    mask, difference = np.zeros((100, 100), np.uint8), np.zeros((100, 100), np.uint8)
    assert stray_share(mask, difference) is None
    mask[20:60, 20:60], mask[90:95, 90:95] = 255, 255
    assert stray_share(mask, difference) is None
    assert stray_share(mask, None) == pytest.approx(25 / 1625)
    difference[20:60, 20:60] = 128
    difference[62:64, 20:60] = 128
    assert stray_share(mask, difference) == 0
    difference[90:95, 90:95] = 148
    ratio = 2 / (1 + np.exp(-1))
    assert stray_share(mask, difference) == pytest.approx(25 * ratio / (25 * ratio + 1680))


def low_confidence(row: dict[str, Any]) -> None:
    if row["sample_id"].endswith("/000012") or "/000_001/" in row["sample_id"]:
        row["mask_confidence"] = 0.4


def jumping(row: dict[str, Any]) -> None:
    if row["frame_index"] == 12:
        row["mask"] = np.zeros_like(row["mask"])
        row["mask"][:20, :20] = 255


def apart(row: dict[str, Any]) -> None:
    row["mask_agreement"] = 0.3


def literal(row: dict[str, Any]) -> None:
    row |= {
        "mask_source": "literal",
        "mask_confidence": None,
        "mask_threshold": None,
        "difference": row["mask"] // 255 * 128,
    }


def partly(row: dict[str, Any], share: float) -> None:
    """So much of a literal mask stands out of the noise: that share is the IoU of both."""
    literal(row)
    forged = row["mask"] > 0
    row["difference"][np.cumsum(forged).reshape(forged.shape) > share * forged.sum()] = 127


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        (lambda row: None, []),
        (literal, []),
        (lambda row: partly(row, 0.55), []),
        (
            lambda row: partly(row, 0.45),
            ["Masks of FaceSwap (c23) are likely wrong: 100 % share an IoU under .5 with what stands out of noise"],
        ),
        (low_confidence, ["Masks of FaceSwap (c23) are likely wrong: 50 % have a confidence under .5"]),
        (
            jumping,
            [
                "Masks of FaceSwap (c23) are likely wrong: they jump from frame to frame (neighbours share an IoU of "
                "0); 33 % are scattered or lie off the face"
            ],
        ),
        (
            apart,
            [
                "Masks of FaceSwap (c23) and the dataset's own disagree: 100 % share an IoU under .5, so one of the "
                "two is wrong or means another region"
            ],
        ),
    ],
)
def test_masks_that_are_likely_wrong_are_told_in_words(
    tmp_path: Path,
    face_photo: UInt8,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[dict[str, Any]], None],
    lines: list[str],
) -> None:
    records = []
    for source in range(4):
        rows = shard_rows(face_photo, "train", [source])
        for row in rows:
            if row["method"] == "FaceSwap":
                change(row)
        records.append(write_shard(tmp_path, f"train/{source:05d}", rows))
    write_tables(tmp_path, records)
    lines = [f"{line}; look at the contact sheet" for line in lines]
    assert doubt.doubts_of(tmp_path) == lines
    text = parsed(tmp_path).text
    assert all(text.count(line) == 2 for line in lines)
    assert ("likely wrong" in text or "disagree:" in text) == bool(lines)
    assert run_cli("inspect", str(tmp_path)) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.count("warning: Masks of") == len(lines)
    assert all(f"warning: {line}" in printed for line in lines)
    for path in tmp_path.glob("shards/*/*.parquet"):
        path.unlink()
    assert doubt.doubts_of(tmp_path) == lines


def test_masks_are_compared_where_they_lie_on_the_face() -> None:
    mask = np.zeros((130, 130), np.uint8)
    mask[60:110, 30:100] = 255
    still = doubt.on_face(mask, (115, 115, 215, 215), (100, 100, 230, 230))
    assert still.mean() == pytest.approx(70 * 50 / 200**2, abs=0.005)
    # The face moves by 37 pixels and is 1.6 times as large; the crop is resized, and elsewhere around it.
    box = (152, 115, 312, 275)
    grown = np.zeros((300, 300), np.uint8)
    x, y = (152 - 100) + 1.6 * (30 - 15), (115 - 100) + 1.6 * (60 - 15)
    grown[round(y) : round(y + 80), round(x) : round(x + 112)] = 255
    moved = doubt.on_face(grown, box, (100, 100, 400, 400))
    assert (still & moved).sum() / (still | moved).sum() > 0.95
    small = grown[::2, ::2]
    assert (still & doubt.on_face(small, box, (100, 100, 400, 400))).sum() / (still | moved).sum() > 0.93


def test_a_mask_is_stray_in_many_pieces_or_off_the_face() -> None:
    face, crop = (15.0, 15.0, 115.0, 115.0), (0, 0, 130, 130)
    mask = np.zeros((130, 130), np.uint8)
    assert not doubt.is_stray(mask, face, crop)
    for place in ((30, 30), (30, 80), (90, 55)):
        mask[place[0] : place[0] + 15, place[1] : place[1] + 15] = 255
    assert not doubt.is_stray(mask, face, crop)
    mask[5:9, 5:9] = 255
    assert doubt.is_stray(mask, face, crop)
    hair, corner = np.zeros_like(mask), np.zeros_like(mask)
    hair[5:40, 30:100], corner[100:, 100:] = 255, 255
    assert [doubt.is_stray(one, face, crop) for one in (hair, corner)] == [False, True]


def test_unusual_pairs_and_partial_forgeries_are_listed(tmp_path: Path, face_photo: UInt8) -> None:
    out = make_run(tmp_path, face_photo)
    plain = {"offset": 0, "rate": 1.0, "scale": 1.0, "shift": [0.0, 0.0], "pair_similarity": 0.99}
    plain |= {"visual_change": True, "segments": [[0.0, 1.44]], "fps": 25.0}
    odd = {"offset": -4, "rate": 0.5, "scale": 0.75, "shift": [0.0, 8.0], "pair_similarity": 0.4}

    def change(clip: dict[str, Any]) -> None:
        if clip["label"]:
            clip |= plain
        if clip["clip_id"] == "ffpp/c23/FaceSwap/000_001":
            clip |= {**odd, "visual_change": False, "segments": [[0.0, 0.2], [1.0, 1.2]]}

    edit_clips(out, change)
    clips = look_at_clips(out)
    assert (clips.pairs, clips.odd_count, clips.partial_count) == (4, 1, 1)
    assert unusual({**dict.fromkeys(CLIP_SCHEMA.names), **plain}) == []
    tables = parsed(out).tables
    cells = ["ffpp/c23/FaceSwap/000_001", "-4", "0.5", "0.75", "0.400", "2", "no"]
    assert tables["odd-table"][1][:-1] == cells
    assert len(tables["odd-table"][1][-1].split(", ")) == 7
    assert tables["partial-table"][1] == [cells[0], "1.44", "0.00 to 0.20, 1.00 to 1.20", ""]
    assert tables["segments-table"] == [["method", "1", "2"], ["Deepfakes", "2", "0"], ["FaceSwap", "1", "1"]]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 2.3, [0, 0.5, 1, 1.5, 2]),
        (-0.1, 0.013, [-0.1, -0.05, 0]),
        (0.2, 9.7, [2, 4, 6, 8]),
        (0, 3e-7, [0, 1e-7, 2e-7, 3e-7]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert charts.ticks(low, high) == pytest.approx(expected)


def test_a_histogram_of_many_values_needs_no_more_room() -> None:
    values = np.random.default_rng(0).beta(2, 5, 5000)
    found = measure.Histogram(0, 1)
    for value in values:
        found.add(value)
    assert found.mean == pytest.approx(values.mean())
    for share in (0.05, 0.5, 0.95):
        assert found.quantile(share) == pytest.approx(np.quantile(values, share), abs=2e-3)
    assert (found.quantile(0), found.bins.sum()) == (values.min(), 5000)


def test_charts_and_pieces_escape_what_they_are_given() -> None:
    shown = [charts.ranges([(NASTY, 0, 1, 2)], NASTY), charts.histogram([1, 0, 3], NASTY), charts.spans(0, [], NASTY)]
    shown += [charts.ranges([], ""), charts.histogram([], ""), charts.share(0.5, NASTY)]
    content = Table(NASTY, NASTY, [Head(NASTY), Head(NASTY, "chart")], [[NASTY, one] for one in shown], [NASTY, NASTY])
    facts = {"dataset": NASTY, "stages": [NASTY], "alerts": [NASTY], "figures": [(NASTY, NASTY)], "sections": []}
    run = SimpleNamespace(summary=SimpleNamespace(out=NASTY))
    found = Parsed(render("header.html.j2", found=run, settings=content, **facts))
    assert not {"script", "img"} & {name for name, _ in found.elements}
    assert len(found.attributes("svg")) == len(shown)
    # Six values of the header, five of the table, a cell of each row, and what four charts and a label say.
    assert found.text.count("<script>") == 6 + 5 + len(shown) + 5


def browse(folder: Path, file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    program = next((path for name in names if (path := shutil.which(name))), None)
    if program is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium)")
    quiet = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
    command = [program, *quiet, f"--user-data-dir={folder}", *options, file.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


CHECK = """<script>addEventListener("load", () => {
  const images = [...document.images], root = document.documentElement;
  const broken = images.filter(i => !i.complete || !i.naturalWidth).length;
  const loaded = performance.getEntriesByType("resource").filter(e => !e.name.startsWith("data:")).length;
  root.dataset.found = [images.length, broken, loaded, root.scrollWidth - root.clientWidth].join(" ");
})</script></body>"""


def test_a_browser_shows_the_page_without_complaint(tmp_path: Path, face_photo: UInt8) -> None:
    file = page.write_report(make_run(tmp_path / "run", face_photo))
    html = file.read_text(encoding="utf-8")
    log = ("--enable-logging=stderr", "--v=0", "--screenshot=" + str(tmp_path / "page.png"))
    shown = browse(tmp_path / "profile", file, *log)
    assert shown.returncode == 0, shown.stderr
    assert (tmp_path / "page.png").is_file()
    assert "CONSOLE" not in shown.stderr
    # The page's own policy forbids what this copy adds, which must then be seen in the same way.
    copy = tmp_path / "copy.html"
    copy.write_text(html.replace("</body>", CHECK), encoding="utf-8")
    assert "CONSOLE" in browse(tmp_path / "profile", copy, *log).stderr
    copy.write_text(html.replace("script-src", "").replace("default-src 'none'", "").replace("</body>", CHECK))
    dom = browse(tmp_path / "profile", copy, "--window-size=400,800", "--dump-dom").stdout
    found = next(own for own in Parsed(dom).attributes("html"))["data-found"]
    assert found is not None
    assert [int(n) for n in found.split()] == [len(Parsed(html).attributes("img")), 0, 0, 0]
