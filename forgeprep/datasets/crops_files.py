"""The files of face crops: which pictures are crops, clips or masks, and what folders and lists say of each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from forgeprep.datasets.crops_lists import TABLES, Told, read_jsons, read_table
from forgeprep.datasets.crops_names import (
    LANDMARKS,
    MASKS,
    PICTURES,
    Names,
    frame_of,
    is_known,
    place_of,
    who_of,
)  # fmt: skip
from forgeprep.datasets.frame_folders import StillChoice, candidates, clip_folders, joined
from forgeprep.datasets.listing import VideoFile, shown, walk_files
from forgeprep.media.frame_folder import numbered
from forgeprep.media.pictures import PICTURE_SUFFIXES
from forgeprep.schemas.clips import Split
from forgeprep.text import counted

_AROUND = ("datasets/rgb/",)
"""What DeepfakeBench has around its data."""
_TRUTH = "truth"
"""Where the demo has the true masks, to measure made ones by."""
_NOTES = frozenset({".json", ".csv", ".yaml", ".yml", ".txt", ".md", ".sha256"})


@dataclass(frozen=True, slots=True)
class Item:
    """A clip or a picture.

    Attributes:
        name: its path, without words that say nothing of whose it is, and without suffix.
        home: the folder that it lies in, or that it is.
        top: the outermost folder that nothing is known of, for messages.
        video: the name of the video that it shows.
        frame: of a picture, what tells it from others of its video; "" for a clip.
        alone: whether it is no picture of several of one video.
        label: None where nothing tells.
        told_clip, told_original: its own and its original's name in a table.
        spans: of a fake whose frames a table calls real in part, see :class:`~forgeprep.schemas.clips.Clip`.
    """

    file: VideoFile
    name: str
    home: str
    top: str
    video: str
    frame: str = ""
    alone: bool = True
    split: Split | None = None
    label: int | None = None
    method: str | None = None
    compression: str | None = None
    ffpp: bool = False
    mask: str | None = None
    landmarks: str | None = None
    told_clip: str | None = None
    told_original: str | None = None
    spans: list[list[int]] | None = None


@dataclass(slots=True)
class Found:
    """What a root holds; ``stills`` are folders of numbered pictures that are no clips, ``apart`` those that cannot be,
    lone masks and rows of tables those of no picture."""

    items: list[Item] = field(default_factory=list)
    stills: list[str] = field(default_factory=list)
    apart: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    lone_masks: list[str] = field(default_factory=list)
    lone_rows: list[str] = field(default_factory=list)

    def told_masks(self) -> list[str]:
        """What is to be said of masks that belong to no crop."""
        lone = self.lone_masks
        text = f"{counted(len(lone), 'mask')} left out, of no picture that is there: {shown(lone)}"
        return [text] if lone else []

    def told_rows(self) -> list[str]:
        """What is to be said of rows of tables that belong to no crop, or that tear a folder apart."""
        lone, apart = self.lone_rows, [f"{folder}/" for folder in self.apart]
        rows = f"{counted(len(lone), 'row')} of tables left out, of no picture that is there: {shown(lone)}"
        folders = counted(len(apart), "folder is", "folders are")
        other = f"{folders} taken as stills: a table gives their pictures other splits, methods, clips or originals"
        return [rows] * bool(lone) + [f"{other}: {shown(apart)}"] * bool(apart)


def find_items(
    root: Path,
    names: Names,
    ignored: Collection[str],
    choice: StillChoice,
    json_file: str,
    progress: Callable[[int], None],
) -> Found:
    """All crops under a root, each with what its path and the lists say; raises UsageError for a broken list."""
    found = Found()
    pictures, masks, landmarks, tables = _walk(root, ignored, found.strangers, progress)
    lines: dict[str, Told] = {}
    for home, name in tables:
        lines |= read_table(root, home, name)
    found.lone_rows += [path for path in lines if path not in pictures]
    folders = candidates(pictures)
    clips = _clip_folders(root, folders, lines, names, choice, found.stills)
    found.apart += sorted(folder for folder in clips if _differ(folders[folder], lines))
    clips.difference_update(found.apart)
    by_json = read_jsons(root, json_file, {path.rpartition("/")[0] for path in pictures})
    masks_of, points_of = _Masks(masks), _Points(landmarks)
    for folder in sorted(clips):
        inside = folders[folder]
        file = joined(folder, folder.rpartition("/")[2], {path: pictures.pop(path) for path in inside})
        told, spans = _told_of(inside, lines)
        item = _item(
            file, names, by_json.get(folder) or told, masks_of.folder(folder, inside), points_of.folder(folder)
        )
        found.items.append(replace(item, spans=spans if item.label and folder not in by_json else None))
    for path, size in pictures.items():
        file = VideoFile(PurePosixPath(path).stem, path, size)
        told = lines.get(path) or by_json.get(path.rpartition("/")[0])
        found.items.append(_item(file, names, told, masks_of.file(path), points_of.file(path)))
    found.lone_masks += masks_of.lone()
    return found


def _walk(
    root: Path, ignored: Collection[str], strangers: list[str], progress: Callable[[int], None]
) -> tuple[dict[str, int], dict[str, int], list[str], list[tuple[str, str]]]:
    """Pictures and masks with their sizes, landmarks, and tables as (folder, name); others go to ``strangers``."""
    pictures: dict[str, int] = {}
    masks: dict[str, int] = {}
    others: list[str] = []
    runs: dict[str, bool] = {}
    for path, size in walk_files(root, "", PICTURE_SUFFIXES, others):
        parts = path.lower().split("/")[:-1]
        if _left(root, path, parts, ignored, runs):
            continue
        (masks if not MASKS.isdisjoint(parts) else pictures)[path] = size
        if len(pictures) % 1000 == 0:
            progress(len(pictures))
    tables, landmarks = [], []
    for path in others:
        home, _, name = path.rpartition("/")
        parts = path.lower().split("/")[:-1]
        if _left(root, path, parts, ignored, runs):
            continue
        if name.lower().endswith(".npy") and not LANDMARKS.isdisjoint(parts):
            landmarks.append(path)
        elif name.lower() in TABLES:
            tables.append((home, name))
        elif PurePosixPath(name).suffix.lower() not in _NOTES:
            strangers.append(path)
    return pictures, masks, landmarks, tables


def _left(root: Path, path: str, parts: list[str], ignored: Collection[str], runs: dict[str, bool]) -> bool:
    """Whether a file is of the demo's truth, of a folder to ignore, or of a run of forgeprep."""
    if parts[:1] == [_TRUTH] or not set(parts).isdisjoint(ignored):
        return True
    top = path.partition("/")[0]
    if parts and top not in runs:
        runs[top] = (root / top / "run.json").is_file()
    return bool(parts) and runs[top]


