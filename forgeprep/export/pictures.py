"""Plain folders of pictures, one a class, as torchvision's ``ImageFolder`` and most tutorials read them::

    train/fake/ffpp/c23/Deepfakes/071_054/0-000123.png
    masks/train/fake/ffpp/c23/Deepfakes/071_054/0-000123.png
    labels.csv

``ImageFolder(DIR / "train")`` finds the classes ``fake`` and ``real``. Pictures and masks are the bytes of the shards.
"""

from __future__ import annotations

import csv
import io
from typing import Literal

from pydantic import Field

from forgeprep.export.base import ExportFormat, ExportParams, Folder, Source, suffix_of

COLUMNS = (
    "path", "mask", "sample_id", "split", "label", "method", "forgery", "compression", "clip_id", "original_id",
    "frame_index", "track_id",
)  # fmt: skip
"""The columns of ``labels.csv``; empty where there is nothing."""


class PicturesParams(ExportParams):
    """Options of the format ``pictures``."""

    classes: Literal["label", "method"] = Field(
        default="label", description="folders: real and fake, or real and the methods"
    )
    frames: int | None = Field(
        default=None, ge=1, description="frames of each face of a clip, evenly spread; default: all"
    )


def write(source: Source, folder: Folder, params: PicturesParams) -> None:
    """Fill the folder."""
    table = io.StringIO()
    lines = csv.DictWriter(table, COLUMNS, extrasaction="ignore", lineterminator="\n")
    lines.writeheader()
    for row in source.frames(params.frames):
        kind = ("real", "fake")[row["label"]] if params.classes == "label" else row["method"] or "real"
        place = f"{row['split']}/{kind}/{row['clip_id']}/{row['track_id']}-{row['frame_index']:06d}"
        path, mask = f"{place}.{suffix_of(row['image'])}", row.get("mask")
        folder.add(path, row["image"]["bytes"])
        if mask is not None:
            folder.add(f"masks/{place}.png", mask["bytes"])
        folder.samples += 1
        lines.writerow({**row, "path": path, "mask": f"masks/{place}.png" if mask is not None else ""})
    folder.add("labels.csv", table.getvalue().encode())


PICTURES = ExportFormat(
    name="pictures",
    summary="folders split/class/clip/frame.png with masks and labels.csv, for torchvision's ImageFolder",
    write=write,
    params=PicturesParams,
)
