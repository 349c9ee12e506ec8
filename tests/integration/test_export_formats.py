"""Each export format, read back as its target reads it: by the target's own loader, or by one from its description."""

from __future__ import annotations

import csv
import gc
import itertools
import json
import shutil
import struct
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forgeprep.errors import UsageError
from forgeprep.export.base import Files, Whole, crop_landmarks
from forgeprep.export.deepfakebench import folder_of, label_of
from forgeprep.export.forensichub import ListParams
from forgeprep.export.run import Exported, ask, export
from forgeprep.export.select import Selection
from forgeprep.io.storage import to_path
from forgeprep.shards.encode import UInt8, decode_image
from forgeprep.shards.read import iter_rows, shard_paths
from tests.conftest import encode_video, read_picture, run_cli
from tests.helpers.shards_run import STAGES, shard_rows, write_shard, write_tables

SIZE = 48
FPS = 25
SPANS = [[0, 10, 0], [10, 5, 1], [15, 11, 0]]
Rows = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, face_photo: UInt8) -> Path:
    """A run of train and test with 81 landmarks a face, one fake forged in a span, and the videos it was made of."""
    home = tmp_path_factory.mktemp("run")
    points = np.stack(np.meshgrid(np.arange(9), np.arange(9)), axis=-1).reshape(-1, 2) * 5 + (482.25, 83.75)
    records = []
    for split, source in (("train", 0), ("test", 10)):
        rows = shard_rows(face_photo, split, [source], SIZE)
        for row in rows:
            row["landmarks"] = points.ravel().tolist()
        record = write_shard(home / "out", f"{split}/ffpp-{split}-00000", rows)
        for clip in record["clips"]:
            clip |= {"fps": float(FPS), "header_frames": 26, "frame_count": 26}
            clip["spans"] = SPANS if clip["method"] == "FaceSwap" else None
        records.append(record)
    write_tables(home / "out", records, STAGES)
    for clip in (clip for record in records for clip in record["clips"]):
        shade = 40 if clip["method"] is None else 90
        frames = [np.full((144, 192, 3), shade + 4 * number, np.uint8) for number in range(26)]
        encode_video(home / "raw" / clip["path"], frames, fps=FPS)
    run = json.loads((home / "out/run.json").read_bytes())
    run |= {"config": {"dataset": "ffpp"}, "root": str(home / "raw")}
    (home / "out/run.json").write_text(json.dumps(run))
    return home / "out"


@pytest.fixture(scope="module")
def rows(out: Path) -> Rows:
    return {row["sample_id"]: row for path in shard_paths(out) for row in iter_rows(path, decode=False)}


def exported(out: Path, to: Path, name: str, *options: str, links: bool = False, **wanted: Any) -> Exported:
    return export(out, to, ask(out, name, options, Selection(**wanted), links=links))


def by_pixels(rows: Rows) -> dict[bytes, dict[str, Any]]:
    return {decode_image(row["image"]["bytes"]).tobytes(): row for row in rows.values()}


def rgb(path: Path) -> bytes:
    return cv2.cvtColor(read_picture(path), cv2.COLOR_BGR2RGB).tobytes()


