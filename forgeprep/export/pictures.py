"""Plain folders of pictures, one a class, as torchvision's ``ImageFolder`` and most tutorials read them::

    train/fake/ffpp/c23/Deepfakes/071_054/0-000123.png
    masks/train/fake/ffpp/c23/Deepfakes/071_054/0-000123.png
    labels.csv

``ImageFolder(DIR / "train")`` finds the classes ``fake`` and ``real``. Pictures and masks are the bytes of the shards.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from pydantic import Field

from forgeprep.export.base import ExportFormat, ExportParams, Part, Whole, kind_of, place_of, suffix_of

COLUMNS = (
    "path", "mask", "sample_id", "split", "label", "method", "forgery", "compression", "clip_id", "original_id",
    "frame_index", "track_id", "visual_label", "audio_label",
)  # fmt: skip
"""The columns of ``labels.csv``; empty where there is nothing."""


class PicturesParams(ExportParams):
    """Options of the format ``pictures``."""

    classes: Literal["label", "method"] = Field(
        default="label", description="folders: real and fake, or real and the methods"
    )


def part(part: Part, params: PicturesParams) -> Iterator[dict[str, Any]]:
    """Write the pictures and masks of a shard."""
    for row in part.rows():
        kind = kind_of(row) if params.classes == "label" else row["method"] or "real"
        place = f"{row['split']}/{kind}/{place_of(row)}"
        path, mask = f"{place}.{suffix_of(row['image'])}", row.get("mask")
        part.add(path, row["image"]["bytes"])
        if mask is not None:
            part.add(f"masks/{place}.png", mask["bytes"])
        entry = {**row, "path": path, "mask": f"masks/{place}.png" if mask is not None else ""}
        # Runs of earlier versions say nothing of the sound.
        yield {name: entry.get(name) for name in COLUMNS}


def finish(whole: Whole, entries: Iterable[dict[str, Any]], params: PicturesParams) -> None:
    """Write the table of all pictures."""
    whole.add("labels.csv", table_of(entries, COLUMNS))


def table_of(entries: Iterable[dict[str, Any]], columns: tuple[str, ...]) -> bytes:
    """A CSV file, its first line the names of the columns."""
    table = io.StringIO()
    lines = csv.DictWriter(table, columns, lineterminator="\n")
    lines.writeheader()
    lines.writerows(entries)
    return table.getvalue().encode()


PICTURES = ExportFormat(
    name="pictures",
    summary="folders split/class/clip/frame.png with masks and labels.csv, for torchvision's ImageFolder",
    part=part,
    finish=finish,
    params=PicturesParams,
)
