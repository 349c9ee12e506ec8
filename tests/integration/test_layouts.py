"""Every dataset end to end: the demo's people in its layout, through the command line, measured against the truth."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from forgeprep.datasets import dataset_names, get_dataset
from forgeprep.datasets.base import ScanOptions
from forgeprep.datasets.find import find_roots
from forgeprep.datasets.taxonomy import taxonomy
from forgeprep.demo import load_truth
from forgeprep.demo.relayout import LAYOUTS
from forgeprep.media.regions import frame_rgb
from forgeprep.media.video import read_frames
from forgeprep.shards.read import iter_rows, shard_paths
from tests.conftest import LaidOut, UInt8, read_picture, run_cli

WHOLE = ("df40", "wilddeepfake")
"""Datasets of crops: the picture is the face."""
UNPAIRED = ("deepfake-eval-2024", "wilddeepfake")
"""Datasets that do not say what a fake was made of."""
FAINT = ("avdeepfake1m", "df40", "lavdf")
"""Datasets whose demo is forged in the mouth for the most part, which is small, in few samples."""
SYNTHESES = ("DDPM", "StyleGAN2")


@dataclass(frozen=True)
class Made:
    """A demo in some layout and a run of it."""

    name: str
    root: Path
    out: Path

    def rows(self) -> list[dict[str, Any]]:
        return [row for path in shard_paths(self.out) for row in iter_rows(path)]

    def clips(self) -> dict[str, dict[str, Any]]:
        return {clip["clip_id"]: clip for clip in pq.read_table(self.out / "meta/clips.pq").to_pylist()}

    def truth(self, row: dict[str, Any]) -> UInt8:
        """The true mask of a sample, cut by its own box."""
        path = self.clips()[row["clip_id"]]["path"]
        whole = _truth(self.root, path, row["frame_index"])
        x0, y0, x1, y1 = row["crop_box"]
        padded = np.pad(whole, 500)
        return np.asarray(padded[y0 + 500 : y1 + 500, x0 + 500 : x1 + 500], np.uint8)


def _truth(root: Path, path: str, index: int) -> UInt8:
    video = root / "truth" / Path(path).with_suffix(".npz")
    if video.is_file():
        return np.asarray(load_truth(video)[index] * 255, np.uint8)
    parts = Path(path).parts
    picture = root / "truth" / path / f"{index:03d}.png"
    if picture.is_file():
        return read_picture(picture, cv2.IMREAD_GRAYSCALE)
    # ForgeryNet's truth lies beside the folder image/, GenFace's under the picture's own name.
    for place in (root / "truth" / path, root / "truth" / parts[0] / Path(*parts[2:]).with_suffix(".png")):
        if place.is_file():
            return np.asarray(cv2.imread(str(place), cv2.IMREAD_GRAYSCALE), np.uint8)
    raise FileNotFoundError(path)


LIKE_OTHERS = ("celebdf-v3", "deeperforensics", "deepfake-eval-2024", "fakeavceleb", "ffiw10k", "lavdf", "wilddeepfake")
"""Layouts that others resemble in all that a run does with them."""


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.long if name in LIKE_OTHERS else ()) for name in sorted(LAYOUTS)],
)
def made(request: pytest.FixtureRequest, laid_out: LaidOut, tmp_path_factory: pytest.TempPathFactory) -> Made:
    root, out = laid_out(request.param), tmp_path_factory.mktemp(request.param) / "out"
    arguments = ["--root", str(root), "--out", str(out), "--stages", "crop,mask,similarity"]
    arguments += ["--detector", "whole"] if request.param in WHOLE else []
    assert run_cli("run", request.param, *arguments, "--frames", "3", "--workers", "0") == 0
    return Made(request.param, root, out)


def test_there_is_a_demo_in_the_layout_of_every_dataset() -> None:
    assert {*LAYOUTS, "ffpp"} == set(dataset_names())


def test_a_run_is_whole_and_its_splits_do_not_leak(made: Made) -> None:
    assert run_cli("verify", str(made.out)) == 0
    rows = made.rows()
    assert len(rows) >= 30
    seen = defaultdict(set)
    for clip in made.clips().values():
        for name in (clip["source_id"], *clip["identities"]):
            seen[name].add(clip["split"])
    assert all(len(splits) == 1 for splits in seen.values())
    splits = Counter(row["split"] for row in rows)
    assert splits["train"]
    assert len(splits) >= 2


def test_labels_mean_what_the_table_says(made: Made) -> None:
    table = taxonomy().get(made.name, {})
    methods = set()
    for row in made.rows():
        if row["label"] == 0:
            assert (row["forgery"], row["method"], row["family"]) == ("real", None, None)
        elif table:
            kind = table[row["method"]]
            assert (row["forgery"], row["family"]) == (kind.forgery, kind.family)
        methods.add(row["method"])
    assert None in methods
    assert len(methods) >= 2


def test_masks_are_the_forged_region(made: Made) -> None:
    ious = []
    for row in made.rows():
        if "/video/" in row["clip_id"]:  # partly forged, and its truth is of the whole fake
            continue
        if row["mask_source"] == "difference":
            truth, mask = made.truth(row) > 0, row["mask"] > 0
            ious.append((truth & mask).sum() / (truth | mask).sum())
        elif row["mask_source"] == "provided":
            assert made.name == "crops"
            np.testing.assert_array_equal(row["mask"], made.truth(row))
        elif row["mask_source"] == "absent":
            assert row["mask"] is row["difference"] is row["similarity"] is None
            assert made.name in UNPAIRED or row["method"] in SYNTHESES
        else:
            assert (row["label"], row["mask"].any()) == (0, False)
    if made.name not in UNPAIRED:
        assert len(ious) >= 12
        assert np.mean(ious) > (0.75 if made.name in FAINT else 0.85)


def test_fakes_are_paired_with_the_original_that_they_were_made_of(made: Made) -> None:
    clips = made.clips()
    fakes = [clip for clip in clips.values() if clip["label"] and clip["original_id"]]
    assert bool(fakes) == (made.name not in UNPAIRED)
    for clip in fakes:
        assert clips[clip["original_id"]]["label"] == 0
        assert clip["source_id"] == clips[clip["original_id"]]["source_id"]
        assert clip["pair_similarity"] > 0.9
        assert clip["offset"] == 0


def test_a_fake_of_the_sound_alone_gives_no_sample(laid_out: LaidOut, tmp_path: Path) -> None:
    made = make(laid_out("dfdc"), tmp_path, "dfdc")
    told = Counter(clip["visual_change"] for clip in made.clips().values())
    assert told == {None: 6, True: 12, False: 3}
    silent = {name for name, clip in made.clips().items() if clip["visual_change"] is False}
    assert not silent & {row["clip_id"] for row in made.rows()}
    drops = pq.read_table(made.out / "meta/drops.pq").to_pylist()
    assert {drop["clip_id"] for drop in drops if drop["reason"] == "no_visual_change"} == silent


def make(root: Path, tmp_path: Path, name: str, *more: str, frames: str = "4") -> Made:
    arguments = ["--root", str(root), "--out", str(tmp_path / "out"), "--stages", "crop,mask", *more]
    assert run_cli("run", name, *arguments, "--frames", frames, "--workers", "0") == 0
    return Made(name, root, tmp_path / "out")


def test_frames_are_labelled_as_the_list_says_and_unknown_ones_are_not_used(laid_out: LaidOut, tmp_path: Path) -> None:
    made = make(laid_out("forgerynet"), tmp_path, "forgerynet", "--option", "kind=videos", frames="all")
    clips, labels = made.clips(), defaultdict(set)
    for row in made.rows():
        spans = clips[row["clip_id"]]["spans"]
        if spans is not None:
            told = [label for start, count, label in spans if start <= row["frame_index"] < start + count]
            assert told == [row["label"]]
            labels[row["clip_id"]].add(row["label"])
    assert len(labels) == 18
    assert all(both == {0, 1} for both in labels.values())
    drops = Counter(drop["reason"] for drop in pq.read_table(made.out / "meta/drops.pq").to_pylist())
    # Two frames at each edge of a span look like their neighbours; NeuralTextures is no video of ForgeryNet here.
    # What is labelled in one fake of a source alone is a drop of the others.
    assert set(drops) <= {"no_difference", "past_end", "unlabelled"}
    assert drops.total() < 0.1 * len(made.rows())


def test_provided_magnitudes_are_kept_and_cut(laid_out: LaidOut, tmp_path: Path) -> None:
    made = make(laid_out("forgerynet"), tmp_path, "forgerynet", "--option", "kind=images", "--mask-source", "provided")
    fakes = [row for row in made.rows() if row["label"]]
    assert {row["mask_source"] for row in fakes} == {"provided"}
    for row in fakes:
        assert ((row["mask_magnitude"] > 25) == (row["mask"] > 0)).all()
        assert len(np.unique(row["mask_magnitude"])) > 10
        assert row["mask_agreement"] is not None


def test_a_fake_without_an_original_has_the_mask_that_the_dataset_provides(laid_out: LaidOut, tmp_path: Path) -> None:
    made = make(laid_out("forgerynet"), tmp_path, "forgerynet", "--option", "kind=images", "--option", "pairs=none")
    fakes = [row for row in made.rows() if row["label"]]
    assert {(row["mask_source"], row["difference"] is None) for row in fakes} == {("provided", True)}


def test_a_picture_is_cut_without_loss(laid_out: LaidOut, tmp_path: Path) -> None:
    made = make(laid_out("genface"), tmp_path, "genface")
    clips = made.clips()
    rows = [row for row in made.rows() if clips[row["clip_id"]]["path"].endswith(".png")]
    assert len(rows) > 10
    for row in rows:
        whole = read_picture(made.root / clips[row["clip_id"]]["path"])
        x0, y0, x1, y1 = row["crop_box"]
        assert row["padding"] == [0, 0, 0, 0]
        np.testing.assert_array_equal(row["image"], whole[y0:y1, x0:x1, ::-1])
        assert (row["frame_index"], row["timestamp_s"]) == (0, 0.0)


def test_whole_pictures_of_genface_and_the_masks_that_papers_give_whole_syntheses(
    laid_out: LaidOut, tmp_path: Path
) -> None:
    more = ("--option", "synthesis-mask=ones", "--detector", "whole", "--splits", "val")
    made = make(laid_out("genface"), tmp_path, "genface", *more)
    rows = [row for row in made.rows() if row["forgery"] == "entire_synthesis"]
    assert len(rows) > 3
    for row in made.rows():
        assert row["crop_box"] == [0, 0, *row["frame_size"]] or row["crop_box"][2] > row["frame_size"][1]
    for row in rows:
        assert (row["mask_source"], row["difference"]) == ("provided", None)
        # All of the picture, and nothing of what pads it to a square.
        width, height = row["frame_size"]
        assert (row["mask"] > 0).sum() == width * height


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tif", ".jp2", ".avif"])
def test_pictures_of_every_kind_are_a_video_of_one_frame(suffix: str, tmp_path: Path, face_photo: UInt8) -> None:
    file = tmp_path / f"photo{suffix}"
    quality = [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000, cv2.IMWRITE_AVIF_QUALITY, 99]
    cv2.imwrite(str(file), cv2.cvtColor(face_photo[:301, :255], cv2.COLOR_RGB2BGR), quality)
    frames = list(read_frames(file))
    assert [(frame.index, frame.size_wh) for frame in frames] == [(0, (255, 301))]
    assert np.abs(frame_rgb(frames[0]).astype(int) - face_photo[:301, :255]).mean() < (
        3 if suffix in (".jpg", ".webp", ".avif") else 0.01
    )


def test_a_person_of_val_is_nowhere_else(laid_out: LaidOut) -> None:
    for name in ("celebdf-v2", "dfdc-preview"):
        root, dataset = laid_out(name), get_dataset(name)
        clips = dataset.scan(root, ScanOptions(params=dataset.params.model_validate({"val": 0.5}))).clips
        people: dict[str, set[str]] = defaultdict(set)
        for clip in clips:
            people[clip.split] |= set(clip.identities)
        assert people["val"]
        assert not people["val"] & (people["train"] | people["test"])


def test_the_demo_is_made_in_another_layout_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "in"
    assert run_cli("demo", str(root), "--layout", "celebdf-v2", "--people", "6", "--seconds", "0.2") == 0
    assert "next: forgeprep run celebdf-v2" in capsys.readouterr().out
    assert run_cli("datasets", "show", "celebdf-v2", "--root", str(root)) == 0
    printed = capsys.readouterr().out
    assert ["identity_replaced", "autoencoder", "Celeb-synthesis", "5,639", "6"] in [
        line.split() for line in printed.splitlines()
    ]
    assert not list(root.glob(".*"))
    assert run_cli("demo", str(tmp_path / "x"), "--layout", "celebdf-v9") == 2
    assert "did you mean 'celebdf-v" in capsys.readouterr().err


def test_an_official_split_that_leaks_is_kept_and_told(
    laid_out: LaidOut, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    laid_out("celebdf-v2", to=tmp_path / "in")
    # As in the real list: of a pair only the fake is in test, so its original is of another split.
    (tmp_path / "in" / "List_of_testing_videos.txt").write_text("0 Celeb-synthesis/id0_id1_0000.mp4\n")
    made = Made("celebdf-v2", tmp_path / "in", tmp_path / "out")
    arguments = ["--root", str(made.root), "--out", str(made.out), "--stages", "crop,mask", "--frames", "3"]
    assert run_cli("run", "celebdf-v2", *arguments, "--workers", "0") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert (
        "the official split is kept as published, but 3 source videos or people stand in more than one part" in printed
    )
    assert "celebdf-v2:id1 (train: celebdf-v2/Celeb-real/id1_0000, test: celebdf-v2/Celeb-synthesis/id0_id1" in printed
    assert run_cli("verify", str(made.out)) == 0
    tested = [row for row in made.rows() if row["split"] == "test"]
    assert {(row["clip_id"], row["mask_source"]) for row in tested} == {
        ("celebdf-v2/Celeb-synthesis/id0_id1_0000", "difference")
    }
    originals = [row for row in made.rows() if row["clip_id"] == "celebdf-v2/Celeb-real/id0_0000"]
    assert [row["split"] for row in originals] == ["train"] * 3
    assert [row["crop_box"] for row in tested] == [row["crop_box"] for row in originals]


def test_a_mask_of_another_shape_is_no_mask(laid_out: LaidOut, tmp_path: Path) -> None:
    laid_out("folder", pairs=1, to=tmp_path / "in")
    for method, shape in (("Deepfakes", (100, 100)), ("FaceSwap", (120, 160))):
        (mask,) = (tmp_path / "in" / "masks" / method).glob("071_*.mp4")
        mask.unlink()
        cv2.imwrite(str(mask.with_suffix(".png")), np.full(shape, 255, np.uint8))
    flags = ["--stages", "crop,mask", "--frames", "all", "--mask-source", "provided", "--workers", "0"]
    assert run_cli("run", "folder", "--root", str(tmp_path / "in"), "--out", str(tmp_path / "out"), *flags) == 0
    rows = Made("folder", tmp_path / "in", tmp_path / "out").rows()
    frames = [(row["method"], row["frame_index"]) for row in rows if "071_" in row["clip_id"]]
    assert "Deepfakes" not in dict(frames)
    # A picture is the mask of the first frame alone.
    assert [index for method, index in frames if method == "FaceSwap"] == [0]


def test_every_dataset_is_found_by_its_layout_and_by_no_other(laid_out: LaidOut, demo: Path, tmp_path: Path) -> None:
    folders = {name: laid_out(name) for name in dataset_names() if name != "ffpp"} | {"ffpp": demo}
    for name, folder in folders.items():
        # The versions of Celeb-DF look alike: their folders' names tell.
        (tmp_path / (f"Celeb-DF-{name[-2:]}" if name.startswith("celebdf") else name)).symlink_to(folder)
    for name in folders:
        (found,) = find_roots(get_dataset(name), tmp_path)
        assert found.resolve() == folders[name].resolve()
        assert find_roots(get_dataset(name), found) == [found]
