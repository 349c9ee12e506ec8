"""LAA-Net: crops, and a JSON for each split with their landmarks::

    train/frames/Deepfakes/071_054/071_054_frame_123.png
    train.json       {"data": [{image_path, file_name, id, fake_type, label, orig_lms, aligned_lms}]}

Set ``ROOT`` of its configuration to this folder, and ``ANNO_FILE`` to the list. Landmarks are in pixels of the crop;
crops without 68 or 81 of them are left out, since its loader would draw another sample in their place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from forgeprep.export.base import (
    ExportFormat,
    ExportParams,
    Part,
    Whole,
    crop_landmarks,
    kind_of,
    suffix_of,
    video_of,
)  # fmt: skip

LANDMARKS = (68, 81)


def part(part: Part, params: ExportParams) -> Iterator[dict[str, Any]]:
    """Write the crops of a shard."""
    for row in part.rows():
        points = crop_landmarks(row)
        if points is None or len(points) not in LANDMARKS:
            continue
        kind = row["method"] or "original"
        path = f"{stem_of(row)}.{suffix_of(row['image'])}"
        name = path.rpartition("/")[2]
        part.add(path, row["image"]["bytes"])
        rounded = [[round(float(x), 2), round(float(y), 2)] for x, y in points]
        facts = {"image_path": path, "file_name": name, "fake_type": kind, "label": kind_of(row)}
        yield {"split": row["split"], **facts, "orig_lms": rounded, "aligned_lms": rounded}


def stem_of(row: Mapping[str, Any]) -> str:
    """Where a sample's picture lies, without its suffix."""
    video = "__".join([*row["clip_id"].split("/")[1:-1], video_of(row)])
    frame = f"{video}_frame_{row['frame_index']:03d}"
    return f"{row['split']}/frames/{row['method'] or 'original'}/{video}/{frame}"


def finish(whole: Whole, entries: Iterable[dict[str, Any]], params: ExportParams) -> None:
    """Write the list of each split."""
    lists: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        lines = lists.setdefault(entry.pop("split"), [])
        lines.append({"id": len(lines), **entry})
    for split, lines in lists.items():
        whole.add_json(f"{split}.json", {"data": lines})


LAA_NET = ExportFormat(
    name="laa-net",
    summary="crops and JSON lists with their landmarks, for LAA-Net",
    part=part,
    finish=finish,
    needs=("landmarks",),
    every=False,
    hint="it takes faces with 68 or 81 landmarks; make the shards with --landmarks dlib-68 or dlib-81",
)
