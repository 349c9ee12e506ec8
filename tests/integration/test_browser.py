"""The report's page in a browser, in a wide and in a narrow window."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from forgeprep.report.render import policy_hash
from forgeprep.shards.encode import UInt8
from tests.helpers.html import Parsed, write_report
from tests.helpers.shards_run import shard_rows, write_shard, write_tables


def browse(folder: Path, file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    program = next((path for name in names if (path := shutil.which(name))), None)
    if program is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium)")
    quiet = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
    log = ("--enable-logging=stderr", "--v=0", "--dump-dom")
    command = [program, *quiet, *log, f"--user-data-dir={folder}", *options, file.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


PROBE = """const root = document.documentElement;
addEventListener("load", () => {
  const one = selector => document.querySelector(selector);
  const every = selector => [...document.querySelectorAll(selector)];
  const seen = selector => every(selector).filter(element => element.checkVisibility()).length;
  const key = (element, name) => element.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
  const choose = (selector, value) => { one(selector).value = value; one(selector).dispatchEvent(new Event("input")); };
  const images = [...document.images];
  const found = { width: innerWidth, images: images.length, broken: images.filter(i => !i.naturalWidth).length };
  found.loaded = performance.getEntriesByType("resource").filter(e => !e.name.startsWith("data:")).length;
  found.beside = root.scrollWidth - root.clientWidth;
  found.colours = [getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor];
  const table = one("#worst-table"), scroll = table.parentElement;
  found.scrolls = scroll.scrollWidth > scroll.clientWidth;
  const menu = one(".menu");
  scrollTo(0, 3000);
  found.menu = menu.getBoundingClientRect().top;
  scrollTo(0, 0);

  const cells = column => [...table.tBodies[0].rows].filter(row => !row.hidden).map(row => row.cells[column].innerText);
  const ranks = cells(0);
  const head = table.tHead.rows[0].cells[0].querySelector("button");
  head.click();
  found.ascending = String(cells(0)) === String(ranks);
  head.click();
  found.descending = String(cells(0)) === String(ranks.reverse());
  const field = scroll.parentElement.querySelector("input");
  field.value = "faceswap test";
  field.dispatchEvent(new Event("input"));
  found.rows = cells(1);

  found.samples = seen("#sheets .sample");
  choose("[data-by=why]", "lowest confidence");
  found.filtered = seen("#sheets .sample");
  choose("[data-by=why]", "");
  choose("[data-sort]", "-jump");
  found.sorted = every(".sorted .sample[data-jump]").map(sample => Number(sample.dataset.jump));
  // A link to a sample shows it, even where a filter hides it.
  choose("[data-by=split]", "test");
  const link = every("#worst-table a").find(a => one(a.hash).dataset.split === "train");
  link.click();
  found.linked = one(link.hash).checkVisibility() && !one(".sorted .sample");

  const pictures = every("#sheets .sample img"), box = one(".lightbox"), large = () => box.querySelector("img");
  pictures[1].click();
  found.open = box.open && large().src === pictures[1].src;
  const width = large().getBoundingClientRect().width;
  found.inside = width <= innerWidth && large().getBoundingClientRect().height <= innerHeight;
  key(box, "+");
  found.zoom = large().getBoundingClientRect().width / width;
  key(box, "ArrowRight");
  found.next = large().src === pictures[2].src;
  key(box, "ArrowDown");
  const sample = pictures.find(picture => picture.src === large().src).closest(".sample");
  found.below = sample === every("#sheets .sample")[1];
  box.querySelector("[data-do=close]").click();
  found.closed = !box.open;
  parent.postMessage(JSON.stringify(found), "*");
})"""


FRAMES = """<!DOCTYPE html><html lang="en"><meta charset="utf-8"><body><script>
addEventListener("message", event => document.body.append(event.data, "\\n"));
</script>
<iframe src="copy.html" style="width: 1440px; height: 900px; border: 0; color-scheme: dark"></iframe>
<iframe src="copy.html" style="width: 390px; height: 900px; border: 0; color-scheme: light"></iframe></body></html>"""
"""A window of Chromium is at least 500 pixels wide; a frame may be narrower. The frame's scheme is the page's, too."""


def test_a_browser_shows_the_page_and_its_controls_work(tmp_path: Path, face_photo: UInt8) -> None:
    out, records = tmp_path / "run", []
    for split, source in (("train", 0), ("test", 10)):
        rows = shard_rows(face_photo, split, [source])
        for number, row in enumerate(rows):
            row["mask_jump"] = (number + source) / 100 if row["label"] else None
        records.append(write_shard(out, f"{split}/00000", rows))
    write_tables(out, records)
    html = write_report(out).read_text(encoding="utf-8")
    copy, frames = tmp_path / "copy.html", tmp_path / "frames.html"
    # The page's policy forbids what this copy adds; that is the only complaint.
    copy.write_text(html.replace("</body>", "<script>alert(1)</script></body>"), encoding="utf-8")
    shown = browse(tmp_path / "profile", copy)
    assert shown.returncode == 0, shown.stderr
    complaints = re.findall(r"CONSOLE.*", shown.stderr)
    assert len(complaints) == 1
    assert "inline script" in complaints[0]
    probe = f"<script>{PROBE}</script></body>"
    allowed = html.replace("script-src ", f"script-src {policy_hash(PROBE)} ", 1).replace(' loading="lazy"', "")
    copy.write_text(allowed.replace("</body>", probe), encoding="utf-8")
    frames.write_text(FRAMES, encoding="utf-8")
    shown = browse(tmp_path / "profile", frames, "--virtual-time-budget=2000")
    assert "CONSOLE" not in shown.stderr
    lines = "".join(Parsed(shown.stdout).texts).splitlines()
    told = [json.loads(line) for line in lines if line.startswith("{")]
    assert sorted(found["width"] for found in told) == [390, 1440]
    for found in told:
        check(found, html, dark=found["width"] == 1440)


def check(found: dict[str, Any], html: str, *, dark: bool) -> None:
    """What the probe found in a window."""
    assert (found["images"], found["broken"]) == (len(Parsed(html).attributes("img")), 0)
    assert (found["loaded"], found["beside"], found["menu"]) == (0, 0, 0)
    assert found["scrolls"] == (found["width"] < 600)
    ink, paper = (sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in found["colours"])
    assert (ink > paper + 400) if dark else (paper > ink + 400)
    assert len(found["rows"]) == 3
    assert all("FaceSwap/010" in name for name in found["rows"])
    assert 0 < found["filtered"] < found["samples"]
    assert found["sorted"] == sorted(found["sorted"], reverse=True)
    assert len(set(found["sorted"])) > 4
    for what in ("ascending", "descending", "linked", "open", "inside", "next", "below", "closed"):
        assert found[what], what
    assert found["zoom"] == pytest.approx(1.5, abs=0.02)
