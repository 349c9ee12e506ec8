"""Clips that are not as a player shows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from forgeprep.media.video import read_facts
from tests.conftest import UInt8, run_cli
from tests.helpers.clips import write_clip


def test_clips_that_are_not_as_a_player_shows_them_are_told(
    tmp_path: Path, face_photo: UInt8, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two fields a frame, and brightness for HDR displays: in meta/clips.pq, in the report and by inspect."""
    root = tmp_path / "in"
    kinds = {"plain": "", "fields": "tff=1", "pq": "transfer=smpte2084", "hlg": "transfer=arib-std-b67"}
    for name, told in kinds.items():
        clip = root / "real" / f"{name}.mp4"
        clip.parent.mkdir(parents=True, exist_ok=True)
        write_clip(clip, [face_photo] * 2, "libx264", "yuv420p", options={"x264-params": told} if told else {})
        facts = read_facts(clip)
        assert (facts.interlaced, facts.hdr) == (name == "fields", name if name in ("pq", "hlg") else None)
    (root / "fake").mkdir()
    out = str(tmp_path / "out")
    assert not run_cli("run", "folder", "--root", str(root), "--out", out, "--stages", "crop", "--workers", "0")
    capsys.readouterr()
    assert not run_cli("inspect", out)
    shown = " ".join(capsys.readouterr().out.split())
    for words in ("Interlaced clips: 1.", "HDR clips (PQ): 1.", "HDR clips (HLG): 1."):
        assert words in shown
