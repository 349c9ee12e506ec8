"""What DeepfakeBench reads, and the projects that use its loader: pictures in folders, and a JSON that lists them.

The folder has the shape of DeepfakeBench's own: copy it into that, or train with it as the working directory::

    datasets/rgb/FaceForensics++/manipulated_sequences/Deepfakes/c23/frames/071_054/123.png
    datasets/rgb/FaceForensics++/manipulated_sequences/Deepfakes/c23/masks/071_054/123.png
    datasets/rgb/FaceForensics++/manipulated_sequences/Deepfakes/c23/landmarks/071_054/123.npy
    preprocessing/dataset_json/FaceForensics++.json
    label_dict.yaml            labels that training/config/*.yaml must have

The loader takes the first frames where a video has more than its ``frame_num``: export as many with ``--frames``. It
finds masks and landmarks by putting these words for ``frames`` in the whole path. Where a file is missing it takes
zeros. Some of its metrics take the folder alone for the video: ``videos=method`` puts the method into its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator

from forgeprep.errors import UsageError
from forgeprep.export.base import ExportFormat, ExportParams, Part, Whole, crop_landmarks, npy_of, png_of, video_of
from forgeprep.schemas.clips import SPLITS

Videos = dict[tuple[str, str, str | None, str], dict[str, Any]]
"""Label, split, compression and name of a video -> what the JSON says of it."""

NAMES = {
    "ffpp": "FaceForensics++", "dfd": "DeepFakeDetection", "celebdf-v1": "Celeb-DF-v1", "celebdf-v2": "Celeb-DF-v2",
    "dfdc": "DFDC", "dfdc-preview": "DFDCP",
}  # fmt: skip
"""Dataset -> what DeepfakeBench calls it."""
WITH_COMPRESSION = frozenset(
    {"FaceForensics++", "FF-DF", "FF-F2F", "FF-FS", "FF-NT", "FaceShifter", "DeepFakeDetection"}
)
"""Names of which the loader expects a level for the compression."""
LANDMARKS = (81, 68)
"""Numbers of landmarks that its detectors can use: the outline of the face must be among them."""
_METHODS = {
    "Deepfakes": "FF-DF", "Face2Face": "FF-F2F", "FaceSwap": "FF-FS", "NeuralTextures": "FF-NT", "FaceShifter": "FF-FH",
}  # fmt: skip
_LABELS = {
    "DeepFakeDetection": ("DFD_real", "DFD_fake"),
    "Celeb-DF-v1": ("CelebDFv1_real", "CelebDFv1_fake"),
    "Celeb-DF-v2": ("CelebDFv2_real", "CelebDFv2_fake"),
    "DFDC": ("DFDC_Real", "DFDC_Fake"),
    "DFDCP": ("DFDCP_Real", "DFDCP_FakeA"),
}
_WORDS = re.compile("frames|masks|landmarks")
"""The loader replaces these words wherever they stand in a path."""


class DeepfakeBenchParams(ExportParams):
    """Options of the format ``deepfakebench``."""

    name: str | None = Field(default=None, description="name of the dataset there; default: DeepfakeBench's, or ours")
    videos: Literal["plain", "method"] = Field(
        default="plain", description="names of videos: as the dataset has them, or METHOD__VIDEO"
    )

    resolution: int = Field(
        default=256, ge=1, description="side in pixels to which its configuration scales pictures: landmarks fit that"
    )

    @field_validator("name")
    @classmethod
    def _check(cls, value: str | None) -> str | None:
        if value is not None and (not re.fullmatch(r"[\w+.-]+", value) or _WORDS.search(value)):
            raise ValueError("must have letters, digits, + - . _, and not the words frames, masks or landmarks")
        return value


def part(part: Part, params: DeepfakeBenchParams) -> Iterator[dict[str, Any]]:
    """Write frames, masks and landmarks of a shard."""
    name = params.name or NAMES.get(part.dataset, part.dataset)
    for row in part.rows():
        folder, video = folder_of(name, part.dataset, row), _video(part.dataset, row, params.videos)
        stem = f"{row['frame_index']:03d}"
        frame = f"{stem_of(name, part.dataset, row, params.videos)}.png"
        part.add(frame, png_of(row["image"]))
        entry = {"label": label_of(name, row), "split": row["split"], "video": video, "frame": frame, "mask": None}
        entry["compression"] = row["compression"] if name in WITH_COMPRESSION else None
        if row.get("mask") is not None:
            entry["mask"] = f"{folder}/masks/{video}/{stem}.png"
            part.add(entry["mask"], row["mask"]["bytes"])
        points = crop_landmarks(row)
        if points is not None and len(points) in LANDMARKS:
            # The loader scales the picture, but not the landmarks.
            scaled = (points + 0.5) * params.resolution / np.asarray(row["image_size"]) - 0.5
            part.add(f"{folder}/landmarks/{video}/{stem}.npy", npy_of(np.round(scaled).astype(np.int32)))
        yield entry


def stem_of(name: str, dataset: str, row: Mapping[str, Any], videos: str) -> str:
    """Where a sample's picture lies, without its suffix."""
    return f"{folder_of(name, dataset, row)}/frames/{_video(dataset, row, videos)}/{row['frame_index']:03d}"


