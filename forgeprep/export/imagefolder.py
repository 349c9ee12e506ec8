"""Hugging Face's ``imagefolder``: pictures, their masks, and a table of labels in each split's folder::

    train/metadata.csv         file_name,mask_file_name,label,method,…
    train/images/ffpp/c23/Deepfakes/071_054/0-000123.png
    train/masks/ffpp/c23/Deepfakes/071_054/0-000123.png

``load_dataset("imagefolder", data_dir=DIR)`` finds the splits and gives the columns ``image`` and ``mask``. The loader
takes no gaps: the column ``mask`` is left out where one sample has none, and a text that is null is ``none``, since it
takes a column that is empty in one split for numbers. ``visual_label`` and ``audio_label`` are -1 where they are not
known.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from forgeprep.export.base import ExportFormat, ExportParams, Part, Whole, place_of, suffix_of
from forgeprep.export.pictures import table_of

_NONE = "none"
_FOLDER = {"val": "validation"}
_VALUES = (
    "sample_id", "label", "method", "family", "forgery", "compression", "clip_id", "original_id", "frame_index",
    "track_id", "visual_label", "audio_label",
)  # fmt: skip


def part(part: Part, params: ExportParams) -> Iterator[dict[str, Any]]:
    """Write the pictures and masks of a shard."""
    folder = _FOLDER.get(part.split, part.split)
    for row in part.rows():
        image, mask = f"images/{place_of(row)}.{suffix_of(row['image'])}", row.get("mask")
        part.add(f"{folder}/{image}", row["image"]["bytes"])
        names = {"file_name": image, "mask_file_name": ""}
        if mask is not None:
            names["mask_file_name"] = f"masks/{place_of(row)}.png"
            part.add(f"{folder}/{names['mask_file_name']}", mask["bytes"])
        values = {name: _gap(name) if row.get(name) is None else row[name] for name in _VALUES}
        yield {"folder": folder, **names, **values}


def _gap(name: str) -> str | int:
    """What stands for a null: a column of numbers has -1."""
    return -1 if name in ("visual_label", "audio_label") else _NONE


def finish(whole: Whole, entries: Iterable[dict[str, Any]], params: ExportParams) -> None:
    """Write the table of each split."""
    splits: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for entry in entries:
        splits[entry.pop("folder")].append(entry)
    # Tables of all splits must have the same columns.
    masked = all(entry["mask_file_name"] for split in splits.values() for entry in split)
    columns = ("file_name", *(("mask_file_name",) if masked else ()), *_VALUES)
    for folder, lines in splits.items():
        kept = ({name: line[name] for name in columns} for line in lines)
        whole.add(f"{folder}/metadata.csv", table_of(kept, columns))


IMAGEFOLDER = ExportFormat(
    name="imagefolder",
    summary="split/metadata.csv with pictures and masks, for load_dataset('imagefolder')",
    part=part,
    finish=finish,
)
