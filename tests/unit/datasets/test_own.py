"""``folder`` and ``manifest``: collections that follow no published layout."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forgeprep.datasets.splits import leaks
from forgeprep.errors import UsageError
from forgeprep.pipeline.configure import make_config
from tests.helpers.trees import put, scan


def test_a_folder_pairs_by_name_or_by_pattern_and_follows_links_once(tmp_path: Path) -> None:
    put(tmp_path, "real/a.mp4", "real/sub/b_1.png", "fake/swap/a_x_y.mp4", "fake/sub/b_1.png", "fake/lone.mp4")
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "real")
    clips = {clip.path: clip for clip in scan("folder", tmp_path, ratios="1,0,0").clips}
    assert {path: clip.original_id for path, clip in clips.items() if clip.label} == {
        "fake/swap/a_x_y.mp4": "folder/real/a",
        "fake/sub/b_1.png": "folder/real/sub/b_1",
        "fake/lone.mp4": None,
    }
    assert {clip.method for clip in clips.values()} == {None, "swap", "sub", "fake"}
    named = scan("folder", tmp_path, ratios="1,0,0", pattern=r"swap/(?P<original>\w)_(?P<method>\w)_y")
    assert [(c.method, c.original_id) for c in named.clips if c.label] == [("x", "folder/real/a")]
    assert any(line.startswith("2 files left out") for line in named.warnings)
    for bad, what in (
        ("(", "no regular expression"),
        ("x", "needs the group"),
        ("(?P<original>.)(?P<z>.)", "needs the"),
    ):
        with pytest.raises(UsageError, match=f"--option pattern: {what}"):
            make_config("folder", {"options": {"pattern": bad}})


def test_a_guess_by_the_longest_name_is_tried_against_the_shorter_ones_too(tmp_path: Path) -> None:
    put(tmp_path, *(f"real/{name}.mp4" for name in ("1", "1_2", "3")), "fake/x/1_2_z.mp4", "fake/x/1_3.mp4")
    clips = {clip.path: clip for clip in scan("folder", tmp_path, ratios="0.4,0.3,0.3").clips}
    assert clips["fake/x/1_2_z.mp4"].options == ["folder/real/1_2", "folder/real/1"]
    assert clips["fake/x/1_3.mp4"].options == ["folder/real/1", "folder/real/3"]
    assert len({clip.split for clip in clips.values()}) == 1


def test_whoever_lent_the_face_stays_in_the_split(tmp_path: Path) -> None:
    names = ["071", "054", "720", "672", "953", "974", "lone"]
    put(tmp_path, *(f"real/{name}.mp4" for name in names))
    put(tmp_path, *(f"fake/{m}/{a}_{b}.mp4" for m in "xy" for a, b in (("071", "054"), ("672", "720"), ("953", "974"))))
    put(tmp_path, "fake/x/gone_1.mp4", "fake/y/gone_1.mp4", "real/clip.txt", "fake/x/caf\udce9.mp4")
    (tmp_path / "real" / "up").symlink_to("..")
    (tmp_path / "real" / "nowhere.mp4").symlink_to("nothing")
    found = scan("folder", tmp_path, ratios="0.4,0.3,0.3")
    split: dict[str, set[str]] = {clip.path.rpartition("/")[2][:-4]: set() for clip in found.clips}
    for clip in found.clips:
        split[clip.path.rpartition("/")[2][:-4]].add(clip.split)
    assert "real/nowhere.mp4" in {clip.path for clip in found.clips}
    assert len([clip for clip in found.clips if clip.label == 0]) == len(names) + 1
    for a, b in (("071", "054"), ("672", "720"), ("953", "974")):
        assert split[a] == split[b] == split[f"{a}_{b}"]
    assert len(split["gone_1"]) == 1
    assert not leaks(found.clips)
    assert any(line.startswith("3 fakes for which no original is known") for line in found.warnings)
    left_out = next(line for line in found.warnings if "left out" in line)
    assert "1 file left out" in left_out
    assert "clip.txt" in left_out
    assert any("1 file cannot be used" in line and "udce9" in line for line in found.warnings)


def test_videos_and_pictures_of_every_usual_kind_are_read_and_system_files_are_no_strangers(tmp_path: Path) -> None:
    kinds = ("3gp", "avi", "avif", "flv", "gif", "jfif", "jp2", "mov", "mpeg", "mpg", "mts", "TS", "webp", "wmv")
    put(tmp_path, *(f"real/of_{kind}.{kind}" for kind in kinds), "fake/swap/of_mts.mts")
    put(tmp_path, *(f"real/{name}" for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "._of_ts.ts")))
    put(tmp_path, "fake/swap/Desktop.ini", "fake/@eaDir/of_ts.jpg", "fake/__MACOSX/._x.mp4")
    found = scan("folder", tmp_path, ratios="1,0,0")
    assert sorted(clip.path for clip in found.clips if not clip.label) == sorted(f"real/of_{k}.{k}" for k in kinds)
    assert [(clip.path, clip.original_id) for clip in found.clips if clip.label] == [
        ("fake/swap/of_mts.mts", "folder/real/of_mts")
    ]
    assert not [line for line in found.warnings if "left out" in line]


def test_a_folder_with_splits_keeps_them(tmp_path: Path) -> None:
    put(tmp_path, "train/real/a.mp4", "train/fake/m/a_1.mp4", "test/real/a.mp4", "test/fake/m/a_1.mp4")
    (tmp_path / "test/real/a.mp4").write_bytes(b"another one")
    clips = scan("folder", tmp_path).clips
    assert Counter((clip.split, clip.label) for clip in clips) == {
        ("train", 0): 1, ("train", 1): 1, ("test", 0): 1, ("test", 1): 1,
    }  # fmt: skip
    assert not leaks(clips)


@pytest.mark.parametrize("dataset", ["folder", "genface"])
def test_a_split_by_another_name_is_used_and_never_left_out(dataset: str, tmp_path: Path) -> None:
    names = {"Training": "train", "valid": "val", "testing": "test"}
    kind = "X/" if dataset == "genface" else ""
    put(tmp_path, *(f"{name}/real/{kind}{name}.png" for name in names))
    assert {clip.path: clip.split for clip in scan(dataset, tmp_path).clips} == {
        f"{name}/real/{kind}{name}.png": split for name, split in names.items()
    }
    put(tmp_path, f"dev/real/{kind}dev.png")
    with pytest.raises(UsageError, match="valid, dev are both the split val; keep one"):
        scan(dataset, tmp_path)


@pytest.mark.parametrize("dataset", ["folder", "genface"])
@pytest.mark.parametrize(
    "stranger",
    ["holdout/real/X/b.png", "train/fakes/X/b.png", "train/Originals/b.png", "val/X/b.png", "pictures/b.png"],
)
def test_a_folder_that_nothing_is_known_of_is_refused(dataset: str, stranger: str, tmp_path: Path) -> None:
    put(tmp_path, "train/real/X/a.png", "train/notes/x.txt", "notes/y.txt")
    (tmp_path / "train/links").symlink_to("real")
    assert len(scan(dataset, tmp_path).clips) == 1
    put(tmp_path, stranger)
    folder = "/".join(stranger.split("/")[: 2 if stranger.startswith("train") else 1])
    with pytest.raises(UsageError, match=f"nothing says what the videos or pictures in {folder}/ are; known there are"):
        scan(dataset, tmp_path)
    if dataset == "folder":
        assert len(scan(dataset, tmp_path, ignore=f"other, {folder.rpartition('/')[2]}").clips) == 1


def test_what_lies_beside_real_and_fake_is_refused_or_told(tmp_path: Path) -> None:
    put(tmp_path, "real/a.mp4", "fake/m/a.mp4", "masks/m/a.png", "c.mp4", "readme.txt")
    put(tmp_path, "shards/run.json", "shards/report/a.png")
    (warning,) = [line for line in scan("folder", tmp_path, ratios="1,0,0").warnings if "left out" in line]
    assert warning == "1 file left out, for nothing in place and name says what it is: c.mp4"
    put(tmp_path, "fakes2/b.mp4")
    with pytest.raises(UsageError, match=r"in fakes2/ are; known there are real, fake, masks; or train, training"):
        scan("folder", tmp_path, ratios="1,0,0")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_manifest_is_a_table_of_either_kind(kind: str, tmp_path: Path) -> None:
    put(tmp_path, *(f"v/{name}.mp4" for name in "abcd"), "m.mp4")
    rows: list[dict[str, Any]] = [
        {"path": "v/a.mp4", "label": "0", "original": "", "method": "", "identity": "Ann", "mask": ""},
        {
            "path": "v/b.mp4",
            "label": "1",
            "original": "v/a.mp4",
            "method": "swap",
            "identity": "Ann;Bob",
            "mask": "m.mp4",
            "spans": "0 10 0;10 35 1" if kind == "csv" else [[0, 10, 0], [10, 35, 1]],
        },
        {"path": "v/c.mp4", "label": "real", "original": "", "method": "", "identity": "Bob", "mask": ""},
        {"path": "v/d.mp4", "label": "real", "original": "", "method": "", "identity": "Cleo", "mask": ""},
        {"path": "v/gone.mp4", "label": "fake", "original": "", "method": "", "identity": "", "mask": ""},
    ]
    if kind == "csv":
        with (tmp_path / "table.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[1]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        pq.write_table(pa.Table.from_pylist([{"spans": None, **row} for row in rows]), tmp_path / "table.parquet")
    found = scan("manifest", tmp_path, file=f"table.{kind}", ratios="0.5,0,0.5")
    clips = {clip.clip_id: clip for clip in found.clips}
    assert clips["manifest/v/b"].original_id == clips["manifest/v/b"].source_id == "manifest/v/a"
    assert clips["manifest/v/b"].companions == {"mask": "m.mp4"}
    assert clips["manifest/v/b"].spans == [[0, 10, 0], [10, 35, 1]]
    assert clips["manifest/v/a"].spans is None
    # Ann and Bob are in one video, so all three of theirs stay together.
    assert len({clips[f"manifest/v/{name}"].split for name in "abc"}) == 1
    assert clips["manifest/v/d"].split != clips["manifest/v/a"].split
    assert "1 file is listed but not there: v/gone.mp4" in found.warnings


def test_a_manifest_may_have_the_older_name_of_a_column(tmp_path: Path) -> None:
    put(tmp_path, "a.mp4", "b.mp4")
    table = pa.table({"path": ["a.mp4", "b.mp4"], "label": ["0", "1"], "generator": ["", "gan"]})
    pq.write_table(table, tmp_path / "m.parquet")
    (tmp_path / "m.csv").write_text("path,label,generator\na.mp4,0,\nb.mp4,1,gan\n")
    for name in ("m.parquet", "m.csv"):
        found = scan("manifest", tmp_path, file=name)
        assert {clip.clip_id: clip.family for clip in found.clips} == {"manifest/a": None, "manifest/b": "gan"}
        assert f"{name}: the column generator is now family" in found.warnings
    (tmp_path / "m.csv").write_text("path,label,generator,family\na.mp4,0,,\n")
    with pytest.raises(UsageError, match="'generator' is the older name of the column 'family'; give one of them"):
        scan("manifest", tmp_path, file="m.csv")