@pytest.mark.parametrize(("videos", "frames"), [("plain", None), ("method", 2)])
def test_deepfakebench_loads_without_a_substitution(
    out: Path, rows: Rows, tmp_path: Path, videos: str, frames: int | None
) -> None:
    """As its loader reads: JSON, label, mode, compression, video; masks and landmarks by a word in the path."""
    exported(out, tmp_path / "to", "deepfakebench", f"videos={videos}", frames=frames)
    label_dict = {"FF-real": 0, "FF-DF": 1, "FF-FS": 1}
    expected = by_pixels(rows)
    for name, labels in (("FaceForensics++", set(label_dict)), ("FF-DF", {"FF-real", "FF-DF"})):
        info = json.loads((tmp_path / f"to/preprocessing/dataset_json/{name}.json").read_bytes())[name]
        assert info.keys() == labels
        seen, substituted = 0, 0
        for mode in ("train", "test"):
            found = [video for label in info for video in info[label][mode]["c23"].items()]
            assert found
            for video, told in found:
                assert label_dict[told["label"]] in (0, 1)
                assert len(told["frames"]) == (frames or 3)
                assert ("__" in video) == (videos == "method" and told["label"] != "FF-real")
                for frame in sorted(told["frames"], key=lambda path: int(path.split("/")[-1].split(".")[0])):
                    assert frame[0] == "."
                    row = expected[rgb(tmp_path / "to" / frame)]
                    assert (row["label"], row["split"]) == (label_dict[told["label"]], mode)
                    mask, points = frame.replace("frames", "masks"), frame.replace("frames", "landmarks")
                    if not (tmp_path / "to" / mask).exists():
                        substituted += 1
                    else:
                        assert (tmp_path / "to" / mask).read_bytes() == row["mask"]["bytes"]
                    if not (tmp_path / "to" / points.replace(".png", ".npy")).exists():
                        substituted += 1
                    else:
                        found_points = np.load(tmp_path / "to" / points.replace(".png", ".npy"))
                        assert (found_points.shape, found_points.dtype) == ((81, 2), np.dtype("int32"))
                        # (2.25, 3.75) in a crop of 48 pixels, which the loader scales to 256.
                        assert found_points[0].tolist() == [14, 22]
                    seen += 1
        assert substituted == 0
        assert seen == (frames or 3) * 2 * len(labels)
    assert (tmp_path / "to/label_dict.yaml").read_text() == "label_dict:\n  FF-DF: 1\n  FF-FS: 1\n  FF-real: 0\n"


@pytest.mark.parametrize(
    ("dataset", "name", "clip_id", "method", "folder", "label"),
    [
        ("ffpp", "FaceForensics++", "ffpp/c40/FaceShifter/1_2", "FaceShifter",
         "FaceForensics++/manipulated_sequences/FaceShifter/c40", "FF-FH"),
        ("ffpp", "FaceForensics++", "ffpp/raw/youtube/1", None,
         "FaceForensics++/original_sequences/youtube/raw", "FF-real"),
        ("dfd", "DeepFakeDetection", "dfd/c23/actors/1", None,
         "FaceForensics++/original_sequences/actors/c23", "DFD_real"),
        ("celebdf-v2", "Celeb-DF-v2", "celebdf-v2/Celeb-synthesis/id0_id1_0000", "Celeb-synthesis",
         "Celeb-DF-v2/Celeb-synthesis", "CelebDFv2_fake"),
        ("dfdc-preview", "DFDCP", "dfdc-preview/method_B/x", "method_B", "DFDCP/method_B", "DFDCP_FakeB"),
        ("dfdc", "DFDC", "dfdc/part_3/x", None, "DFDC/train/dfdc_train_part_3", "DFDC_Real"),
        ("dfdc", "DFDC", "dfdc/test/x", "dfdc", "DFDC/test", "DFDC_Fake"),
        ("folder", "folder", "folder/my frames/x", "fake", "folder/my FRAMES", "folder_Fake"),
    ],
)  # fmt: skip
def test_deepfakebench_names_are_those_of_its_own_preprocessing(
    dataset: str, name: str, clip_id: str, method: str | None, folder: str, label: str
) -> None:
    row = {"clip_id": clip_id, "method": method, "label": int(method is not None)}
    assert folder_of(name, dataset, row) == f"datasets/rgb/{folder}"
    assert label_of(name, row) == label


def test_landmarks_are_moved_into_the_crop() -> None:
    row = {"landmarks": [10.0, 20.0, 30.0, 5.0], "crop_box": [10, 0, 50, 40], "image_size": [80, 80]}
    turned = row | {"crop_matrix": [0.0, 2.0, 1.0, -2.0, 0.0, 70.0]}
    for found, wanted in ((row, [[0.5, 40.5], [40.5, 10.5]]), (turned, [[41, 50], [11, 10]])):
        points = crop_landmarks(found)
        assert points is not None
        assert points.tolist() == wanted
    assert crop_landmarks(row | {"landmarks": None}) is None


