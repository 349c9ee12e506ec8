"""FiftyOne's own format, to browse the crops with their masks as segmentations::

    metadata.json
    samples.json
    data/ffpp/c23/Deepfakes/071_054/0-000123.png
    fields/mask/ffpp/c23/Deepfakes/071_054/0-000123.png

``fiftyone.Dataset.from_dir(dataset_dir=DIR, dataset_type=fiftyone.types.FiftyOneDataset)`` reads it. Splits are tags.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

from forgeprep.export.base import ExportFormat, ExportParams, Part, Whole, kind_of, place_of, suffix_of

VERSION = "1.0.0"
"""The version of FiftyOne whose documents these are: newer ones bring them up to date as they read them."""
_FIELDS = "fiftyone.core.fields"
_VALUES = {
    "sample_id": "StringField", "method": "StringField", "family": "StringField", "forgery": "StringField",
    "compression": "StringField", "clip_id": "StringField", "original_id": "StringField", "frame_index": "IntField",
    "track_id": "IntField", "detection_score": "FloatField", "mask_source": "StringField",
    "mask_fraction": "FloatField", "mask_confidence": "FloatField", "visual_label": "IntField",
    "audio_label": "IntField",
}  # fmt: skip


def part(part: Part, params: ExportParams) -> Iterator[dict[str, Any]]:
    """Write the pictures and masks of a shard; yields FiftyOne's document of each sample."""
    for row in part.rows():
        image = f"data/{place_of(row)}.{suffix_of(row['image'])}"
        part.add(image, row["image"]["bytes"])
        label = {"_id": _id(row, "label"), "_cls": "Classification", "tags": [], "label": kind_of(row)}
        sample = {
            "_id": _id(row, "sample"),
            "filepath": image,
            "tags": [row["split"]],
            "metadata": None,
            "_media_type": "image",
            "_rand": int(_id(row, "rand")["$oid"][:12], 16) / 16**12,
            "ground_truth": label,
            **{name: row.get(name) for name in _VALUES},
            "mask": None,
        }
        if row.get("mask") is not None:
            path = f"fields/mask/{place_of(row)}.png"
            part.add(path, row["mask"]["bytes"])
            sample["mask"] = {"_id": _id(row, "mask"), "_cls": "Segmentation", "tags": [], "mask_path": path}
        yield sample


def finish(whole: Whole, entries: Iterable[dict[str, Any]], params: ExportParams) -> None:
    """Write the samples' documents, and that of the dataset."""
    samples = list(entries)
    fields = [
        _field("id", "ObjectIdField", db_field="_id"),
        _field("filepath", "StringField"),
        _field("tags", "ListField", subfield=f"{_FIELDS}.StringField"),
        _field("metadata", "EmbeddedDocumentField", document="fiftyone.core.metadata.ImageMetadata"),
        _field("created_at", "DateTimeField"),
        _field("last_modified_at", "DateTimeField"),
        _field("ground_truth", "EmbeddedDocumentField", document="fiftyone.core.labels.Classification"),
        *(_field(name, kind) for name, kind in _VALUES.items()),
        _field("mask", "EmbeddedDocumentField", document="fiftyone.core.labels.Segmentation"),
    ]
    dataset = {
        "version": VERSION,
        "name": f"forgeprep-{whole.dataset}",
        "media_type": "image",
        "tags": [],
        "info": {"forgeprep": whole.run.get("fingerprint"), "dataset": whole.dataset},
        "sample_fields": fields,
        "frame_fields": [],
        "default_classes": ["real", "fake"],
        "mask_targets": {"mask": {"255": "manipulated"}},
    }
    whole.add_json("metadata.json", dataset)
    whole.add_json("samples.json", {"samples": samples})


def _field(
    name: str, kind: str, *, document: str | None = None, subfield: str | None = None, db_field: str = ""
) -> Any:
    return {
        "_cls": "SampleFieldDocument",
        "name": name,
        "ftype": f"{_FIELDS}.{kind}",
        "embedded_doc_type": document,
        "subfield": subfield,
        "db_field": db_field or name,
        "fields": [],
        "description": None,
        "info": None,
        "read_only": False,
    }


def _id(row: dict[str, Any], what: str) -> dict[str, str]:
    """An identifier that the same sample always has."""
    return {"$oid": hashlib.sha256(f"{what} {row['sample_id']}".encode()).hexdigest()[:24]}


FIFTYONE = ExportFormat(
    name="fiftyone",
    summary="a FiftyOneDataset with masks as segmentations, to browse",
    part=part,
    finish=finish,
)
