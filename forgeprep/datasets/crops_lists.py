"""Lists beside face crops: DeepfakeBench's JSON, and the tables of Hugging Face's ``imagefolder``."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from forgeprep.datasets.listing import find_folders, listed
from forgeprep.datasets.lists import read_json_value, read_lines, refuse
from forgeprep.schemas.splits import SPLIT_NAMES, SPLITS, Split

TABLES = ("metadata.csv", "labels.csv")
"""Of Hugging Face's imagefolder, and of ``forgeprep export pictures``."""
_LABELS = {"0": 0, "real": 0, "1": 1, "fake": 1}


@dataclass(frozen=True, slots=True)
class Told:
    """What a list says of a clip; None where it says nothing.

    Attributes:
        source: the list.
        clip, original: names that the list has for the clip and for its original.
    """

    source: str
    split: Split | None = None
    label: int | None = None
    method: str | None = None
    clip: str | None = None
    original: str | None = None


def read_jsons(root: Path, given: str, folders: Iterable[str]) -> dict[str, Told]:
    """Folder of a video's frames -> split and label, of DeepfakeBench's JSON files.

    Args:
        root: the dataset's folder.
        given: one file, relative to it; "" for all in ``preprocessing/dataset_json`` and ``dataset_json``; "none".
        folders: those that hold pictures, relative to it; what the files have besides is passed over.

    Raises:
        UsageError: a file cannot be read, is no such JSON, or two say different things of a video.
    """
    if given == "none":
        return {}
    homes = find_folders(root, ["preprocessing"], ["dataset_json"]) + find_folders(root, ["dataset_json"])
    inside = [f"{home}/{name}" for home in homes for name, size in listed(root, home) if size is not None]
    files = [given] if given else [file for file in inside if file.lower().endswith(".json")]
    there = Folders(folders if files else ())
    found: dict[str, Told] = {}
    for name in files:
        for path, told in _entries(root / name):
            folder = there.find(path)
            before = found.setdefault(folder, told) if folder is not None else told
            if (before.split, before.label) != (told.split, told.label):
                text = f"{folder} is {_words(told)}, and in {before.source} {_words(before)}"
                refuse(Path(told.source), None, f"{text}: choose one of these files with --option json-file=FILE")
    return found


def _words(told: Told) -> str:
    return f"{'fake' if told.label else 'real'} in {told.split}"


def _entries(file: Path) -> Iterator[tuple[str, Told]]:
    whole = read_json_value(file)
    for label, splits in _items(file, {k: v for top in _values(file, whole) for k, v in _items(file, top)}):
        fake = int(not str(label).lower().endswith("real"))
        for split, videos in _items(file, splits):
            if str(split).lower() not in SPLIT_NAMES:
                refuse(file, None, f"has a split '{split}' of {label}; known are {', '.join(SPLITS)}")
            for frames in _frames(file, videos):
                yield _folder(frames[0]), Told(str(file), SPLIT_NAMES[str(split).lower()], fake)


def _frames(file: Path, value: Any) -> Iterator[list[str]]:
    """The lists of frames below a value, whether or not there is a level of compressions."""
    for _, inside in _items(file, value):
        if isinstance(inside, dict) and "frames" in inside:
            frames = inside["frames"]
            if not isinstance(frames, list) or not all(isinstance(frame, str) for frame in frames):
                refuse(
                    file, None, "has frames that are no list of paths; write it again, or give --option json-file=none"
                )
            if frames:
                yield frames
        else:
            yield from _frames(file, inside)


def _folder(frame: str) -> str:
    """The folder around a frame; the benchmark's own files have backslashes."""
    return str(PurePosixPath(frame.replace("\\", "/")).parent).removeprefix("./")


def _items(file: Path, value: Any) -> Iterable[tuple[Any, Any]]:
    if not isinstance(value, dict):
        shape = "{NAME: {LABEL: {SPLIT: {VIDEO: …}}}}"
        refuse(file, None, f"is not as DeepfakeBench writes it ({shape}); leave it out with --option json-file=none")
    return value.items()


def _values(file: Path, value: Any) -> list[Any]:
    return [inside for _, inside in _items(file, value)]


class Folders:
    """Finds folders of a root by paths that may begin elsewhere: ``datasets/rgb/X/frames/1`` and ``X/frames/1``."""

    def __init__(self, folders: Iterable[str]) -> None:
        self._by_end: dict[str, list[str]] = defaultdict(list)
        for folder in folders:
            self._by_end[_end(folder)].append(folder)

    def find(self, path: str) -> str | None:
        """The folder whose path ends as this one does, or the other way round; the one that agrees in most."""
        near = [
            f for f in self._by_end.get(_end(path), ()) if f"/{path}".endswith(f"/{f}") or f"/{f}".endswith(f"/{path}")
        ]
        return max(near, key=len, default=None)


def _end(path: str) -> str:
    return "/".join(path.split("/")[-2:])


def read_table(root: Path, home: str, name: str) -> dict[str, Told]:
    """Path of a picture below ``root`` -> what a table in the folder ``home`` says of it.

    Columns: ``file_name`` or ``path``, and as far as they are there ``label``, ``method``, ``split``, ``clip_id`` and
    ``original_id``.

    Raises:
        UsageError: the file cannot be read, or a row is not as it must be.
    """
    file = root / home / name
    found: dict[str, Told] = {}
    rows = csv.DictReader(line for _, line in read_lines(file))
    key = next((column for column in ("file_name", "path") if column in (rows.fieldnames or ())), None)
    if key is None:
        refuse(file, 1, "has no column file_name or path")
    for row in rows:
        label = (row.get("label") or "").strip().lower()
        if "label" in row and label not in _LABELS:
            refuse(file, rows.line_num, f"label must be 0, 1, real or fake (got '{label}')")
        split = (row.get("split") or "").lower()
        told = Told(str(file), SPLIT_NAMES.get(split), _LABELS.get(label), *map(_text, _columns(row)))
        found[f"{home}/{row[key]}".lstrip("/")] = told
    return found


def _columns(row: Mapping[str, str | None]) -> list[str | None]:
    return [row.get(name) for name in ("method", "clip_id", "original_id")]


def _text(value: str | None) -> str | None:
    """A cell; ``none`` stands for null, since that loader takes no gaps."""
    return None if not value or value == "none" else value
