"""The dataset card: ``README.md`` of a run's folder, with the front matter that ``datasets.load_dataset`` reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import yaml

from forgeprep.schemas.clips import SPLITS
from forgeprep.schemas.config import RunConfig
from forgeprep.shards.formats import FORMATS


def dataset_card(config: RunConfig, files: Sequence[dict[str, Any]], clips: Sequence[dict[str, Any]]) -> str:
    """The card as Markdown.

    Args:
        config: the run's configuration.
        files: rows of ``meta/shards.pq``.
        clips: rows of ``meta/clips.pq``.
    """
    # Of other packages' formats, Hugging Face's loader knows nothing.
    suffix = next((FORMATS.get(name).suffix for name in FORMATS.built_in if name in config.formats), None)
    present = [split for split in SPLITS if any(f["split"] == split and f["rows"] for f in files)]
    # Hugging Face's own name of the val split is "validation".
    names = {"val": "validation"}
    clip_length = config.params.get("frames", {}).get("sequence_length")
    data_files = [{"split": names.get(split, split), "path": f"shards/{split}/*.{suffix}"} for split in present]
    front = {
        **({"configs": [{"config_name": "default", "data_files": data_files}]} if suffix else {}),
        "task_categories": ["video-classification"] if clip_length else ["image-classification", "image-segmentation"],
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
        *_about_clips(clip_length, config.params.get("frames", {}).get("sequence_stride", 1)),
        "| compression | method | " + " | ".join(SPLITS) + " |",
        "|---|---|" + "--:|" * len(SPLITS),
    ]
    for compression, method in sorted({key[:2] for key in counts}):
        row = " | ".join(str(counts[compression, method, split]) for split in SPLITS)
        lines.append(f"| {compression} | {method} | {row} |")
    return "\n".join(lines) + "\n"


def _about_clips(length: int | None, stride: int) -> list[str]:
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
