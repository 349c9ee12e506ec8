"""The copy of FaceForensics++ on Kaggle: where its root is."""

from __future__ import annotations

from pathlib import Path

import pytest

from forgeprep.datasets.base import ScanOptions
from forgeprep.datasets.ffpp import FFPP
from forgeprep.errors import UsageError
from tests.helpers.trees import put

HOME = "FaceForensics++_C23"


def test_the_root_may_be_the_copy_or_what_holds_it_and_its_name_tells_the_compression(tmp_path: Path) -> None:
    put(tmp_path, f"{HOME}/original/071.mp4", f"{HOME}/original/Thumbs.db", f"{HOME}/FaceShifter/071_054.mp4")
    put(tmp_path, "x/ff_c40/original/071.mp4", "x/own/original/071.mp4")

    def ids(root: Path, *compressions: str) -> list[str]:
        found = FFPP.scan(root, ScanOptions(compressions or None))
        return [clip.clip_id for clip in found.clips] + [line for line in found.warnings if "nothing says" in line]

    both = ["ffpp/c23/FaceShifter/071_054", "ffpp/c23/youtube/071"]
    assert ids(tmp_path) == ids(tmp_path / HOME) == both
    assert ids(tmp_path / "x", "c40") == ids(tmp_path / "x" / "ff_c40", "c40") == ["ffpp/c40/youtube/071"]
    own = tmp_path / "x" / "own"
    assert ids(own) == ["ffpp/c23/youtube/071", f"nothing says how {own} is compressed: taken as c23"]
    with pytest.raises(UsageError, match="the compressions there are: c40"):
        ids(tmp_path / "x" / "ff_c40")
    with pytest.raises(UsageError, match=rf"did you mean --root {tmp_path}/FaceForensics\+\+_C23\?"):
        ids(tmp_path / HOME / "original")
