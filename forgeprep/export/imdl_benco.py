"""IMDL-BenCo's JSON lists: for each split ``[[image, mask]]``, with ``"Negative"`` in place of a real's mask::

    images/ffpp/c23/Deepfakes/071_054/0-000123.png
    masks/ffpp/c23/Deepfakes/071_054/0-000123.png
    train.json

The masks of reals are not written. Fakes without a mask are left out: there is no way to say that one is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from forgeprep.export.base import ExportFormat, Part, Whole, place_of, suffix_of
from forgeprep.export.forensichub import ListParams

NEGATIVE = "Negative"


def part(part: Part, params: ListParams) -> Iterator[list[str]]:
    """Write the pictures of a shard, and the masks of its fakes."""
    for row in part.rows():
        mask = NEGATIVE if row["label"] == 0 else f"masks/{place_of(row)}.png"
        if row["label"] == 1:
            if row["mask"] is None:
                continue
            part.add(mask, row["mask"]["bytes"])
        image = f"images/{place_of(row)}.{suffix_of(row['image'])}"
        part.add(image, row["image"]["bytes"])
        yield [row["split"], image, mask]


def finish(whole: Whole, entries: Iterable[list[str]], params: ListParams) -> None:
    """Write the list of each split."""
    lists: dict[str, list[list[str]]] = {}
    for split, image, mask in entries:
        line = [params.path(whole, image), mask if mask == NEGATIVE else params.path(whole, mask)]
        lists.setdefault(split, []).append(line)
    for split, lines in lists.items():
        whole.add_json(f"{split}.json", lines)


IMDL_BENCO = ExportFormat(
    name="imdl-benco",
    summary="pictures, masks and a JSON list of both for each split, for IMDL-BenCo's JsonDataset",
    part=part,
    finish=finish,
    params=ListParams,
    needs=("mask",),
    every=False,
    hint="its fakes need masks; make the shards with the stage mask",
)
