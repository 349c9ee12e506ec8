"""Which file lends its faces to a clip, as the adapters of datasets with several compressions say."""

from __future__ import annotations

from pathlib import Path

import pytest

from forgeprep.datasets import get_dataset
from forgeprep.datasets.base import ScanOptions
from forgeprep.datasets.boxes import boxes_from_name
from forgeprep.errors import UsageError
from forgeprep.schemas.clips import BOXES

FFPP = "original_sequences/youtube/{}/videos/071.mp4", "manipulated_sequences/Deepfakes/{}/videos/071_054.mp4"
DFD = "original_sequences/actors/{}/videos/01__talking.mp4", "original_sequences/actors/{}/videos/02__talking.mp4"


def lenders(name: str, root: Path, compression: str, asked: str) -> tuple[dict[str, str | None], list[str]]:
    """Path of each clip -> that of its lender, and the warnings about lenders."""
    scan = get_dataset(name).scan(root, ScanOptions((compression,), boxes_from=asked))
    told = [text for text in scan.warnings if "--boxes-from" in text]
    return {clip.path: clip.companions.get(BOXES) for clip in scan.clips}, told


@pytest.mark.parametrize(("name", "layout"), [("ffpp", FFPP), ("dfd", DFD)])
def test_the_best_that_is_there_or_what_is_asked_for(name: str, layout: tuple[str, str], tmp_path: Path) -> None:
    first, second = layout
    # The first is there as c0, which is raw, too; the second is not.
    for path in (*map(first.format, ("c0", "c23", "c40")), *map(second.format, ("c23", "c40"))):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"0")
    own = {pattern.format("c40"): None for pattern in layout}
    assert lenders(name, tmp_path, "c40", "own") == (own, [])
    best = {first.format("c40"): first.format("c0"), second.format("c40"): second.format("c23")}
    assert lenders(name, tmp_path, "c40", "best") == (best, [])
    assert lenders(name, tmp_path, "c40", "c23")[0] == {p.format("c40"): p.format("c23") for p in layout}
    assert lenders(name, tmp_path, "c23", "c40")[0] == {p.format("c23"): p.format("c40") for p in layout}
    assert lenders(name, tmp_path, "c23", "c23") == ({p.format("c23"): None for p in layout}, [])
    found, (told,) = lenders(name, tmp_path, "c40", "c0")
    assert found == {first.format("c40"): first.format("c0"), second.format("c40"): None}
    assert "1 clip is not there at raw" in told


def test_names_are_checked() -> None:
    assert boxes_from_name(get_dataset("ffpp"), "C0") == "raw"
    with pytest.raises(UsageError, match="one quality"):
        boxes_from_name(get_dataset("celebdf-v2"), "c23")
    with pytest.raises(UsageError, match="c23"):
        boxes_from_name(get_dataset("dfd"), "c32")
