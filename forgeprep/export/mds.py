"""MosaicML's shards (MDS): ``streaming.StreamingDataset`` reads single samples of them, also from S3::

    train/index.json
    train/ffpp-train-00000/shard.00000.mds

A shard holds the number of its samples, where each begins and ends, a JSON of its columns, and the samples: the sizes
of the values of variable size, then the values, in alphabetical order of the columns. The package
``mosaicml-streaming`` reads that. It is not used to write: it needs torch and the clients of four clouds, and would
decode and encode every picture again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from pydantic import Field

from forgeprep.export.base import ExportFormat, ExportParams, Part, Whole, png_of, suffix_of
from forgeprep.shards.encode import encode_image

_TEXTS = (
    "sample_id", "dataset", "split", "clip_id", "original_id", "forgery", "method", "family", "compression"
)  # fmt: skip
_NUMBERS = ("frame_index", "track_id", "label", "visual_label", "audio_label", "has_mask")
_PICTURES = ("image", "mask", "noise")
_KEPT = {"jpg": "jpeg", "jpeg": "jpeg"}
"""Suffix -> encoding of pictures that are kept as they are; all others become PNG."""


class MdsParams(ExportParams):
    """Options of the format ``mds``."""

    shard_mb: int = Field(default=64, ge=1, le=2048, description="MiB of a shard, about")


def part(part: Part, params: MdsParams) -> Iterator[dict[str, Any] | None]:
    """Write the samples of a shard of the run as one or more of MDS; the last entry of each tells of it."""
    columns: dict[str, str] = {}
    held: list[bytes] = []
    size, number = 0, 0

    def write() -> Iterator[dict[str, Any] | None]:
        name = f"{part.shard.stem}/shard.{number:05d}.mds"
        data = _shard(held, columns, params.shard_mb << 20)
        part.add(f"{part.split}/{name}", data)
        yield from [None] * (len(held) - 1)
        yield {"split": part.split, "facts": _facts(name, len(data), len(held), columns, params.shard_mb << 20)}

    for row in part.rows():
        columns = columns or _columns(row)
        held.append(_sample(row, columns))
        size += len(held[-1])
        if size >= params.shard_mb << 20:
            yield from write()
            held, size, number = [], 0, number + 1
    if held:
        yield from write()


def finish(whole: Whole, entries: Iterable[dict[str, Any] | None], params: MdsParams) -> None:
    """Write the index of each split."""
    splits: dict[str, list[dict[str, Any]]] = {}
    for entry in filter(None, entries):
        splits.setdefault(entry["split"], []).append(entry["facts"])
    for split, shards in splits.items():
        whole.add_json(f"{split}/index.json", {"version": 2, "shards": shards})


def _columns(row: dict[str, Any]) -> dict[str, str]:
    """Column -> encoding, in the order of the file."""
    pictures = {name: "png" for name in _PICTURES if name in row}
    pictures["image"] = _KEPT.get(suffix_of(row["image"]), "png")
    plain = {**dict.fromkeys(_TEXTS, "str"), **dict.fromkeys(_NUMBERS, "int"), **pictures}
    return dict(sorted(plain.items()))


def _sample(row: dict[str, Any], columns: dict[str, str]) -> bytes:
    """A sample: the sizes of what has no fixed size, and all values. A picture that is missing is black."""
    values = []
    for name, encoding in columns.items():
        if encoding == "int":
            value = row.get("mask") is not None if name == "has_mask" else row.get(name)
            values.append(np.int64(-1 if value is None else value).tobytes())
        elif encoding == "str":
            values.append(str(row[name] or "").encode())
        else:
            if row[name] is None:
                values.append(encode_image(np.zeros(row["image_size"][::-1], np.uint8)))
            else:
                values.append(row[name]["bytes"] if encoding == "jpeg" else png_of(row[name]))
    free = [len(value) for value, encoding in zip(values, columns.values(), strict=True) if encoding != "int"]
    return b"".join([np.array(free, np.uint32).tobytes(), *values])


def _config(columns: dict[str, str], limit: int) -> dict[str, Any]:
    return {
        "column_encodings": list(columns.values()),
        "column_names": list(columns),
        "column_sizes": [8 if encoding == "int" else None for encoding in columns.values()],
        "compression": None,
        "format": "mds",
        "hashes": [],
        "size_limit": limit,
        "version": 2,
    }


def _shard(samples: list[bytes], columns: dict[str, str], limit: int) -> bytes:
    config = json.dumps(_config(columns, limit), sort_keys=True).encode()
    begins = np.concatenate([[0], np.cumsum([len(sample) for sample in samples])])
    begins += 4 + 4 * len(begins) + len(config)
    return b"".join([np.uint32(len(samples)).tobytes(), begins.astype(np.uint32).tobytes(), config, *samples])


def _facts(name: str, size: int, samples: int, columns: dict[str, str], limit: int) -> dict[str, Any]:
    raw = {"basename": name, "bytes": size, "hashes": {}}
    return {**_config(columns, limit), "raw_data": raw, "samples": samples, "zip_data": None}


MDS = ExportFormat(
    name="mds",
    summary="random-access shards for MosaicML's StreamingDataset",
    part=part,
    finish=finish,
    params=MdsParams,
)
