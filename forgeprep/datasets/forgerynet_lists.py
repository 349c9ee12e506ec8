"""ForgeryNet's lists, read into columns: their lines are counted in millions."""

from __future__ import annotations

import functools
import itertools
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from forgeprep.datasets.lists import read_lines, refuse
from forgeprep.datasets.taxonomy import kind_of, methods_of
from forgeprep.schemas.clip_table import Int64

METHOD_NUMBERS = dict(enumerate(methods_of("forgerynet"), 1))
"""Number of a folder to the approach; the table of methods is in the order of the numbers."""
FIRST_REAL, LAST_REAL = 16, 19
WHOLLY_FAKE = (2, 8)
"""Folders of videos that are forged throughout, which the authors' lists leave out (issues 27 and 29 there)."""


class Place(NamedTuple):
    """What a folder tells of the files in it.

    Attributes:
        folder: as listed.
        below: the same from its number on, e.g. ``1/<A>/<B>``.
        number: 1 to 15 fakes, 16 to 19 reals.
        source: what their real's folder is called: ``<B>``, and what follows.
        driver: A, the other source of fakes.
    """

    folder: str
    below: str
    number: int
    source: str
    driver: str | None

    @property
    def fake(self) -> bool:
        """Whether fakes lie in it."""
        return self.number < FIRST_REAL

    @property
    def expected(self) -> int:
        """The three-way kind that the lines of its files should have."""
        return _expected(self.number)


@dataclass(slots=True)
class Lines:
    """The lines of a list, in columns.

    Attributes:
        file: the list.
        places: the folders, each once.
        names: what the files are called in them, each once.
        folder, name: of each line, the number of its place and of its name.
        spans: forged and real spans of videos, by line and frames; not of those where the list has none.
        wrong: what there is to tell of lines whose first label is not that of their folder.
        odd: how many lines have another three-way kind than their folder.
    """

    file: Path
    places: list[Place] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    folder: array[int] = field(default_factory=lambda: array("i"))
    name: array[int] = field(default_factory=lambda: array("i"))
    spans: dict[int, list[list[int]]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    odd: int = 0
    _places: dict[str, int] = field(default_factory=dict)
    _names: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.folder)

    def path(self, row: int) -> str:
        """The path of a line, as listed."""
        return f"{self.places[self.folder[row]].folder}/{self.names[self.name[row]]}"

    def keys(self) -> Int64:
        """Of each line a number for its path: of the place and of the name."""
        return np.frombuffer(self.folder, np.int32).astype(np.int64) << 32 | np.frombuffer(self.name, np.int32)

    def add(self, folder: str, name: str) -> bool:
        """Take in a path; whether it can be one of this dataset."""
        number = self.place_number(folder)
        if number is None or name == "..":
            return False
        self.folder.append(number)
        self.name.append(self.name_number(name))
        return True

    def place_number(self, folder: str) -> int | None:
        """The number of a folder; None where it can be none of this dataset."""
        number = self._places.get(folder)
        if number is None:
            place = _place(folder)
            if place is None:
                return None
            number = self._places[folder] = len(self.places)
            self.places.append(place)
        return number

    def name_number(self, name: str) -> int:
        """The number of a file's name."""
        number = self._names.get(name)
        if number is None:
            number = self._names[name] = len(self.names)
            self.names.append(name)
        return number

    @property
    def numbers(self) -> tuple[dict[str, int], dict[str, int]]:
        """Folder, and name, to its number."""
        return self._places, self._names


def read_images(file: Path) -> Lines:
    """The lines ``<path> <0|1> <0|1|2> <0..15>``; raises UsageError at one that cannot be read, or stands twice."""
    lines = Lines(file)
    last: str | None = None
    tails: dict[str, tuple[int, int, int]] = {}
    number, fake, expected = 0, False, 0
    for line, text in read_lines(file):
        folder, _, tail = text.rpartition("/")
        # Lists go folder by folder, and what follows the last slash recurs in all of them.
        if folder == last and tail in tails:
            name, two, three = tails[tail]
            lines.folder.append(number)
            lines.name.append(name)
        else:
            parts = text.split()
            if len(parts) != 4:
                refuse(file, line, f"must be a path and three numbers, got '{text[:80]}'")
            two, three = _add(lines, line, parts[0], parts[1:])
            number = lines.folder[-1]
            place = lines.places[number]
            last, fake, expected = place.folder, place.fake, place.expected
            if folder == last:
                tails[tail] = lines.name[-1], two, three
        if (two == 1) != fake:
            _tell_wrong(lines, line, two)
        elif three != expected:
            lines.odd += 1
    return _checked(lines)


