"""Audits through the command line: planted faults are counted one by one, and clean trees have none."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from forgeprep.demo.relayout import LAYOUTS
from tests.conftest import LaidOut, run_cli


def audit(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = run_cli("datasets", "audit", *arguments, "--json")
    return code, json.loads(capsys.readouterr().out)


def of_kind(found: dict[str, Any], kind: str) -> list[tuple[str, str]]:
    return [(one["name"], one["detail"]) for one in found["findings"] if one["kind"] == kind]


IN_THE_DEMO = {
    # Its people are few, so some stand for others; and a method needs no folder if nothing is in it.
    **{key: {"same_content"} for key in ["celebdf-v1", "celebdf-v2", "celebdf-v3", "ffiw10k"]},
    "df40": {"same_content", "empty_folder"},
    "dfdm": {"empty_folder"},
}
"""What the demo's own layouts hold, besides fewer clips than published."""


@pytest.mark.parametrize("name", sorted({"ffpp", *LAYOUTS}))
def test_a_clean_tree_has_nothing_but_other_counts(
    name: str, laid_out: LaidOut, demo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = demo if name == "ffpp" else laid_out(name)
    code, found = audit(capsys, name, "--root", str(root))
    assert code == 0, found["findings"]
    assert found["counts"].keys() - {"count"} == IN_THE_DEMO.get(name, set()), found["findings"]
    assert found["datasets"][0]["clips"] > 0


def put(root: Path, *paths: str, data: bytes | None = None) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode() if data is None else data)


@pytest.fixture
def celeb(tmp_path: Path) -> Path:
    """Celeb-DF without a fault but for its counts; id2 and YouTube-real/00002 are test."""
    root = tmp_path / "Celeb-DF-v2"
    put(root, *(f"Celeb-real/id{n}_0000.mp4" for n in range(3)), "YouTube-real/00001.mp4", "YouTube-real/00002.mp4")
    put(
        root, "Celeb-synthesis/id0_id1_0000.mp4", "Celeb-synthesis/id1_id0_0000.mp4", "Celeb-synthesis/id2_id3_0000.mp4"
    )
    lines = ["1 Celeb-real/id2_0000.mp4", "0 Celeb-synthesis/id2_id3_0000.mp4", "1 YouTube-real/00002.mp4", ""]
    put(root, "List_of_testing_videos.txt", data="\n".join(lines).encode())
    return root