def _clip_folders(
    root: Path,
    folders: Mapping[str, list[str]],
    lines: Mapping[str, Told],
    names: Names,
    choice: StillChoice,
    stills: list[str],
) -> set[str]:
    """The folders that are clips: those in a folder ``frames``, those that a table calls one, and what looks so."""
    sure, unsure = set(), {}
    for folder, paths in folders.items():
        parts = folder.lower().split("/")
        told = {lines[path].clip if path in lines else None for path in paths}
        if is_known(parts[-1], names):
            continue
        if choice == "auto" and (parts[-2:-1] == ["frames"] or (len(told) == 1 and None not in told)):
            sure.add(folder)
        else:
            unsure[folder] = paths
    return sure | clip_folders(root, choice, stills, unsure)


def _differ(paths: list[str], lines: Mapping[str, Told]) -> bool:
    """Whether a table says of a folder's pictures what cannot be true of one clip; some may be real and some forged."""
    told = [lines[path] for path in paths if path in lines]
    methods = {one.method for one in told if one.label != 0}
    return len(methods) > 1 or len({(one.split, one.clip, one.original) for one in told}) > 1


def _told_of(paths: list[str], lines: Mapping[str, Told]) -> tuple[Told | None, list[list[int]] | None]:
    """What a table says of a clip: if it is forged in part, what it says of the forged frames, and the spans."""
    numbers = numbered(path.rpartition("/")[2] for path in paths) or {}
    told = {number: lines[path] for number, path in zip(numbers, paths, strict=True) if path in lines}
    of_all = max(told.values(), key=lambda one: one.label or 0, default=None)
    mixed = {one.label for one in told.values()} == {0, 1}
    return of_all, [[number, 1, one.label or 0] for number, one in told.items()] if mixed else None


