"""Originals that are guessed by name: compared, exchanged for another candidate, or given up without losing a fake."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from forgeprep.demo.layout import PAIRS
from forgeprep.schemas.splits import with_read_split
from forgeprep.shards.read import iter_rows, shard_paths
from tests.conftest import LaidOut, read_picture, run_cli
from tests.helpers.variants import perturb_apart

PICTURES, TRAIN = ("--option", "kind=images"), ("--splits", "train")


def run(name: str, root: Path, *more: str, frames: str = "4", stages: str = "crop,mask") -> dict[str, Any]:
    """Run and verify; clips by id, rows and drops."""
    out = root.parent / f"{root.name}-out"
    where = ["--root", str(root), "--out", str(out), "--stages", stages, "--frames", frames, "--workers", "0"]
    assert run_cli("run", name, *where, *more) == 0
    assert run_cli("verify", str(out)) == 0
    clips = [with_read_split(clip) for clip in pq.read_table(out / "meta/clips.pq").to_pylist()]
    return {
        "clips": {clip["clip_id"]: clip for clip in clips},
        "rows": [row for path in shard_paths(out) for row in iter_rows(path)],
        "drops": pq.read_table(out / "meta/drops.pq").to_pylist(),
    }


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def fakes_of(made: dict[str, Any]) -> list[dict[str, Any]]:
    return [clip for clip in made["clips"].values() if clip["label"]]


def iou(row: dict[str, Any], truth: Path) -> float:
    x0, y0, x1, y1 = row["crop_box"]
    true = np.pad(read_picture(truth, cv2.IMREAD_GRAYSCALE), 500)[y0 + 500 : y1 + 500, x0 + 500 : x1 + 500] > 0
    return float((true & (row["mask"] > 0)).sum() / (true | (row["mask"] > 0)).sum())


def test_no_fake_is_lost_where_fakes_and_reals_were_perturbed_apart(laid_out: LaidOut, tmp_path: Path) -> None:
    laid_out("forgerynet", pairs=2, to=tmp_path / "in")
    count = perturb_apart(tmp_path / "in")
    made = run("forgerynet", tmp_path / "in", *PICTURES)
    fakes = fakes_of(made)
    assert len(fakes) == count >= 32
    assert [clip["clip_id"] for clip in fakes if clip["written"] != 1] == []
    refused = {clip["clip_id"]: clip for clip in fakes if clip["pairing"] == "refused"}
    assert len(refused) > 0.8 * count
    for clip in refused.values():
        assert clip["guesses"][0]["original_id"].endswith(
            clip["source_id"].removeprefix(f"forgerynet/{clip['split']}/image")
        )
        verdicts = {guess["verdict"] for guess in clip["guesses"]}
        assert verdicts <= {"unaligned", "size_mismatch", "no_face", "no_visual_change"}
    # A refused guess leaves no trace in the samples: they are as if nothing had been guessed.
    shutil.rmtree(tmp_path / "in-out")
    plain = {
        row["clip_id"]: row for row in run("forgerynet", tmp_path / "in", *PICTURES, "--option", "pairs=none")["rows"]
    }
    for row in made["rows"]:
        if row["clip_id"] in refused:
            assert same(row, plain[row["clip_id"]]), row["clip_id"]
            assert row["mask_source"] == "provided"


def test_an_edit_is_paired_with_the_real_that_it_shows_not_with_its_namesake(laid_out: LaidOut, tmp_path: Path) -> None:
    root = laid_out("genface", to=tmp_path / "in")
    partner = {a: b for _, x, y in PAIRS[:3] for a, b in ((x, y), (y, x))}
    for split in ("train", "val", "test"):
        shutil.copytree(root / split / "real" / "CelebA_HQ", root / split / "real" / "FFHQ")
        for real in (root / split / "real" / "FFHQ").iterdir():
            other = real.with_name(partner[real.name[:3]] + real.name[3:])
            namesake = root / split / "real" / "CelebA_HQ" / real.name
            # Another person under the same number; where the other's clip is shorter, no namesake.
            shutil.copyfile(other, namesake) if other.is_file() else namesake.unlink()
    made = run("genface", root)
    assert made["drops"] == []
    edited = [clip for clip in fakes_of(made) if clip["forgery"] != "entire_synthesis"]
    assert len(edited) > 30
    for clip in edited:
        celeba, ffhq = (f"genface/{clip['split']}/real/{name}/" for name in ("CelebA_HQ", "FFHQ"))
        *before, last = clip["guesses"]
        assert (clip["pairing"], clip["original_id"], last["verdict"]) == ("guessed", last["original_id"], "fits")
        assert clip["original_id"].startswith(ffhq)
        assert clip["source_id"] == made["clips"][clip["original_id"]]["source_id"]
        assert all(g["original_id"].startswith(celeba) and g["verdict"] == "unaligned" for g in before)
    assert sum(len(clip["guesses"]) == 2 for clip in edited) > 0.8 * len(edited)
    boxes = {row["clip_id"]: row["crop_box"] for row in made["rows"]}
    ious = []
    for row in made["rows"]:
        if row["label"] and row["original_id"]:
            assert (row["mask_source"], row["crop_box"]) == ("difference", boxes[row["original_id"]])
            ious.append(iou(row, root / "truth" / made["clips"][row["clip_id"]]["path"]))
    assert len(ious) == len(edited)
    assert np.mean(ious) > 0.8
    # Without the right one, nothing fits, and the fakes are kept all the same.
    shutil.rmtree(tmp_path / "in-out")
    for folder in root.glob("*/real/FFHQ"):
        shutil.rmtree(folder)
    made = run("genface", root)
    assert made["drops"] == []
    assert {row["mask_source"] for row in made["rows"] if row["label"]} == {"absent"}
    assert {clip["pairing"] for clip in fakes_of(made)} <= {"refused", "none"}


@pytest.mark.parametrize(
    "more",
    [("--frames", "all"), pytest.param(("--frames", "2", "--sequence-length", "8"), marks=pytest.mark.long)],
)
def test_of_two_people_in_a_name_the_one_who_is_seen_is_the_original(
    more: tuple[str, ...], couple: Path, tmp_path: Path
) -> None:
    """Videos in folders: the names say 071_054, but 054 is the target; and one that shows neither."""
    root = tmp_path / "in"
    for stem, place in (("054_071", "turned/071_054"), ("071_054", "right/071_054")):
        source = couple / f"manipulated_sequences/Deepfakes/c23/videos/{stem}.mp4"
        (root / "fake" / place).parent.mkdir(parents=True)
        shutil.copyfile(source, root / "fake" / f"{place}.mp4")
    (root / "real").mkdir()
    for person in ("071", "054"):
        shutil.copyfile(couple / f"original_sequences/youtube/c23/videos/{person}.mp4", root / "real" / f"{person}.mp4")
    made = run("folder", root, *more)
    turned, right = made["clips"]["folder/fake/turned/071_054"], made["clips"]["folder/fake/right/071_054"]
    assert (turned["original_id"], turned["source_id"]) == ("folder/real/054", "folder/real/054")
    assert [(g["original_id"], g["verdict"]) for g in turned["guesses"]] == [
        ("folder/real/071", "unaligned"),
        ("folder/real/054", "fits"),
    ]
    assert (right["original_id"], right["pairing"], len(right["guesses"])) == ("folder/real/071", "guessed", 1)
    assert min(turned["written"], right["written"]) >= (2 if "--sequence-length" in more else 60)
    # The frames are those of the original that was found, not of the one that was planned.
    assert made["drops"] == []
    if "all" in more:
        assert [turned["written"], right["written"]] == [
            made["clips"][f"folder/real/{p}"]["written"] for p in ("054", "071")
        ]
    # The wrong pair is of no use to anyone, so with a pattern, which is the user's word, it is dropped as such.
    shutil.rmtree(tmp_path / "in-out")
    few = ("--frames", "4") if "all" in more else more
    stated = run("folder", root, *few, "--option", r"pattern=(?P<method>\w+)/(?P<original>\d+)_\d+")
    assert {(drop["clip_id"], drop["reason"]) for drop in stated["drops"]} == {
        ("folder/fake/turned/071_054", "unaligned")
    }
    assert {clip["pairing"] for clip in fakes_of(stated)} == {"stated"}


def test_of_several_reals_under_one_id_each_is_written_and_the_right_one_paired(
    laid_out: LaidOut, tmp_path: Path
) -> None:
    root = laid_out("forgerynet", pairs=2, to=tmp_path / "in")
    home = root / "Training"
    people = sorted((home / "image/train_release/16").iterdir())
    lines = []
    for person in people:
        for picture in person.iterdir():
            twin = home / "image/train_release/17" / person.name / picture.name
            twin.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(picture, twin)
            lines.append(f"train_release/17/{person.name}/{picture.name} 0 0 0\n")
    for person, other in (people, people[::-1]):
        for twin in (home / "image/train_release/17" / other.name).iterdir():
            if (person / twin.name).is_file():
                shutil.copyfile(twin, person / twin.name)
    with (home / "image_list.txt").open("a") as file:
        file.writelines(lines)
    made = run("forgerynet", root, *PICTURES, *TRAIN)
    reals = [clip for clip in made["clips"].values() if not clip["label"]]
    assert {clip["written"] for clip in reals} == {1}
    fakes = fakes_of(made)
    assert {clip["pairing"] for clip in fakes} == {"guessed"}
    assert {clip["written"] for clip in fakes} == {1}
    assert sum("/17/" in clip["original_id"] for clip in fakes) > 0.7 * len(fakes)
    assert all(clip["original_id"].endswith(clip["source_id"].rpartition("image/")[2]) for clip in fakes)


def test_the_provided_mask_tells_which_of_several_faces_is_forged(laid_out: LaidOut, tmp_path: Path) -> None:
    root = laid_out("forgerynet", pairs=2, to=tmp_path / "in")
    home = root / "Training"
    stranger = read_picture(sorted((home / "image/train_release/16").glob("*/*.jpg"))[-1])
    for mask in home.glob("spatial_localize/**/*.jpg"):
        picture = home / "image/train_release" / mask.relative_to(home / "spatial_localize/train_mask_release")
        cv2.imwrite(str(picture), np.hstack([stranger, read_picture(picture)]))
        shape = read_picture(mask, cv2.IMREAD_GRAYSCALE)
        cv2.imwrite(str(mask), np.hstack([np.zeros_like(shape), shape]))
    for kept in ("skip", "real"):
        made = run("forgerynet", root, *PICTURES, *TRAIN, "--bystanders", kept)
        shutil.rmtree(tmp_path / "in-out")
        fakes = [row for row in made["rows"] if made["clips"][row["clip_id"]]["label"]]
        assert {(row["label"], row["crop_box"][0] > stranger.shape[1] // 2) for row in fakes} == (
            {(1, True)} | ({(0, False)} if kept == "real" else set())
        )
        assert {row["mask_source"] for row in fakes if row["label"]} <= {"provided", "absent"}
        count = len(fakes_of(made))
        assert Counter(drop["reason"] for drop in made["drops"]) == ({"bystander": count} if kept == "skip" else {})


def test_what_becomes_of_a_fake_whose_original_is_not_on_disk(demo: Path, tmp_path: Path) -> None:
    root = tmp_path / "in"
    for folder in ("original_sequences/youtube/c23", "manipulated_sequences/Deepfakes"):
        shutil.copytree(demo / folder, root / folder)
    (root / "original_sequences/youtube/c23/videos/071.mp4").unlink()
    lost = "ffpp/c23/Deepfakes/071_054"
    for more, source, reason in (
        ((), None, "no_original"),
        (("--mask-source", "provided"), "provided", None),
        (("--missing-original", "absent"), "provided", None),
    ):
        made = run("ffpp", root, *TRAIN, "--methods", "Deepfakes", *more)
        shutil.rmtree(tmp_path / "in-out")
        assert made["clips"][lost]["pairing"] == "missing"
        rows = [row for row in made["rows"] if row["clip_id"] == lost]
        assert {row["original_id"] for row in rows} <= {"ffpp/c23/youtube/071"}
        assert {row["mask_source"] for row in rows} == ({source} - {None})
        assert {drop["reason"] for drop in made["drops"] if drop["clip_id"] == lost} == ({reason} - {None})
    shutil.rmtree(root / "manipulated_sequences/Deepfakes/masks")
    without: tuple[tuple[tuple[str, ...], str | None, str | None], ...] = (
        (("--missing-original", "absent"), "absent", None),
        (("--missing-original", "absent", "--mask-source", "provided"), "absent", None),
        (("--mask-source", "provided"), None, "no_mask"),
    )
    for flags, source, reason in without:
        made = run("ffpp", root, *TRAIN, "--methods", "Deepfakes", *flags)
        shutil.rmtree(tmp_path / "in-out")
        rows = [row for row in made["rows"] if row["clip_id"] == lost]
        assert ({row["mask_source"] for row in rows}, len(rows)) == (({source} - {None}), 4 if source else 0)
        assert {drop["reason"] for drop in made["drops"] if drop["clip_id"] == lost} == ({reason} - {None})


def test_a_guess_whose_original_is_not_on_disk_costs_nothing_where_there_is_a_mask(
    laid_out: LaidOut, tmp_path: Path
) -> None:
    root = laid_out("forgerynet", pairs=2, to=tmp_path / "in")
    shutil.rmtree(root / "Training/image/train_release/16")
    made = run("forgerynet", root, *PICTURES, *TRAIN)
    assert made["drops"] == []
    assert {(clip["pairing"], clip["original_id"], clip["written"]) for clip in fakes_of(made)} == {
        ("missing", None, 1)
    }
    assert {row["mask_source"] for row in made["rows"]} <= {"provided", "absent"}
