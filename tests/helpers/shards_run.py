"""A small run with real pictures, written by the real writer, for the tests of shards and reports."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from forgeprep.io.atomic import atomic_write_bytes
from forgeprep.ops.mask_signs import stray_share
from forgeprep.ops.similarity import mask_grid, pack_grid
from forgeprep.schemas.clips import CLIP_SCHEMA
from forgeprep.schemas.columns import facts_of
from forgeprep.schemas.drops import DROP_SCHEMA, Drop
from forgeprep.schemas.samples import Column, columns_of
from forgeprep.shards.encode import encode_row
from forgeprep.shards.records import table_bytes, write_record
from forgeprep.shards.write import ShardWriter

UInt8 = npt.NDArray[np.uint8]

STAGES = ("frames", "crop", "mask", "noise", "similarity")
METHODS = ("Deepfakes", "FaceSwap")
FRAMES = (0, 12, 24)
SIDE = 14


def columns(stages: Sequence[str] = STAGES) -> list[Column]:
    return [column for stage in ("key", *stages) for column in columns_of(stage)]


def make_row(photo: UInt8, split: str, source: int, method: str | None, frame: int, size: int = 96) -> dict[str, Any]:
    """A sample before encoding: a crop of the photograph, or a forgery of it, with all annotations."""
    original_id = f"ffpp/c23/original/{source:03d}"
    clip_id = original_id if method is None else f"ffpp/c23/{method}/{source:03d}_{source + 1:03d}"
    crop = _crop(photo, source, frame, size)
    image, mask = (crop, np.zeros((size, size), np.uint8)) if method is None else _forge(crop, method)
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    residual = np.clip((gray - cv2.GaussianBlur(gray, (0, 0), 1)) * 5 + 128, 0, 255).astype(np.uint8)
    change = np.abs(image.astype(np.int16) - crop).max(axis=2).astype(np.uint8)
    difference = np.asarray(cv2.GaussianBlur(change, (0, 0), 2), np.uint8)
    return {
        "sample_id": f"{clip_id}/0/{frame:06d}",
        "dataset": "ffpp",
        "split": split,
        "source_id": f"ffpp/c23/{source:03d}",
        "clip_id": clip_id,
        "original_id": None if method is None else original_id,
        "frame_index": frame,
        "original_frame": None if method is None else frame,
        "timestamp_s": frame / 30000 * 1001,
        "track_id": 0,
        "label": int(method is not None),
        "visual_label": int(method is not None),
        "audio_label": None,
        "forgery": "real" if method is None else "identity_replaced",
        "method": method,
        "family": None,
        "compression": "c23",
        "perturbation": None,
        "frame_size": [1280, 720],
        "face_box": [500.25, 100.1, 600.3, 200.7],
        "crop_box": [480, 80, 480 + size, 80 + size],
        "enlarge": 1.3,
        "padding": [0, 0, 0, 0],
        "detector": "dlib-hog",
        "detection": "detected",
        "detection_score": 0.1 + frame,
        "landmarks": None,
        "landmark_scheme": None,
        "crop_matrix": [1.0, 0.0, -480.0, 0.0, 1.0, -80.0],
        "image": image,
        "image_size": [size, size],
        "mask": mask,
        "mask_provided": None,
        "difference": difference,
        "mask_magnitude": None,
        "mask_source": "pristine" if method is None else "difference",
        "mask_threshold": None if method is None else 60,
        "mask_agreement": None if method is None else 0.9,
        "mask_fraction": float(np.count_nonzero(mask) / mask.size),
        "mask_confidence": 1.0 if method is None else 0.8,
        "mask_stray": None if method is None else stray_share(mask, difference),
        "mask_jump": None if method is None else 0.0,
        "noise": residual,
        "noise_sigma": 5.0,
        "similarity": pack_grid(mask_grid(mask, SIDE)),
        "similarity_side": SIDE,
    }


def shard_rows(photo: UInt8, split: str, sources: Sequence[int], size: int = 96) -> list[dict[str, Any]]:
    return [
        make_row(photo, split, source, method, frame, size)
        for source in sources
        for method in (None, *METHODS)
        for frame in FRAMES
    ]


def write_shard(
    out: Path,
    shard: str,
    rows: list[dict[str, Any]],
    *,
    formats: tuple[str, ...] = ("parquet", "webdataset"),
    stages: Sequence[str] = STAGES,
    image_format: str = "png",
    **changes: Any,
) -> dict[str, Any]:
    """Write a shard and its record, with one drop; ``changes`` are made to the record."""
    with ShardWriter(out, shard, columns(stages), formats, {"forgeprep": "k"}) as writer:
        for row in rows:
            writer.add(encode_row(row, columns(stages), image_format, 95))
        files = writer.commit()
    last = rows[-1]
    drop = Drop(last["split"], last["source_id"], last["clip_id"], 36, None, "past_end", "the clip has 36 frames")
    clips = []
    for clip_id in dict.fromkeys(row["clip_id"] for row in rows):
        own = [row for row in rows if row["clip_id"] == clip_id]
        dropped = int(clip_id == drop.clip_id)
        clip: dict[str, Any] = {name: own[0].get(name) for name in CLIP_SCHEMA.names}
        clip |= {"path": f"{clip_id}.mp4", "size_bytes": 1000}
        counts = {"requested": len(own) + dropped, "decoded": len(own), "detected": len(own), "written": len(own)}
        clips.append({**clip, **counts, "header_frames": 36, "dropped": dropped, "topped_up": 0, "tracks": 1})
    record = {
        "key": "k",
        "split": shard.split("/")[0],
        "shard": shard,
        "stages": list(stages),
        "files": [asdict(file) for file in files],
        "rows": len(rows),
        "planned": len(rows) + 1,
        "drops": [list(asdict(drop).values())],
        "clips": clips,
    } | changes
    write_record(out, record)
    return record


def write_tables(out: Path, records: list[dict[str, Any]], stages: Sequence[str] = STAGES) -> None:
    """Write what the pipeline writes beside the shards."""
    clips = [clip for record in records for clip in record["clips"]]
    drops = [dict(zip(DROP_SCHEMA.names, drop, strict=True)) for record in records for drop in record["drops"]]
    files = [{**file, "split": record["split"]} for record in records for file in record["files"]]
    tables = {
        "meta/plan.pq": pa.Table.from_pylist([{"shard": record["shard"]} for record in records]),
        "meta/shards.pq": pa.Table.from_pylist(files),
        "meta/clips.pq": pa.Table.from_pylist(clips, schema=CLIP_SCHEMA),
        "meta/drops.pq": pa.Table.from_pylist(drops, schema=DROP_SCHEMA),
    }
    for name, table in tables.items():
        atomic_write_bytes(out / name, table_bytes(table))
    facts = [facts_of(column) for column in columns(stages)]
    formats = ["parquet", "webdataset"]
    document = {"fingerprint": "f", "stages": list(stages), "formats": formats, "config": {}, "columns": facts}
    atomic_write_bytes(out / "run.json", json.dumps(document).encode())


def make_run(out: Path, photo: UInt8, *, size: int = 96, **options: Any) -> Path:
    """A run of two shards, train and test, each of one source group."""
    records = [
        write_shard(out, f"{split}/ffpp-{split}-00000", shard_rows(photo, split, [source], size), **options)
        for split, source in (("train", 0), ("test", 10))
    ]
    write_tables(out, records, options.get("stages", STAGES))
    return out


def _crop(photo: UInt8, source: int, frame: int, size: int) -> UInt8:
    x, y = 150 + source // 2 + frame // 4, 10 + frame // 6
    return np.asarray(cv2.resize(photo[y : y + 180, x : x + 180], (size, size), interpolation=cv2.INTER_AREA), np.uint8)


def _forge(crop: UInt8, method: str) -> tuple[UInt8, UInt8]:
    """The crop with a mirrored or recoloured face, and the mask of what was changed."""
    side = crop.shape[0]
    mask = np.zeros((side, side), np.uint8)
    cv2.ellipse(mask, (side // 2, side // 2), (side // 4, side // 3), 0, 0, 360, 255, -1)
    other = crop[:, ::-1] if method == "Deepfakes" else np.clip(np.add(crop, [40, -20, 10]), 0, 255)
    return np.where(mask[..., None] > 0, other, crop).astype(np.uint8), mask


class Died(BaseException):
    """What ends a piece of work as a kill would: nothing that is caught or cleaned up afterwards reaches the disk."""


def dying(work: Callable[[], object], turn: int, patch: pytest.MonkeyPatch) -> bool:
    """Do the work, which dies at its ``turn``-th change of the file system; False where it has fewer."""
    count = 0

    def counted(change: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **more: Any) -> Any:
            nonlocal count
            count += 1
            if count >= turn:
                raise Died
            return change(*arguments, **more)

        return called

    with patch.context() as context:
        for name in ("replace", "rename", "unlink", "link", "rmdir"):
            context.setattr(os, name, counted(getattr(os, name)))
        try:
            work()
        except Died:
            return True
    return False
