"""The dataset card: ``README.md`` of a run's folder, with the front matter that ``datasets.load_dataset`` reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import yaml

from forgeprep.schemas.clips import SPLITS
from forgeprep.schemas.columns import Column
from forgeprep.schemas.config import RunConfig
from forgeprep.schemas.splits import stored_split
from forgeprep.shards.formats import FORMATS
from forgeprep.shards.formats.parquet import hugging_face_dtype


def dataset_card(
    config: RunConfig,
    files: Sequence[dict[str, Any]],
    clips: Sequence[dict[str, Any]],
    columns: Sequence[Column],
    licence: str,
) -> str:
    """The card as Markdown.

    Args:
        config: the run's configuration.
        files: rows of ``meta/shards.pq``.
        clips: rows of ``meta/clips.pq``.
        columns: the columns of its shards.
        licence: where the source data's terms stand, or that they hold.
    """
    # Of other packages' formats, Hugging Face's loader knows nothing.
    suffix = next((FORMATS.get(name).suffix for name in FORMATS.built_in if name in config.formats), None)
    present = [split for split in SPLITS if any(f["split"] == split and f["rows"] for f in files)]
    length = config.params.get("frames", {}).get("sequence_length")
    data_files = [{"split": stored_split(split), "path": f"shards/{split}/*.{suffix}"} for split in present]
    front = {
        **({"configs": [{"config_name": "default", "data_files": data_files}]} if suffix else {}),
        **({"dataset_info": {"features": [_feature(column) for column in columns]}} if suffix == "parquet" else {}),
        "license": "other",
        "license_name": "terms-of-the-source-data",
        **({"license_link": licence} if "://" in licence else {}),
        "task_categories": ["video-classification"] if length else ["image-classification", "image-segmentation"],
        "tags": ["face-forgery", config.dataset],
    }
    counts: Counter[tuple[str, str, str]] = Counter()
    for clip in clips:
        counts[clip["compression"] or "-", clip["method"] or "real", clip["split"]] += clip["written"]
    lines = [
        "---",
        yaml.safe_dump(front, sort_keys=False).rstrip(),
        "---",
        f"# {config.dataset}, prepared by forgeprep",
        "",
        f"Stages: {', '.join(config.stages)}. Settings and versions are in `run.json`; what is missing and why is in",
        "`meta/drops.pq`; `meta/clips.pq` accounts for every clip. The source data's licence applies to these crops:",
        "check it before you share them.",
        "",
        *_about_sequences(length, config.params.get("frames", {}).get("sequence_stride", 1)),
        "| compression | method | " + " | ".join(SPLITS) + " |",
        "|---|---|" + "--:|" * len(SPLITS),
    ]
    for compression, method in sorted({key[:2] for key in counts}):
        row = " | ".join(str(counts[compression, method, split]) for split in SPLITS)
        lines.append(f"| {compression} | {method} | {row} |")
    return "\n".join(lines) + "\n"


def _feature(column: Column) -> dict[str, Any]:
    """A column as Hugging Face's ``Features`` stand in a card."""
    if column.name == "label":
        return {"name": column.name, "dtype": {"class_label": {"names": {"0": "real", "1": "fake"}}}}
    if column.kind != "value":
        return {"name": column.name, ("dtype" if column.kind == "image" else "sequence"): "image"}
    return {"name": column.name, **_yaml_type(column.type)}


def _yaml_type(kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_struct(kind):
        return {"struct": [{"name": field.name, **_yaml_type(field.type)} for field in kind]}
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        inner = _yaml_type(kind.value_type)
        # Newer versions call it list, and still read this name.
        length = {"length": kind.list_size} if pa.types.is_fixed_size_list(kind) else {}
        return {"sequence": inner["dtype"] if inner.keys() == {"dtype"} else inner, **length}
    return {"dtype": hugging_face_dtype(kind)}


def _about_sequences(length: int | None, stride: int) -> list[str]:
    if length is None:
        return []
    apart = "consecutive frames" if stride == 1 else f"frames, {stride} apart"
    return [
        f"A sample is a face in {length} {apart}, cut out by one box. `image`, `mask`, `frame_index` and so on are",
        "lists with an entry a frame; `frame_labels` says which frames are forged, `label` is 1 if one is; `padded`",
        "counts frames at the end that repeat the last one. In a tar, frame 3 is `KEY.003.png`, its mask",
        "`KEY.003.mask.png`.",
        "",
    ]
