"""Videos that lie there as folders of their frames, one folder of numbered pictures a video.

Adapters of datasets of videos take such folders where the videos themselves are not. ``folder`` and ``manifest`` hold
stills too: there the pictures tell, since in a video one looks like the next.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal, TypeVar

import cv2
import numpy as np
from pydantic import Field

from forgeprep.datasets.base import DatasetParams
from forgeprep.datasets.listing import Listing, VideoFile, list_videos, listed, shown
from forgeprep.errors import MediaError
from forgeprep.media.frame_folder import numbered
from forgeprep.media.frames import UInt8
from forgeprep.media.pictures import is_picture, read_picture
from forgeprep.ops.pairing import correlation
from forgeprep.ops.spread import evenly
from forgeprep.schemas.clips import Clip, runs_of
from forgeprep.text import counted

Choice = Literal["auto", "videos", "folders"]
"""Which of both is taken: folders only where there are no videos, or always one kind."""

StillChoice = Literal["auto", "folders", "pictures"]
STILL_TEXT = (
    "what a folder of numbered pictures is: auto (one clip if each picture looks like the next), folders (one clip) "
    "or pictures (each a clip of its own)"
)

HOMES = ("images", "frames")
"""What the folders around such folders are called, besides what those of videos are called."""

PROBED, PAIRS = 5, 4
"""So many folders of one place are looked into, and so many pairs of neighbours in each."""
ALIKE = 0.85
"""Neighbours of a video correlate at least so much, small and gray; portraits of two people hardly ever."""
_SMALL = 24, 24
_T = TypeVar("_T")


class SequenceParams(DatasetParams):
    """Options of a dataset of videos that may lie there as folders of pictures."""

    frames: Choice = Field(
        default="auto",
        description="what a clip is: auto (a video, or a folder of its frames where there are no videos), videos, or "
        "folders",
    )


def list_clips(
    root: Path,
    folders: Sequence[str],
    pictures: Sequence[str],
    pattern: re.Pattern[str],
    choice: Choice,
    unused: list[str] | None = None,
) -> Listing:
    """The clips of some folders by stem: videos in ``folders``, or folders of numbered pictures in ``pictures``.

    Of two of one name in ``pictures`` the first counts. Folders of pictures that are not taken because videos are there
    are added to ``unused``.
    """
    found: dict[str, str] = {}
    for folder in pictures:
        found = _sequences(root, folder, pattern) | found
    videos = list_videos(root, folders, pattern) if choice != "folders" else Listing()
    own = set(found.values())
    if videos.files or choice == "videos":
        full = sorted(path for path in own if any(is_picture(PurePosixPath(name)) for name, _ in listed(root, path)))
        if unused is not None:
            unused += full
        return Listing(videos.files, [path for path in videos.strangers if path not in full])
    strangers = [path for path in videos.strangers if path not in own]
    return Listing({stem: sequence_of(root, path, stem) for stem, path in sorted(found.items())}, strangers)


def _sequences(root: Path, folder: str, pattern: re.Pattern[str]) -> dict[str, str]:
    """Stem -> path of the folders in a folder that are named as clips."""
    inside = [name for name, size in listed(root, folder) if size is None]
    return {name: f"{folder}/{name}" for name in inside if pattern.fullmatch(name) and name.lower() not in HOMES}


def sequence_of(root: Path, path: str, stem: str | None = None) -> VideoFile:
    """A folder of pictures as a clip; without frames where its pictures are not numbered, which will be a drop."""
    sizes = {name: size for name, size in listed(root, path) if size is not None and is_picture(PurePosixPath(name))}
    return VideoFile(stem or PurePosixPath(path).name, path, sum(sizes.values()), runs_of(numbered(sizes) or ()))


def told(clips: Iterable[Clip]) -> list[str]:
    """What is to be said of the clips that are folders of pictures."""
    taken = [clip for clip in clips if clip.frames is not None]
    if not taken:
        return []
    count = sum(clip.frame_count for clip in taken)
    return [
        f"{counted(len(taken), *_NUMBERED)} taken as clips, {counted(count, 'frame')} in all: "
        f"{shown([f'{clip.path}/' for clip in taken])}"
    ]


_NUMBERED = "folder of numbered pictures is", "folders of numbered pictures are"


def told_unused(unused: Sequence[str]) -> list[str]:
    """What is to be said of folders of pictures beside videos."""
    if not unused:
        return []
    return [
        f"{counted(len(unused), 'folder of pictures is', 'folders of pictures are')} left out, the videos are used: "
        f"{shown(unused)}; --option frames=folders takes the folders"
    ]


def told_stills(stills: Sequence[str]) -> list[str]:
    """What is to be said of folders of numbered pictures that are taken picture by picture."""
    if not stills:
        return []
    places = shown([f"{folder}/" for folder in sorted(stills)])
    return [
        f"{counted(len(stills), *_NUMBERED)} taken as stills, the pictures do not look like the frames of a video: "
        f"{places}; --option frames=folders makes each a clip"
    ]


def joined(path: str, stem: str, sizes: Mapping[str, int]) -> VideoFile:
    """A folder as a clip of these pictures in it, given by their paths."""
    numbers = numbered(name.rpartition("/")[2] for name in sizes) or {}
    return VideoFile(stem, path, sum(sizes.values()), runs_of(numbers))


def clip_folders(root: Path, choice: StillChoice, stills: list[str], found: Mapping[str, Sequence[str]]) -> set[str]:
    """Which of some folders of numbered pictures are clips; those that are not, but could be, go to ``stills``."""
    if choice != "auto":
        return set(found) if choice == "folders" else set()
    videos = videos_among(root, found)
    stills += [paths[0].rpartition("/")[0] for name, paths in found.items() if name not in videos and len(paths) > 1]
    return videos


def candidates(paths: Iterable[str]) -> dict[str, list[str]]:
    """Folder -> paths of its pictures by number, of the folders in which all pictures are numbered."""
    inside: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        if is_picture(PurePosixPath(path)):
            folder, _, name = path.rpartition("/")
            inside[folder].append(name)
    found = {folder: numbered(names) for folder, names in inside.items() if folder}
    return {
        folder: [f"{folder}/{name}" for name in names.values()] for folder, names in found.items() if names is not None
    }


def videos_among(root: Path, found: Mapping[str, Sequence[str]]) -> set[str]:
    """Which folders of numbered pictures are videos, by what the pictures show.

    Of the folders in one place a few are looked into. If these agree, the others are as they are; else all are looked
    into. A folder that does not tell, since it has one picture or none can be decoded, goes with most of the others.
    """
    places: dict[str, list[str]] = defaultdict(list)
    for folder in sorted(found):
        places[folder.rpartition("/")[0]].append(folder)
    videos: set[str] = set()
    for folders in places.values():
        tell = [folder for folder in folders if len(found[folder]) > 1]
        verdicts = {folder: _is_video(root, found[folder]) for folder in _spread(tell, PROBED)}
        if {True, False} <= set(verdicts.values()):
            verdicts |= {folder: _is_video(root, found[folder]) for folder in tell if folder not in verdicts}
        known = [verdict for verdict in verdicts.values() if verdict is not None]
        most = 2 * sum(known) > len(known)
        videos |= {f for f in folders if (most if verdicts.get(f) is None else verdicts[f])}
    return videos


def _is_video(root: Path, paths: Sequence[str]) -> bool | None:
    """Whether neighbours look alike and are of one size; None where too few can be decoded."""
    similar = []
    for start in _spread(range(len(paths) - 1), PAIRS):
        pair = [_thumb(root / path) for path in paths[start : start + 2]]
        if pair[0] is None or pair[1] is None:
            continue
        (size, picture), (other_size, other) = pair[0], pair[1]
        keep = np.ones(picture.shape, bool)
        similar.append(correlation(picture, other, keep) if size == other_size else -1.0)
    return None if not similar else float(np.median(similar)) >= ALIKE


def _thumb(file: Path) -> tuple[tuple[int, int], UInt8] | None:
    try:
        frame = read_picture(file)
    except MediaError:
        return None
    return frame.size_wh, np.asarray(cv2.resize(frame.y, _SMALL, interpolation=cv2.INTER_AREA), np.uint8)


def _spread(items: Sequence[_T], count: int) -> list[_T]:
    """So many of the items, evenly spread."""
    return [items[number] for number in evenly(len(items), count)]
