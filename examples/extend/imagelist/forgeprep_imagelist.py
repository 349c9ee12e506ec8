"""An export format of forgeprep: pictures, and for each split a JSON list of ``{"path", "label"}``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import Field

from forgeprep.export.base import ExportFormat, ExportParams, Part, Whole, suffix_of


class ImageListParams(ExportParams):
    """Options: ``--option NAME=VALUE``."""

    folder: str = Field(default="images", pattern=r"[\w-]+", description="where the pictures lie")


def part(part: Part, params: ImageListParams) -> Iterator[dict[str, Any]]:
    """Write the pictures of a shard."""
    for row in part.rows():
        path = f"{params.folder}/{row['sample_id']}.{suffix_of(row['image'])}"
        part.add(path, row["image"]["bytes"])
        yield {"split": row["split"], "path": path, "label": row["label"]}


def finish(whole: Whole, entries: Iterable[dict[str, Any]], params: ImageListParams) -> None:
    """Write a list for each split."""
    lists: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for entry in entries:
        lists[entry["split"]].append({"path": entry["path"], "label": entry["label"]})
    for split, lines in lists.items():
        whole.add_json(f"{split}.json", lines)


IMAGELIST = ExportFormat(
    name="imagelist",
    summary="pictures and a JSON list of paths and labels for each split",
    part=part,
    finish=finish,
    params=ImageListParams,
)
