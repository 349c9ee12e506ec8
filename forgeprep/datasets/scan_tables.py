"""What :func:`forgeprep.datasets.scan.make_scan` asks of a table of millions of clips, by its columns."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from forgeprep.datasets.base import Found
from forgeprep.schemas.clip_table import NONE, ClipTable, Int64, order_of
from forgeprep.schemas.clips import Clip, Split


def choose(table: ClipTable, kinds: Sequence[bool]) -> None:
    """Keep the clips of some kinds."""
    if not all(kinds):
        table.take(np.flatnonzero(np.asarray(kinds, bool)[table.numbers("kind")]))


def sort(table: ClipTable) -> None:
    """By clip_id."""
    table.take(order_of(table, table.names("clip_id")))


def doubles(table: ClipTable) -> list[Clip]:
    """The clips whose clip_id stands more than once; the table is sorted."""
    names = table.names("clip_id")
    twice = np.flatnonzero(names[1:] == names[:-1])
    return [table[row] for row in np.union1d(twice, twice + 1).tolist()]


def orphans(table: ClipTable) -> list[str]:
    """The clip_ids of fakes none of whose originals is there."""
    names, originals = table.names("clip_id"), table.names("original_id")
    labels = np.array([kind.label for kind in table.kinds] or [0])[table.numbers("kind")]
    reals = names[labels == 0]
    alone = np.flatnonzero((originals != NONE) & ~np.isin(originals, reals))
    on_disk: set[int] = set()
    if any("candidates" in table.extra(row) for row in alone.tolist()):
        on_disk = {*reals.tolist()}
    return [
        table.text(int(names[row]))
        for row in alone.tolist()
        if on_disk.isdisjoint(table.extra(row).get("candidates") or ())
    ]


def leaking(table: ClipTable) -> list[Clip]:
    """The clips whose source or people stand in more than one split, in their order."""
    splits = _splits(table)
    sources, people = table.names("source_id"), table.numbers("people")
    wrong = np.isin(sources, _in_several(sources, splits))
    # Of each person in a dataset, a bit for each split.
    places: dict[str, dict[str, int]] = defaultdict(dict)
    datasets = [places[kind.dataset] for kind in table.kinds]
    groups = table.people()
    pairs = np.unique(people.astype(np.int64) << 32 | table.numbers("kind"))
    order = list(dict.fromkeys(kind.split for kind in table.kinds))
    bits = [1 << order.index(kind.split) for kind in table.kinds]
    for group, kind in zip((pairs >> 32).tolist(), (pairs & 0xFFFFFFFF).tolist(), strict=True):
        of_dataset = datasets[kind]
        for person in groups[group]:
            of_dataset[person] = of_dataset.get(person, 0) | bits[kind]
    several = {person for found in places.values() for person, where in found.items() if where & where - 1}
    if several:
        of_several = np.array([not several.isdisjoint(group) for group in groups], bool)
        wrong |= of_several[people]
    return [table[row] for row in np.flatnonzero(wrong).tolist()]


def _splits(table: ClipTable) -> Int64:
    """Of each clip the number of its split."""
    order: list[Split] = list(dict.fromkeys(kind.split for kind in table.kinds))
    return np.array([order.index(kind.split) for kind in table.kinds], np.int64)[table.numbers("kind")]


def _in_several(names: Int64, splits: Int64) -> Int64:
    """The names that stand in several splits."""
    order = np.lexsort((splits, names))
    names, splits = names[order], splits[order]
    return np.unique(names[1:][(names[1:] == names[:-1]) & (splits[1:] != splits[:-1])])


def one_of_each(table: ClipTable) -> list[Clip]:
    """A clip of each kind."""
    rows: npt.NDArray[np.int64] = np.unique(table.numbers("kind"), return_index=True)[1]
    return [table[row] for row in rows.tolist()]


def sequences(table: ClipTable) -> list[Clip]:
    """The clips that are folders of pictures."""
    return [table[row] for row in table.rare_rows() if "frames" in table.extra(row)]


def counts(table: ClipTable) -> Found:
    """How many clips there are of each kind, as :func:`forgeprep.datasets.base.count_clips`."""
    found: Counter[tuple[str | None, str | None, Split | None]] = Counter()
    for kind, number in zip(table.kinds, np.bincount(table.numbers("kind"), minlength=len(table.kinds)), strict=True):
        found[kind.compression, kind.method, kind.split] += int(number)
        found[kind.compression, kind.method, None] += int(number)
    return found


def escaped(table: ClipTable) -> list[Clip]:
    """The clips whose path holds a backslash."""
    odd = np.flatnonzero(pc.match_substring(table.parts(), "\\"))
    if not len(odd):
        return []
    paths = table.names("path")
    return [table[row] for row in np.flatnonzero(np.isin(paths >> 32, odd) | np.isin(paths & 0xFFFFFFFF, odd)).tolist()]


def unpaired(table: ClipTable) -> list[str]:
    """The clip_ids of fakes of which no original is known, whole syntheses apart."""
    asked = [kind.label == 1 and kind.forgery != "entire_synthesis" for kind in table.kinds]
    rows = np.flatnonzero(np.asarray(asked, bool)[table.numbers("kind")] & (table.names("original_id") == NONE))
    names = table.names("clip_id")
    return [table.text(int(name)) for name in names[rows].tolist()]
