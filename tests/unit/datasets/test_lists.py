"""Lists that are not as they should be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from forgeprep.datasets.celebdf import LIST
from tests.conftest import run_cli
from tests.helpers.lists import MD5, REAL, celebdf, dfdc, forgerynet
from tests.helpers.trees import put


def preview(root: Path, entries: dict[str, Any]) -> None:
    put(root, *(name for name in entries if ".." not in name))
    (root / "dataset.json").write_text(json.dumps(entries))


def manifest(root: Path, text: str) -> None:
    put(root, "a.mp4", "b.mp4")
    (root / "manifest.csv").write_text(text)


VIDEO = f"train_video_release/3/{MD5}/{MD5}/video.mp4"


def without_list(root: Path) -> None:
    celebdf(root)
    (root / LIST).unlink()


BAD: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "celebdf: no list": (
        "celebdf-v2",
        without_list,
        "no such file, so the test videos",
    ),
    "celebdf: digit": (
        "celebdf-v2",
        lambda r: celebdf(r, "", "2 Celeb-real/id0_0000.mp4"),
        f"{LIST}:2: must begin with 1",
    ),
    "celebdf: reversed": (
        "celebdf-v2",
        lambda r: celebdf(r, "0 Celeb-real/id0_0000.mp4"),
        ":1: says 0 (fake) of a video",
    ),
    "celebdf: name": ("celebdf-v2", lambda r: celebdf(r, "1 Celeb-real/../x.mp4"), ":1: names no video of Celeb-DF"),
    "celebdf: twice": ("celebdf-v1", lambda r: celebdf(r, *["1 YouTube-real/00001.mp4"] * 2), ":2: YouTube-real/00001"),
    "dfdc: JSON": (
        "dfdc",
        lambda r: dfdc(r, '{"aaaaaaaaaa.mp4": {"label": "REAL"},\n"b'),
        "metadata.json:2: not valid JSON",
    ),
    "dfdc: deep": ("dfdc", lambda r: dfdc(r, '{"a":' * 10000), "not valid JSON"),
    "dfdc: label": (
        "dfdc",
        lambda r: dfdc(r, '{"aaaaaaaaaa.mp4": {"label": "real"}}'),
        "label must be REAL or FAKE, got 'real'",
    ),
    "dfdc: twice": (
        "dfdc",
        lambda r: dfdc(r, '{"aaaaaaaaaa.mp4": {"label": "REAL"}, "aaaaaaaaaa.mp4": {"label": "FAKE"}}'),
        "metadata.json:1: 'aaaaaaaaaa.mp4': stands there twice",
    ),
    "dfdc: original": (
        "dfdc",
        lambda r: dfdc(r, '{"aaaaaaaaaa.mp4": {"label": "FAKE", "original": "../../x.mp4"}}'),
        "original must be the name of a video, got '../../x.mp4'",
    ),
    "dfdc: labels": (
        "dfdc",
        lambda r: (
            (put(r, "test/cccccccccc.mp4"), (r / "test/labels.csv").write_text("filename,label\ncccccccccc.mp4,2\n"))[0]
            and None
        ),
        "labels.csv:2: must be filename,label with label 0",
    ),
    "preview: set": (
        "dfdc-preview",
        lambda r: preview(r, {"original_videos/1/1_A.mp4": {"set": "val", "label": "real"}}),
        "set must be train or test, got 'val'",
    ),
    "preview: label": (
        "dfdc-preview",
        lambda r: preview(r, {"method_A/1/1_A/2_1_A_001.mp4": {"set": "train", "label": "real"}}),
        "says real of a video in method_A",
    ),
    "preview: outside": (
        "dfdc-preview",
        lambda r: preview(r, {"method_A/../../x.mp4": {"set": "train", "label": "fake"}}),
        "is no path below",
    ),
    "forgerynet: columns": (
        "forgerynet",
        lambda r: forgerynet(r, "image", f"{REAL} 0 0"),
        "list.txt:1: must be a path and",
    ),
    "forgerynet: range": (
        "forgerynet",
        lambda r: forgerynet(r, "image", f"{REAL} 0 3 0"),
        ":1: labels out of range: 0 3 0",
    ),
    "forgerynet: path": ("forgerynet", lambda r: forgerynet(r, "image", "/etc/passwd 0 0 0"), "is no path such as"),
    "forgerynet: twice": (
        "forgerynet",
        lambda r: forgerynet(r, "image", *[f"{REAL} 0 0 0"] * 2),
        ":2: train_release/16",
    ),
    "forgerynet: spans": (
        "forgerynet",
        lambda r: forgerynet(r, "video", f"2 {VIDEO} 0 9 1 1 2 3"),
        ":1: must be a number n",
    ),
    "forgerynet: overlap": (
        "forgerynet",
        lambda r: forgerynet(r, "video", f"2 {VIDEO} 0 9 1 5 9 0 1 2 3"),
        ":1: the span 5 9 0 overlaps",
    ),
    "manifest: column": (
        "manifest",
        lambda r: manifest(r, "path,labl\na.mp4,0\n"),
        "csv:1: unknown column 'labl': did you",
    ),
    "manifest: label": (
        "manifest",
        lambda r: manifest(r, "path,label\na.mp4,0\nb.mp4,2\n"),
        "csv:3: label must be 0, 1",
    ),
    "manifest: twice": (
        "manifest",
        lambda r: manifest(r, "path,label\na.mp4,0\na.mp4,1\n"),
        "csv:3: a.mp4 stands there twice",
    ),
    "manifest: width": ("manifest", lambda r: manifest(r, "path,label\na.mp4\n"), "csv:2: must have 2 values"),
    "manifest: split": (
        "manifest",
        lambda r: manifest(r, "path,label,split\na.mp4,0,held\n"),
        "csv:2: split must be train",
    ),
    "manifest: some splits": (
        "manifest",
        lambda r: manifest(r, "path,label,split\na.mp4,0,val\nb.mp4,0,\n"),
        "csv:3: has no split",
    ),
    "manifest: outside": (
        "manifest",
        lambda r: manifest(r, "path,label\n../a.mp4,0\n"),
        "csv:2: ../a.mp4 leads out of",
    ),
    "manifest: mask": (
        "manifest",
        lambda r: manifest(r, "path,label,mask\na.mp4,0,/etc/passwd\n"),
        "/etc/passwd leads out of --root",
    ),
    "manifest: spans": (
        "manifest",
        lambda r: manifest(r, "path,label,spans\na.mp4,0,\nb.mp4,1,0 5 1;3 5 0\n"),
        "csv:3: the span '3 5 0' overlaps",
    ),
    "manifest: spans of a real": (
        "manifest",
        lambda r: manifest(r, "path,label,spans\na.mp4,0,0 5 0\n"),
        "csv:2: is a real and has spans",
    ),
    "manifest: chain": (
        "manifest",
        lambda r: manifest(r, "path,label,original\na.mp4,1,b.mp4\nb.mp4,1,\n"),
        "csv:2: its original b.mp4 is a fake itself",
    ),
    "manifest: leak": (
        "manifest",
        lambda r: manifest(r, "path,label,split,identity\na.mp4,0,train,Ann;Bob\nb.mp4,0,test,Bob\n"),
        "1 source video or person stands in more than one: manifest:Bob (train: manifest/a, test: manifest/b)",
    ),
    "manifest: missing": ("manifest", lambda r: None, "manifest.csv: cannot be read"),
    "manifest: quotes": (
        "manifest",
        lambda r: manifest(r, 'path,label\n"a.mp4,0\n'),
        "csv:1: no CSV that can be read",
    ),
    "celebdf: empty list": ("celebdf-v2", lambda r: celebdf(r, ""), f"{LIST}: names no video"),
    "dfdc: number": ("dfdc", lambda r: dfdc(r, '{"aaaaaaaaaa.mp4": {"label": ' + "9" * 5000 + "}}"), "not valid JSON"),
    "dfdc: own original": (
        "dfdc",
        lambda r: dfdc(r, '{\n"aaaaaaaaaa.mp4": {"label": "FAKE", "original": "aaaaaaaaaa.mp4"}}'),
        "metadata.json:2: 'aaaaaaaaaa.mp4': is its own original",
    ),
    "forgerynet: empty list": ("forgerynet", lambda r: forgerynet(r, "image", ""), "image_list.txt: lists no file"),
    "manifest: no rows": ("manifest", lambda r: manifest(r, "path,label\n"), "manifest.csv: lists no file"),
    "manifest: nothing there": (
        "manifest",
        lambda r: manifest(r, "path,label\nz.mp4,0\n"),
        "csv: lists 1 file, and none",
    ),
    "manifest: doubled column": (
        "manifest",
        lambda r: manifest(r, "path,path,label\na.mp4,b.mp4,0\n"),
        "csv:1: names a column",
    ),
    "manifest: spelling": (
        "manifest",
        lambda r: manifest(r, "path,label\n./a.mp4,0\n"),
        "csv:2: './a.mp4' is written 'a.mp4'",
    ),
    "manifest: real method": (
        "manifest",
        lambda r: manifest(r, "path,label,method\na.mp4,0,swap\n"),
        "csv:2: is a real and has the method 'swap'",
    ),
    "manifest: latin": (
        "manifest",
        lambda r: put(r, "a.mp4") and (r / "manifest.csv").write_bytes(b"path,label\na.mp4,0\ncaf\xe9.mp4,0\n"),
        "csv:3: is no text in UTF-8",
    ),
    "folder: two kinds": (
        "folder",
        lambda r: put(r, "real/a.mp4", "train/real/a.mp4"),
        "holds real/ or fake/ and also train with such folders",
    ),
    "folder: one video twice": (
        "folder",
        lambda r: put(r, "train/real/a.mp4", "test/real/a.mp4"),
        "folder:a (1 bytes) (train: folder/train/real/a, test: folder/test/real/a)",
    ),
    "folder: test fake of a train real": (
        "folder",
        lambda r: put(r, "train/real/a.mp4", "test/fake/swap/a_b.mp4"),
        "folder/train/real/a (train: folder/train/real/a, test: folder/test/fake/swap/a_b)",
    ),
    "folder: empty": ("folder", lambda r: None, "no folder clips under"),
    "genface: empty": ("genface", lambda r: put(r, "train/real/x.txt"), "no GenFace clips under"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_lists_are_refused_in_one_line_with_file_and_line(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, act, message = BAD[case]
    act(tmp_path)
    out = tmp_path.with_name("out")
    assert run_cli("run", name, "--root", str(tmp_path), "--out", str(out), "--stages", "crop") == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert message in error
    assert not out.exists()
