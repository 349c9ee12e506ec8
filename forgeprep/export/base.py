"""What an export format is, and what it works with: the samples of a run, and a folder that is filled as a whole."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict

from forgeprep.errors import StorageError, VerifyError
from forgeprep.ops.spread import evenly
from forgeprep.schemas.clips import SPLITS
from forgeprep.shards.random_access import iter_values, read_at
from forgeprep.shards.read import shard_paths
from forgeprep.shards.sequences import MARK, is_sequence, split_frames

Row = dict[str, Any]


class ExportParams(BaseModel):
    """The options of an export format: validated, immutable. Users write ``--option NAME=VALUE``."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True)
class Source:
    """A finished run, to read from.

    Attributes:
        out: its folder.
        run: its ``run.json``.
    """

    out: Path
    run: dict[str, Any]

    @property
    def dataset(self) -> str:
        """The dataset's name, e.g. ``ffpp``."""
        return str((self.run.get("config") or {}).get("dataset") or "dataset")

    def frames(self, per_video: int | None = None) -> Iterator[Row]:
        """All samples as rows of single frames, in order: pictures encoded as ``{"bytes", "path"}``, or None.

        Of sequences every frame is a row, but for padding. With ``per_video``, each face of a clip gives at most so
        many, evenly spread.

        Raises:
            VerifyError: a shard is missing or damaged.
        """
        for split in SPLITS:
            for path in shard_paths(self.out, split):
                wanted = _spread(path, per_video) if per_video is not None else None
                for place, _ in iter_values(path, ["sample_id"]):
                    yield from _chosen(read_at(place), wanted)


def _chosen(row: Row, wanted: set[str] | None) -> Iterator[Row]:
    frames = split_frames(row)[: len(row[MARK]) - row["padded"]] if is_sequence(row) else [row]
    yield from (frame for frame in frames if wanted is None or frame["sample_id"] in wanted)


def _spread(path: Path, count: int) -> set[str]:
    """The sample_ids of ``count`` frames of each face of a clip, evenly spread; a clip lies in one shard."""
    names = ["sample_id", "clip_id", "track_id", "frame_index", "label", MARK, "padded", "forgery", "method"]
    found: dict[tuple[str, int], list[tuple[int, str]]] = defaultdict(list)
    for _, row in iter_values(path, names):
        for frame in _chosen(row, None):
            found[frame["clip_id"], frame["track_id"]].append((frame["frame_index"], frame["sample_id"]))
    return {sorted(face)[i][1] for face in found.values() for i in evenly(len(face), count)}


@dataclass(slots=True)
class Folder:
    """The folder that is being filled; it gets its name when all is there.

    Attributes:
        path: where it lies meanwhile.
        samples: how many samples it holds.
        sums: file -> SHA-256, as hex.
    """

    path: Path
    samples: int = 0
    sums: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, data: bytes) -> None:
        """Write a file.

        Args:
            name: its POSIX path in the folder.
            data: its content.

        Raises:
            VerifyError: the name leads out of the folder, or is there already.
            StorageError: the disk refuses.
        """
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts or "\\" in name or "\0" in name:
            raise VerifyError(f"{name!r}: the name leads out of the folder; check the run with 'forgeprep verify'")
        if name in self.sums:
            raise VerifyError(f"{name}: two samples have this name; check the run with 'forgeprep verify'")
        path = self.path / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                file.write(data)
        except OSError as error:
            raise StorageError(f"{name}: cannot be written ({error.strerror}); give another --to") from None
        self.sums[name] = hashlib.sha256(data).hexdigest()

    def close(self) -> None:
        """Write the list of checksums, as ``sha256sum --check`` reads it, and bring all to the disk."""
        lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(self.sums.items()))
        self.add("checksums.sha256", lines.encode())
        os.sync()


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """A format that other programs read.

    Attributes:
        name: what users write after ``--as``.
        summary: one line: who reads it.
        write: ``(source, folder, params)``: fills the folder and counts its samples.
        params: the model of its options.
    """

    name: str
    summary: str
    write: Callable[[Source, Folder, Any], None]
    params: type[ExportParams] = ExportParams


def suffix_of(picture: dict[str, Any]) -> str:
    """The suffix of a stored picture, e.g. ``png``."""
    return str(picture["path"]).rpartition(".")[2]
