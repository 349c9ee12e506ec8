"""Listing folders for the adapters: quick, in an order of its own, and with nothing left out in silence."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from forgeprep.errors import UsageError
from forgeprep.io.storage import is_plain, is_remote, real_name, visible_entries

SHOWN = 5
"""How many names a message lists before it says "and 12 more"."""

MAX_DEPTH = 100
"""Folders nested deeper are left out, and told among what was: their paths soon are longer than a system takes."""
_LONGEST = 300
"""Letters of a name that a message shows."""
_PARENTS = 4
"""How far up a root is looked for: original_sequences/youtube/c23/videos lies that deep."""


@dataclass(frozen=True, slots=True)
class VideoFile:
    """A file, or a folder of numbered pictures; ``path`` is POSIX and relative to the dataset's root, as on disk.

    ``frames`` are those of a folder, as :class:`~forgeprep.schemas.clips.Clip` has them; None for a file.
    """

    stem: str
    path: str
    size_bytes: int
    frames: list[list[int]] | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """What a :class:`~forgeprep.schemas.clips.Clip` takes from it."""
        facts: dict[str, Any] = {"path": self.path, "size_bytes": self.size_bytes}
        if self.frames is not None:
            facts |= {"frames": self.frames, "frame_count": sum(count for _, count, _ in self.frames)}
        return facts


@dataclass(frozen=True, slots=True)
class Listing:
    """What some folders hold.

    Attributes:
        files: stem to file, sorted by stem.
        strangers: paths that were left out: named otherwise, or folders.
    """

    files: dict[str, VideoFile] = field(default_factory=dict)
    strangers: list[str] = field(default_factory=list)


def check_root(root: Path) -> None:
    """Raise a :class:`UsageError` unless ``root`` is a folder."""
    if root.is_dir():
        return
    if root.exists():
        raise UsageError(f"--root {root} is a file: give the folder that holds the unpacked dataset")
    raise UsageError(f"--root {root}: no such folder")


def find_folders(root: Path, *levels: Sequence[str]) -> list[str]:
    """Folders whose path below ``root`` has one of the lower-case names of ``levels`` at each level, in any case.

    Paths are POSIX and relative, in the order of the names given. Of several names for one folder (``c0`` linked to
    ``raw``) only the first is returned. ``find_folders(root, ["masks"], ["videos"])`` may give ``["Masks/videos"]``.
    """
    found = [""]
    for names in levels:
        found = [
            f"{parent}/{entry.name}" if parent else entry.name
            for parent in found
            for here in [_entries(root / parent)]
            for name in names
            for entry in here
            if entry.name.lower() == name and _is_folder(entry)
        ]
    unique: dict[str, str] = {}
    for folder in found:
        unique.setdefault(real_name(root / folder), folder)
    return list(unique.values())


def list_videos(root: Path, folders: Sequence[str], pattern: re.Pattern[str], suffix: str = ".mp4") -> Listing:
    """The files of ``folders`` whose stem matches ``pattern`` whole, with ``suffix`` in any case.

    Hidden files, among them the ``._071.mp4`` that macOS leaves beside a file, and those of the system
    (``Thumbs.db``) are passed over. A broken link or a pipe
    under a clip's name counts as a clip of 0 bytes: it cannot be read, and the drops will say so.

    Raises:
        UsageError: two different files have one stem: which of them is meant is for the user to say.
    """
    files: dict[str, VideoFile] = {}
    strangers = []
    doubles = []
    for folder in folders:
        for entry in _entries(root / folder):
            path = f"{folder}/{entry.name}"
            stem, dot, extension = entry.name.rpartition(".")
            size = _file_size(entry)
            if pattern.fullmatch(stem) is None or dot + extension.lower() != suffix or size is None:
                strangers.append(path)
            elif stem not in files:
                files[stem] = VideoFile(stem, path, size)
            elif not _same_file(root / path, root / files[stem].path):
                doubles.append(f"{files[stem].path} and {path}")
    if doubles:
        raise UsageError(f"two files under {root} stand for one clip: {shown(doubles)}; keep one of each")
    return Listing({stem: files[stem] for stem in sorted(files)}, strangers)


def listed(root: Path, folder: str) -> list[tuple[str, int | None]]:
    """What lies in a folder, by name: the name and its size, None for a folder; nothing where there is no such folder.

    Names that a table cannot hold are left out.
    """
    if not (root / folder).is_dir():
        return []
    return [
        (entry.name, None if _is_folder(entry) else _file_size(entry))
        for entry in _entries(root / folder)
        if is_plain(entry.name)
    ]


def walk_files(
    root: Path, folder: str, suffixes: Collection[str], strangers: list[str] | None = None, *, sized: bool = True
) -> Iterator[tuple[str, int]]:
    """Every file below a folder whose lower-case suffix is one of ``suffixes``: path relative to ``root``, and size.

    In order of the paths, folder by folder. A folder that is not there holds none; hidden entries and the system's are
    passed over; a folder that two links lead to is walked once, and one that leads out to a parent of ``folder`` not at
    all. Files of other kinds are left out, and added to ``strangers``. What cannot be read counts as a file of 0 bytes,
    so that the drops name it: broken links, pipes, and, under an escaped name (:func:`plain`), names that a table
    cannot hold or that steer the terminal. Without ``sized`` all sizes are 0, which asks the system less.
    """
    left_out: list[str] = [] if strangers is None else strangers
    if (root / folder).is_dir():
        yield from _walk(root, folder, frozenset(suffixes), left_out, sized=sized)


def _walk(
    root: Path, folder: str, suffixes: frozenset[str], strangers: list[str], *, sized: bool
) -> Iterator[tuple[str, int]]:
    start, seen = real_name(root / folder), set[str]()
    # Not by recursion: a hostile tree is deeper than Python's stack.
    open_folders = [(folder, start, iter(_new_entries(root, folder, start, start, seen)))]
    while open_folders:
        above, home, inside = open_folders[-1]
        for entry in inside:
            name = entry.name
            path = f"{above}/{name}" if above else name
            if _is_folder(entry):
                if len(open_folders) >= MAX_DEPTH:
                    strangers.append(path)
                    continue
                # Without links, the place follows from that of the folder around it; else each level is looked at.
                real = real_name(root / path) if is_remote(root) or entry.is_symlink() else f"{home}/{name}"
                open_folders.append((path, real, iter(_new_entries(root, path, real, start, seen))))
                break
            size: int | None = 0
            if name[name.rfind(".") :].lower() not in suffixes:
                size = None
            elif sized:
                size = _file_size(entry)
            if size is None:
                strangers.append(path)
            elif is_plain(path):
                yield path, size
            else:
                yield plain(path), 0
        else:
            open_folders.pop()


def _new_entries(root: Path, folder: str, real: str, start: str, seen: set[str]) -> list[os.DirEntry[str]]:
    """The entries of a folder; none of one that was seen, or that leads up out of ``start``.

    ``real`` and ``start`` are the places of the folder and of the first one, without links.
    """
    if real in seen or (start + "/").startswith(real + "/") != (real == start):
        return []
    seen.add(real)
    return _entries(root / folder)


def safe_file(root: Path, path: str) -> int | None:
    """Size of a file that a list names; None if there is none, or if the name leads out of ``root``.

    A broken link or a pipe has 0 bytes.
    """
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or "\0" in path:
        return None
    file = root / path
    try:
        return _size(file.stat())
    except (OSError, ValueError):
        return 0 if not is_remote(file) and file.is_symlink() else None


def suggest_root(root: Path, markers: Iterable[str]) -> str | None:
    """Where the dataset may lie instead: above ``root``, else one level below; None where nothing is found.

    ``markers`` are the lower-case names of the folders that a dataset's root holds.
    """
    if is_remote(root):
        return None
    here = Path(os.path.abspath(root))  # noqa: PTH100 -- a root such as ".." has to lose its dots, links stay as given
    names = set(markers)
    for parent in list(here.parents)[:_PARENTS]:
        below = here.relative_to(parent).parts[0]
        if below.lower() in names:
            return str(parent)
    for entry in _entries(here):
        if _is_folder(entry) and _holds_one_of(Path(entry.path), names):
            return str(root / entry.name)
    return None


def shown(names: Sequence[str], cap: int = SHOWN) -> str:
    """The first names and the number of the others.

    >>> shown(["a", "b", "c"], cap=2)
    'a, b and 1 more'
    """
    text = ", ".join(_short(plain(name)) for name in names[:cap])
    return text if len(names) <= cap else f"{text} and {len(names) - cap} more"


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST // 2]}…{name[-_LONGEST // 2 :]}"


def plain(name: str) -> str:
    r"""A name as a terminal may show it: what is no UTF-8, or steers the terminal, as an escape.

    >>> plain("two\nlines")
    'two\\nlines'
    """
    text = name.encode("utf-8", "backslashreplace").decode()
    return "".join(letter if is_plain(letter) else ascii(letter)[1:-1] for letter in text)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """The entries that are neither hidden nor the system's own, sorted by name."""
    try:
        return visible_entries(folder)
    except OSError as error:
        raise UsageError(f"{folder} cannot be listed: {error.strerror or error}") from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _file_size(entry: os.DirEntry[str]) -> int | None:
    """Size in bytes of a file or of the file that a link leads to, 0 if it cannot be read; None for a folder."""
    try:
        return _size(entry.stat())
    except OSError:  # a broken link
        return 0


def _size(status: os.stat_result) -> int | None:
    if stat.S_ISDIR(status.st_mode):
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def _same_file(a: Path, b: Path) -> bool:
    try:
        return a.samefile(b)
    except OSError:  # a broken link is no copy of anything
        return False


def _holds_one_of(folder: Path, names: set[str]) -> bool:
    try:
        return any(entry.name.lower() in names for entry in _entries(folder))
    except UsageError:  # a neighbour that may not be read is no hint, and no reason to stop either
        return False
