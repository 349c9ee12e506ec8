"""Adapters against lists and folders that are not as they should be."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from forgeprep.datasets import get_dataset
from forgeprep.datasets.base import ScanOptions
from forgeprep.datasets.celebdf import LIST
from forgeprep.datasets.dfd import ACTORS, DfdParams, actor_splits
from forgeprep.datasets.ffpp import FFPP
from forgeprep.datasets.forgerynet_lists import METHOD_NUMBERS
from forgeprep.datasets.splits import leaks
from forgeprep.datasets.taxonomy import FORGERIES, GENERATORS, taxonomy
from forgeprep.errors import UsageError
from forgeprep.pipeline.configure import make_config
from tests.conftest import run_cli
from tests.trees import put, scan

MD5 = "0123456789abcdef0123456789abcdef"


def celebdf(root: Path, *lines: str) -> None:
    put(root, "Celeb-real/id0_0000.mp4", "Celeb-real/id1_0000.mp4", "YouTube-real/00001.mp4")
    put(root, "Celeb-synthesis/id0_id1_0000.mp4", "Celeb-synthesis/id1_id0_0000.mp4")
    (root / LIST).write_text("\n".join(lines) + "\n")


def dfdc(root: Path, text: str) -> None:
    put(root, "dfdc_train_part_0/aaaaaaaaaa.mp4", "dfdc_train_part_0/bbbbbbbbbb.mp4")
    (root / "dfdc_train_part_0" / "metadata.json").write_text(text)


def preview(root: Path, entries: dict[str, Any]) -> None:
    put(root, *(name for name in entries if ".." not in name))
    (root / "dataset.json").write_text(json.dumps(entries))


def forgerynet(root: Path, kind: str, *lines: str) -> None:
    put(root, f"Training/image/train_release/16/{MD5}/frame00000.jpg")
    put(root, f"Training/video/train_video_release/16/{MD5}/video.mp4")
    (root / "Training" / f"{kind}_list.txt").write_text("\n".join(lines) + "\n")


def manifest(root: Path, text: str) -> None:
    put(root, "a.mp4", "b.mp4")
    (root / "manifest.csv").write_text(text)


REAL = f"train_release/16/{MD5}/frame00000.jpg"
VIDEO = f"train_video_release/3/{MD5}/{MD5}/video.mp4"

BAD: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "celebdf: no list": (
        "celebdf-v2",
        lambda r: (celebdf(r), (r / LIST).unlink())[0],
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
    "forgerynet: label": (
        "forgerynet",
        lambda r: forgerynet(r, "image", f"{REAL} 1 1 1"),
        ":1: says 1 (fake) of a file in",
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
        lambda r: manifest(r, "path,label,split\na.mp4,0,dev\n"),
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
        "would stand in more than one split: manifest:Bob (train: manifest/a, test: manifest/b)",
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
        "csv: lists 1 files, and none",
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
        lambda r: (manifest(r, ""), (r / "manifest.csv").write_bytes(b"path,label\na.mp4,0\ncaf\xe9.mp4,0\n"))[0],
        "csv:3: is no text in UTF-8",
    ),
    "folder: two kinds": (
        "folder",
        lambda r: put(r, "real/a.mp4", "train/real/a.mp4") and None,
        "holds real/ or fake/ and also train with such folders",
    ),
    "folder: one video twice": (
        "folder",
        lambda r: put(r, "train/real/a.mp4", "test/real/a.mp4") and None,
        "folder:a (1 bytes) (train: folder/train/real/a, test: folder/test/real/a)",
    ),
    "folder: test fake of a train real": (
        "folder",
        lambda r: put(r, "train/real/a.mp4", "test/fake/swap/a_b.mp4") and None,
        "folder/train/real/a (train: folder/train/real/a, test: folder/test/fake/swap/a_b)",
    ),
    "folder: empty": ("folder", lambda r: None, "no folder clips under"),
    "genface: empty": ("genface", lambda r: put(r, "train/real/x.txt") and None, "no GenFace clips under"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_lists_are_refused_in_one_line_with_file_and_line(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, act, message = BAD[case]
    act(tmp_path)
    assert run_cli("run", name, "--root", str(tmp_path), "--out", str(tmp_path / "out"), "--stages", "crop") == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert message in error
    assert not (tmp_path / "out").exists()


def test_what_is_listed_but_not_there_and_there_but_not_listed_is_told(tmp_path: Path) -> None:
    celebdf(tmp_path / "c", "1 Celeb-real/id0_0000.mp4", "0 Celeb-synthesis/id8_id9_0001.mp4")
    (tmp_path / "c" / "Celeb-real" / "notes.txt").write_text("x")
    told = scan("celebdf-v2", tmp_path / "c").warnings
    assert "1 files are listed but not there: Celeb-synthesis/id8_id9_0001.mp4" in told
    assert "1 files left out, nothing says what they are: Celeb-real/notes.txt" in told
    dfdc(
        tmp_path / "d",
        '{"aaaaaaaaaa.mp4": {"label": "FAKE", "original": "zzzzzzzzzz.mp4"}, "c.mp4": {"label": "REAL"}}',
    )
    found = scan("dfdc", tmp_path / "d")
    assert "1 files are listed but not there: dfdc_train_part_0/c.mp4" in found.warnings
    assert "1 files left out, nothing says what they are: dfdc_train_part_0/bbbbbbbbbb.mp4" in found.warnings
    assert found.without_original == ["dfdc/part_0/aaaaaaaaaa"]
    forgerynet(tmp_path / "f", "image", f"{REAL} 0 0 0", f"train_release/1/{MD5}/{MD5}/frame00000.jpg 1 1 7")
    told = scan("forgerynet", tmp_path / "f").warnings
    assert any("1 lines call another kind of forgery than their folder" in line for line in told)
    assert any("1 files are listed but not there" in line for line in told)


def test_dfdc_parts_and_the_authors_own_folders_are_splits(tmp_path: Path) -> None:
    for part in (0, 34, 35, 39, 40, 49):
        put(tmp_path, f"dfdc_train_part_{part:02d}/{'abcdefghij'[part % 10] * 10}.mp4")
        entry = {f"{'abcdefghij'[part % 10] * 10}.mp4": {"label": "REAL", "split": "train"}}
        (tmp_path / f"dfdc_train_part_{part:02d}" / "metadata.json").write_text(json.dumps(entry))
    splits = {clip.clip_id.split("/")[1]: clip.split for clip in scan("dfdc", tmp_path).clips}
    assert splits == {
        "part_0": "train", "part_34": "train", "part_35": "val", "part_39": "val", "part_40": "test", "part_49": "test",
    }  # fmt: skip
    chosen = scan("dfdc", tmp_path, val_parts="0", test_parts="34-35")
    assert Counter(clip.split for clip in chosen.clips) == {"train": 3, "val": 1, "test": 2}
    put(tmp_path, "test/videos/kkkkkkkkkk.mp4")
    (tmp_path / "test" / "labels.csv").write_text("filename,label\nkkkkkkkkkk.mp4,1\n")
    with_test = {clip.clip_id.split("/")[1]: clip.split for clip in scan("dfdc", tmp_path).clips}
    assert with_test["test"] == "test"
    assert with_test["part_40"] == "train"


def test_a_dfdc_part_without_its_metadata_costs_no_other_part(tmp_path: Path) -> None:
    put(tmp_path, "dfdc_train_part_7/cccccccccc.mp4", "dfdc_train_part_7/Thumbs.db")
    with pytest.raises(UsageError, match=r"dfdc_train_part_7/metadata.json: no such file, and it tells the labels"):
        scan("dfdc", tmp_path)
    dfdc(tmp_path, '{"aaaaaaaaaa.mp4": {"label": "REAL"}, "bbbbbbbbbb.mp4": {"label": "REAL"}}')
    found = scan("dfdc", tmp_path)
    assert [clip.clip_id for clip in found.clips] == ["dfdc/part_0/aaaaaaaaaa", "dfdc/part_0/bbbbbbbbbb"]
    left_out = "dfdc_train_part_7 left out, all its 1 videos: it has no metadata.json, which tells the labels; fetch it"
    assert found.warnings == [left_out]


def test_a_swap_of_actors_of_two_splits_is_left_out(tmp_path: Path) -> None:
    splits = actor_splits(DfdParams())
    assert Counter(splits.values()) == {"train": 20, "val": 4, "test": 4}
    by_split = {split: [actor for actor in ACTORS if splits[actor] == split] for split in ("train", "val", "test")}
    (a, b), c = by_split["train"][:2], by_split["test"][0]
    base = "manipulated_sequences/DeepFakeDetection/c23/videos"
    put(tmp_path, *(f"original_sequences/actors/c23/videos/{actor}__kitchen_pan.mp4" for actor in (a, b, c)))
    put(tmp_path, f"{base}/{a}_{b}__kitchen_pan__AAAAAAAA.mp4", f"{base}/{a}_{c}__kitchen_pan__BBBBBBBB.mp4")
    found = scan("dfd", tmp_path)
    assert [clip.method for clip in found.clips] == ["DeepFakeDetection", None, None, None]
    assert any(line.startswith("1 of 2 fakes left out, their two actors") for line in found.warnings)
    assert not leaks(found.clips)
    chosen = scan("dfd", tmp_path, val_actors=a, test_actors=b)
    assert {clip.identities[0]: clip.split for clip in chosen.clips} == {a: "val", b: "test", c: "train"}
    with pytest.raises(UsageError, match="--option val-actors: actors are numbered 01 to 28, got '29'"):
        make_config("dfd", {"options": ["val_actors=29"]})


def test_videos_of_one_youtube_video_are_known(tmp_path: Path) -> None:
    put(tmp_path, *(f"original_sequences/youtube/c23/videos/{number:03d}.mp4" for number in range(1000)))
    put(tmp_path, "manipulated_sequences/Deepfakes/c23/videos/605_591.mp4")
    found = FFPP.scan(tmp_path, ScanOptions())
    leaking = leaks(found.clips)
    assert len({person for clip in found.clips for person in clip.identities}) == 977
    assert {name.removeprefix("ffpp:") for name in leaking} == {"605", "639", "755", "837", "875", "954", "982"}
    assert any("7 source videos or people stand in more than one split" in line for line in found.warnings)


def test_genface_names_tell_the_generator(tmp_path: Path) -> None:
    put(tmp_path, "train/real/CelebA_HQ/0001.jpg", "train/fake/EFS/Diffusion/latentdiffusion_7.png")
    put(tmp_path, "train/fake/EFS/Diffusion/colladiffusion_7.png", "train/fake/EFS/GAN/stylegan3_9.png")
    put(tmp_path, "train/fake/FS/GAN/0001_FSLSD.png", "train/fake/FS/Diffusion/0001_0002_DiffFace.png")
    put(tmp_path, "train/fake/AM/Diffusion/0001.png", "train/fake/AM/GAN/8888.png")
    clips = {clip.path.rpartition("/")[2]: clip for clip in scan("genface", tmp_path).clips}
    told = {name: (c.method, c.generator, c.forgery, c.original_id and c.original_id[-4:]) for name, c in clips.items()}
    assert told == {
        "0001.jpg": (None, None, "real", None),
        "latentdiffusion_7.png": ("LatentDiffusion", "diffusion", "entire_synthesis", None),
        "colladiffusion_7.png": ("CollaborativeDiffusion", "diffusion", "entire_synthesis", None),
        "stylegan3_9.png": ("stylegan3", "gan", "entire_synthesis", None),
        "0001_FSLSD.png": ("FSLSD", "gan", "identity_replaced", "0001"),
        "0001_0002_DiffFace.png": ("DiffFace", "diffusion", "identity_replaced", "0001"),
        "0001.png": ("Diffae", "diffusion", "attribute_edit", "0001"),
        "8888.png": ("AM-GAN", "gan", "attribute_edit", None),
    }
    assert all(clip.original_id is None for clip in scan("genface", tmp_path, pairs="none").clips)


def test_what_lies_beside_the_layout_is_told(tmp_path: Path) -> None:
    put(
        tmp_path / "g",
        "train/real/X/1.jpg",
        "valid/real/X/2.jpg",
        "train/fake/ZZ/3.png",
        "test/fake/FS/GAN/1_FSLSD.png",
    )
    found = scan("genface", tmp_path / "g")
    assert any("valid" in line and "train/fake/ZZ" in line for line in found.warnings)
    assert any("the official split is kept as published, but 1 source" in line for line in found.warnings)
    assert [clip.original_id for clip in found.clips if clip.label] == ["genface/train/real/X/1"]
    put(tmp_path / "d", "dfdc_train_part_x/a.mp4")
    dfdc(tmp_path / "d", '{"aaaaaaaaaa.mp4": {"label": "REAL"}, "bbbbbbbbbb.mp4": {"label": "REAL"}}')
    assert any("dfdc_train_part_x/" in line for line in scan("dfdc", tmp_path / "d").warnings)
    forgerynet(tmp_path / "f", "image", f"{REAL} 0 0 0")
    put(tmp_path / "f", f"Training/image/train_release/16/{MD5}/frame00001.jpg")
    told = scan("forgerynet", tmp_path / "f").warnings
    assert any("1 files left out" in line and "frame00001.jpg" in line for line in told)
    assert "Training has no video_list.txt, so its videos are left out" in told
    put(tmp_path / "a", "original_sequences/actors/c23/videos/77__kitchen.mp4")
    put(tmp_path / "a", "manipulated_sequences/DeepFakeDetection/c23/videos/77_03__kitchen__ABCDEFGH.mp4")
    put(tmp_path / "a", "original_sequences/actors/c23/videos/01__kitchen.mp4")
    assert any("2 files left out" in line for line in scan("dfd", tmp_path / "a").warnings)


def test_options_that_contradict_each_other_are_refused() -> None:
    for name, option, message in (
        ("dfdc", "val_parts=40-45", "val_parts and test_parts share part 40"),
        ("dfdc", "val_parts=5-3", "must be numbers of parts from 0 to 49"),
        ("dfdc", "val_parts=99", "must be numbers of parts from 0 to 49"),
        ("folder", "ratios=nan,0,1", "must be the shares of train, val and test"),
    ):
        with pytest.raises(UsageError, match=message):
            make_config(name, {"options": [option]})
    with pytest.raises(UsageError, match="actor 15 stands in val_actors and in test_actors"):
        make_config("dfd", {"options": ["val_actors=14,15", "test_actors=15"]})


def test_the_taxonomy_covers_every_method_once() -> None:
    for name, methods in taxonomy().items():
        assert get_dataset(name).methods == tuple(methods)
        for kind in methods.values():
            assert kind.forgery in FORGERIES
            assert kind.forgery != "real"
            assert kind.generator is None or kind.generator in GENERATORS
    # The numbers of ForgeryNet's folders, as published.
    assert (METHOD_NUMBERS[1], METHOD_NUMBERS[9], METHOD_NUMBERS[15]) == (
        "FaceShifter", "StarGAN-BlendFace-Stack", "DiscoFaceGAN",
    )  # fmt: skip
    replaced = [
        n for n, method in METHOD_NUMBERS.items() if taxonomy()["forgerynet"][method].forgery == "identity_replaced"
    ]
    assert replaced == [1, 2, 3, 4, 5, 6, 9]


def test_options_of_a_dataset_are_checked_and_part_of_the_configuration() -> None:
    config = make_config("celebdf-v2", {"options": ["val=0.25"]})
    assert config.options == {"val": 0.25, "seed": 0, "frames": "auto"}
    for given_, message in (
        (["vall=1"], "unknown --option of celebdf-v2 'vall': did you mean 'val'"),
        (["val=2"], "--option val: input should be less than 1"),
        (["val"], "--option must be NAME=VALUE, got 'val'"),
    ):
        with pytest.raises(UsageError, match=message):
            make_config("celebdf-v2", {"options": given_})
    with pytest.raises(UsageError, match=r"unknown --option of ffpp 'x' \(known: frames\)"):
        make_config("ffpp", {"options": ["x=1"]})
    with pytest.raises(UsageError, match="ratios: must be the shares of train, val and test"):
        make_config("folder", {"options": ["ratios=0.5,0.6,0.1"]})