def read_videos(file: Path) -> Lines:
    """The lines ``<n> <path> (<start> <frames> <0|1>) x n <0|1> <0|1|2> <0..15>``, as :func:`read_images`."""
    lines = Lines(file)
    for line, text in read_lines(file):
        parts = text.split()
        count = int(parts[0]) if parts[0].isdecimal() else -1
        if count < 0 or len(parts) != 5 + 3 * count:
            refuse(file, line, f"must be a number n, a path, n times three numbers, three numbers; got '{text[:80]}'")
        spans = [_numbers(file, line, parts[at : at + 3]) for at in range(2, 2 + 3 * count, 3)]
        end = 0
        for start, frames, label in spans:
            if label not in (0, 1) or frames < 1 or start < end:
                refuse(file, line, f"the span {start} {frames} {label} overlaps, is empty, or its label is not 0 or 1")
            end = start + frames
        two, three = _add(lines, line, parts[1], parts[-3:])
        if spans:
            lines.spans[len(lines) - 1] = spans
        place = lines.places[lines.folder[-1]]
        if (two == 1) != place.fake:
            _tell_wrong(lines, line, two)
        elif three != place.expected:
            lines.odd += 1
    return _checked(lines)


def _add(lines: Lines, line: int, path: str, kinds: Sequence[str]) -> tuple[int, int]:
    """Take in a line, and give the two of its labels that count."""
    folder, _, name = path.rpartition("/")
    if not lines.add(folder, name):
        problem = f"'{path[:100]}' is no path such as 1/A/B/file or 16/B/file, with a folder from 1 to 19"
        refuse(lines.file, line, problem)
    labels = _labels(*kinds)
    if labels is None:
        _numbers(lines.file, line, kinds)
        refuse(lines.file, line, f"labels out of range: {' '.join(kinds)} (0 to 1, 0 to 2, 0 to 15)")
    return labels


def _tell_wrong(lines: Lines, line: int, two: int) -> None:
    number = lines.places[lines.folder[-1]].number
    lines.wrong.append(f"line {line} says {two} ({'fake' if two else 'real'}) of a file in folder {number}")


def _checked(lines: Lines) -> Lines:
    """The lines, if no path stands twice."""
    keys = lines.keys()
    order = np.argsort(keys, kind="stable")
    again = order[1:][keys[order[1:]] == keys[order[:-1]]]
    if len(again):
        row = int(again.min())
        line = next(itertools.islice(read_lines(lines.file), row, None))[0]
        refuse(lines.file, line, f"{lines.path(row)} stands there twice")
    return lines


def wholly_fake(path: str) -> bool:
    """Whether a video that no list names is one that is forged from its first frame to its last."""
    place = _place(path.rpartition("/")[0])
    return place is not None and place.number in WHOLLY_FAKE


def _place(folder: str) -> Place | None:
    """None where it is no such folder."""
    parts = folder.split("/")
    at = next((i for i, part in enumerate(parts) if part.isdecimal() and 1 <= int(part) <= LAST_REAL), len(parts))
    below = parts[at:]
    fake = len(below) > 0 and int(below[0]) < FIRST_REAL
    if ".." in parts or folder.startswith("/") or len(below) < (3 if fake else 2):
        return None
    source = below[2:] if fake else below[1:]
    return Place(folder, "/".join(below), int(below[0]), "/".join(source), below[1] if fake else None)


@functools.cache
def _expected(number: int) -> int:
    if number >= FIRST_REAL:
        return 0
    return 2 if kind_of("forgerynet", METHOD_NUMBERS[number]).forgery == "identity_replaced" else 1


@functools.lru_cache(maxsize=1024)
def _labels(*kinds: str) -> tuple[int, int] | None:
    """The two labels that count, of the three at the end of a line; None if one of them is not possible."""
    possible = all(
        kind.isdecimal() and len(kind) < 10 and int(kind) <= most for kind, most in zip(kinds, (1, 2, 15), strict=True)
    )
    return (int(kinds[0]), int(kinds[1])) if possible else None


def _numbers(file: Path, line: int, parts: Sequence[str]) -> list[int]:
    if not all(part.isdecimal() and len(part) < 10 for part in parts):
        refuse(file, line, f"must be whole numbers: {' '.join(parts)[:60]}")
    return [int(part) for part in parts]
