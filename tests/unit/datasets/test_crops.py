"""``crops``: face crops that lie in folders already."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from forgeprep.datasets.splits import leaks
from forgeprep.errors import UsageError
from forgeprep.pipeline.configure import make_config
from tests.helpers.trees import put, scan


def of_paths(root: Path, **params: Any) -> dict[str, Any]:
    return {clip.path: clip for clip in scan("crops", root, **params).clips}


@pytest.mark.parametrize(
    ("real", "fake", "method"),
    [("real", "fake", "fake"), ("0_real", "1_fake", "fake"), ("original", "Deepfakes", "Deepfakes"),
     ("youtube", "neuraltextures", "NeuralTextures"), ("Celeb-real", "Celeb-synthesis", "Celeb-synthesis")],
)  # fmt: skip
def test_classes_are_called_as_people_call_them(real: str, fake: str, method: str, tmp_path: Path) -> None:
    put(tmp_path, *(f"{split}/{c}/{split}{n}.png" for split in ("train", "valid") for c in (real, fake) for n in "ab"))
    found = of_paths(tmp_path)
    assert {path: clip.label for path, clip in found.items()} == {path: int(f"/{fake}/" in path) for path in found}
    assert {(clip.split, clip.method) for clip in found.values() if clip.label} == {("train", method), ("val", method)}
    # Pictures of one name may be made of each other; that is found out by what they show.
    assert {clip.original_id for clip in found.values() if clip.guessed} == {
        f"crops/{split}/{real}/{split}{n}" for split in ("train", "valid") for n in "ab"
    }


def test_an_unknown_class_is_refused_until_it_is_named(tmp_path: Path) -> None:
    put(tmp_path, "train/real/a.png", "train/0/b.png", "train/mine/c.png", "train/bad/d.png")
    with pytest.raises(UsageError, match=r"in train/0/, train/bad/, train/mine/ are real or fake.*--option real=NAME"):
        scan("crops", tmp_path)
    found = of_paths(tmp_path, real="0", fake="mine", ignore="bad")
    assert {path: (clip.label, clip.method) for path, clip in found.items()} == {
        "train/real/a.png": (0, None),
        "train/0/b.png": (0, None),
        "train/mine/c.png": (1, "mine"),
    }


def test_a_folder_is_real_or_fake_but_not_both(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", "b/2.png")
    with pytest.raises(UsageError, match="--option real and --option fake both name b;"):
        scan("crops", tmp_path, real="a,B", fake="b")


def test_names_tell_people_originals_and_frames_and_no_source_is_in_two_splits(tmp_path: Path) -> None:
    ff, cdf = ("000", "003", "003_000", "000_003"), ("id0_0001", "id1_0001", "id0_id1_0001")
    put(tmp_path, *(f"{'Deepfakes' if '_' in n else 'youtube'}/{n}/{k:04d}.png" for n in ff for k in (1, 8)))
    put(tmp_path, *(f"{'fake' if '_id' in n else 'real'}/{n}_{k}.jpg" for n in cdf for k in (1, 8)))
    put(tmp_path, "masks/Deepfakes/000_003/0001.png", "masks/Deepfakes/000_003/0008.png", "masks/fake/gone.png")
    found = scan("crops", tmp_path, frames="folders")
    clips = {clip.path: clip for clip in found.clips}
    swap = clips["Deepfakes/000_003"]
    assert (swap.original_id, swap.identities, swap.frames) == ("crops/youtube/000", ["000", "003"], [[1, 2, 7]])
    assert (swap.source_id, swap.guessed, swap.compression) == (swap.original_id, True, None)
    assert swap.companions == {"mask": "masks/Deepfakes/000_003"}
    assert clips["Deepfakes/003_000"].companions == {}
    assert clips["fake/id0_id1_0001_8.jpg"].original_id == "crops/real/id0_0001_8"
    assert any("1 mask left out, of no picture that is there: masks/fake/gone.png" in line for line in found.warnings)
    assert not leaks(found.clips)
    alone = of_paths(tmp_path, frames="folders", names="none", masks="magnitude")
    assert all(clip.original_id is None and not clip.identities for clip in alone.values())
    assert set(alone["Deepfakes/000_003"].companions) == {"magnitude"}
    assert not of_paths(tmp_path, frames="folders", names="trusted")["Deepfakes/000_003"].guessed


def test_a_fake_whose_pictures_have_other_numbers_goes_without_its_original(tmp_path: Path) -> None:
    for name, numbers in (("real/a", range(0, 50, 5)), ("fake/a", range(0, 50, 7)), ("fake/b", [*range(5, 50, 5), 7])):
        put(tmp_path, *(f"{name}/{number:03d}.png" for number in numbers))
    put(tmp_path, *(f"real/b/{number:03d}.png" for number in range(0, 50, 5)))
    found = scan("crops", tmp_path, frames="folders", names="trusted")
    clips = {clip.path: clip for clip in found.clips}
    assert (clips["fake/a"].original_id, clips["fake/b"].original_id) == (None, "crops/real/b")
    # They stay together all the same.
    assert clips["fake/a"].split == clips["real/a"].split
    assert set(clips["fake/a"].identities) & set(clips["real/a"].identities)
    told = "1 fake is taken without an original, whose pictures have other numbers: fake/a/"
    assert any(told in line for line in found.warnings)


def test_ffpp_without_lists_has_its_own_splits(tmp_path: Path) -> None:
    top = "FaceForensics++/{}/c23/frames/{}/000.png"
    put(tmp_path, *(top.format("original_sequences/youtube", name) for name in ("071", "054", "000", "003")))
    put(tmp_path, *(top.format("manipulated_sequences/Deepfakes", name) for name in ("071_054", "000_003", "071_003")))
    found = scan("crops", tmp_path)
    assert {clip.clip_id.rpartition("/")[2]: clip.split for clip in found.clips if clip.label} == {
        "071_054": "train", "000_003": "val" if found.clips[0].split == "val" else "test",
    }  # fmt: skip
    assert any("071_003" in line for line in found.warnings)


def listed(
    root: Path, splits: dict[str, str], name: str = "X", form: str = "./datasets/rgb/X/{}/frames/{}/0.png"
) -> None:
    whole: dict[str, Any] = {"X_Real": {}, "X_Fake": {}}
    for video, split in splits.items():
        label, home = ("X_Fake", "fake") if "_" in video else ("X_Real", "real")
        videos = whole[label].setdefault(split, {})
        videos[video] = {"label": label, "frames": [form.format(home, video)], "masks": []}
        put(root, f"datasets/rgb/X/{home}/frames/{video}/0.png")
    (root / "preprocessing/dataset_json").mkdir(parents=True, exist_ok=True)
    (root / f"preprocessing/dataset_json/{name}.json").write_text(json.dumps({"X": whole}))


def test_the_json_of_deepfakebench_gives_splits_and_a_leak_is_the_users_choice(tmp_path: Path) -> None:
    listed(tmp_path, {"000": "train", "003": "test", "000_003": "train"}, form="X\\{}\\frames\\{}\\0.png")
    put(tmp_path, "datasets/rgb/X/real/frames/900/0.png")
    with pytest.raises(UsageError, match=r"1 source or person stands in more than one split.*splits=dealt"):
        scan("crops", tmp_path)
    kept = scan("crops", tmp_path, splits="kept")
    assert {clip.clip_id: (clip.split, clip.label) for clip in kept.clips} == {
        "crops/X/real/000": ("train", 0), "crops/X/real/003": ("test", 0), "crops/X/fake/000_003": ("train", 1),
    }  # fmt: skip
    assert any("1 clip left out, whose split nothing tells: datasets/rgb/X/real/frames/900" in w for w in kept.warnings)
    dealt = scan("crops", tmp_path, splits="dealt")
    assert len(dealt.clips) == 4
    assert not leaks(dealt.clips)
    listed(tmp_path, {"000": "val"}, name="Y")
    with pytest.raises(UsageError, match=r"Y.json: .*is real in val, and in .*X.json real in train: choose"):
        scan("crops", tmp_path)
    assert len(scan("crops", tmp_path, json_file="preprocessing/dataset_json/Y.json").clips) == 1
    (tmp_path / "bad.json").write_text('{"X": [1]}')
    with pytest.raises(UsageError, match=r"bad.json: is not as DeepfakeBench writes it"):
        scan("crops", tmp_path, json_file="bad.json")


def test_a_table_says_what_pictures_are(tmp_path: Path) -> None:
    put(tmp_path, "train/images/q/0-1.png", "train/images/p/0-1.png", "train/masks/p/0-1.png", "test/images/r.png")
    rows = ("images/q/0-1.png,0,none,d/q,none", "images/p/0-1.png,1,Mine,d/p,d/q", "")
    table = "\n".join(("file_name,label,method,clip_id,original_id", *rows))
    (tmp_path / "train/metadata.csv").write_text(table)
    (tmp_path / "test/metadata.csv").write_text("file_name,label\nimages/r.png,real\n")
    found = of_paths(tmp_path)
    fake = found["train/images/p"]
    assert (fake.original_id, fake.guessed, fake.method, fake.split) == ("crops/train/q", False, "Mine", "train")
    assert fake.companions == {"mask": "train/masks/p"}
    assert (found["test/images/r.png"].label, found["test/images/r.png"].split) == (0, "test")
    (tmp_path / "test/metadata.csv").write_text("file_name,label\nimages/r.png,real\nimages/gone.png,fake\n")
    (told,) = [text for text in scan("crops", tmp_path).warnings if "gone" in text]
    assert "1 row of tables left out, of no picture that is there: test/images/gone.png" in told
    (tmp_path / "test/metadata.csv").write_text("file_name,who\nimages/r.png,me\n")
    with pytest.raises(UsageError, match=r"a column label in metadata.csv tells too"):
        scan("crops", tmp_path)
    (tmp_path / "test/metadata.csv").write_text("file_name,label\nimages/r.png,maybe\n")
    with pytest.raises(UsageError, match=r"test/metadata.csv:2: label must be 0, 1, real or fake \(got 'maybe'\)"):
        scan("crops", tmp_path)


def test_a_table_may_call_frames_of_a_fake_real_but_a_clip_is_of_one_split(tmp_path: Path) -> None:
    put(tmp_path, *(f"images/{folder}/{number}.png" for folder in ("one", "torn") for number in (1, 2, 9)))
    lines = ["file_name,label,method,clip_id,split"]
    lines += [f"images/one/{n}.png,{int(n > 1)},{'FaceSwap' if n > 1 else 'none'},a/b,train" for n in (1, 2, 9)]
    lines += [f"images/torn/{n}.png,1,FaceSwap,a/c,{'train' if n > 1 else 'test'}" for n in (1, 2, 9)]
    (tmp_path / "metadata.csv").write_text("\n".join(lines))
    told = scan("crops", tmp_path, splits="kept")
    found = {clip.path: clip for clip in told.clips}
    clip = found.pop("images/one")
    assert (clip.label, clip.method, [clip.label_at(n) for n in (1, 2, 9)]) == (1, "FaceSwap", [0, 1, 1])
    assert {(path, clip.split) for path, clip in found.items()} == {
        (f"images/torn/{n}.png", "train" if n > 1 else "test") for n in (1, 2, 9)
    }
    assert any("1 folder is taken as stills: a table gives" in line for line in told.warnings)


def test_whole_pictures_and_masks_that_are_there_are_the_default() -> None:
    plain = make_config("crops", {}).params
    assert (plain["crop"]["detector"], plain["crop"]["enlarge"], plain["mask"]["mask_source"]) == (
        "whole",
        1.0,
        "available",
    )
    assert make_config("crops", {"preset": "two-stream"}).params["crop"]["detector"] == "whole"
    assert "mask" not in make_config("crops", {"stages": "crop"}).params
    own = make_config("crops", {"detector": "libfacedetection", "mask_source": "difference"}).params
    assert (own["crop"]["detector"], own["crop"]["enlarge"], own["mask"]["mask_source"]) == (
        "libfacedetection",
        1.3,
        "difference",
    )
    assert make_config("ffpp", {}).params["crop"]["detector"] == "libfacedetection"
