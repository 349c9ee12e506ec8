"""What the adapters of newer datasets make of names, lists that lie, reals elsewhere, sound and periods."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from forgeprep.datasets import dataset_name, get_dataset
from forgeprep.datasets.base import Scan, ScanOptions
from forgeprep.datasets.celebdf import LIST
from forgeprep.errors import UsageError
from forgeprep.schemas.clips import Clip
from tests.conftest import run_cli
from tests.helpers.trees import put, scan


def scan_with(name: str, root: Path, **roots: Path) -> Scan:
    given = {dataset_name(key.replace("_", "-")): path for key, path in roots.items()}
    return get_dataset(name).scan(root, ScanOptions(real_roots=given))


def by_path(found: Scan) -> dict[str, Clip]:
    return {clip.path: clip for clip in found.clips}


def test_names_recur_in_every_method_of_celebdf_v3_and_wrong_lines_are_told(tmp_path: Path) -> None:
    put(tmp_path, "Celeb-real/id1_0003.mp4", "YouTube-real/00170.mp4")
    swap, talk = "id1_id2_0003.mp4", "id1_0003_test_17.mp4"
    put(tmp_path, f"Celeb-synthesis/FaceSwap/SimSwap/{swap}", f"Celeb-synthesis/FaceSwap/ghost/{swap}")
    put(tmp_path, f"Celeb-synthesis/FaceReenact/NewOne/{swap}", f"Celeb-synthesis/TalkingFace/IP_LAP/{talk}")
    put(tmp_path, f"Celeb-synthesis/FaceSwap/Celeb-DF-v2/{swap}")
    (tmp_path / LIST).write_text(
        f"1 YouTube-real/00170.mp4\n1 Celeb-synthesis/FaceSwap/GHOST/{swap}\n0 Celeb-synthesis/x.mp4\nrubbish\n"
    )
    found = scan("celebdf-v3", tmp_path)
    told = {
        clip.clip_id.removeprefix("celebdf-v3/"): (clip.split, clip.original_id, clip.guessed) for clip in found.clips
    }
    real = "celebdf-v3/Celeb-real/id1_0003"
    assert told == {
        "Celeb-real/id1_0003": ("train", None, False),
        "YouTube-real/00170": ("test", None, False),
        "SimSwap/id1_id2_0003": ("train", real, True),
        # The list says 1, real; the folder counts.
        "GHOST/id1_id2_0003": ("test", real, True),
        "NewOne/id1_id2_0003": ("train", real, True),
        "IP-LAP/id1_0003_test_17": ("train", real, True),
        "Celeb-DF-v2/id1_id2_0003": ("train", real, False),
    }
    assert {clip.forgery for clip in found.clips if clip.method == "NewOne"} == {"identity_remained"}
    assert any("3 lines are wrong: line 2 says 1 of Celeb-synthesis/FaceSwap/GHOST/" in line for line in found.warnings)


def test_sound_alone_looks_real_and_a_swap_of_two_splits_is_left_out(tmp_path: Path) -> None:
    people = [f"id{number:05d}" for number in range(20)]
    rows = ["source,target1,target2,method,category,type,race,gender,filename,path"]
    for i, person in enumerate(people):
        home, other = f"African/men/{person}", people[(i + 1) % 20]
        fakes = {f"00001_{other}_fsgan.mp4": "fsgan", f"00001_{other}_wavtolip.mp4": "wav2lip", "00001_9.mp4": ""}
        put(tmp_path, f"RealVideo-RealAudio/{home}/00001.mp4", f"RealVideo-FakeAudio/{home}/00001_fake.mp4")
        put(tmp_path, *(f"FakeVideo-RealAudio/{home}/{name}" for name in fakes))
        for name, method in fakes.items():
            kind = "FakeVideo-RealAudio"
            row = f"{person},{other},-,{method},C,{kind},African,men,{name},FakeAVCeleb/{kind}/{home}"
            # Rows stand twice, and one person's are of an older version.
            rows += [row, row] if method and i else [row.replace("00001_", "v1_")] if method else []
    (tmp_path / "meta_data.csv").write_text("\n".join(rows) + "\nx,y\n")
    found = scan("fakeavceleb", tmp_path)
    splits = {clip.identities[0]: clip.split for clip in found.clips if clip.label == 0}
    assert Counter(splits.values()) == {"train": 14, "val": 3, "test": 3}
    assert all(splits[person] == clip.split for clip in found.clips for person in clip.identities)
    count = Counter(clip.method for clip in found.clips)
    # Of a voice nothing is seen, so lips go with their own person; swaps only within a split.
    crossing = sum(splits[a] != splits[b] for a, b in zip(people[1:], [*people[2:], people[0]], strict=True))
    assert count == {None: 40, "wav2lip": 19, "fsgan": 19 - crossing, "unknown": 22}
    assert {clip.original_id for clip in found.clips if clip.label} == {
        f"fakeavceleb/RealVideo-RealAudio/African/men/{person}/00001" for person in people
    }
    told = "\n".join(found.warnings)
    assert "38 clips stand there twice" in told
    assert "1 row names no clip" in told
    assert "2 files are listed but not there" in told
    kept = scan("fakeavceleb", tmp_path, sound_fakes="skip", swaps="by-source")
    assert Counter(clip.method for clip in kept.clips) == {None: 20, "wav2lip": 19, "fsgan": 19, "unknown": 22}
    assert any("may stand in two splits" in line for line in kept.warnings)


def test_reals_of_another_dataset_keep_its_names_and_splits(tmp_path: Path) -> None:
    ffpp, cdf, df40, deeper = (tmp_path / name for name in ("ffpp", "cdf", "df40", "deeper"))
    put(ffpp, *(f"original_sequences/youtube/c23/videos/{n}.mp4" for n in ("071", "054", "953")))
    put(cdf, "Celeb-real/id1_0003.mp4", "Celeb-real/id5_0003.mp4", "Celeb-synthesis/id1_id2_0003.mp4")
    (cdf / LIST).write_text("1 Celeb-real/id1_0003.mp4\n")
    put(df40, "DF40_train/SimSwap/frames/071_054/010.png", "DF40_train/simswap/frames/071_953/010.png")
    put(df40, "DF40/simswap/cdf/frames/id1_id2_0003/003.png", "DF40/RDDM/ff/953/1.png", "DF40_train/rddm/071/7.png")
    put(df40, "DF40/DiT/cdf/YouTube-real/00043/458.png", "DF40/heygen/fake/a/1.png", "DF40/heygen/real/a/1.png")
    found = scan_with("df40", df40, ffpp=ffpp, celebdf_v2=cdf)
    told = {clip.path.removeprefix(f"{tmp_path}/"): (clip.label, clip.split, clip.method) for clip in found.clips}
    assert told == {
        "ffpp/original_sequences/youtube/c23/videos/054.mp4": (0, "train", None),
        "ffpp/original_sequences/youtube/c23/videos/071.mp4": (0, "train", None),
        "ffpp/original_sequences/youtube/c23/videos/953.mp4": (0, "test", None),
        "cdf/Celeb-real/id1_0003.mp4": (0, "test", None),
        "DF40_train/SimSwap/frames/071_054": (1, "train", "simswap"),
        "DF40/simswap/cdf/frames/id1_id2_0003": (1, "test", "simswap"),
        "DF40/RDDM/ff/953/1.png": (1, "test", "RDDM"),
        "DF40_train/rddm/071/7.png": (1, "train", "RDDM"),
        "DF40/DiT/cdf/YouTube-real/00043/458.png": (1, "test", "DiT"),
        "DF40/heygen/fake/a/1.png": (1, "test", "heygen"),
        "DF40/heygen/real/a/1.png": (0, "test", None),
    }
    swaps = [clip for clip in found.clips if clip.method == "simswap"]
    assert [clip.original_id for clip in swaps] == ["celebdf-v2/Celeb-real/id1_0003", "ffpp/c23/youtube/071"]
    assert [clip.source_id for clip in swaps] == ["celebdf-v2/id1_0003", "ffpp/c23/071"]
    assert any("1 fake left out, it would leak people of another split" in line for line in found.warnings)
    assert any("the reals of ffpp and celebdf-v2 are videos" in line for line in found.warnings)
    alone = scan_with("df40", df40)
    assert any("give --real-root ffpp=DIR" in line for line in alone.warnings)
    assert {clip.clip_id for clip in alone.clips if clip.label} == {clip.clip_id for clip in found.clips if clip.label}
    # By actor, as the authors deal them out: the real goes with its fakes.
    put(deeper, "manipulated_videos/end_to_end/071_M001.mp4", "manipulated_videos/end_to_end/953_W002.mp4")
    put(deeper, "lists/splits/x", "manipulated_videos/end_to_end/054_W003.mp4")
    (deeper / "lists/splits/val.txt").write_text("071_M001.mp4\n")
    (deeper / "lists/splits/train.txt").write_text("953_W002.mp4\n")
    found = scan_with("deeperforensics", deeper, ffpp=ffpp)
    assert {clip.clip_id: clip.split for clip in found.clips} == {
        "deeperforensics/end_to_end/071_M001": "val",
        "ffpp/c23/youtube/071": "val",
        "deeperforensics/end_to_end/953_W002": "train",
        "ffpp/c23/youtube/953": "train",
    }
    assert any("1 fake left out, in no list of a split" in line for line in found.warnings)


def test_a_real_root_that_makes_no_sense_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path, "manipulated_videos/end_to_end/071_M001.mp4")
    for dataset, text, message in (
        ("ffpp", "ffpp=x", "--real-root ffpp=x: the reals of ffpp are its own"),
        ("deeperforensics", "ffp=x", "unknown dataset of --real-root 'ffp': did you mean 'ffpp'?"),
        ("deeperforensics", "x", "--real-root must be NAME=VALUE, got 'x'"),
        ("deeperforensics", f"FF++={tmp_path / 'no'}", f"--real-root ffpp={tmp_path / 'no'}: no such folder"),
    ):
        words = ["--root", str(tmp_path), "--out", str(tmp_path.with_name("out")), "--real-root", text, "--dry-run"]
        assert run_cli("run", dataset, *words) == 2
        assert message in capsys.readouterr().err


def test_periods_become_frames_and_lists_that_lie_cost_nothing(tmp_path: Path) -> None:
    put(tmp_path, *(f"train/{n:06d}.mp4" for n in range(5)))
    real: dict[str, Any] = {
        "file": "train/000000.mp4",
        "split": "train",
        "original": None,
        "video_frames": 103,
        "fake_periods": [],
    }
    fake = {**real, "original": "train/000000.mp4", "modify_video": True, "fake_periods": [[0.4, 0.8], [2.0, 9e9]]}
    entries = [
        {**real, "modify_video": False, "modify_audio": False},
        {**fake, "file": "train/000001.mp4"},
        {**fake, "file": "train/000002.mp4", "video_frames": 116},
        {**fake, "file": "train/000003.mp4", "modify_video": False, "modify_audio": True},
        {**fake, "file": "train/000004.mp4", "video_frames": "many", "fake_periods": "none"},
        {**fake, "file": "train/000009.mp4"},
        "rubbish",
        {},
    ]
    (tmp_path / "metadata.json").write_text(json.dumps(entries))
    found = scan("lavdf", tmp_path)
    clips = by_path(found)
    assert [clip.label for clip in clips.values()] == [0, 1, 1, 0, 1]
    assert clips["train/000001.mp4"].periods == [[0.4, 0.8]]
    # Longer than its original: that is a guess, so that nothing is lost.
    assert [clip.guessed for clip in clips.values()] == [False, False, True, False, True]
    assert clips["train/000004.mp4"].periods is None
    told = "\n".join(found.warnings)
    assert "1 file is listed but not there: train/000009.mp4" in told
    assert "2 entries without a split or a period" in told


def test_labels_beside_the_clips_of_avdeepfake1m(tmp_path: Path) -> None:
    home = "val/id00001/abc/00001"
    put(tmp_path, f"{home}/real.mp4", f"{home}/fake_video_fake_audio.mp4", f"{home}/odd.mp4")
    for name, entry in {
        "real": {"modify_type": "real", "video_frames": 50},
        "fake_video_fake_audio": {
            "modify_type": "both-modified",
            "original": "id00001/abc/00001/real.mp4",
            "video_frames": 50,
            "visual_fake_segments": [[1.0, 2.0]],
            "fake_segments": [[0.0, 2.0]],
        },
        "odd": {"modify_type": "dubbed"},
    }.items():
        (tmp_path / home / f"{name}.json").write_text(json.dumps(entry))
    found = scan("avdeepfake1m", tmp_path, validation="test")
    assert [(clip.label, clip.split, clip.periods, clip.audio_periods) for clip in found.clips] == [
        (1, "test", [[1.0, 2.0]], [[0.0, 2.0]]),
        (0, "test", None, None),
    ]
    assert [(clip.visual_label, clip.audio_label) for clip in found.clips] == [(1, 1), (0, 0)]
    assert [clip.listed_frames for clip in found.clips] == [50, 50]
    assert found.clips[0].original_id == found.clips[1].clip_id
    assert any("1 entry of val is left out" in line for line in found.warnings)


def test_shards_of_wilddeepfake_that_are_packed_are_told(tmp_path: Path) -> None:
    put(tmp_path, "real_train/0.tar.gz", "fake_train/0.tar.gz")
    with pytest.raises(UsageError, match=r"2 shards are still packed: real_train/0.tar.gz, .*unpack with: for f in"):
        scan("wilddeepfake", tmp_path)
    put(tmp_path, *(f"{kind}_train/{n}/{kind}/{s}/7.png" for kind in ("real", "fake") for n in range(4) for s in "01"))
    found = scan("wilddeepfake", tmp_path, val=0.5)
    count = Counter(clip.split for clip in found.clips)
    # A shard is dealt out whole, by its hash.
    assert count.total() == 16
    assert all(count[split] and count[split] % 2 == 0 for split in ("train", "val"))
    shards = {split: {clip.identities[0] for clip in found.clips if clip.split == split} for split in ("train", "val")}
    assert not shards["train"] & shards["val"]
    assert not [line for line in found.warnings if "packed" in line]


def test_the_small_datasets_are_told_by_names_or_by_their_list(tmp_path: Path) -> None:
    put(tmp_path / "k", "original_videos/7/7_001.mp4", "synthesized_videos/7_9_3_001.mp4", "other/x.mp4")
    found = scan("kodf", tmp_path / "k", ratios="1,0,0")
    assert [(clip.clip_id, clip.original_id) for clip in found.clips] == [
        ("kodf/code-3/7_9_3_001", "kodf/real/7_001"),
        ("kodf/real/7_001", None),
    ]
    assert any("1 file left out" in line and "other/x.mp4" in line for line in found.warnings)
    put(tmp_path / "e", "videos/a.mp4", "videos/b.mp4")
    lines = ["Filename,Video Ground Truth,Finetuning Set", "a.mp4,Real,Train", "b.mp4,Fake,Test", "c.mp4,Fake,Test"]
    (tmp_path / "e/video-metadata-publish.csv").write_text("\n".join([*lines, "a.mp4,Unknown,Train"]) + "\n")
    found = scan("deepfake-eval-2024", tmp_path / "e")
    assert [(clip.label, clip.split) for clip in found.clips] == [(0, "train"), (1, "test")]
    told = "\n".join(found.warnings)
    assert "1 file is listed but not there: c.mp4" in told
    assert "1 line left out, twice or not labelled Real or Fake: a.mp4 (Unknown, Train)" in told