def test_hugging_face_loads_pictures_masks_and_labels(
    out: Path, rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    from datasets import load_dataset

    exported(out, tmp_path / "to", "imagefolder")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # The loader leaves its tables open.
        found = load_dataset("imagefolder", data_dir=str(tmp_path / "to"), cache_dir=str(tmp_path / "cache"))
        gc.collect()
    assert {name: len(split) for name, split in found.items()} == {"train": 9, "test": 9}
    for split in found.values():
        for line in split:
            row = rows[line["sample_id"]]
            assert np.array_equal(np.array(line["image"]), decode_image(row["image"]["bytes"]))
            assert np.array_equal(np.array(line["mask"]), decode_image(row["mask"]["bytes"]))
            assert (line["label"], line["method"]) == (row["label"], row["method"] or "none")
            assert (line["clip_id"], line["family"]) == (row["clip_id"], "none")


def test_json_lists_name_files_that_are_there(out: Path, rows: Rows, tmp_path: Path) -> None:
    """ForensicHub's and IMDL-BenCo's loaders open the paths as they stand in the list."""
    exported(out, tmp_path / "hub", "forensichub")
    exported(out, tmp_path / "benco", "imdl-benco")
    exported(out, tmp_path / "here", "forensichub", "prefix=", splits=("train",))
    expected = by_pixels(rows)
    for split in ("train", "test"):
        listed = json.loads((tmp_path / f"hub/{split}.json").read_bytes())
        assert len(listed) == 9
        for entry in listed:
            row = expected[rgb(Path(entry["path"]))]
            assert (row["split"], row["label"]) == (split, entry["label"])
        pairs = json.loads((tmp_path / f"benco/{split}.json").read_bytes())
        assert sum(mask == "Negative" for _, mask in pairs) == 3
        for image, mask in pairs:
            row = expected[rgb(Path(image))]
            assert (mask == "Negative") == (row["label"] == 0)
            assert mask == "Negative" or Path(mask).read_bytes() == row["mask"]["bytes"]
    whole = Whole({}, to_path("s3://bucket/to"), Files(tmp_path))
    assert ListParams().path(whole, "images/a.png") == "s3://bucket/to/images/a.png"
    assert not (tmp_path / "here/test.json").exists()
    assert json.loads((tmp_path / "here/train.json").read_bytes())[0]["path"].startswith("images/")


def test_gend_takes_labels_from_the_sources(out: Path, rows: Rows, tmp_path: Path) -> None:
    """As its DeepfakeDataset: the label is 0 where the third name from the end contains "real"."""
    exported(out, tmp_path / "to", "gend")
    expected = by_pixels(rows)
    lists = sorted((tmp_path / "to/config/datasets/FF").glob("*/*.txt"))
    assert [path.relative_to(tmp_path / "to/config/datasets/FF").as_posix() for path in lists] == [
        f"{split}/{source}.txt" for split in ("test", "train") for source in ("DF", "FS", "real")
    ]
    for file in lists:
        for line in file.read_text().splitlines():
            row = expected[rgb(tmp_path / "to" / line)]
            source, video = line.split("/")[-3:-1]
            assert (row["label"], row["split"]) == (int("real" not in source), file.parent.name)
            assert video == row["clip_id"].split("/")[-1]


def read_mds(folder: Path) -> list[dict[str, Any]]:
    """The samples of a folder, as MosaicML describes its shards."""
    index = json.loads((folder / "index.json").read_bytes())
    assert index["version"] == 2
    samples = []
    for shard in index["shards"]:
        data = (folder / shard["raw_data"]["basename"]).read_bytes()
        assert (len(data), shard["format"]) == (shard["raw_data"]["bytes"], "mds")
        (count,) = struct.unpack_from("<I", data)
        assert count == shard["samples"]
        ends = struct.unpack_from(f"<{count + 1}I", data, 4)
        config = json.loads(data[4 + 4 * (count + 1) : ends[0]])
        assert config["column_names"] == sorted(config["column_names"]) == shard["column_names"]
        for begin, end in itertools.pairwise(ends):
            sizes, place = list(shard["column_sizes"]), begin
            for number, size in enumerate(sizes):
                if size is None:
                    (sizes[number],) = struct.unpack_from("<I", data, place)
                    place += 4
            sample = {}
            columns = zip(shard["column_names"], shard["column_encodings"], sizes, strict=True)
            for name, encoding, size in columns:
                value = data[place : place + size]
                place += size
                plain = {"int": lambda v: struct.unpack("<q", v)[0], "str": bytes.decode}.get(encoding)
                sample[name] = plain(value) if plain else decode_image(value)
            assert place == end
            samples.append(sample)
    return samples


def test_mds_shards_hold_every_sample(out: Path, rows: Rows, tmp_path: Path) -> None:
    exported(out, tmp_path / "to", "mds")
    found = [sample for split in ("train", "test") for sample in read_mds(tmp_path / "to" / split)]
    assert {sample["sample_id"] for sample in found} == rows.keys()
    for sample in found:
        row = rows[sample["sample_id"]]
        for name in ("image", "mask", "noise"):
            assert np.array_equal(sample[name], decode_image(row[name]["bytes"]))
        for name in ("label", "frame_index", "split", "clip_id"):
            assert sample[name] == row[name]
        assert (sample["method"] or None, sample["has_mask"]) == (row["method"], 1)


def test_fiftyone_documents_are_whole(out: Path, rows: Rows, tmp_path: Path) -> None:
    """What its importer relies on: identifiers, classes of labels, every field declared, every path there."""
    exported(out, tmp_path / "to", "fiftyone")
    dataset = json.loads((tmp_path / "to/metadata.json").read_bytes())
    declared = {field["db_field"]: field for field in dataset["sample_fields"]}
    samples = json.loads((tmp_path / "to/samples.json").read_bytes())["samples"]
    assert len({sample["_id"]["$oid"] for sample in samples}) == len(samples) == len(rows)
    for sample in samples:
        row = rows[sample["sample_id"]]
        assert {name for name in sample if name not in ("_media_type", "_rand")} <= declared.keys()
        assert len(sample["_id"]["$oid"]) == 24
        assert 0 <= sample["_rand"] < 1
        assert sample["tags"] == [row["split"]]
        assert (tmp_path / "to" / sample["filepath"]).read_bytes() == row["image"]["bytes"]
        assert (tmp_path / "to" / sample["mask"]["mask_path"]).read_bytes() == row["mask"]["bytes"]
        assert sample["ground_truth"]["label"] == ("real", "fake")[row["label"]]
        for name in ("ground_truth", "mask"):
            assert declared[name]["embedded_doc_type"].endswith(sample[name]["_cls"])


def test_links_on_remote_storage_are_refused_before_anything_is_made(out: Path) -> None:
    with pytest.raises(UsageError, match="s3://nowhere/to: remote storage has no links"):
        exported(out, to_path("s3://nowhere/to"), "lav-df", links=True)


@pytest.mark.parametrize("links", [False, True])
def test_lav_df_names_clips_and_their_forged_seconds(out: Path, tmp_path: Path, links: bool) -> None:
    exported(out, tmp_path / "to", "lav-df", links=links)
    told = json.loads((tmp_path / "to/metadata.min.json").read_bytes())
    names = {
        "file", "n_fakes", "fake_periods", "duration", "original", "modify_video", "modify_audio", "split",
        "video_frames", "audio_channels", "audio_frames",
    }  # fmt: skip
    assert len(told) == 6
    stems = {Path(line["file"]).stem for line in told}
    assert len(stems) == 6
    for line in told:
        assert line.keys() == names
        path = tmp_path / "to" / line["file"]
        assert path.is_symlink() == links
        assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT) == line["video_frames"] == 26
        periods = [[0.4, 0.6]] if "FaceSwap" in line["file"] else [[0.0, 1.04]] if "Deepfakes" in line["file"] else []
        assert (line["fake_periods"], line["duration"], line["n_fakes"]) == (periods, 1.04, len(periods))
        assert (line["original"] is None) == (not periods)
        assert line["original"] is None or (tmp_path / "to" / line["original"]).is_file()


