"""The report's page in a browser."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from forgeprep.report import page
from forgeprep.shards.encode import UInt8
from tests.helpers.html import Parsed
from tests.helpers.shards_run import make_run


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
