"""ForensicHub: for each split a JSON list of ``{"path", "label"}``, 0 real and 1 fake::

images/ffpp/c23/Deepfakes/071_054/0-000123.png
train.json
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import Field

from forgeprep.export.base import ExportFormat, ExportParams, Part, Whole, place_of, suffix_of
from forgeprep.io.storage import absolute


class ListParams(ExportParams):
    """Options of formats whose lists hold paths that are opened as they are."""

    prefix: str | None = Field(
        default=None, description="stands before every path in the lists; default: the folder's absolute path"
    )

    def path(self, whole: Whole, name: str) -> str:
        """What the list says of a file."""
        prefix = str(absolute(whole.to)) if self.prefix is None else self.prefix
        return f"{prefix.rstrip('/')}/{name}" if prefix else name


def part(part: Part, params: ListParams) -> Iterator[dict[str, Any]]:
    """Write the pictures of a shard."""
    for row in part.rows():
        name = f"images/{place_of(row)}.{suffix_of(row['image'])}"
        part.add(name, row["image"]["bytes"])
        yield {"split": row["split"], "path": name, "label": row["label"]}


def finish(whole: Whole, entries: Iterable[dict[str, Any]], params: ListParams) -> None:
    """Write the list of each split."""
    lists: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        line = {"path": params.path(whole, entry["path"]), "label": entry["label"]}
        lists.setdefault(entry["split"], []).append(line)
    for split, lines in lists.items():
        whole.add_json(f"{split}.json", lines)


FORENSICHUB = ExportFormat(
    name="forensichub",
    summary="pictures and a JSON list of path and label for each split, for ForensicHub",
    part=part,
    finish=finish,
    params=ListParams,
)
