"""What adapters tell about lists and folders that do not fit each other."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from forgeprep.datasets import get_dataset
from forgeprep.datasets.base import ScanOptions
from forgeprep.datasets.dfd import ACTORS, DfdParams, actor_splits
from forgeprep.datasets.ffpp import FFPP
from forgeprep.datasets.forgerynet_lists import METHOD_NUMBERS
from forgeprep.datasets.splits import leaks
from forgeprep.datasets.taxonomy import FAMILIES, FORGERIES, taxonomy
from forgeprep.errors import UsageError
from forgeprep.pipeline.configure import make_config
from tests.conftest import run_cli
from tests.helpers.lists import MD5, REAL, celebdf, dfdc, forgerynet
from tests.helpers.trees import put, scan


def test_what_is_listed_but_not_there_and_there_but_not_listed_is_told(tmp_path: Path) -> None:
    celebdf(tmp_path / "c", "1 Celeb-real/id0_0000.mp4", "0 Celeb-synthesis/id8_id9_0001.mp4")
    (tmp_path / "c" / "Celeb-real" / "notes.txt").write_text("x")
    told = scan("celebdf-v2", tmp_path / "c").warnings
    assert "1 file is listed but not there: Celeb-synthesis/id8_id9_0001.mp4" in told
    assert "1 file left out, for nothing in place and name says what it is: Celeb-real/notes.txt" in told
    dfdc(
        tmp_path / "d",
        '{"aaaaaaaaaa.mp4": {"label": "FAKE", "original": "zzzzzzzzzz.mp4"}, "c.mp4": {"label": "REAL"}}',
    )
    found = scan("dfdc", tmp_path / "d")
    assert "1 file is listed but not there: dfdc_train_part_0/c.mp4" in found.warnings
    assert (
        "1 file left out, for nothing in place and name says what it is: dfdc_train_part_0/bbbbbbbbbb.mp4"
        in found.warnings
    )
    assert found.without_original == ["dfdc/part_0/aaaaaaaaaa"]
    forgerynet(tmp_path / "f", "image", f"{REAL} 0 0 0", f"train_release/1/{MD5}/{MD5}/frame00000.jpg 1 1 7")
    told = scan("forgerynet", tmp_path / "f").warnings
    assert any("1 line calls another kind of forgery than its folder" in line for line in told)
    assert any("1 file is listed but not there" in line for line in told)


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
    left_out = "dfdc_train_part_7 left out, with 1 video: it has no metadata.json, which tells the labels; fetch it"
    assert left_out in found.warnings


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
    assert any(line.startswith("1 of 2 fakes left out, made of two actors") for line in found.warnings)
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
    assert any("7 source videos or people stand in more than one part of it" in line for line in found.warnings)


def test_genface_names_tell_the_generator(tmp_path: Path) -> None:
    put(tmp_path, "train/real/CelebA_HQ/0001.jpg", "train/fake/EFS/Diffusion/latentdiffusion_7.png")
    put(tmp_path, "train/fake/EFS/Diffusion/colladiffusion_7.png", "train/fake/EFS/GAN/stylegan3_9.png")
    put(tmp_path, "train/fake/AM/GAN/IA_FaceS_0001.png", "train/fake/AM/GAN/0001_latent_transformer.png")
    put(tmp_path, "train/fake/EFS/GAN/newgan_1.png")
    put(tmp_path, "train/fake/FS/GAN/0001_FSLSD.png", "train/fake/FS/Diffusion/0001_0002_DiffFace.png")
    put(tmp_path, "train/fake/AM/Diffusion/0001.png", "train/fake/AM/GAN/8888.png")
    clips = {clip.path.rpartition("/")[2]: clip for clip in scan("genface", tmp_path).clips}
    told = {name: (c.method, c.family, c.forgery, c.original_id and c.original_id[-4:]) for name, c in clips.items()}
    assert told == {
        "0001.jpg": (None, None, "real", None),
        "latentdiffusion_7.png": ("LatentDiffusion", "diffusion", "entire_synthesis", None),
        "colladiffusion_7.png": ("CollaborativeDiffusion", "diffusion", "entire_synthesis", None),
        "stylegan3_9.png": ("StyleGAN3", "gan", "entire_synthesis", None),
        "newgan_1.png": ("newgan", "gan", "entire_synthesis", None),
        "IA_FaceS_0001.png": ("IA-FaceS", "gan", "attribute_edit", "0001"),
        "0001_latent_transformer.png": ("LatentTransformer", "gan", "attribute_edit", "0001"),
        "0001_FSLSD.png": ("FSLSD", "gan", "identity_replaced", "0001"),
        "0001_0002_DiffFace.png": ("DiffFace", "diffusion", "identity_replaced", "0001"),
        "0001.png": ("Diffae", "diffusion", "attribute_edit", "0001"),
        "8888.png": ("AM-GAN", "gan", "attribute_edit", None),
    }
    assert all(clip.original_id is None for clip in scan("genface", tmp_path, pairs="none").clips)


def test_each_generator_of_genface_has_as_many_reals_of_its_set(tmp_path: Path) -> None:
    for split in ("train", "test"):
        put(tmp_path, *(f"{split}/real/{name}/{i:05d}.jpg" for name in ("CelebA_HQ", "FFHQ") for i in range(9)))
        put(tmp_path, *(f"{split}/fake/AM/Diffusion/{i:05d}.png" for i in (7, 8)))
        put(tmp_path, *(f"{split}/fake/EFS/Diffusion/ddpm_{i}.png" for i in range(3)))
    dataset = get_dataset("genface")

    def reals(*methods: str) -> dict[tuple[str, str], int]:
        params = dataset.params.model_validate({"reals": "per-generator"})
        clips = dataset.scan(tmp_path, ScanOptions(params=params, methods=methods or None)).clips
        by_id = {clip.clip_id: clip for clip in clips}
        # A fake that was paired keeps its original, of its own set.
        assert all(clip.original_id in by_id and clip.candidates is None for clip in clips if clip.method == "Diffae")
        return dict(Counter((c.split, c.path.split("/")[2]) for c in clips if not c.label))

    assert reals() == {("train", "CelebA_HQ"): 3, ("test", "CelebA_HQ"): 3, ("test", "FFHQ"): 2}
    assert reals("diffae") == {("train", "CelebA_HQ"): 2, ("test", "FFHQ"): 2}
    assert len([clip for clip in scan("genface", tmp_path).clips if not clip.label]) == 36


def test_what_lies_beside_the_layout_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(
        tmp_path / "g",
        "train/real/X/1.jpg",
        "valid/real/X/2.jpg",
        "train/fake/ZZ/3.png",
        "test/fake/FS/GAN/1_FSLSD.png",
    )
    found = scan("genface", tmp_path / "g")
    assert any("left out" in line and "train/fake/ZZ/" in line for line in found.warnings)
    assert [clip.split for clip in found.clips if "/2" in clip.path] == ["val"]
    assert any("the official split is kept as published, but 1 source" in line for line in found.warnings)
    assert [clip.original_id for clip in found.clips if clip.label] == ["genface/train/real/X/1"]
    put(tmp_path / "d", "dfdc_train_part_x/a.mp4")
    dfdc(tmp_path / "d", '{"aaaaaaaaaa.mp4": {"label": "REAL"}, "bbbbbbbbbb.mp4": {"label": "REAL"}}')
    assert any("dfdc_train_part_x/" in line for line in scan("dfdc", tmp_path / "d").warnings)
    forgerynet(tmp_path / "f", "image", f"{REAL} 0 0 0")
    put(tmp_path / "f", f"Training/image/train_release/16/{MD5}/frame00001.jpg")
    told = scan("forgerynet", tmp_path / "f").warnings
    (short,) = scan("forgerynet", tmp_path / "f", kind="images").missing
    assert str(short) == "originals: 1 of 1438201"
    told_of = {}
    for command in ("audit", "show"):
        run_cli("datasets", command, "forgerynet", "--root", str(tmp_path / "f"), "--option", "kind=images", "--json")
        told_of[command] = json.loads(capsys.readouterr().out)
    counts = [one["detail"] for one in told_of["audit"]["findings"] if one["kind"] == "count"]
    assert counts == ["1 here, 1,438,201 published"]
    assert told_of["show"]["methods"][0]["published"] == 1_438_201
    assert any("1 file left out" in line and "frame00001.jpg" in line for line in told)
    assert "Training has no video_list.txt, so its videos are left out" in told
    put(tmp_path / "a", "original_sequences/actors/c23/videos/77__kitchen.mp4")
    put(tmp_path / "a", "manipulated_sequences/DeepFakeDetection/c23/videos/77_03__kitchen__ABCDEFGH.mp4")
    put(tmp_path / "a", "original_sequences/actors/c23/videos/01__kitchen.mp4")
    assert any("2 files left out" in line for line in scan("dfd", tmp_path / "a").warnings)


def test_one_wrong_line_of_forgerynet_is_told_and_whole_videos_are_for_classification(tmp_path: Path) -> None:
    fake = f"train_video_release/3/{MD5}/{MD5}/video.mp4"
    real = f"train_video_release/16/{MD5}/video.mp4"
    put(
        tmp_path, *(f"Training/video/{name}" for name in (fake, fake.replace("/3/", "/8/"), fake.replace("/3/", "/4/")))
    )
    spans = f"3 {fake.replace('/3/', '/4/')} 0 10 0 10 35 1 45 30 0 1 2 4"
    forgerynet(tmp_path, "video", f"1 {real} 0 9 0 1 0 0", f"0 {fake} 1 2 3", spans)
    found = scan("forgerynet", tmp_path)
    told = "\n".join(found.warnings)
    assert "video_list.txt: line 1 says 1 (fake) of a file in folder 16; the folder counts" in told
    assert "1 fake has no spans, left out: train_video_release/3/" in told
    assert "leaves out 1 video of folders 2 and 8" in told
    assert [(clip.label, clip.spans) for clip in found.clips] == [
        (0, None),
        (1, [[0, 10, 0], [10, 35, 1], [45, 30, 0]]),
    ]
    whole = scan("forgerynet", tmp_path, use="classification").clips
    assert {(clip.method, clip.label) for clip in whole} == {
        (None, 0), ("DeepFakes", 1), ("BlendFace", 1), ("ATVG-Net", 1),
    }  # fmt: skip
    assert {clip.spans is None for clip in whole} == {True}
    assert {clip.original_id for clip in whole if clip.label} == {f"forgerynet/train/video/16/{MD5}/video"}


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
            assert kind.family is None or kind.family in FAMILIES
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
        (["val=2"], "--option val: must be below 1"),
        (["val"], "--option must be NAME=VALUE, got 'val'"),
    ):
        with pytest.raises(UsageError, match=message):
            make_config("celebdf-v2", {"options": given_})
    with pytest.raises(UsageError, match=r"unknown --option of ffpp 'x' \(known: frames\)"):
        make_config("ffpp", {"options": ["x=1"]})
    with pytest.raises(UsageError, match="ratios: must be the shares of train, val and test"):
        make_config("folder", {"options": ["ratios=0.5,0.6,0.1"]})
