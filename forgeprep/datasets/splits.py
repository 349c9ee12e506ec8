"""Splits: made where a dataset has none, and checked everywhere. Nobody stands in two of them."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from typing import Annotated

from pydantic import BeforeValidator

from forgeprep.datasets.listing import shown
from forgeprep.schemas.clips import SPLITS, Clip, Split


def _ratios(value: object) -> tuple[float, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    try:
        shares = tuple(float(part) for part in parts)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        shares = ()
    # Written so that NaN fails too.
    if len(shares) != len(SPLITS) or not (all(share >= 0 for share in shares) and abs(sum(shares) - 1) < 1e-6):
        raise ValueError("must be the shares of train, val and test, adding up to 1, such as 0.8,0.1,0.1")
    return shares


Ratios = Annotated[tuple[float, ...], BeforeValidator(_ratios)]
"""Shares of train, val and test, as three numbers or as text: ``0.8,0.1,0.1``."""


def split_by_ratio(
    names: Iterable[str], ratios: Sequence[float], seed: int, settled: Mapping[str, Split] | None = None
) -> dict[str, Split]:
    """The split of each name, by its own hash: names that come or go later do not move it.

    Shares are met on average only. A split that would get nobody takes a name from another one, the nearest by hash;
    so a handful of names serves all splits, and such a name may move when more come.

    Args:
        names: what is dealt out.
        ratios: shares of train, val and test.
        seed: another one gives other splits.
        settled: names that have their split already; they keep it.

    >>> split_by_ratio("abcd", (0.5, 0.25, 0.25), seed=0)
    {'a': 'test', 'b': 'train', 'c': 'train', 'd': 'val'}
    """
    kept = settled or {}
    place = {name: _place(name, seed) for name in sorted(set(names))}
    ends = [sum(ratios[: number + 1]) for number in range(len(SPLITS))]
    last = max(number for number, share in enumerate(ratios) if share > 0)
    home = {
        name: SPLITS.index(kept[name]) if name in kept else next((n for n, e in enumerate(ends) if at < e), last)
        for name, at in place.items()
    }
    for number in sorted(range(len(SPLITS)), key=lambda n: -ratios[n]):
        count = Counter(home.values())
        if ratios[number] > 0 and not count[number]:
            # The last one of a split goes only to one of a larger share: a single name is for training.
            free = [
                name
                for name, split in home.items()
                if name not in kept and (count[split] > 1 or ratios[split] < ratios[number])
            ]
            if free:
                middle = ends[number] - ratios[number] / 2
                home[min(free, key=lambda name: (abs(place[name] - middle), name))] = number
    return {name: SPLITS[number] for name, number in home.items()}


def _place(name: str, seed: int) -> float:
    """Where a name lies between 0 and 1."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8]) / (1 << 64)