def test_lav_df_leaves_pictures_out_and_tells_so(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, table = shutil.copytree(out, tmp_path / "run"), tmp_path / "run/meta/clips.pq"
    clips = pq.read_table(table).to_pylist()
    picture = next(clip for clip in clips if "Deepfakes" in clip["clip_id"])
    picture["fps"] = None
    pq.write_table(pa.Table.from_pylist(clips, schema=pq.read_schema(table)), table)
    assert run_cli("export", "lav-df", str(run), "--to", str(tmp_path / "to"), "--workers", "1") == 0
    told = json.loads((tmp_path / "to/metadata.min.json").read_bytes())
    assert len(told) == 5
    assert "note: 1 clip left out: lav-df takes videos, not pictures" in capsys.readouterr().out


def test_self_blended_has_whole_frames_and_faces(out: Path, tmp_path: Path) -> None:
    """As init_ff and SBI_Dataset read: the lists, the pictures, and the two arrays beside them."""
    exported(out, tmp_path / "to", "self-blended")
    base = tmp_path / "to/data/FaceForensics++"
    assert json.loads((base / "val.json").read_bytes()) == []
    for phase, video in (("train", "000"), ("test", "010")):
        names = [name for names in json.loads((base / f"{phase}.json").read_bytes()) for name in names]
        home = base / "original_sequences/youtube/c23"
        folders = [path for path in (home / "frames").iterdir() if path.name[:3] in names]
        assert [path.name for path in folders] == [video]
        pictures = sorted(folders[0].glob("*.png"))
        assert [int(path.stem) for path in pictures] == [0, 12, 24]
        for path in pictures:
            picture = read_picture(path)
            assert picture.shape == (144, 192, 3)
            assert abs(float(picture.mean()) - (40 + 4 * int(path.stem))) < 2
            landmark = np.load(str(path).replace("/frames/", "/landmarks/").replace(".png", ".npy"))
            faces = np.load(str(path).replace("/frames/", "/retina/").replace(".png", ".npy"))
            assert (landmark.shape, faces.shape) == ((1, 81, 2), (1, 7, 2))
            assert landmark[0, 0].tolist() == [482, 84]
            np.testing.assert_allclose(faces[0, :2], [[500.25, 100.1], [600.3, 200.7]], atol=1e-3)
            assert faces[0, 4].tolist() == [482.25 + 5 * (30 % 9), 83.75 + 5 * (30 // 9)]


def test_laa_net_has_landmarks_in_the_crop(out: Path, rows: Rows, tmp_path: Path) -> None:
    exported(out, tmp_path / "to", "laa-net")
    expected = by_pixels(rows)
    for split in ("train", "test"):
        data = json.loads((tmp_path / f"to/{split}.json").read_bytes())["data"]
        assert [item["id"] for item in data] == list(range(9))
        for item in data:
            row = expected[rgb(tmp_path / "to" / item["image_path"])]
            assert item["label"] == ("real", "fake")[row["label"]]
            # Its sampler takes the video from the file's name, or from the folder's.
            assert item["file_name"].split("_frame")[0] == item["image_path"].split("/")[-2]
            assert np.array(item["orig_lms"]).shape == (81, 2)
            assert item["orig_lms"][0] == item["aligned_lms"][0] == [2.25, 3.75]


def test_a_dry_run_counts_and_writes_nothing(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["export", "gend", str(out), "--to", str(tmp_path / "to"), "--methods", "FaceSwap", "--frames", "2"]
    assert run_cli(*arguments, "--splits", "training", "--dry-run") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["train", "FaceSwap", "1", "2"] in lines
    assert ["all", "2", "4"] in lines
    assert list(tmp_path.iterdir()) == []
    assert run_cli(*arguments, "--splits", "training", "--workers", "1") == 0
    assert len(list((tmp_path / "to").rglob("*.png"))) == 4


@pytest.mark.parametrize(
    ("name", "wanted", "problem"),
    [
        ("gend", {"methods": ("FaceSwop",)}, "unknown method of this run 'FaceSwop': did you mean 'FaceSwap'?"),
        ("gend", {"compressions": ("c40",)}, "unknown compression of this run 'c40'"),
        ("gend", {"splits": ("val",)}, "has no shards of these splits"),
        ("mds", {"links": True}, "nothing can be linked to"),
    ],
)
def test_what_is_not_there_is_one_line(
    out: Path, tmp_path: Path, name: str, wanted: dict[str, Any], problem: str
) -> None:
    with pytest.raises(UsageError) as raised:
        exported(out, tmp_path / "to", name, **wanted)
    assert problem in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_landmarks_is_told_what_it_lacks(out: Path, face_photo: UInt8, tmp_path: Path) -> None:
    record = write_shard(tmp_path / "out", "train/ffpp-train-00000", shard_rows(face_photo, "train", [0], SIZE))
    write_tables(tmp_path / "out", [record], STAGES)
    with pytest.raises(UsageError, match="dlib-68 or dlib-81"):
        exported(tmp_path / "out", tmp_path / "to", "laa-net")
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
    exported(tmp_path / "out", tmp_path / "to", "pictures")
    with (tmp_path / "to/labels.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 9
