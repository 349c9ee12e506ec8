"""The files behind an audit: broken links, empty files and folders, and files of the same content."""

from __future__ import annotations

import functools
import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from forgeprep.datasets.findings import Finding
from forgeprep.datasets.listing import MAX_DEPTH, listed, plain
from forgeprep.io.safe_files import open_regular
from forgeprep.io.storage import is_remote, visible_entries
from forgeprep.media.pictures import is_picture
from forgeprep.schemas.clips import Clip

_PIECE = 64 << 10
"""Bytes that are read at the beginning, in the middle and at the end of files of one size."""
_EACH = 1000
Place = tuple[Clip, str]
"""A clip, and the path of a file of it, relative to its root."""
_Key = tuple[int, bytes]
"""Size of a file, and a digest of it."""


def tree_faults(dataset: str, root: Path, clips: Iterable[Clip]) -> Iterator[Finding]:
    """Links to nothing and empty folders anywhere below ``root``, and clips of 0 bytes."""
    broken: set[str] = set()
    for kind, path in () if is_remote(root) else _walk(root):
        broken.add(path)
        yield Finding(kind, dataset, plain(path))
    for clip in clips:
        if clip.size_bytes == 0 and clip.path not in broken:
            yield Finding("empty_file", dataset, clip.path)


def _walk(root: Path) -> Iterator[tuple[str, str]]:
    """Each folder is listed once; links to folders are not followed, since what they lead to lies elsewhere."""
    left: list[tuple[str, int]] = [("", 0)]
    while left:
        folder, depth = left.pop()
        try:
            inside = visible_entries(root / folder)
        except OSError:
            continue
        if not inside and folder:
            yield "empty_folder", folder
        for entry in inside:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                if depth < MAX_DEPTH:
                    left.append((path, depth + 1))
            elif entry.is_symlink() and not os.path.exists(entry.path):  # noqa: PTH110 -- follows the link
                yield "broken_link", path


def same_contents(
    clips: Sequence[tuple[Path, Clip]], tell: Callable[[str, int], None] = lambda what, count: None
) -> list[list[Place]]:
    """Files that hold the same bytes, each group by dataset and path; clips are given with their roots.

    Files of a size that no other has are not read. Of the others three pieces of 64 KB are, and all of a file only
    where these agree too. Files that cannot be read, and empty ones, are left out.
    """
    files: list[tuple[Path, Place]] = []
    by_size: dict[int, list[int]] = defaultdict(list)
    for root, clip in clips:
        for place, size in _files_of(root, clip):
            if size:
                by_size[size].append(len(files))
                files.append((root, place))

    def digest(number: int, size: int, *, whole: bool) -> bytes | None:
        root, (_, path) = files[number]
        return _digest(root / path, size, whole=whole)

    pieces = _divided(
        {(size, b""): group for size, group in by_size.items() if len(group) > 1},
        functools.partial(digest, whole=False),
        tell,
    )
    # The pieces of a small file are all of it.
    large = {key: group for key, group in pieces.items() if key[0] > 3 * _PIECE}
    same = {key: group for key, group in pieces.items() if key not in large}
    same |= _divided(large, functools.partial(digest, whole=True), tell)
    found = [sorted((files[number][1] for number in group), key=_by_dataset) for group in same.values()]
    return sorted(found, key=lambda group: _by_dataset(group[0]))


def _by_dataset(place: Place) -> tuple[str, str]:
    return place[0].dataset, place[1]


def _files_of(root: Path, clip: Clip) -> Iterator[tuple[Place, int]]:
    """The file of a clip with its size, or all pictures of its folder."""
    if clip.frames is None:
        yield (clip, clip.path), clip.size_bytes
        return
    for name, size in listed(root, clip.path):
        if size is not None and is_picture(PurePosixPath(name)):
            yield (clip, f"{clip.path}/{name}"), size


def _divided(
    groups: Mapping[_Key, list[int]],
    digest: Callable[[int, int], bytes | None],
    tell: Callable[[str, int], None],
) -> dict[_Key, list[int]]:
    """The groups divided by a digest of each file; those of one file are left out."""
    finer: dict[_Key, list[int]] = defaultdict(list)
    done = 0
    for (size, _), group in groups.items():
        for number in group:
            own = digest(number, size)
            if own is not None:
                finer[size, own].append(number)
            done += 1
            if done % _EACH == 0:
                tell("files compared", done)
    return {key: group for key, group in finer.items() if len(group) > 1}


def _digest(path: Path, size: int, *, whole: bool) -> bytes | None:
    """SHA-256 of a file, or of its beginning, middle and end; None where it cannot be read."""
    sums = hashlib.sha256()
    try:
        with open_regular(path) as file:
            if whole:
                while data := file.read(1 << 20):
                    sums.update(data)
            else:
                for start in sorted({0, max(0, size // 2 - _PIECE // 2), max(0, size - _PIECE)}):
                    file.seek(start)
                    sums.update(file.read(_PIECE))
    except OSError:
        return None
    return sums.digest()
