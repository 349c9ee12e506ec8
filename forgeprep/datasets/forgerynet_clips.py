"""From the lines of one of ForgeryNet's lists to clips, by columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from forgeprep.datasets.forgerynet_files import Finder, locate
from forgeprep.datasets.forgerynet_lists import FIRST_REAL, LAST_REAL, METHOD_NUMBERS, Lines, Place
from forgeprep.datasets.taxonomy import kind_of
from forgeprep.media.pictures import PICTURE_SUFFIXES
from forgeprep.schemas.clip_table import NONE, ClipKind, ClipTable, Int64
from forgeprep.schemas.clips import Split

NOBODY = "7283059e2ee6ec302df2936c7d23313b"
"""Stands in A's place where a fake has no second source."""
_LOWEST = np.array([NONE, *((bits & -bits).bit_length() - 1 for bits in range(1, 16))])
"""Of the bits of some of the folders 16 to 19 the first one."""
_COUNT = np.array([bits.bit_count() for bits in range(16)])


@dataclass(frozen=True, slots=True)
class Part:
    """One list: a split's pictures or videos, with the folders that its paths may start in."""

    split: Split
    kind: str
    file: Path
    bases: tuple[str, ...]
    masks: tuple[str, ...]

    @property
    def place(self) -> str:
        """How the clip_ids begin."""
        return f"forgerynet/{self.split}/{self.kind}"


class _Originals(NamedTuple):
    """The reals that clips may have been made of.

    Attributes:
        name: of each clip, the clip_id of the likeliest as a number of the table; NONE where there is none.
        others: row -> those of further ones.
    """

    name: Int64
    others: dict[int, tuple[int, ...]]


def add_clips(
    clips: ClipTable,
    root: Path,
    part: Part,
    lines: Lines,
    rows: Int64,
    base: Int64,
    size_bytes: Int64,
    *,
    by_name: bool,
    whole: bool,
) -> None:
    """Take in some lines of a list.

    Args:
        clips: what they are added to.
        root: the dataset's.
        part: the list.
        lines: its lines.
        rows: those that are taken in.
        base, size_bytes: of each line, the number of the part's base that its file lies below, and its size.
        by_name: whether fakes have originals, by their names.
        whole: whether fakes are fakes throughout.
    """
    folder, name = (np.frombuffer(column, np.int32)[rows] for column in (lines.folder, lines.name))
    stems = np.array([clips.intern(_stem(one)) for one in lines.names], np.int64)[name]

    # Neither these names nor those of folders come again: the table need not keep them in mind.
    clip_folders = {below: clips.keep(f"{part.place}/{below}") for below in {place.below: 0 for place in lines.places}}
    sources = {source: clips.keep(f"{part.place}/{source}") for source in {place.source: 0 for place in lines.places}}
    clip_folder, source = (
        np.array(numbers, np.int64)[folder]
        for numbers in (
            [clip_folders[place.below] for place in lines.places],
            [sources[place.source] for place in lines.places],
        )
    )
    originals = _originals(clip_folders, stems, lines, rows, by_name=by_name)
    masks = _masks(root, part, lines, rows)
    mask_folders = _folders(clips, part.masks, [place.below for place in lines.places], folder, masks)
    paths = _folders(clips, (*part.bases, ""), [place.folder for place in lines.places], folder, base[rows])
    people = np.array([clips.people_number(_people(place)) for place in lines.places], np.int32)
    clips.extend(
        {
            "clip_id": clip_folder << 32 | stems,
            "path": _named(paths, clips, lines, name),
            "source_id": source << 32 | stems,
            "original_id": originals.name,
            "companion": _named(mask_folders, clips, lines, name),
            "size_bytes": size_bytes[rows],
            "kind": _kinds(clips, part, lines, folder, originals.name != NONE),
            "people": people[folder],
            "tag": np.where(masks == NONE, NONE, clips.tag_number("magnitude")),
            "frame_count": np.full(len(rows), int(part.kind == "image")),
        },
        _rare(lines, rows, originals, whole=whole),
    )


def _rare(lines: Lines, rows: Int64, originals: _Originals, *, whole: bool) -> dict[int, dict[str, Any]]:
    """Further originals of rows, and spans."""
    rare: dict[int, dict[str, Any]] = {row: {"candidates": others} for row, others in originals.others.items()}
    for row, line in enumerate(rows.tolist() if lines.spans and not whole else ()):
        if line in lines.spans and lines.places[lines.folder[line]].fake:
            rare.setdefault(row, {})["spans"] = lines.spans[line]
    return rare


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name


def _people(place: Place) -> tuple[str, ...]:
    person = place.source.partition("/")[0]
    return (person,) if place.driver in (None, NOBODY) else (person, place.driver)


def _kinds(clips: ClipTable, part: Part, lines: Lines, folder: Int64, guessed: npt.NDArray[np.bool_]) -> Int64:
    """Numbers of the clips' kinds; a kind that no clip is of gets none."""
    numbers = np.array([place.number for place in lines.places])[folder]
    both, at = np.unique(numbers << 1 | guessed, return_inverse=True)
    kinds = [clips.kind_number(_kind(part.split, one >> 1, guessed=bool(one & 1))) for one in both.tolist()]
    return np.array(kinds, np.int64)[at]


