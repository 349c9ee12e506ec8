"""What must stand in the JSON files that are read back, one model a file: others may have written or changed them.

A model says what its readers rely on; further names are left alone, so that files of other versions stay readable.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict, ValidationError

from forgeprep.schemas.columns import type_of

_LONGEST = 160


def _inside(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\0" in path:
        raise ValueError("leads out of its folder")
    return path


def _name(path: str) -> str:
    if "/" in path or path in ("", ".", "..") or "\0" in path:
        raise ValueError("is no name of a file beside it")
    return path


def _type(text: str) -> str:
    type_of(text)
    return text


InnerPath = Annotated[str, Field(max_length=4096), AfterValidator(_inside)]
"""A path below the folder that the file describes."""
FileName = Annotated[str, Field(max_length=255), AfterValidator(_name)]
"""A file beside the one that names it."""
Count = Annotated[int, Field(ge=0, lt=1 << 53)]
Names = list[Annotated[str, Field(max_length=4096)]]


class _File(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class ColumnFacts(_File):
    """A column in ``run.json``: what of :class:`forgeprep.schemas.columns.Column` is data."""

    name: Annotated[str, Field(max_length=64)]
    stage: Annotated[str, Field(max_length=64)]
    type: Annotated[str, Field(max_length=400), AfterValidator(_type)]
    doc: str = ""
    nullable: bool = False
    kind: Literal["value", "image"] = "value"
    as_run: bool = False
    packing: Literal["smooth", "runs", "residual"] = "smooth"
    channels: Literal[1, 3] | None = None
    like_crop: bool = False
    suffix: Annotated[str, Field(max_length=16)] = "bin"
    in_sequence: Literal["each", "once", "lead", "same"] = "each"
    draw: Literal["stored", "none"] = "stored"


class ReasonFacts(_File):
    """A drop reason in ``run.json``."""

    meaning: str
    transient: bool = False


class PackageFacts(_File):
    """What a run owes to a package that is not forgeprep, in ``run.json``."""

    version: str
    stages: Names = []
    formats: Names = []


class RunFile(_File):
    """``run.json`` of a run. Runs of schema version 0 have no columns, drop reasons and packages."""

    stages: Names
    schema_version: Count = 0
    columns: list[ColumnFacts] | None = None
    drop_reasons: dict[str, ReasonFacts] | None = None
    packages: dict[str, PackageFacts] = {}
    fingerprint: str | None = None
    config: dict[str, Any] | None = None
    versions: dict[str, str] | None = None
    inputs: str | None = None
    facts: str | None = None
    formats: Names | None = None
    root: str | None = None
    adds_to: str | list[str] | None = None
    settings_before: list[str] | None = None
    derived: list[dict[str, Any]] = []
    planned_on: str | None = None


class ShardFile(_File):
    """A file of a shard, in its record."""

    path: InnerPath
    format: str
    rows: Count
    bytes: Count
    sha256: str


class ClipEntry(_File):
    """A clip, in a shard's record: what its readers count with."""

    clip_id: str
    split: str
    path: str
    label: int
    written: Count
    dropped: Count
    requested: Count
    error: str | None = None
    identities: Names | None = None


class ShardRecord(_File):
    """``state/SPLIT/NAME.json``, the commit record of a shard."""

    key: str
    split: str
    shard: InnerPath
    stages: Names = []
    files: list[ShardFile]
    rows: Count
    planned: Count
    drops: list[Annotated[tuple[str, str, str, int, int | None, str, str | None], Strict(False)]]
    clips: list[ClipEntry]


class TrainingFile(_File):
    """``config.json`` of a training."""

    model: str
    options: dict[str, Any]
    recipe: dict[str, Any]
    size: Annotated[int, Field(ge=0, le=1 << 14)] | None = None
    shards: Names = []
    methods: list[str | None] = []
    enlarge: float | None = None
    kind: Annotated[list[str], Field(min_length=2, max_length=2)] | None = None
    crop: dict[str, Any] | None = None
    crop_versions: dict[str, str] | None = None
    package: str | None = None


class StateFile(_File):
    """``last.json`` or ``best.json`` of a training: a state, whose tensors lie beside it."""

    step: Count
    epoch: Annotated[float, Field(ge=0)]
    tensors: FileName


class MatrixFile(_File):
    """``protocol.json`` of a matrix of trainings."""

    protocol: str
    fingerprints: dict[str, str]


class SplicedClip(_File):
    """A clip in the record of a spliced source group."""

    path: InnerPath
    bytes: Count


class SpliceRecord(_File):
    """``state/NAME.json`` of a spliced dataset."""

    key: str
    clips: list[SplicedClip]
    skipped: list[dict[str, Any]]


def problem_of(model: type[BaseModel], value: Any) -> str | None:
    """What is wrong with a file's content, in a few words; None if it is as the model says."""
    try:
        model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        text = " ".join(f"{place}: {first['msg'].removeprefix('Value error, ')}".split())
        return text.removeprefix(": ")[:_LONGEST]
    except RecursionError:
        return "nested too deeply"
    return None
