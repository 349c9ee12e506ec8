"""A folder of numbered pictures is a clip: the number at the end of a picture's name is its frame's index.

A missing number is a gap, and so is a picture that cannot be decoded: later frames keep their index.
The frame rate is not known, so frames have no time: ``time_s`` is NaN.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path, PurePath

from forgeprep.errors import MediaError
from forgeprep.io.safe_files import open_regular
from forgeprep.io.storage import visible_entries
from forgeprep.media import guard
from forgeprep.media.frames import Frame
from forgeprep.media.pictures import is_picture, picture_facts, read_picture
from forgeprep.media.planes import Facts

_NUMBERED = re.compile(r"(?P<prefix>.*?)(?P<number>[0-9]{1,9})", re.DOTALL)


def is_frame_folder(path: Path) -> bool:
    """Whether a path is a folder, which means a clip of pictures."""
    return not is_picture(path) and path.is_dir()


def numbered(names: Iterable[str]) -> dict[int, str] | None:
    """Number -> name, sorted by number; None unless all names end in different numbers and begin alike.

    >>> numbered(["frame_10.png", "frame_9.png"])
    {9: 'frame_9.png', 10: 'frame_10.png'}
    >>> numbered(["0001_0.png", "0002_0.png"]) is numbered(["1.png", "01.png"]) is None
    True
    """
    found: dict[int, str] = {}
    prefixes: set[str] = set()
    for name in names:
        match = _NUMBERED.fullmatch(PurePath(name).stem)
        if match is None or int(match["number"]) in found:
            return None
        found[int(match["number"])] = name
        prefixes.add(match["prefix"])
        if len(prefixes) > 1:
            return None
    return dict(sorted(found.items()))


def pictures_in(folder: Path) -> dict[int, str]:
    """Number -> file name of the pictures in a folder; other files are ignored.

    Raises:
        MediaError: there are none, or they are not numbered.
    """
    guard.check(folder)
    try:
        names = [entry.name for entry in visible_entries(folder) if is_picture(PurePath(entry.name))]
    except OSError as error:
        raise MediaError(str(folder), f"cannot be listed ({error.strerror or error})") from None
    found = numbered(names)
    if found is None:
        raise MediaError(
            str(folder), "its pictures must have one name with different numbers at its end, such as frame_0001.png"
        )
    if not found:
        raise MediaError(str(folder), "the folder holds no pictures; extract them again")
    return found


def read_frame_folder(folder: Path) -> Iterator[Frame]:
    """Yield the pictures of a folder as frames, in order; skipping those that cannot be decoded.

    Raises:
        MediaError: the folder holds no numbered pictures.
    """
    for number, name in pictures_in(folder).items():
        try:
            frame = read_picture(folder / name)
        except MediaError:
            continue
        guard.alive()
        yield replace(frame, index=number, time_s=math.nan)


def frame_folder_facts(folder: Path) -> Facts:
    """The facts of the first picture that can be read; raises MediaError where there is none."""
    for name in pictures_in(folder).values():
        try:
            return picture_facts(folder / name)
        except MediaError:
            continue
    raise MediaError(str(folder), "none of its pictures can be decoded")


def frame_folder_sha256(folder: Path) -> str:
    """SHA-256 over the names and contents of all pictures, in order.

    It is the hash of the lines that ``sha256sum`` prints for them: the SHA-256 of each file, two spaces and its name.

    Raises:
        MediaError, OSError: a picture cannot be read.
    """
    whole = hashlib.sha256()
    for name in pictures_in(folder).values():
        with open_regular(folder / name) as file:
            whole.update(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {name}\n".encode())
    return whole.hexdigest()