def _kind(split: Split, number: int, *, guessed: bool) -> ClipKind:
    if number >= FIRST_REAL:
        return ClipKind("forgerynet", split, 0, "real", None, None, None, guessed)
    method = METHOD_NUMBERS[number]
    kind = kind_of("forgerynet", method)
    return ClipKind("forgerynet", split, 1, kind.forgery, method, kind.family, None, guessed)


def _folders(clips: ClipTable, bases: tuple[str, ...], folders: list[str], folder: Int64, base: Int64) -> Int64:
    """Numbers of the folders below their bases; NONE without a base."""
    both, at = np.unique(np.where(base == NONE, NONE, folder.astype(np.int64) << 8 | base), return_inverse=True)
    numbers = []
    for one in both.tolist():
        above = "" if one == NONE else bases[one & 0xFF]
        numbers.append(NONE if one == NONE else clips.keep(f"{above}/{folders[one >> 8]}".removeprefix("/")))
    return np.array(numbers, np.int64)[at]


def _named(folders: Int64, clips: ClipTable, lines: Lines, name: Int64) -> Int64:
    """Numbers of files in folders."""
    names = np.array([clips.intern(one) for one in lines.names], np.int64)[name]
    return np.where(folders == NONE, NONE, folders << 32 | names)


def _masks(root: Path, part: Part, lines: Lines, rows: Int64) -> Int64:
    """Of each row the number of the folder that its mask lies below; NONE without one."""
    found = np.full(len(rows), NONE, np.int64)
    folder, name = (np.frombuffer(column, np.int32)[rows] for column in (lines.folder, lines.name))
    fakes = np.flatnonzero(np.array([place.fake for place in lines.places])[folder]) if part.masks else rows[:0]
    if not len(fakes):
        return found
    numbers: dict[str, int] = {}
    of_place = np.array([numbers.setdefault(place.below, len(numbers)) for place in lines.places], np.int64)
    wanted = of_place[folder[fakes]] << 32 | name[fakes]
    found[fakes] = locate(root, part.masks, PICTURE_SUFFIXES, wanted, numbers, lines.numbers[1]).base
    find = Finder(root, part.masks)
    for row in fakes[found[fakes] == NONE].tolist():
        there = find(lines.places[folder[row]].below, lines.names[name[row]])
        found[row] = NONE if there is None else there[0]
    return found


def _originals(
    clip_folders: Mapping[str, int], leaves: Int64, lines: Lines, rows: Int64, *, by_name: bool
) -> _Originals:
    """The reals that fakes may have been made of, the likeliest first: ``16/<B>/frame00012``, then ``16/<A>/…``.

    Reals count that are listed, whether they are there or not. ``clip_folders`` has a number for each folder from its
    number on, ``leaves`` one for what each row is called in it.
    """
    if not by_name:
        return _Originals(np.full(len(rows), NONE, np.int64), {})
    stems: dict[str, int] = {}
    stem = np.array([stems.setdefault(_stem(one), len(stems)) for one in lines.names], np.int64)
    sources: dict[str, int] = {}
    for place in lines.places:
        if not place.fake:
            sources.setdefault(place.source, len(sources))
    own = np.array([sources.get(place.source, NONE) for place in lines.places], np.int64)
    other = np.array([sources.get(_driver_source(place), NONE) for place in lines.places], np.int64)
    other[other == own] = NONE
    fake = np.array([place.fake for place in lines.places], bool)
    folder, name = (np.frombuffer(column, np.int32) for column in (lines.folder, lines.name))
    number = np.array([place.number - FIRST_REAL for place in lines.places])
    real = np.flatnonzero(~fake[folder])
    known, at = np.unique(own[folder[real]] << 32 | stem[name[real]], return_inverse=True)
    bits = np.zeros(len(known) + 1, np.int64)
    np.bitwise_or.at(bits, at, 1 << number[folder[real]])
    folder, name = folder[rows], name[rows]

    def bits_of(source: Int64) -> Int64:
        keys = source[folder] << 32 | stem[name]
        at = np.minimum(np.searchsorted(known, keys), max(0, len(known) - 1))
        there = fake[folder] & (source[folder] != NONE) & (known[at] == keys if len(known) else False)
        return np.where(there, bits[at], 0)

    first, second = bits_of(own), bits_of(other)
    source, lowest = np.where(first > 0, own[folder], other[folder]), _LOWEST[np.where(first > 0, first, second)]
    texts = [*sources]
    both, at = np.unique(np.where(lowest == NONE, NONE, source << 8 | lowest), return_inverse=True)
    folders = [
        NONE if one == NONE else clip_folders[f"{FIRST_REAL + (one & 0xFF)}/{texts[one >> 8]}"] for one in both.tolist()
    ]
    likeliest = np.array(folders, np.int64)[at]
    others = {}
    for row in np.flatnonzero(_COUNT[first] + _COUNT[second] > 1).tolist():
        found = [
            clip_folders[f"{FIRST_REAL + n}/{texts[where[folder[row]]]}"] << 32 | int(leaves[row])
            for where, which in ((own, first[row]), (other, second[row]))
            for n in range(LAST_REAL - FIRST_REAL + 1)
            if which >> n & 1
        ]
        others[row] = tuple(found[1:])
    return _Originals(np.where(likeliest == NONE, NONE, likeliest << 32 | leaves), others)


def _driver_source(place: Place) -> str:
    """What its real's folder would be called if it were that of A."""
    _, slash, rest = place.source.partition("/")
    return f"{place.driver}{slash}{rest}"
