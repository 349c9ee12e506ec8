"""Where the files lie that ForgeryNet's lists name: a walk of the folders, not a question for each of millions."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from forgeprep.datasets.listing import walk_files
from forgeprep.io.storage import is_remote
from forgeprep.schemas.clip_table import NONE, Int64

_TOLD = 1000


class Located(NamedTuple):
    """Where files lie.

    Attributes:
        base: of each file that was asked for, the number of the folder that it lies below; NONE if in none.
        size_bytes: its size; 0 where it is not there.
        others: path and size of what lies there and was not asked for.
    """

    base: Int64
    size_bytes: Int64
    others: list[tuple[str, int]]


def locate(
    root: Path,
    bases: Sequence[str],
    suffixes: Collection[str],
    wanted: Int64,
    folders: Mapping[str, int],
    names: Mapping[str, int],
    progress: Callable[[int], None] = lambda count: None,
) -> Located:
    """Find files below the first of some folders that has them.

    Args:
        root: the dataset's.
        bases: folders, relative to it.
        suffixes: of the files that lie there.
        wanted: the number of its folder in the upper 32 bits, that of its name in the lower, of each file.
        folders, names: what these numbers stand for; folders are relative to a base.
        progress: is told how many files have been seen.
    """
    seen = _walked(root, bases, suffixes, folders, names, progress)
    found, of_file = np.frombuffer(seen.keys, np.int64), np.frombuffer(seen.files, np.int32)
    base_of, size_of = np.frombuffer(seen.bases, np.int8), np.frombuffer(seen.sizes, np.int64)[of_file]
    order = np.argsort(wanted)
    at = np.minimum(np.searchsorted(wanted, found, sorter=order), max(0, len(wanted) - 1))
    rows = order[at] if len(wanted) else np.zeros(0, np.int64)
    listed = wanted[rows] == found
    base, size_bytes = np.full(len(wanted), NONE, np.int64), np.zeros(len(wanted), np.int64)
    for number in reversed(range(len(bases))):
        # What is empty may be a link to nothing.
        of_base = listed & (base_of == number) & (size_of > 0)
        base[rows[of_base]], size_bytes[rows[of_base]] = number, size_of[of_base]
    return Located(base, size_bytes, [*seen.others, *_others(seen, listed, bases, folders, names)])


class _Seen(NamedTuple):
    """The files of a walk: for each way to read a path, its number, that of the base, and that of the file."""

    keys: array[int]
    bases: array[int]
    files: array[int]
    sizes: array[int]
    others: list[tuple[str, int]]


def _walked(
    root: Path,
    bases: Sequence[str],
    suffixes: Collection[str],
    folders: Mapping[str, int],
    names: Mapping[str, int],
    progress: Callable[[int], None],
) -> _Seen:
    """What lies below the bases; ``others`` are files whose folders or names no number stands for."""
    seen = _Seen(array("q"), array("b"), array("i"), array("q"), [])
    last: str | None = None
    here: list[tuple[int, int]] = []
    tops = [base for base in bases if not any(base.startswith(f"{other}/") for other in bases)]
    for path, size in (found for top in tops for found in walk_files(root, top, suffixes)):
        folder, _, name = path.rpartition("/")
        if folder != last:
            last = folder
            here = [
                (number, base)
                for base, above in enumerate(bases)
                if folder.startswith(above) and (number := folders.get(folder[len(above) + 1 :])) is not None
            ]
        name_number = names.get(name)
        if name_number is None or not here:
            seen.others.append((path, size))
            continue
        for number, base in here:
            seen.keys.append(number << 32 | name_number)
            seen.bases.append(base)
            seen.files.append(len(seen.sizes))
        seen.sizes.append(size)
        if len(seen.sizes) % _TOLD == 0:
            progress(len(seen.sizes))
    return seen


def _others(
    seen: _Seen,
    listed: npt.NDArray[np.bool_],
    bases: Sequence[str],
    folders: Mapping[str, int],
    names: Mapping[str, int],
) -> Iterator[tuple[str, int]]:
    """Path and size of each file that is not listed in any way to read its path."""
    files = np.frombuffer(seen.files, np.int32)
    alone = np.flatnonzero(~np.isin(files, files[listed]))
    texts = {key: text for text, key in folders.items()} if len(alone) else {}
    words = {key: text for text, key in names.items()} if len(alone) else {}
    for number in alone[np.unique(files[alone], return_index=True)[1]].tolist():
        key = seen.keys[number]
        path = f"{bases[seen.bases[number]]}/{texts[key >> 32]}/{words[key & 0xFFFFFFFF]}"
        yield path, seen.sizes[seen.files[number]]


class Finder:
    """Finds below the first folder that has it what a walk does not see, as files of 0 bytes or in hidden folders."""

    def __init__(self, root: Path, bases: tuple[str, ...]) -> None:
        self.root, self.bases = root, bases
        # A Path for each of millions of files takes longer than the system's answer.
        self._local = None if is_remote(root) else f"{root}/"
        self._folder: str | None = None
        self._here: list[tuple[int, str]] = []

    def __call__(self, folder: str, name: str) -> tuple[int, int] | None:
        """The number of the base, and the file's size; None where it is in none."""
        if folder != self._folder:
            # Lists go folder by folder: where there is no such folder, a dozen files need not be looked for.
            self._folder = folder
            places = [(number, f"{base}/{folder}" if base else folder) for number, base in enumerate(self.bases)]
            self._here = [(number, place) for number, place in places if self._is_folder(place)]
        for number, place in self._here:
            file = f"{place}/{name}"
            try:
                status = (self.root / file).stat() if self._local is None else os.stat(self._local + file)  # noqa: PTH116
            except OSError:
                continue
            return number, status.st_size
        return None

    def _is_folder(self, place: str) -> bool:
        return (self.root / place).is_dir() if self._local is None else os.path.isdir(self._local + place)  # noqa: PTH112
