"""The configuration of a run, and the protocols: named sets of its values that reproduce a paper."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from forgeprep.schemas.clips import SPLITS, Split

ImageFormat = Literal["png", "jpeg", "webp"]


class RunConfig(BaseModel):
    """What a run does. Equal configurations on equal inputs give byte-identical shards.

    Where and on how many workers it runs (``out``, ``workers``, ``address``) is no part of it. ``options`` are the
    dataset's own, ``params`` the stages'.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    stages: tuple[str, ...]
    protocol: str | None = None
    compression: tuple[str, ...] | None = None
    methods: tuple[str, ...] | None = None
    splits: tuple[Split, ...] = SPLITS
    formats: tuple[str, ...] = ("parquet",)
    image_format: ImageFormat = "png"
    image_quality: int = Field(default=95, ge=1, le=100)
    shard_size: int = Field(default=2000, ge=1)
    options: dict[str, Any] = Field(default_factory=dict)
    params: dict[str, dict[str, Any]] = Field(default_factory=dict)


PROTOCOLS: dict[str, dict[str, Any]] = {
    "pixel-level": {
        "stages": ["crop", "mask"],
        "frames": {"train": "all", "val": "every:10", "test": "every:10"},
        "detector": "dlib-hog",
        "enlarge": 2.0,
    },
    "two-stream": {
        "stages": ["crop", "mask", "noise"],
        "frames": {"train": "270", "val": "100", "test": "100"},
        "detector": "dlib-hog",
        "enlarge": 1.3,
        "size": 299,
    },
    "local-similarity": {
        "stages": ["crop", "mask", "similarity"],
        "frames": {"train": "270", "val": "100", "test": "100"},
        "detector": "dlib-hog",
        "enlarge": 1.3,
        "size": 224,
        "side": 14,
    },
}
"""Protocol -> the values that it sets; what the user gives wins.

``pixel-level``: "Zooming into Face Forensics" (2019), raw videos. ``two-stream``: "Detect and Locate"; sigma follows
the compression. ``local-similarity``: "Learnable Local Similarity", which
does not state its frames: those of ``two-stream``.
"""