def finish(whole: Whole, entries: Iterable[Mapping[str, Any]], params: DeepfakeBenchParams) -> None:
    """Write the JSON, of FaceForensics++ one for each method too, and the labels."""
    name = params.name or NAMES.get(whole.dataset, whole.dataset)
    videos: Videos = {}
    for entry in entries:
        key = (entry["label"], entry["split"], entry["compression"], entry["video"])
        video = videos.setdefault(key, {"label": entry["label"], "frames": [], "masks": []})
        # Without the dot, the loader puts a folder and a backslash in front.
        video["frames"].append(f"./{entry['frame']}")
        video["masks"] += [f"./{entry['mask']}"] if entry["mask"] else []
    if name in WITH_COMPRESSION and any(compression is None for _, _, compression, _ in videos):
        raise UsageError(f"DeepfakeBench expects compressions of {name}, and the run has none; give --option name=…")
    labels = sorted({label for label, *_ in videos})
    for listed, held in _jsons(name, labels).items():
        whole.add_json(f"preprocessing/dataset_json/{listed}.json", {listed: _tree(held, videos)})
    there = {key[:2] for key in videos}
    for split, what in (("train", "to train"), ("test", "to test")):
        if empty := [label for label in labels if (label, split) not in there]:
            whole.notes.append(f"no videos of {', '.join(empty)} in {split}: DeepfakeBench has none {what} with")
    lines = [f"  {label}: {int(not label.lower().endswith('real'))}" for label in labels]
    whole.add("label_dict.yaml", "\n".join(["label_dict:", *lines, ""]).encode())


def label_of(name: str, row: Mapping[str, Any]) -> str:
    """The label that the loader looks up in its ``label_dict``; a frame of a fake that was not forged is a real."""
    if name == "FaceForensics++" or name.startswith("FF-"):
        return "FF-real" if row["label"] == 0 else _METHODS.get(row["method"], f"FF-{row['method']}")
    real, fake = _LABELS.get(name, (f"{name}_Real", f"{name}_Fake"))
    if name == "DFDCP" and row["method"] == "method_B":
        fake = "DFDCP_FakeB"
    return fake if row["label"] else real


def folder_of(name: str, dataset: str, row: Mapping[str, Any]) -> str:
    """The folder around ``frames``, ``masks`` and ``landmarks``, as the dataset has it."""
    inner = str(row["clip_id"]).split("/")[1:-1]
    if dataset in ("ffpp", "dfd") and name == NAMES[dataset]:
        quality, source = inner
        kind = "original" if source in ("youtube", "actors", "original") else "manipulated"
        return f"datasets/rgb/FaceForensics++/{kind}_sequences/{source}/{quality}"
    if dataset == "dfdc" and inner != ["test"]:
        inner = ["train", *(f"dfdc_train_{part}" for part in inner)]
    plain = _WORDS.sub(lambda found: found[0].upper(), "/".join([name, *inner]))
    return f"datasets/rgb/{plain}"


def _video(dataset: str, row: Mapping[str, Any], how: str) -> str:
    """The name of a video: in one label and split, no two have the same."""
    name = video_of(row)
    if dataset not in NAMES:
        name = "__".join([*str(row["clip_id"]).split("/")[1:-1], name])
    if how == "method" and row["clip_method"] is not None:
        name = f"{row['clip_method']}__{name}"
    return _WORDS.sub(lambda found: found[0].upper(), name)


def _jsons(name: str, labels: list[str]) -> dict[str, list[str]]:
    """The JSON files, by name, with their labels: FaceShifter is not part of DeepfakeBench's FaceForensics++."""
    if name != "FaceForensics++":
        return {name: labels}
    fakes = [label for label in labels if label != "FF-real"]
    main = [label for label in labels if label != "FF-FH"]
    found = {name: main} if len(main) > 1 or len(labels) == 1 else {}
    return found | {"FaceShifter" if fake == "FF-FH" else fake: sorted({"FF-real", fake}) for fake in fakes}


def _tree(labels: list[str], videos: Videos) -> dict[str, Any]:
    """label -> split -> (compression ->) video; each label has every split, and each split every compression."""
    qualities = sorted({quality for _, _, quality, _ in videos if quality is not None})
    tree: dict[str, Any] = {
        label: {split: {quality: {} for quality in qualities} for split in SPLITS} for label in labels
    }
    for (label, split, quality, video), entry in videos.items():
        if label in tree:
            (tree[label][split] if quality is None else tree[label][split][quality])[video] = entry
    return tree


DEEPFAKEBENCH = ExportFormat(
    name="deepfakebench",
    summary="frames, masks, landmarks and JSON for DeepfakeBench's loader (also DF40, Effort, ForensicHub, …)",
    part=part,
    finish=finish,
    params=DeepfakeBenchParams,
)
