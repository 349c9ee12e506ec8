"""The lines of ForgeryNet's lists."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from forgeprep.datasets.lists import read_lines, refuse
from forgeprep.datasets.taxonomy import kind_of, methods_of

METHOD_NUMBERS = dict(enumerate(methods_of("forgerynet"), 1))
"""Number of a folder to the approach; the table of methods is in the order of the numbers."""
FIRST_REAL, LAST_REAL = 16, 19
WHOLLY_FAKE = ("2", "8")
"""Folders of videos that are forged throughout, which the authors' lists leave out (issues 27 and 29 there)."""


class Entry(NamedTuple):
    """One line.

    Attributes:
        path: as listed.
        below: the same from the number of its folder on, e.g. ``1/<A>/<B>/frame00012.jpg``.
        number: 1 to 15 a fake, 16 to 19 a real.
        source: what its real is called: ``<B>/frame00012`` for pictures, ``<B>/video`` for videos.
        driver: A, the other source of a fake.
        spans: forged and real spans of a video, by frames; None for pictures, and where the line has none.
        odd_kind: whether the line's three-way kind is not that of its folder.
    """

    path: str
    below: str
    number: int
    source: str
    driver: str | None
    spans: list[list[int]] | None
    odd_kind: bool


def read_images(file: Path, wrong: list[str] | None = None, seen: Names | None = None) -> Iterator[Entry]:
    """The lines ``<path> <0|1> <0|1|2> <0..15>``; raises UsageError at one that cannot be read.

    A line whose first label is not that of its folder goes to ``wrong`` too: the folder counts. ``seen`` takes up the
    paths, and a path that is there already is refused; None: the list has been read before.
    """
    for line, text in read_lines(file):
        parts = text.split()
        if len(parts) != 4:
            refuse(file, line, f"must be a path and three numbers, got '{text[:80]}'")
        yield _entry(file, line, parts[0], parts[1:], None, seen, wrong)


def read_videos(file: Path, wrong: list[str] | None = None, seen: Names | None = None) -> Iterator[Entry]:
    """The lines ``<n> <path> (<start> <frames> <0|1>) x n <0|1> <0|1|2> <0..15>``, as :func:`read_images`."""
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
        yield _entry(file, line, parts[1], parts[-3:], spans or None, seen, wrong)


class Names:
    """The paths of a list. Of millions, a number for each folder and name takes a third of the memory of the paths."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._keys: set[int] = set()

    def add(self, path: str) -> bool:
        """Take a path in; whether it is new."""
        count = len(self._keys)
        folder, _, name = path.rpartition("/")
        numbers = self._numbers
        self._keys.add(numbers.setdefault(folder, len(numbers)) << 32 | numbers.setdefault(name, len(numbers)))
        return len(self._keys) > count

    def __contains__(self, path: str) -> bool:
        folder, _, name = path.rpartition("/")
        return self._numbers.get(folder, -1) << 32 | self._numbers.get(name, -1) in self._keys


@functools.lru_cache(maxsize=1024)
def _place(folder: str) -> tuple[str, int, str, str | None, int] | None:
    """What a listed file's folder tells: the path from its number on, the number, B and what follows, A, the kind.

    None where it is no such folder. Lists go folder by folder, so that this is asked once for a dozen lines.
    """
    parts = folder.split("/")
    at = next((i for i, part in enumerate(parts) if part.isdecimal() and 1 <= int(part) <= LAST_REAL), len(parts))
    below = parts[at:]
    fake = len(below) > 0 and int(below[0]) < FIRST_REAL
    if ".." in parts or folder.startswith("/") or len(below) < (3 if fake else 2):
        return None
    number = int(below[0])
    expected = (
        0 if not fake else 2 if kind_of("forgerynet", METHOD_NUMBERS[number]).forgery == "identity_replaced" else 1
    )
    chain = below[2:] if fake else below[1:]
    return "/".join(below), number, "/".join(chain), below[1] if fake else None, expected


@functools.lru_cache(maxsize=1024)
def _labels(*kinds: str) -> tuple[int, int] | None:
    """The two labels that count, of the three at the end of a line; None if one of them is not possible."""
    possible = all(
        kind.isdecimal() and len(kind) < 10 and int(kind) <= most for kind, most in zip(kinds, (1, 2, 15), strict=True)
    )
    return (int(kinds[0]), int(kinds[1])) if possible else None


def _entry(
    file: Path,
    line: int,
    path: str,
    kinds: list[str],
    spans: list[list[int]] | None,
    seen: Names | None,
    wrong: list[str] | None,
) -> Entry:
    folder, _, name = path.rpartition("/")
    place = _place(folder) if name != ".." else None
    if place is None:
        refuse(file, line, f"'{path[:100]}' is no path such as 1/A/B/file or 16/B/file, with a folder from 1 to 19")
    below, number, chain, driver, expected = place
    if seen is not None and not seen.add(path):
        refuse(file, line, f"{path} stands there twice")
    labels = _labels(*kinds)
    if labels is None:
        _numbers(file, line, kinds)
        refuse(file, line, f"labels out of range: {' '.join(kinds)} (0 to 1, 0 to 2, 0 to 15)")
    two, three = labels
    fake = number < FIRST_REAL
    if (two == 1) != fake and wrong is not None:
        wrong.append(f"line {line} says {two} ({'fake' if two else 'real'}) of a file in folder {number}")
    # A line whose first label is wrong has been told already.
    odd = three != expected and (two == 1) == fake
    source = f"{chain}/{name.rpartition('.')[0]}"
    return Entry(path, f"{below}/{name}", number, source, driver, spans, odd)


def wholly_fake(path: str) -> Entry | None:
    """A video that no list names, since it is forged from its first frame to its last; None for any other path."""
    parts = path.split("/")
    at = next((i for i, part in enumerate(parts) if part.isdecimal()), len(parts))
    below = parts[at:]
    if len(below) < 4 or below[0] not in WHOLLY_FAKE:
        return None
    source = "/".join([*below[2:-1], below[-1].rpartition(".")[0]])
    return Entry(path, "/".join(below), int(below[0]), source, below[1], None, odd_kind=False)


def _numbers(file: Path, line: int, parts: list[str]) -> list[int]:
    if not all(part.isdecimal() and len(part) < 10 for part in parts):
        refuse(file, line, f"must be whole numbers: {' '.join(parts)[:60]}")
    return [int(part) for part in parts]
