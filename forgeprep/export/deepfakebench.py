"""What DeepfakeBench reads, and the projects that use its loader: pictures in folders, and a JSON that lists them.

The folder has the shape of DeepfakeBench's own: copy it into that, or train with it as the working directory::

    datasets/rgb/NAME/frames/VIDEO/000123.png
    datasets/rgb/NAME/masks/VIDEO/000123.png
    preprocessing/dataset_json/NAME.json
    label_dict.yaml            labels that have to be added to training/config/*.yaml

The loader takes the first frames where a video has more than its ``frame_num``: export as many with ``frames``. It
finds masks by putting ``masks`` for ``frames`` in the whole path. It groups frames into videos by the folder's name,
which therefore has the method in it. Masks that are missing count as empty.
"""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import Field, field_validator

from forgeprep.errors import UsageError
from forgeprep.export.base import ExportFormat, ExportParams, Folder, Source
from forgeprep.schemas.clips import SPLITS
from forgeprep.shards.encode import decode_image, encode_image

Key = tuple[str, str, str | None, str]
"""Label, split, compression and name of a video."""

NAMES = {
    "ffpp": "FaceForensics++", "dfd": "DeepFakeDetection", "celebdf-v1": "Celeb-DF-v1", "celebdf-v2": "Celeb-DF-v2",
    "dfdc": "DFDC", "dfdc-preview": "DFDCP",
}  # fmt: skip
"""Dataset -> what DeepfakeBench calls it."""
WITH_COMPRESSION = frozenset(
    {"FaceForensics++", "FF-DF", "FF-F2F", "FF-FS", "FF-NT", "FaceShifter", "DeepFakeDetection"}
)
"""Names of which the loader expects a level for the compression."""
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


class DeepfakeBenchParams(ExportParams):
    """Options of the format ``deepfakebench``."""

    name: str | None = Field(default=None, description="name of the dataset there; default: DeepfakeBench's, or ours")
    frames: int | None = Field(default=None, ge=1, description="frames of a video, evenly spread; default: all")

    @field_validator("name")
    @classmethod
    def _check(cls, value: str | None) -> str | None:
        # The loader replaces these words wherever they stand in a path.
        if value is not None and (not re.fullmatch(r"[\w+.-]+", value) or re.search("frames|masks|landmarks", value)):
            raise ValueError("must have letters, digits, + - . _, and not the words frames, masks or landmarks")
        return value


def write(source: Source, folder: Folder, params: DeepfakeBenchParams) -> None:
    """Fill the folder."""
    name = params.name or NAMES.get(source.dataset, source.dataset)
    root = f"datasets/rgb/{name}"
    videos: dict[Key, dict[str, Any]] = {}
    for row in source.frames(params.frames):
        label, video = label_of(name, row), video_of(row)
        place = f"{video}/{row['frame_index']:06d}.png"
        folder.add(f"{root}/frames/{place}", _png(row["image"]))
        if row.get("mask") is not None:
            folder.add(f"{root}/masks/{place}", row["mask"]["bytes"])
        folder.samples += 1
        compression = row["compression"] if name in WITH_COMPRESSION else None
        entry = videos.setdefault(
            (label, row["split"], compression, video), {"label": label, "frames": [], "masks": []}
        )
        entry["frames"].append(f"./{root}/frames/{place}")
        if row.get("mask") is not None:
            entry["masks"].append(f"./{root}/masks/{place}")
    _check_compressions(name, videos)
    labels = sorted({label for label, *_ in videos})
    folder.add(f"preprocessing/dataset_json/{name}.json", json.dumps({name: _tree(name, videos)}, indent=1).encode())
    lines = [f"  {label}: {int(not label.lower().endswith('real'))}" for label in labels]
    folder.add("label_dict.yaml", "\n".join(["label_dict:", *lines, ""]).encode())


def label_of(name: str, row: dict[str, Any]) -> str:
    """The label that the loader looks up in its ``label_dict``; a frame of a fake that was not forged is a real."""
    if name == "FaceForensics++" or name.startswith("FF-"):
        return "FF-real" if row["label"] == 0 else _METHODS.get(row["method"], f"FF-{row['method']}")
    real, fake = _LABELS.get(name, (f"{name}_Real", f"{name}_Fake"))
    return fake if row["label"] else real


def video_of(row: dict[str, Any]) -> str:
    """The folder of a face in a clip, e.g. ``c23__Deepfakes__071_054``, of a further one with ``__1`` behind it.

    The folders of the clip are in it, which name its method, so that no two videos have one name.
    """
    parts = row["clip_id"].split("/")[1:] or [row["clip_id"]]
    parts += [str(row["track_id"])] if row["track_id"] else []
    # The loader replaces these words wherever they stand in a path.
    return re.sub("frames|masks|landmarks", lambda found: found.group().upper(), "__".join(parts))


def _png(picture: dict[str, Any]) -> bytes:
    data: bytes = picture["bytes"]
    return data if picture["path"].endswith(".png") else encode_image(decode_image(data))


def _check_compressions(name: str, videos: dict[Key, dict[str, Any]]) -> None:
    if name in WITH_COMPRESSION and any(compression is None for _, _, compression, _ in videos):
        raise UsageError(f"DeepfakeBench expects compressions of {name}, and the run has none; give --option name=…")


def _tree(name: str, videos: dict[Key, dict[str, Any]]) -> dict[str, Any]:
    """label -> split -> (compression ->) video; each label has every split, and each split every compression."""
    compressions = sorted({compression for _, _, compression, _ in videos if compression is not None})
    labels = sorted({label for label, *_ in videos})
    tree: dict[str, Any] = {
        label: {split: {c: {} for c in compressions} if name in WITH_COMPRESSION else {} for split in SPLITS}
        for label in labels
    }
    for (label, split, compression, video), entry in videos.items():
        level = tree[label][split] if compression is None else tree[label][split][compression]
        level[video] = entry
    return tree


DEEPFAKEBENCH = ExportFormat(
    name="deepfakebench",
    summary="frames, masks and JSON for DeepfakeBench's loader (also DF40, Effort, ForensicHub, …)",
    write=write,
    params=DeepfakeBenchParams,
)
