"""Files that kill what reads them, and damaged ones by the hundred: what is lost is accounted for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from forgeprep.datasets.listing import plain
from forgeprep.schemas.drops import REASONS
from forgeprep.shards.read import iter_rows, shard_paths
from forgeprep.shards.verify import verify
from tests.conftest import UInt8
from tests.helpers.fuzz import make_fuzz
from tests.helpers.html import write_report
from tests.helpers.memory import most_memory
from tests.helpers.sabotage import sabotage


@pytest.mark.long
def test_clips_that_kill_their_workers_are_drops_and_take_no_other_along(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One crashes its decoder, one hangs it, one takes all memory, in one run."""
    told = {
        "071_054": ("crash", "it kills the decoder (SIGSEGV)"),
        "720_672": ("hang", "no frame for 6 s"),
        "953_974": ("memory", "takes more than 2,048 MB"),
    }
    sabotage(tmp_path / "site", {f"{stem}.mp4": deed for stem, (deed, _) in told.items()}, monkeypatch)
    out = tmp_path / "out"
    flags = ["--root", str(demo), "--out", str(out), "--workers", "2", "--stages", "crop,mask", "--frames", "4"]
    flags += ["--methods", "Deepfakes", "--clip-timeout", "6"]
    done = subprocess.run(
        [sys.executable, "-m", "forgeprep.cli", "run", "ffpp", *flags], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    drops = pq.read_table(out / "meta/drops.pq").to_pylist()
    assert len(drops) == 4 * len(told)
    assert {drop["clip_id"] for drop in drops} == {f"ffpp/c23/Deepfakes/{stem}" for stem in told}
    for drop in drops:
        assert drop["reason"] == "worker_died"
        assert told[drop["clip_id"][-7:]][1] in drop["detail"]
    rows = [row for path in shard_paths(out) for row in iter_rows(path, ["clip_id"])]
    assert len(rows) == 4 * (6 + 6 - len(told))
    assert verify(out) == []
    assert "worker_died" in REASONS


def test_damaged_files_of_all_kinds_are_accounted_for(tmp_path: Path, face_photo: UInt8) -> None:
    made = make_fuzz(tmp_path / "data", 160, face_photo[:300, 100:400], seed=1)
    out = tmp_path / "out"
    flags = ["--root", str(tmp_path / "data"), "--out", str(out), "--stages", "crop,mask", "--frames", "3"]
    with most_memory() as most:
        done = subprocess.run(
            [sys.executable, "-m", "forgeprep.cli", "run", "folder", *flags, "--workers", "2"],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert most[0] < 1 << 30
    assert "\x1b[31m" not in done.stdout
    clips = pq.read_table(out / "meta/clips.pq").to_pylist()
    names = {plain(path.name) for path in (tmp_path / "data").rglob("*") if not path.is_dir()}
    assert "line\\nbreak\\x1b[31m.mp4" in names
    assert {Path(clip["path"]).name for clip in clips} == names
    unread = {Path(c["path"]).name for c in clips if c["written"] == 0 and c["error"]}
    assert {"line\\nbreak\\x1b[31m.mp4", "pipe.mp4", "self.mp4", "zero.mp4"} <= unread
    assert made >= 160
    assert all(clip["requested"] == clip["written"] + clip["dropped"] for clip in clips)
    drops = pq.read_table(out / "meta/drops.pq").to_pylist()
    assert len(drops) == sum(clip["dropped"] for clip in clips)
    assert not [drop for drop in drops if "defect" in (drop["detail"] or "")]
    assert sum(clip["written"] for clip in clips) > 50
    assert verify(out) == []
    page = write_report(out).read_text()
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert(1)" not in page
