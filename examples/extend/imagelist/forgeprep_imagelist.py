"""An export format of forgeprep: pictures, and for each split a JSON list of ``{"path", "label"}``."""

from __future__ import annotations

import json
from collections import defaultdict

from pydantic import Field

from forgeprep.export.base import ExportFormat, ExportParams, Folder, Source, suffix_of


class ImageListParams(ExportParams):
    """Options: ``--option NAME=VALUE``."""

    frames: int | None = Field(default=None, ge=1, description="frames of each face of a clip, evenly spread")


def write(source: Source, folder: Folder, params: ImageListParams) -> None:
    """Fill the folder."""
    lists: dict[str, list[dict[str, str | int]]] = defaultdict(list)
    for row in source.frames(params.frames):
        path = f"images/{row['sample_id']}.{suffix_of(row['image'])}"
        folder.add(path, row["image"]["bytes"])
        lists[row["split"]].append({"path": path, "label": row["label"]})
        folder.samples += 1
    for split, entries in lists.items():
        folder.add(f"{split}.json", json.dumps(entries, indent=1).encode())


IMAGELIST = ExportFormat(
    name="imagelist",
    summary="pictures and a JSON list of paths and labels for each split",
    write=write,
    params=ImageListParams,
)
