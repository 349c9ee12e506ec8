"""The lists of a spliced dataset: a manifest, lists in ForgeryNet's form, a label a frame, and what gave no clip."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from forgeprep.datasets.forgerynet_lists import METHOD_NUMBERS
from forgeprep.datasets.manifest import COLUMNS
from forgeprep.io.atomic import atomic_write_bytes
from forgeprep.schemas.clips import SPLITS
from forgeprep.shards.records import table_bytes

_KINDS = {"real": 0, "identity_replaced": 2}
"""ForgeryNet's three-way label; all other forgeries are 1, "identity remained"."""

FRAME_SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("frame_index", pa.int32(), nullable=False),
        pa.field("label", pa.int8(), nullable=False),
    ]
)
"""``frames.parquet``: every frame of every clip, 0 real or 1 forged."""

_README = """\
# {dataset}, spliced by forgeprep

{fakes:,} clips in which spans of an original are replaced by its fake's frames, and their {reals:,} originals, coded
in the same way. The licence of the source data applies.

- `manifest.csv`: a row a clip, with its original, method, split and spans: `forgeprep run manifest --root …`
- `train`, `val`, `test`: the clips, and `video_list.txt` in ForgeryNet's form:
  `<n> <path> (<start> <frames> <0|1>) x n <0|1> <0|1|2> <number>`; 2 is identity replaced, 1 identity remained;
  the number of a method stands in `methods.txt`, 0 is real
- `frames.parquet`: path, frame_index, label: 0 real, 1 forged
- `skipped.csv`: fakes that gave no clip, with the reason
- `splice.json`: settings and versions
"""


def write_index(
    out: Path,
    dataset: str,
    clips: Sequence[dict[str, Any]],
    skipped: Sequence[dict[str, Any]],
    *,
    with_people: bool,
) -> None:
    """Write all lists; equal clips give equal bytes.

    ``with_people`` names the people in the manifest. It is false where the split is that of the dataset's authors,
    which may have put somebody in two of them; a manifest that says so would be refused.

    Raises:
        StorageError: a file cannot be written.
    """
    rows = [_manifest_row(clip, with_people) for clip in clips]
    atomic_write_bytes(out / "manifest.csv", _csv(COLUMNS, rows))
    atomic_write_bytes(out / "skipped.csv", _csv(("clip_id", "split", "reason", "detail"), skipped))
    numbers = _method_numbers(dataset, clips)
    names = "".join(f"{number} {name}\n" for name, number in sorted(numbers.items(), key=lambda item: item[1]))
    atomic_write_bytes(out / "methods.txt", names.encode())
    for split in SPLITS:
        lines = [_list_line(clip, numbers) for clip in clips if clip["split"] == split]
        if lines:
            atomic_write_bytes(out / split / "video_list.txt", "".join(lines).encode())
    atomic_write_bytes(out / "frames.parquet", table_bytes(_frames(clips)))
    fakes = sum(clip["label"] for clip in clips)
    text = _README.format(dataset=dataset, fakes=fakes, reals=len(clips) - fakes)
    atomic_write_bytes(out / "README.md", text.encode())


def _manifest_row(clip: dict[str, Any], with_people: bool) -> dict[str, Any]:
    fake = clip["label"] == 1
    return {
        **{name: clip.get(name) for name in COLUMNS},
        "identity": ";".join(clip["identities"]) if with_people else "",
        "spans": ";".join(" ".join(map(str, span)) for span in clip["spans"]) if fake else "",
    }


def _list_line(clip: dict[str, Any], numbers: dict[str, int]) -> str:
    spans = " ".join(str(value) for span in clip["spans"] for value in span)
    path = clip["path"].removeprefix(f"{clip['split']}/")
    kind = _KINDS.get(clip["forgery"], 1)
    return f"{len(clip['spans'])} {path} {spans} {clip['label']} {kind} {numbers.get(clip['method'], 0)}\n"


def _method_numbers(dataset: str, clips: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Method -> its number from 1 on: ForgeryNet's own, else in the order of the names."""
    there = sorted({clip["method"] for clip in clips if clip["method"] is not None})
    known = {name: number for number, name in METHOD_NUMBERS.items()} if dataset == "forgerynet" else {}
    return {name: known.get(name, number) for number, name in enumerate(there, 1)}


def _frames(clips: Sequence[dict[str, Any]]) -> pa.Table:
    columns: dict[str, list[Any]] = {name: [] for name in FRAME_SCHEMA.names}
    for clip in clips:
        columns["path"] += [clip["path"]] * clip["frames"]
        columns["frame_index"] += range(clip["frames"])
        columns["label"] += [label for _, count, label in clip["spans"] for _ in range(count)]
    return pa.table(columns, schema=FRAME_SCHEMA)


def _csv(names: Sequence[str], rows: Iterable[dict[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: row.get(name) if row.get(name) is not None else "" for name in names} for row in rows)
    return text.getvalue().encode()
