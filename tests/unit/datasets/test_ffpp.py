"""FaceForensics++: the official split, names and pairs, and what a scan says about an incomplete copy."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forgeprep.datasets.base import MissingCount, Scan, ScanOptions
from forgeprep.datasets.ffpp import FFPP, official_pairs, official_split
from forgeprep.schemas.clips import Clip

PAIRS = {"train": ("071", "054"), "val": ("720", "672"), "test": ("953", "974")}


def put(root: Path, *paths: str) -> Path:
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return root


def real(name: str, compression: str = "c23") -> str:
    return f"original_sequences/youtube/{compression}/videos/{name}.mp4"


def fake(name: str, method: str = "Deepfakes", compression: str = "c23") -> str:
    return f"manipulated_sequences/{method}/{compression}/videos/{name}.mp4"


def mask(name: str, method: str = "Deepfakes") -> str:
    return fake(name, method, "masks")


def scan(root: Path, **options: Any) -> Scan:
    return FFPP.scan(root, ScanOptions(**options))


def ids(found: Scan) -> list[str]:
    return [clip.clip_id for clip in found.clips]


def test_official_split_has_the_published_counts_and_no_id_twice() -> None:
    pairs = official_pairs()
    assert Counter(split for split, _, _ in pairs) == {"train": 360, "val": 70, "test": 70}
    numbers = [number for _, a, b in pairs for number in (a, b)]
    assert sorted(numbers) == [f"{number:03d}" for number in range(1000)]
    assert Counter(official_split().values()) == {"train": 720, "val": 140, "test": 140}
    assert all((split, *pair) in pairs for split, pair in PAIRS.items())


def test_clips_carry_names_pairs_labels_and_sizes(tmp_path: Path) -> None:
    put(tmp_path, real("071"), fake("071_054"), mask("071_054"), fake("071_054", "NeuralTextures"))
    (tmp_path / real("071")).write_bytes(b"1234")
    original, deepfake, textures = sorted(scan(tmp_path).clips, key=lambda clip: (clip.label, clip.clip_id))
    assert original == Clip(
        clip_id="ffpp/c23/youtube/071",
        dataset="ffpp",
        path=real("071"),
        split="train",
        source_id="ffpp/c23/071",
        original_id=None,
        label=0,
        forgery="real",
        compression="c23",
        identities=["071"],
        size_bytes=4,
    )
    assert deepfake == Clip(
        clip_id="ffpp/c23/Deepfakes/071_054",
        dataset="ffpp",
        path=fake("071_054"),
        split="train",
        source_id="ffpp/c23/071",
        original_id="ffpp/c23/youtube/071",
        label=1,
        forgery="identity_replaced",
        method="Deepfakes",
        family="autoencoder",
        compression="c23",
        companions={"mask": mask("071_054")},
        identities=["071", "054"],
    )
    assert (textures.forgery, textures.companions) == ("identity_remained", {})


def test_methods_with_equal_file_names_do_not_replace_one_another(tmp_path: Path) -> None:
    put(tmp_path, real("071"), *(fake("071_054", method) for method in FFPP.methods))
    assert ids(scan(tmp_path)) == sorted([f"ffpp/c23/{m}/071_054" for m in FFPP.methods] + ["ffpp/c23/youtube/071"])


def test_a_fake_is_paired_within_its_own_compression(tmp_path: Path) -> None:
    put(tmp_path, *(real("071", quality) for quality in ("raw", "c40")))
    put(tmp_path, *(fake("071_054", compression=quality) for quality in ("raw", "c23", "c40")))
    found = scan(tmp_path, compressions=("c40", "c23", "raw"))
    paths = {clip.clip_id: clip.path for clip in found.clips}
    for clip in found.clips:
        assert clip.clip_id.split("/")[1] == clip.source_id.split("/")[1] == clip.compression
        if clip.original_id in paths:
            assert f"/{clip.compression}/" in paths[clip.original_id]
    assert found.without_original == ["ffpp/c23/Deepfakes/071_054"]  # the c40 original is no stand-in


@pytest.mark.parametrize("folder", ["raw", "c0", "C0"])
@pytest.mark.parametrize("asked", ["raw", "c0", "RAW"])
def test_c0_is_another_name_of_raw(tmp_path: Path, folder: str, asked: str) -> None:
    put(tmp_path, real("071", folder), fake("071_054", compression=folder))
    found = scan(tmp_path, compressions=(asked,))
    assert ids(found) == ["ffpp/raw/Deepfakes/071_054", "ffpp/raw/youtube/071"]
    assert {clip.compression for clip in found.clips} == {"raw"}
    assert all(f"/{folder}/" in clip.path for clip in found.clips)


def test_raw_and_c0_with_different_clips_are_read_as_one(tmp_path: Path) -> None:
    put(tmp_path, real("071", "raw"), real("054", "c0"))
    assert ids(scan(tmp_path, compressions=("raw",))) == ["ffpp/raw/youtube/054", "ffpp/raw/youtube/071"]


def test_names_match_without_case(tmp_path: Path) -> None:
    put(tmp_path, "Original_Sequences/YouTube/C23/Videos/071.MP4", fake("071_054", "deepfakes").replace("mp4", "Mp4"))
    found = scan(tmp_path, methods=("DEEPFAKES",), compressions=("C23",))
    assert ids(found) == ["ffpp/c23/Deepfakes/071_054", "ffpp/c23/youtube/071"]
    assert found.clips[1].path == "Original_Sequences/YouTube/C23/Videos/071.MP4"


def test_methods_default_to_the_folders_there(tmp_path: Path) -> None:
    put(tmp_path, real("071"), fake("071_054"), fake("071_054", "FaceShifter"), fake("071_054", "DeepFakeDetection"))
    found = scan(tmp_path)
    assert {clip.method for clip in found.clips} == {None, "Deepfakes", "FaceShifter"}
    assert "methods without a folder, left out: Face2Face, FaceSwap, NeuralTextures" in found.warnings
    chosen = scan(tmp_path, methods=("Deepfakes",))
    assert {clip.method for clip in chosen.clips} == {None, "Deepfakes"}
    assert chosen.warnings == []
    assert ids(scan(tmp_path, methods=())) == ["ffpp/c23/youtube/071"]


def test_an_absent_face_shifter_is_nothing_to_report(tmp_path: Path) -> None:
    put(tmp_path, real("071"), *(fake("071_054", method) for method in FFPP.methods if method != "FaceShifter"))
    assert scan(tmp_path).warnings == []


def test_splits_are_filtered(tmp_path: Path) -> None:
    for a, b in PAIRS.values():
        put(tmp_path, real(a), real(b), fake(f"{a}_{b}"), fake(f"{b}_{a}"))
    found = scan(tmp_path)
    assert Counter(clip.split for clip in found.clips) == {"train": 4, "val": 4, "test": 4}
    assert not any("leak" in warning or "more than one split" in warning for warning in found.warnings)
    only = scan(tmp_path, splits=("val",))
    assert ids(only) == [clip.clip_id for clip in found.clips if clip.split == "val"]
    assert {count.split for count in only.missing} == {"val"}


def test_a_partial_copy_is_counted_against_the_published_numbers(tmp_path: Path) -> None:
    put(tmp_path, real("071"), fake("071_054"))
    found = scan(tmp_path, splits=("train",), methods=("Deepfakes",))
    assert found.missing == [
        MissingCount("originals", "c23", None, "train", found=1, published=720),
        MissingCount("fakes", "c23", "Deepfakes", "train", found=1, published=720),
    ]


def test_a_complete_copy_misses_nothing(tmp_path: Path) -> None:
    put(tmp_path, *(real(number) for number in official_split()))
    put(tmp_path, *(fake(name) for _, a, b in official_pairs() for name in (f"{a}_{b}", f"{b}_{a}")))
    found = scan(tmp_path, methods=("Deepfakes",))
    assert (len(found.clips), found.missing, found.without_original) == (2000, [], [])


def test_missing_originals_are_named_and_their_fakes_kept(tmp_path: Path) -> None:
    train = [(a, b) for split, a, b in official_pairs() if split == "train"][:8]
    put(tmp_path, real(train[0][0]), *(fake(f"{a}_{b}") for a, b in train), fake("071_054", "FaceSwap"))
    found = scan(tmp_path, methods=("Deepfakes", "FaceSwap"))
    assert len(found.clips) == 10
    assert found.without_original == [
        clip.clip_id for clip in found.clips if clip.label and train[0][0] not in clip.source_id
    ]
    (warning,) = found.warnings
    absent = sorted(f"ffpp/c23/youtube/{a}" for a, _ in train[1:])
    fakes = f"{len(found.without_original)} fakes"
    assert warning == f"{fakes} have no original on disk; missing originals: {', '.join(absent[:5])} and 2 more"


def test_fakes_of_one_train_clip_and_one_test_clip_are_left_out(tmp_path: Path) -> None:
    put(tmp_path, real("071"), fake("071_054"), fake("071_953"))
    found = scan(tmp_path, methods=("Deepfakes",))
    assert ids(found) == ["ffpp/c23/Deepfakes/071_054", "ffpp/c23/youtube/071"]
    assert found.warnings == [
        f"1 fake left out, of no official pair and made from clips of two splits: {fake('071_953')}"
    ]


def test_other_files_are_named_and_hidden_ones_passed_over(tmp_path: Path) -> None:
    put(tmp_path, real("071"), real("1071"), real("٠٧١"), fake("071"), fake("071_054_x"), real("054") + ".part")
    put(tmp_path, real("._071"), real(".hidden"), mask("071-054"))
    (tmp_path / real("087")).mkdir()
    (tmp_path / real("081")).symlink_to(tmp_path / "nowhere.mp4")
    found = scan(tmp_path)
    # A broken link is a clip that cannot be read: it ends among the drops.
    assert ids(found) == ["ffpp/c23/youtube/071", "ffpp/c23/youtube/081"]
    (warning,) = [text for text in found.warnings if "left out, not files" in text]
    assert warning.startswith("7 entries left out, not files named AAA.mp4 (originals) or AAA_BBB.mp4 (fakes, masks)")
    assert warning.endswith(" and 2 more")
    assert mask("071-054") in warning
    assert "hidden" not in warning
    assert "._" not in warning


def test_masks_for_only_some_fakes_are_reported(tmp_path: Path) -> None:
    put(tmp_path, real("071"), real("054"), fake("071_054"), fake("054_071"), mask("054_071"))
    put(tmp_path, fake("071_054", "FaceShifter"))
    found = scan(tmp_path, methods=("Deepfakes", "FaceShifter"))
    assert {clip.clip_id: clip.companions for clip in found.clips if clip.companions} == {
        "ffpp/c23/Deepfakes/054_071": {"mask": mask("054_071")}
    }
    assert found.warnings == ["only some fakes have the dataset's own mask: Deepfakes 1 of 2"]


def test_the_listing_does_not_depend_on_the_order_on_disk(tmp_path: Path) -> None:
    paths = [real(number) for number in sorted(official_split())[:60]] + [real("x"), real("y")]
    paths += [fake(f"{a}_{b}", method) for _, a, b in official_pairs()[:30] for method in FFPP.methods]
    scans = []
    for seed in range(3):
        random.Random(seed).shuffle(paths)
        scans.append(scan(put(tmp_path / str(seed), *paths)))
    assert scans[0] == scans[1] == scans[2]
    assert ids(scans[0]) == sorted(set(ids(scans[0])))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(official_pairs()), st.booleans(), st.sampled_from(FFPP.methods)), min_size=1))
def test_any_part_of_the_dataset_keeps_the_splits_apart(choice: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for (_, a, b), turned, method in choice:
            put(Path(folder), real(a), fake(f"{b}_{a}" if turned else f"{a}_{b}", method))
        clips = scan(Path(folder)).clips
    splits: dict[str, set[str]] = {}
    for clip in clips:
        for number in clip.clip_id.rsplit("/", 1)[1].split("_"):
            assert official_split()[number] == clip.split
            splits.setdefault(number, set()).add(clip.split)
    assert all(len(of_one) == 1 for of_one in splits.values())
    assert len(clips) == len({(pair, turned, method) for pair, turned, method in choice}) + len(
        {pair for pair, _, _ in choice}
    )
