"""What an export format is, and what it works with.

A format has two functions. ``part`` gets one shard of the run, writes files for its samples, and yields an entry for
each: what the lists will say of it. ``finish`` gets all entries in order and writes the lists. Parts are made at the
same time, by other processes or machines.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from forgeprep.errors import StorageError, UsageError, VerifyError
from forgeprep.export.select import Clips, Row, Selection, chosen_rows
from forgeprep.io.storage import is_remote
from forgeprep.shards.encode import decode_image, encode_image

Entry = Any
"""What a part tells of a sample: anything that JSON can hold."""


class ExportParams(BaseModel):
    """The options of an export format: validated, immutable. Users write ``--option NAME=VALUE``."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(slots=True)
class Files:
    """The files of a folder that is being filled.

    Attributes:
        path: the folder.
        sums: file -> SHA-256, as hex.
        sizes: file -> bytes.
    """

    path: Path
    sums: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, data: bytes) -> None:
        """Write a file.

        Args:
            name: its POSIX path in the folder.
            data: its content.

        Raises:
            VerifyError: the name leads out of the folder, or is there already.
            StorageError: the disk refuses.
        """
        path = self._new(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        except OSError as error:
            raise _cannot_write(name, error) from None
        self._note(name, hashlib.sha256(data).hexdigest(), len(data))

    def add_json(self, name: str, value: Any) -> None:
        """Write a value as JSON."""
        self.add(name, json.dumps(value, indent=1, ensure_ascii=False).encode())

    def add_file(self, name: str, source: Path, *, link: bool) -> None:
        """Copy a file here, or with ``link`` make a symbolic link to it.

        Raises:
            UsageError: there is no such file, or links are asked for where there are none.
            StorageError: the disk refuses.
        """
        path = self._new(name)
        if link and (is_remote(path) or is_remote(source)):
            raise UsageError(f"{source}: remote storage has no links; export without --links")
        digest, size = hashlib.sha256(), 0
        try:
            with source.open("rb") as file:
                path.parent.mkdir(parents=True, exist_ok=True)
                if link:
                    path.unlink(missing_ok=True)
                    path.symlink_to(source.absolute())
                with path.open("rb" if link else "wb") as copy:
                    while data := file.read(1 << 20):
                        digest.update(data)
                        size += len(data)
                        if not link:
                            copy.write(data)
        except FileNotFoundError:
            raise UsageError(f"{source}: is not there; bring the run's dataset back, or mount it") from None
        except OSError as error:
            raise _cannot_write(name, error) from None
        self._note(name, digest.hexdigest(), size)

    def _new(self, name: str) -> Path:
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts or "\\" in name or "\0" in name or parts[0] == STATE:
            raise VerifyError(f"{name!r}: the name leads out of the folder; check the run with 'forgeprep verify'")
        if name in self.sums:
            raise VerifyError(f"{name}: two samples have this name; check the run with 'forgeprep verify'")
        return self.path / name

    def _note(self, name: str, digest: str, size: int) -> None:
        self.sums[name], self.sizes[name] = digest, size


STATE = ".forgeprep-export"
"""The folder in an unfinished export that remembers what is done."""


@dataclass(frozen=True, slots=True)
class Part:
    """One shard of a run, on its way into another format.

    Attributes:
        out: the run's folder.
        run: its ``run.json``.
        split: train, val or test.
        shard: the shard's file.
        clips: what the run knows of its clips.
        selection: which samples are wanted.
        files: the files of this part.
        links: whether files that exist as such are linked, not copied.
        counts: how many rows were handed out, how many of them lack their original's frame, and how many clips were
            left out, since the format has no place for such.
    """

    out: Path
    run: Mapping[str, Any]
    split: str
    shard: Path
    clips: Clips
    selection: Selection
    files: Files
    links: bool = False
    counts: dict[str, int] = field(default_factory=lambda: {"rows": 0, "unpaired": 0, "left_out": 0})

    @property
    def dataset(self) -> str:
        """The dataset's name, e.g. ``ffpp``."""
        return dataset_of(self.run)

    def add(self, name: str, data: bytes) -> None:
        """Write a file, see :meth:`Files.add`."""
        self.files.add(name, data)

    def rows(self, columns: Sequence[str] | None = None) -> Iterator[Row]:
        """The wanted samples as rows of single frames, in order: pictures encoded as ``{"bytes", "path"}``, or None.

        Of sequences every frame is a row, but for padding. ``clip_method`` is the method of the clip, also where this
        frame of it is real; None in a real clip. With ``columns`` the rows hold
        these, and what says which frame of which clip they are.

        Raises:
            VerifyError: the shard is missing or damaged.
        """
        for row, paired in chosen_rows(self.shard, self.clips, self.selection, columns):
            self.counts["rows"] += 1
            self.counts["unpaired"] += not paired
            yield row


@dataclass(frozen=True, slots=True)
class Whole:
    """The folder when all parts are made.

    Attributes:
        run: the run's ``run.json``.
        to: what the folder will be called.
        files: all files so far.
        notes: what the user should know of it, a line each.
    """

    run: Mapping[str, Any]
    to: Path
    files: Files
    notes: list[str] = field(default_factory=list)

    @property
    def dataset(self) -> str:
        """The dataset's name, e.g. ``ffpp``."""
        return dataset_of(self.run)

    def add(self, name: str, data: bytes) -> None:
        """Write a file, see :meth:`Files.add`."""
        self.files.add(name, data)

    def add_json(self, name: str, value: Any) -> None:
        """Write a value as JSON, see :meth:`Files.add_json`."""
        self.files.add_json(name, value)


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """A format that other programs read.

    Attributes:
        name: what users write as the first argument.
        summary: one line: who reads it.
        part: ``(part, params)`` to entries: writes the files of one shard and yields an entry for each sample.
        finish: ``(whole, entries, params)``: writes the lists; the entries of all parts, in order.
        params: the model of its options.
        needs: columns that the run must have.
        every: whether each wanted sample gives an entry; the export fails where one does not.
        links: whether ``--links`` means something: it has files that exist as such.
        unit: what an entry is.
        hint: why a run may have nothing for it, and what to do.
    """

    name: str
    summary: str
    part: Callable[[Part, Any], Iterator[Entry]]
    finish: Callable[[Whole, Iterable[Entry], Any], None]
    params: type[ExportParams] = ExportParams
    needs: tuple[str, ...] = ()
    every: bool = True
    links: bool = False
    unit: str = "sample"
    hint: str = ""


def dataset_of(run: Mapping[str, Any]) -> str:
    """The dataset of a run, e.g. ``ffpp``."""
    return str((run.get("config") or {}).get("dataset") or "dataset")


def suffix_of(picture: Mapping[str, Any]) -> str:
    """The suffix of a stored picture, e.g. ``png``."""
    return str(picture["path"]).rpartition(".")[2]


def png_of(picture: Mapping[str, Any]) -> bytes:
    """A stored picture as PNG."""
    data: bytes = picture["bytes"]
    return data if suffix_of(picture) == "png" else encode_image(decode_image(data))


def kind_of(row: Mapping[str, Any]) -> str:
    """``real`` or ``fake``."""
    return ("real", "fake")[row["label"]]


def place_of(row: Mapping[str, Any]) -> str:
    """A path for a sample that no other has: ``ffpp/c23/Deepfakes/071_054/0-000123``."""
    return f"{row['clip_id']}/{row['track_id']}-{row['frame_index']:06d}"


def video_of(row: Mapping[str, Any]) -> str:
    """The last part of the clip's name, with the track's number where it is not the first: ``071_054``, ``071_054__1``.

    The frames of a fake that were not forged have ``__real`` behind it: they are a video of their own.
    """
    name = str(row["clip_id"]).rpartition("/")[2] + (f"__{row['track_id']}" if row["track_id"] else "")
    return f"{name}__real" if row["clip_method"] is not None and row["label"] == 0 else name


def crop_landmarks(row: Mapping[str, Any]) -> npt.NDArray[np.float32] | None:
    """The landmarks in pixels of the crop, float32 (n, 2), from the centre of the first pixel; None without.

    They are stored in pixels of the frame. ``crop_matrix``, where the run has it, says where these lie in the crop;
    else the crop is ``crop_box``, scaled.
    """
    flat = row.get("landmarks")
    if not flat or len(flat) % 2:
        return None
    points = np.asarray(flat, np.float64).reshape(-1, 2)
    matrix = row.get("crop_matrix")
    if matrix is not None:
        moved = points @ np.asarray(matrix, np.float64).reshape(2, 3)[:, :2].T + np.asarray(matrix)[[2, 5]]
    else:
        x0, y0, x1, y1 = row["crop_box"]
        scale = np.asarray(row["image_size"], np.float64) / (x1 - x0, y1 - y0)
        moved = (points + 0.5 - (x0, y0)) * scale - 0.5
    return np.asarray(moved, np.float32)


def npy_of(array: npt.NDArray[Any]) -> bytes:
    """An array as the bytes of an ``.npy`` file."""
    sink = io.BytesIO()
    np.save(sink, array, allow_pickle=False)
    return sink.getvalue()


def _cannot_write(name: str, error: OSError) -> StorageError:
    return StorageError(f"{name}: cannot be written ({error.strerror or os.strerror(5)}); give another --to")