def test_each_fault_that_is_planted_is_found_once(
    celeb: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clean = audit(capsys, "celebdf-v2", "--root", str(celeb))
    assert (clean[0], clean[1]["counts"]) == (0, {"count": 4})
    large = bytes(300_000)
    put(celeb, "Celeb-synthesis/id1_id4_0000.mp4", data=b"of both splits")
    put(celeb, "YouTube-real/00001.mp4", "YouTube-real/00002.mp4", data=b"the same")
    put(celeb, "Celeb-synthesis/id0_id1_0000.mp4", "Celeb-synthesis/id1_id0_0000.mp4", data=large)
    # As large, and different in one byte that none of the three pieces holds.
    put(celeb, "Celeb-real/id0_0000.mp4", data=large[:100_000] + b"x" + large[100_001:])
    put(celeb, "Celeb-real/notes.mp4", "YouTube-real/00004.mp4")
    put(celeb, "YouTube-real/00005.mp4", data=b"")
    (celeb / "YouTube-real/00006.mp4").symlink_to("nowhere.mp4")
    (celeb / "spare").mkdir()
    with (celeb / "List_of_testing_videos.txt").open("a") as listed:
        listed.write("0 Celeb-synthesis/id1_id4_0000.mp4\n1 Celeb-real/id9_0000.mp4\n")
    table = tmp_path / "found.csv"
    code, found = audit(capsys, "celebdf-v2", "--root", str(celeb), "--csv", str(table))
    assert code == 1
    assert found["counts"] == {
        "person_in_splits": 1, "content_in_splits": 1, "same_content": 1, "no_file": 1, "no_name": 1,
        "broken_link": 1, "empty_file": 1, "empty_folder": 1, "count": 4,
    }  # fmt: skip
    assert found["leaks"] == 2
    assert of_kind(found, "no_file")[0][0] == "Celeb-real/id9_0000.mp4"
    assert of_kind(found, "no_name")[0][0] == "Celeb-real/notes.mp4"
    assert of_kind(found, "broken_link")[0][0] == "YouTube-real/00006.mp4"
    assert of_kind(found, "same_content") == [
        ("Celeb-synthesis/id0_id1_0000.mp4", "also Celeb-synthesis/id1_id0_0000.mp4")
    ]
    assert ("Celeb-synthesis/train", "2 here, 5,299 published") in of_kind(found, "count")
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert Counter(row["kind"] for row in rows) == found["counts"]
    code, unread = audit(capsys, "celebdf-v2", "--root", str(celeb), "--no-contents")
    assert unread["counts"].keys() == found["counts"].keys() - {"content_in_splits", "same_content"}
    assert run_cli("datasets", "audit", "celebdf-v2", "--root", str(celeb)) == 1
    told = capsys.readouterr().out
    assert "person_in_splits" in told
    assert "2 leaks and 10 other findings" in told


def test_published_lists_are_compared_with_the_tree_and_the_split(
    celeb: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        "path,label,split",
        "frames/Celeb-real/id0_0000/000.png,real,train",
        "frames/Celeb-real/id0_0000/000.png,real,test",  # One frame in two splits, and so the person.
        "Celeb-real/id1_0000.mp4,fake,train",  # It is a real.
        "Celeb-synthesis/id2_id3_0000.mp4,fake,train",  # It is test.
        "YouTube-real/00001.mp4,real,train",
        "YouTube-real/00001.mp4,real,train",
        "YouTube-real/00009.mp4,real,train",
    ]
    put(tmp_path, "list.csv", data="\n".join(rows).encode())
    code, found = audit(capsys, "celebdf-v2", "--root", str(celeb), "--list", str(tmp_path / "list.csv"))
    assert code == 1
    assert found["counts"] == {
        "person_in_splits": 1, "listed_in_splits": 1, "listed_twice": 1, "other_split": 2, "other_label": 1,
        "no_file": 1, "no_name": 4, "count": 4,
    }  # fmt: skip
    own = audit(capsys, "celebdf-v2", "--root", str(celeb), "--list", str(celeb / "List_of_testing_videos.txt"))
    assert own[1]["counts"] == {"count": 4}
    put(tmp_path, "odd.json", data=b"[1, 2]")
    assert run_cli("datasets", "audit", "celebdf-v2", "--root", str(celeb), "--list", str(tmp_path / "odd.json")) == 2
    assert f"{tmp_path / 'odd.json'}: names no clip" in capsys.readouterr().err


def test_lists_of_faceforensics_and_deepfakebench(
    tmp_path: Path, demo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = sorted(path.stem for path in (demo / "original_sequences/youtube/c23/videos").iterdir())
    pairs = [path.stem.split("_") for path in (demo / "manipulated_sequences/Deepfakes/c23/videos").iterdir()]
    listed = sorted({tuple(sorted(pair)) for pair in pairs})
    put(tmp_path, "test.json", data=json.dumps([*listed, ["000", "003"]]).encode())
    code, found = audit(capsys, "ffpp", "--root", str(demo), "--list", str(tmp_path / "test.json"), "--no-contents")
    # Two of three pairs are not test: two reals and two fakes of five methods each, at three compressions.
    assert code == 0
    methods = len({path.name for path in (demo / "manipulated_sequences").iterdir()})
    assert found["counts"]["other_split"] == (4 + 4 * methods) * 3
    assert found["counts"]["no_file"] == 4  # 000, 003, 000_003, 003_000
    home = "./datasets/rgb/FaceForensics++/original_sequences/youtube/c23/frames"
    frames = {
        number: {"label": "FF-real", "frames": [f"{home}/{number}/{n:03d}.png" for n in (0, 9)]}
        for number in numbers[:2]
    }
    tree = {"FaceForensics++": {"FF-real": {"train": {"c23": frames}, "val": {"c23": {}}, "test": {"c23": frames}}}}
    put(tmp_path, "FaceForensics++.json", data=json.dumps(tree).encode())
    json_list = str(tmp_path / "FaceForensics++.json")
    code, found = audit(capsys, "ffpp", "--root", str(demo), "--list", json_list, "--no-contents")
    assert code == 1
    assert found["counts"]["listed_in_splits"] == 4
    assert found["counts"]["person_in_splits"] == 2
    assert "no_file" not in found["counts"]
    assert "other_label" not in found["counts"]


def test_a_list_of_df40_names_reals_that_lie_in_another_dataset(
    laid_out: LaidOut, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = laid_out("df40")
    real, fake = "FaceForensics++/original_sequences/youtube/c23/frames/071", "DF40_train/simswap/frames/071_054"
    tree = {
        "simswap_Real": {
            "train": {"c23": {"071": {"label": "simswap_Real", "frames": [f"{real}/000.png", f"{real}/005.png"]}}},
            "test": {"c23": {"071": {"label": "simswap_Real", "frames": [f"{real}/000.png"]}}},
        },
        "simswap_Fake": {"train": {"c23": {"071_054": {"label": "simswap_Fake", "frames": [f"{fake}/000.png"]}}}},
    }
    put(tmp_path, "simswap_ff.json", data=json.dumps({"simswap_ff": tree}).encode())
    flags = ("--list", str(tmp_path / "simswap_ff.json"), "--no-contents")
    code, found = audit(capsys, "df40", "--root", str(root), *flags)
    assert code == 1
    assert [name for name, _ in of_kind(found, "listed_in_splits")] == [f"{real}/000.png"]
    assert [name for name, _ in of_kind(found, "person_in_splits")] == ["ffpp/c23/071"]
    assert [name for name, _ in of_kind(found, "other_split")] == ["ffpp/c23/youtube/071"]
    assert of_kind(found, "no_file") == of_kind(found, "other_label") == []


def test_datasets_that_share_sources(
    demo: Path, laid_out: LaidOut, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = audit(
        capsys, "ffpp", "df40", "--root", f"FF++={demo}", "--root", f"df40={laid_out('df40')}", "--no-contents"
    )
    assert code == 0
    shared = of_kind(found, "shared_source")
    assert len(shared) == 6
    assert all(name.startswith("ffpp/") and "of df40" in detail for name, detail in shared)
    other = laid_out("deeperforensics", to=tmp_path / "deeper")
    fakes = sorted(path.stem for path in (other / "manipulated_videos/end_to_end").iterdir())
    for split in ("train", "val"):
        put(other, f"lists/splits/{split}.txt", data=b"")
    put(other, "lists/splits/test.txt", data="\n".join(f"{name}.mp4" for name in fakes).encode())
    taken = next(iter(sorted((demo / "original_sequences/youtube/raw/videos").iterdir())))
    shutil.copy(taken, other / "manipulated_videos/end_to_end" / f"{fakes[0]}.mp4")
    code, found = audit(
        capsys, "ffpp", "deeperforensics", "--root", f"ffpp={demo}", "--root", f"deeperforensics={other}"
    )
    assert code == 1
    assert len(of_kind(found, "source_in_splits")) == len({name[:3] for name in fakes}) * 2 // 3
    assert sum("ffpp: " in one["name"] or "ffpp: " in one["detail"] for one in found["findings"]) >= 1
    assert run_cli("datasets", "audit", "ffpp", "df40", "--root", str(demo)) == 2
    assert "which dataset lies there? give --root NAME=DIR" in capsys.readouterr().err