def split_closed_list(names: Iterable[str], ratios: Sequence[float], seed: int) -> dict[str, Split]:
    """Deal out a list of names that never grows, in exact shares: one more name would move others.

    >>> split_closed_list("abcd", (0.5, 0.25, 0.25), seed=0)
    {'c': 'train', 'b': 'train', 'd': 'val', 'a': 'test'}
    """
    ranked = sorted(set(names), key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
    counts = [0] * len(SPLITS)
    for _ in ranked:
        # Whoever is furthest behind; a split that has nobody yet comes first, so that few names serve all splits.
        behind = [
            (share > 0 and not have, share * len(ranked) - have) for share, have in zip(ratios, counts, strict=True)
        ]
        counts[behind.index(max(behind))] += 1
    dealt = [split for split, count in zip(SPLITS, counts, strict=True) for _ in range(count)]
    return dict(zip(ranked, dealt, strict=True))


def give_both(
    splits: Mapping[str, Split],
    labels: Mapping[str, Set[int]],
    ratios: Sequence[float],
    kept: Collection[str] = (),
) -> dict[str, Split]:
    """The splits, changed as little as will do, so that each has reals and fakes where there are enough sources.

    A split that lacks a class takes one of its sources from the split that has most of them, and that keeps both
    classes without it. Train comes first, by its share.

    Args:
        splits: the split of each source.
        labels: the labels of each source's clips: 0 real, 1 fake.
        ratios: shares of train, val and test; one without a share gets nothing.
        kept: sources that stay where they are.
    """
    found = dict(splits)

    def holders(split: Split, label: int) -> list[str]:
        return [name for name, own in found.items() if own == split and label in labels[name]]

    for split in sorted((s for s, share in zip(SPLITS, ratios, strict=True) if share > 0), key=_share_of(ratios)):
        for label in (0, 1):
            if holders(split, label):
                continue
            given = [
                (-len(holders(found[name], label)), _hash(name), name)
                for name, own in labels.items()
                if label in own and name not in kept and all(len(holders(found[name], kind)) > 1 for kind in own)
            ]
            if given:
                found[min(given)[2]] = split
    return found


def _share_of(ratios: Sequence[float]) -> Callable[[Split], float]:
    return lambda split: -ratios[SPLITS.index(split)]


def _hash(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def class_texts(clips: Sequence[Clip], splits: Sequence[Split]) -> list[str]:
    """A line for each split that lacks reals or fakes, though the dataset has both."""
    held = {split: {clip.label for clip in clips if clip.split == split} for split in splits}
    classes = {clip.label for clip in clips}
    if len(classes) < 2:
        other, more = ("fakes", ", or from the stage selfblend") if 0 in classes else ("reals", "")
        return [f"there are no {other} here: a forgery detector needs some, from another run{more}"] if classes else []
    texts = []
    for split, own in held.items():
        lacking = [name for label, name in enumerate(("reals", "fakes")) if label not in own]
        if lacking:
            remedy = "give more sources, other ratios, or a split of your own"
            texts.append(f"{split} holds no {' and no '.join(lacking)}: no AUC can be measured there; {remedy}")
    return texts


def leaks(clips: Iterable[Clip]) -> dict[str, dict[Split, str]]:
    """Source groups and people that stand in more than one split: name -> split -> one of its clips there."""
    seen: dict[str, dict[Split, str]] = defaultdict(dict)
    for clip in clips:
        for name in (clip.source_id, *(f"{clip.dataset}:{person}" for person in clip.identities)):
            seen[name].setdefault(clip.split, clip.clip_id)
    return {name: found for name, found in sorted(seen.items()) if len(found) > 1}


def leak_text(found: Mapping[str, Mapping[Split, str]]) -> str:
    """The leaks in words, the first ones by name."""
    texts = []
    for name, places in found.items():
        where = ", ".join(f"{split}: {places[split]}" for split in SPLITS if split in places)
        texts.append(f"{name} ({where})")
    return shown(texts)


def split_together(
    clips: Sequence[Clip], ratios: Sequence[float], seed: int, settled: Mapping[str, Split] | None = None
) -> list[Clip]:
    """The clips with splits by ratio; those that share a source or a person stay together.

    Sources that are ``settled``, by their source_id, keep their split; what shares a person with one of them joins it.
    Each split has reals and fakes where there are enough sources, see :func:`give_both`.
    """
    kept = settled or {}
    home: dict[str, str] = {}

    def find(name: str) -> str:
        while home.setdefault(name, name) != name:
            home[name] = home[home[name]]
            name = home[name]
        return name

    for clip in clips:
        for person in clip.identities:
            one, other = sorted((find(clip.source_id), find(f"{clip.dataset}:{person}")))
            home[other] = one
    there = sorted({clip.source_id for clip in clips if clip.source_id in kept}, reverse=True)
    homes = {find(source_id): kept[source_id] for source_id in there}
    splits = split_by_ratio((find(clip.source_id) for clip in clips), ratios, seed, homes)
    labels: dict[str, set[int]] = defaultdict(set)
    for clip in clips:
        labels[find(clip.source_id)].add(clip.label)
    splits = give_both(splits, labels, ratios, kept=homes)
    return [replace(clip, split=kept.get(clip.source_id) or splits[find(clip.source_id)]) for clip in clips]
