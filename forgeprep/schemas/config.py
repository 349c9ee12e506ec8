"""The configuration of a run, and the presets: named sets of its values that reproduce a paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from forgeprep.schemas.splits import SPLITS, Split

ImageFormat = Literal["png", "jpeg", "webp"]

RENAMED = {
    "protocol": "preset",
    "clip_length": "sequence_length",
    "clip_stride": "sequence_stride",
    "clip_short": "sequence_short",
}
"""Names of earlier versions -> their names of today, in flags, configuration files and ``run.json``."""
_FIRST_NAMES = {new: old for old, new in RENAMED.items()}
_LATER = {"shards": None, "absent": "null"}
"""Settings that came after runs were made, with the values that say nothing new: they are no part of a digest then."""
_IN_INPUTS = ("boxes_from",)
"""Settings that are no part of a digest: what follows from them is, since the clips say which files are read."""


class RunConfig(BaseModel):
    """What a run does. Equal configurations on equal inputs give byte-identical shards.

    Where and on how many workers it runs (``out``, ``workers``, ``address``) is no part of it. ``options`` are the
    dataset's own, ``params`` the stages'. ``shards`` of a split are made where that is given, else about ``shard_size``
    samples are put into each. ``boxes_from`` is the compression that faces are found on; None: as the run in ``out``
    did, or else the best one that is there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    stages: tuple[str, ...]
    preset: str | None = None
    compression: tuple[str, ...] | None = None
    methods: tuple[str, ...] | None = None
    splits: tuple[Split, ...] = SPLITS
    boxes_from: str | None = None
    formats: tuple[str, ...] = ("parquet",)
    image_format: ImageFormat = "png"
    image_quality: int = Field(default=95, ge=1, le=100)
    shard_size: int = Field(default=2000, ge=1)
    shards: int | None = Field(default=None, ge=1)
    absent: Literal["null", "placeholder"] = "null"
    options: dict[str, Any] = Field(default_factory=dict)
    params: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _read_older(cls, values: Any) -> Any:
        return current_names(values) if isinstance(values, dict) else values


def current_names(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration in a ``run.json``, which may be of an earlier version, by the names of today.

    >>> current_names({"protocol": None, "params": {"frames": {"clip_length": 8}}})
    {'preset': None, 'params': {'frames': {'sequence_length': 8}}}
    """
    return _with_names(config, RENAMED)


def first_names(config: Mapping[str, Any]) -> dict[str, Any]:
    """The same by the names that each value had first: what a digest is made of, so that it outlives a new name."""
    found = _with_names(config, _FIRST_NAMES)
    kept = {name: value for name, value in found.items() if name not in _IN_INPUTS}
    return {name: value for name, value in kept.items() if name not in _LATER or value != _LATER[name]}


def _with_names(config: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    found = {names.get(name, name): value for name, value in config.items()}
    params = found.get("params")
    if isinstance(params, dict) and isinstance(params.get("frames"), dict):
        frames = {names.get(name, name): value for name, value in params["frames"].items()}
        found["params"] = {**params, "frames": frames}
    return found


PRESETS: dict[str, dict[str, Any]] = {
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
"""Preset -> the values that it sets; what the user gives wins.

``pixel-level``: "Zooming into Face Forensics" (2019), raw videos. ``two-stream``: "Detect and Locate"; sigma follows
the compression. ``local-similarity``: "Learnable Local Similarity", which
does not state its frames: those of ``two-stream``.
"""
