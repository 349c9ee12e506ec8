"""Lists that people publish with, or about, a dataset: read in the usual forms, and matched with what is there.

Forms: DeepfakeBench's JSON (label, split, perhaps compression, video, frames); a JSON list of objects; CSV with a line
of column names; plain text, a path a line and perhaps numbers. A form that only one dataset's authors use is read by
that dataset (:attr:`forgeprep.datasets.base.Dataset.read_list`).
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from forgeprep.datasets.base import Dataset, Listed
from forgeprep.datasets.lists import read_json_value, read_lines, refuse
from forgeprep.datasets.split_folders import MEDIA
from forgeprep.schemas.clips import Clip, Split
from forgeprep.schemas.splits import SPLIT_NAMES

_PATHS = ("path", "file", "filename", "video", "name", "image", "clip_id")
_SPLITS = ("split", "set", "finetuning set")
_LABELS = ("label", "video ground truth")
_TRUTH = {"real": 0, "0": 0, "original": 0, "false": 0, "fake": 1, "1": 1, "true": 1}


def read_published(dataset: Dataset, path: Path) -> list[Listed]:
    """The lines of a published list.

    Raises:
        UsageError: the file cannot be read, is of no form that is known, or names nothing.
    """
    found = dataset.read_list(path) if dataset.read_list is not None else None
    if found is None:
        suffix = path.suffix.lower()
        read = _from_json if suffix == ".json" else _from_csv if suffix in (".csv", ".tsv") else _from_text
        found = read(path)
    if not found:
        refuse(path, None, "names no clip: no list of DeepfakeBench, no CSV, no JSON list and no list of paths")
    return found


def _from_json(path: Path) -> list[Listed]:
    value = read_json_value(path)
    if isinstance(value, list):
        rows = [entry for entry in value if isinstance(entry, dict)]
        return [listed for entry in rows if (listed := _row(entry)) is not None]
    if not isinstance(value, dict):
        return []
    flat = [_row({"file": name, **entry}) for name, entry in value.items() if isinstance(entry, dict)]
    return list(_from_tree(value, None, None)) or [
        listed for listed in flat if listed and PurePosixPath(listed.name).suffix.lower() in MEDIA
    ]


def _from_tree(tree: Mapping[str, Any], split: Split | None, label: int | None, name: str = "") -> Iterator[Listed]:
    """What a JSON tree of DeepfakeBench names: each frame of a video, or the video where it has none."""
    frames = tree.get("frames")
    if isinstance(frames, list):
        label = _label(tree.get("label"), label)
        names = [str(frame).replace("\\", "/").removeprefix("./") for frame in frames]
        yield from (Listed(one, split, label) for one in names or [name])
        return
    for key, below in tree.items():
        if isinstance(below, dict):
            own = SPLIT_NAMES.get(key.lower())
            yield from _from_tree(below, own or split, label if own else _label(key, label), key)


def _label(text: object, other: int | None) -> int | None:
    """0 for ``FF-real`` or ``CDFv2_real``, 1 for ``UADFV_Fake`` and, beside reals, ``FF-DF``."""
    words = str(text).lower().replace("_", "-").split("-")
    if "real" in words:
        return 0
    return 1 if "fake" in words or (words[0] == "ff" and len(words) > 1) else other


def _from_csv(path: Path) -> list[Listed]:
    lines = [line for _, line in read_lines(path)]
    rows = csv.DictReader(lines, delimiter="\t" if lines and "\t" in lines[0] else ",")
    own = SPLIT_NAMES.get(path.stem.lower())
    found = [_row(row) for row in rows]
    if found and all(row is None for row in found):
        refuse(path, 1, f"needs a column of paths, one of {', '.join(_PATHS)}")
    return [Listed(row.name, row.split or own, row.label) for row in found if row is not None]


def _from_text(path: Path) -> list[Listed]:
    """A path a line; words that are numbers stand beside it and are passed over: what they mean is not known."""
    own = SPLIT_NAMES.get(path.stem.lower())
    found = []
    for _, line in read_lines(path):
        words = [word for word in line.replace(",", " ").split() if not word.lstrip("-").isdecimal()] or line.split()
        found.append(Listed(words[0].replace("\\", "/"), own))
    return found


def _row(row: Mapping[str | None, Any]) -> Listed | None:
    low = {str(name).strip().lower(): value for name, value in row.items() if name is not None}
    name = next((str(low[key]).strip() for key in _PATHS if low.get(key)), None)
    if name is None:
        return None
    split = next((SPLIT_NAMES.get(str(low[key]).strip().lower()) for key in _SPLITS if low.get(key)), None)
    label = next((_TRUTH.get(str(low[key]).strip().lower()) for key in _LABELS if key in low), None)
    return Listed(name.replace("\\", "/"), split, label)


class Index:
    """Finds the clips that a listed name means.

    Lists name files under other roots, other folders around the frames, or by bare names. So candidates are those with
    the same folder and name, else the same name; of a picture also the clip that is its folder. Of several, those count
    whose path has most folders in common with the listed one: ``071_054`` means all methods, ``Deepfakes/071_054`` one.
    """

    def __init__(self, clips: Sequence[Clip]) -> None:
        self.clips = clips
        self._by_stem: dict[str, list[int]] = defaultdict(list)
        for number, clip in enumerate(clips):
            path = PurePosixPath(clip.path)
            for stem in {clip.clip_id.rpartition("/")[2], path.name if clip.frames is not None else path.stem}:
                self._by_stem[stem.lower()].append(number)

    def find(self, name: str) -> list[int]:
        """The numbers of the clips that a name means; none where nothing of that name is there."""
        path = PurePosixPath(name)
        picture = path.suffix.lower() in MEDIA
        stems = [(path.stem if picture else path.name).lower()]
        inside = path.parent.name.lower()
        near = [n for n in self._by_stem.get(stems[0], ()) if not inside or inside in self._parts(n)]
        folder = self._by_stem.get(inside, []) if picture and path.stem.isdecimal() else []
        found = near or folder or self._by_stem.get(stems[0], [])
        if len(found) < 2:
            return list(found)
        own = {part.lower() for part in path.with_suffix("").parts}
        shared = {number: len(own & self._parts(number)) for number in found}
        most = max(shared.values())
        return [number for number in found if shared[number] == most]

    def _parts(self, number: int) -> set[str]:
        clip = self.clips[number]
        return {part.lower() for part in (*PurePosixPath(clip.path).with_suffix("").parts, *clip.clip_id.split("/"))}
