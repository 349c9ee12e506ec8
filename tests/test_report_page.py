"""The HTML report: opened in a real browser where there is one, and its figures against the run's tables."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.conftest import run_cli

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PROBE = """<script>
const told = []; addEventListener("error", e => told.push(String(e.message)), true);
addEventListener("load", () => {
  const broken = [...document.images].filter(i => !(i.naturalWidth > 0)).length;
  const empty = [...document.querySelectorAll("svg")].filter(s => s.getBoundingClientRect().height < 50).length;
  document.body.setAttribute("data-found", JSON.stringify({told, broken, empty, images: document.images.length}));
});
</script>"""


class Outside(HTMLParser):
    """Collects what the page would fetch, and its scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: Counter[str] = Counter()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        for name, value in attrs:
            if name in ("src", "href", "xlink:href") and value and not value.startswith(("#", "data:")):
                self.fetched.append(value)


@pytest.fixture(scope="module")
def out(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "out"
    stages = ("--stages", "crop,mask,noise,similarity", "--frames", "3", "--compression", "c23,c40", "--workers", "0")
    assert run_cli("run", "ffpp", "--root", str(demo), "--out", str(folder), *stages) == 0
    assert run_cli("report", str(folder)) == 0
    return folder


def page_of(out: Path) -> str:
    return (out / "report/index.html").read_text(encoding="utf-8")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_browser_shows_it_without_an_error(out: Path, tmp_path: Path) -> None:
    assert CHROMIUM is not None
    probed = tmp_path / "page.html"
    probed.write_text(page_of(out).replace("<head>", f"<head>{PROBE}"), encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0", "--dump-dom"]
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    done = subprocess.run(
        [CHROMIUM, *flags, profile, probed.as_uri()], capture_output=True, text=True, check=True, timeout=120
    )
    assert "CONSOLE" not in done.stderr
    found = re.search(r'data-found="([^"]*)"', done.stdout)
    assert found
    assert json.loads(found[1].replace("&quot;", '"')) == {"told": [], "broken": 0, "empty": 0, "images": 8}


def test_it_needs_nothing_from_outside(out: Path) -> None:
    parser = Outside()
    parser.feed(page_of(out))
    assert parser.fetched == []
    assert parser.tags["script"] == 0
    assert parser.tags["svg"] == 5
    assert "url(http" not in page_of(out)


def test_its_figures_are_those_of_the_tables(out: Path) -> None:
    clips = pq.read_table(out / "clips.parquet").to_pylist()
    text = re.sub(r"<[^>]+>", "|", page_of(out))
    written, dropped = (sum(clip[name] for clip in clips) for name in ("written", "dropped"))
    assert f"{written:,} written, {dropped:,} dropped, {len(clips):,} clips" in text
    for drop, count in Counter(pq.read_table(out / "drops.parquet")["reason"].to_pylist()).items():
        assert re.search(rf"\|{drop}\|\|[^|]+\|\|{count}\|", text)
    rows = [row for path in out.glob("shards/*/*.parquet") for row in pq.read_table(path).to_pylist()]
    agreement = [r["mask_agreement"] for r in rows if (r["method"], r["compression"]) == ("Deepfakes", "c40")]
    assert f"|Deepfakes · c40||{len(agreement)}||{sum(agreement) / len(agreement):.3f}||{min(agreement):.3f}|" in text


def test_names_from_the_dataset_are_escaped(demo: Path, tmp_path: Path) -> None:
    out = tmp_path / "<b>out & co"
    common = ("--stages", "crop,mask", "--methods", "Deepfakes", "--frames", "2", "--workers", "0")
    assert run_cli("run", "ffpp", "--root", str(demo), "--out", str(out), *common) == 0
    for record_path in out.glob("state/*/*.json"):
        record = json.loads(record_path.read_bytes())
        for clip in record["clips"]:
            clip |= {"clip_id": '<script>alert("x")</script>', "written": 0, "pair_similarity": 0.1, "offset": 3}
            clip |= {"rate": 1.0, "scale": 1.0, "shift": [0, 0], "label": 1}
        record_path.write_text(json.dumps(record))
    assert run_cli("report", str(out), "--to", str(tmp_path / "page.html")) == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;alert" in page
    assert "<b>out" not in page


def test_other_runs_have_a_page_too(demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ("run", "ffpp", "--root", str(demo), "--frames", "2", "--workers", "0", "--methods", "Deepfakes")
    for name, more in (("crops", ("--stages", "crop")), ("tars", ("--format", "webdataset"))):
        assert run_cli(*common, "--out", str(tmp_path / name), *more) == 0
        assert run_cli("report", str(tmp_path / name)) == 0
    assert "Noise residual" not in page_of(tmp_path / "crops")
    assert "Box sizes" in page_of(tmp_path / "crops")
    assert page_of(tmp_path / "tars").count("data:image/jpeg") == 1
    # A run whose videos are all broken.
    root = tmp_path / "broken"
    shutil.copytree(demo / "original_sequences/youtube/c23", root / "original_sequences/youtube/c23")
    for video in root.rglob("*.mp4"):
        video.write_bytes(b"no video")
    assert run_cli("run", "ffpp", "--root", str(root), "--out", str(tmp_path / "none"), "--workers", "0") == 0
    assert run_cli("report", str(tmp_path / "none")) == 0
    assert "holds no sample" in page_of(tmp_path / "none")
    assert "Clips without a sample" in page_of(tmp_path / "none")
    assert run_cli("report", str(tmp_path)) == 2
    assert "holds no run" in capsys.readouterr().err