def _item(file: VideoFile, names: Names, told: Told | None, mask: str | None, landmarks: str | None) -> Item:
    clip = file.frames is not None
    parts = file.path.split("/")[:-1]
    place = place_of(parts, names)
    split, label, method = place.split, place.label, place.method
    # DeepfakeBench's export of forgeprep calls the frames of a fake so that were not forged.
    label = 0 if file.stem.endswith("__real") and clip else label
    if told is not None:
        split = told.split or split
        label = label if told.label is None else told.label
        method = told.method or method
    item = Item(
        file,
        without_words(file.path if clip else file.path[: -len(PurePosixPath(file.path).suffix) or None]),
        home=file.path if clip else "/".join(parts),
        top=next((part for part in _tops(parts) if not is_known(part.rpartition("/")[2], names)), "."),
        video=file.stem,
        split=split,
        label=label,
        method=method if label else None,
        compression=place.compression,
        ffpp=place.ffpp,
        mask=mask,
        landmarks=landmarks,
        told_clip=told.clip if told else None,
        told_original=told.original if told else None,
    )
    return item if clip else _still(item, parts, names)


def _tops(parts: list[str]) -> list[str]:
    return ["/".join(parts[: number + 1]) for number in range(len(parts))]


def _still(item: Item, parts: list[str], names: Names) -> Item:
    """A picture: of the video that its folder is named after, or that its own name begins with."""
    if parts and not is_known(parts[-1], names):
        return replace(item, video=parts[-1], frame=item.file.stem, alone=False)
    told = frame_of(item.file.stem)
    # Other names with numbers are pictures of different things: img_0001.
    if told is not None and who_of(told[0], item.label or 0).people:
        return replace(item, video=told[0], frame=told[1].lstrip("0") or "0")
    return item


def without_words(path: str) -> str:
    """A path without what is around the data, and without the folders that only say what is in them.

    >>> without_words("datasets/rgb/X/c23/frames/071"), without_words("masks/train/fake/a")
    ('X/c23/071', 'train/fake/a')
    """
    for around in _AROUND:
        path = path.removeprefix(around)
    *folders, last = path.split("/")
    return "/".join([part for part in folders if part.lower() not in PICTURES | MASKS | LANDMARKS] + [last])


class _Masks:
    """Masks by the names of what they belong to."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self._files = {without_words(str(PurePosixPath(path).with_suffix(""))): path for path in sizes}
        self._folders = {without_words(folder): folder for folder in candidates(sizes)}
        self._lone = dict.fromkeys(self._files)

    def file(self, path: str) -> str | None:
        name = without_words(str(PurePosixPath(path).with_suffix("")))
        self._lone.pop(name, None)
        return self._files.get(name)

    def folder(self, folder: str, inside: list[str]) -> str | None:
        for path in inside:
            self.file(path)
        return self._folders.get(without_words(folder))

    def lone(self) -> list[str]:
        """The masks that nobody asked for."""
        return [self._files[name] for name in self._lone]


class _Points:
    """Files of landmarks by the names of what they belong to."""

    def __init__(self, paths: list[str]) -> None:
        self._files = {without_words(str(PurePosixPath(path).with_suffix(""))): path for path in paths}
        homes = {path.rpartition("/")[0] for path in paths}
        self._folders = {without_words(home): home for home in homes}

    def file(self, path: str) -> str | None:
        return self._files.get(without_words(str(PurePosixPath(path).with_suffix(""))))

    def folder(self, folder: str) -> str | None:
        return self._folders.get(without_words(folder))
