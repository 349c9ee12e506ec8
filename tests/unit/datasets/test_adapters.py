"""What all datasets share: the names, third parties, options, counts and the listing of folders."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from forgeprep import registry
from forgeprep.datasets import base, dataset_names, get_dataset, listing
from forgeprep.errors import UsageError
from forgeprep.schemas.clips import Clip


class Point:
    """As much of an entry point as is used."""

    dist = None

    def __init__(self, name: str, found: Any) -> None:
        self.name, self.value, self._found = name, f"other.{name}:X", found

    def load(self) -> Any:
        if isinstance(self._found, Exception):
            raise self._found
        return self._found


def plug_in(monkeypatch: pytest.MonkeyPatch, *points: Point) -> None:
    monkeypatch.setattr(registry, "entry_points", lambda *, group: list(points))


def test_built_in_datasets_load_and_agree_with_their_names() -> None:
    assert "ffpp" in dataset_names()
    assert all(get_dataset(name).name == name for name in dataset_names())


def test_names_are_listed_without_importing_an_adapter() -> None:
    code = "import sys, forgeprep.datasets as d; d.dataset_names(); sys.exit('forgeprep.datasets.ffpp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_dataset_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match=r"unknown dataset 'ffp': did you mean 'ffpp'\?"):
        get_dataset("ffp")


def test_a_third_party_dataset_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = dataclasses.replace(get_dataset("ffpp"), name="mine")
    plug_in(monkeypatch, Point("mine", mine))
    assert "mine" in dataset_names()
    assert get_dataset("mine") is mine


@pytest.mark.parametrize(
    ("name", "found", "message"),
    [
        ("ffpp", None, "dataset 'ffpp' is defined by forgeprep and other.ffpp:X"),
        ("mine", "text", "dataset 'mine' of other.mine:X is a str, not a Dataset"),
        ("mine", ImportError("no torch"), "cannot be loaded (ImportError: no torch)"),
    ],
)
def test_a_broken_third_party_dataset_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, found: object, message: str
) -> None:
    plug_in(monkeypatch, Point(name, found))
    with pytest.raises(UsageError, match=re.escape(message)):
        get_dataset(name)


def test_a_third_party_dataset_under_another_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch, Point("mine", get_dataset("ffpp")))
    with pytest.raises(UsageError, match="has another name of its own"):
        get_dataset("mine")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compressions": ()}, "no compression is asked for"),
        ({"splits": ()}, "no split is asked for"),
        ({"splits": ("tset",)}, "unknown split 'tset': did you mean 'test'"),
    ],
)
def test_options_are_checked_at_the_door(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        base.ScanOptions(**options)


def test_match_names_gives_known_spelling_and_order_once() -> None:
    known = ["raw", "c23", "c40"]
    assert base.match_names("compression", ["C40", "RAW", "c0"], known, aliases={"c0": "raw"}) == ("raw", "c40")


def test_describe_has_text_for_every_fact() -> None:
    facts = base.describe(get_dataset("ffpp"))
    assert facts["compressions"] == "raw, c23 (default), c40"
    assert facts["clips"].startswith("1000 originals, 1000 Deepfakes")
    assert facts["original clips by split"] == "720 train, 140 val, 140 test"


def test_count_missing_names_only_what_falls_short_of_the_published_number() -> None:
    published = [
        base.PublishedCount("originals", None, "train", 1),
        base.PublishedCount("fakes", "M", "train", 2),
        base.PublishedCount("fakes", "Other", "train", 2),
        base.PublishedCount("originals", None, "test", 1),
    ]
    real = Clip("d/0", "d", "0.mp4", "train", "d/0", None, 0, "real")
    fakes = [dataclasses.replace(real, clip_id=f"d/M/{i}", method="M") for i in range(3)]

    def missing(clips: list[Clip]) -> list[base.MissingCount]:
        return base.count_missing(published, clips, compressions=[None], methods=["M"], splits=["train"])

    assert missing([real, *fakes[:2]]) == []
    assert missing([real, *fakes]) == []  # more than published is no loss
    assert [str(count) for count in missing(fakes[:1])] == ["originals train: 0 of 1", "fakes M/train: 1 of 2"]


def test_shown_cuts_long_lists_and_survives_undecodable_names() -> None:
    assert listing.shown(["a", "b"]) == "a, b"
    assert listing.shown([str(i) for i in range(17)]) == "0, 1, 2, 3, 4 and 12 more"
    listing.shown([os.fsdecode(b"\xff.mp4")]).encode("utf-8")


def test_find_folders_keeps_the_order_of_names_and_one_path_per_folder(tmp_path: Path) -> None:
    (tmp_path / "Raw" / "videos").mkdir(parents=True)
    (tmp_path / "c0").symlink_to(tmp_path / "Raw")
    (tmp_path / "c1").mkdir()
    (tmp_path / "c2").symlink_to(tmp_path / "c2")
    assert listing.find_folders(tmp_path, ["raw", "c0"], ["videos"]) == ["Raw/videos"]
    assert listing.find_folders(tmp_path, ["c1", "c2", "raw"]) == ["c1", "Raw"]


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UsageError, match=re.escape(f"{tmp_path} cannot be listed: Permission denied")):
        listing.find_folders(tmp_path, ["raw"])
    assert not listing._holds_one_of(tmp_path, {"raw"})
