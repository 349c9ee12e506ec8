"""An audit of a dataset: what leaks, what is there twice, and what is missing, in its tree and in published lists."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from forgeprep.datasets.audit_files import same_contents, tree_faults
from forgeprep.datasets.base import Dataset, DatasetParams, Scan, ScanOptions, count_clips
from forgeprep.datasets.find import scan_root
from forgeprep.datasets.findings import Finding
from forgeprep.datasets.published import Index, read_published
from forgeprep.datasets.splits import leaks
from forgeprep.errors import UsageError
from forgeprep.schemas.clips import SPLITS, Clip

Tell = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class Copy:
    """A dataset on disk, at every compression that is there.

    ``clips`` are its own ones alone, ``reals`` those that lie in other datasets: lists of it name both.
    """

    dataset: Dataset
    root: Path
    clips: list[Clip]
    reals: list[Clip] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def open_copy(dataset: Dataset, root: Path, params: DatasetParams, real_roots: Mapping[str, Path], tell: Tell) -> Copy:
    """List a dataset for an audit, also where its splits leak.

    Raises:
        UsageError: there are no clips under ``root``, or they cannot be told from each other.
    """
    scans: list[Scan] = []
    problems: list[UsageError] = []
    for compression in dataset.compressions or (None,):
        asked = ScanOptions(
            compressions=(compression,) if compression else None,
            params=params,
            real_roots=real_roots,
            progress=lambda count: tell("files found", count),
            leaks="keep",
        )
        try:
            scans.append(scan_root(dataset, root, asked))
        except UsageError as error:
            problems.append(error)
    if not scans:
        raise problems[0]
    return Copy(
        dataset.chosen(params),
        root,
        [clip for scan in scans for clip in scan.clips if clip.dataset == dataset.name],
        [clip for scan in scans for clip in scan.clips if clip.dataset != dataset.name],
        _once(path for scan in scans for path in scan.absent),
        _once(path for scan in scans for path in scan.strangers),
        _once(line for scan in scans for line in scan.warnings),
    )


def audit(copy: Copy, lists: Sequence[Path], tell: Tell, *, contents: bool = True) -> list[Finding]:
    """What is wrong with one dataset; ``contents=False`` reads no media file.

    Raises:
        UsageError: one of the ``lists`` cannot be read.
    """
    name = copy.dataset.name
    found = [Finding("person_in_splits", name, *one) for one in _people(copy.clips)]
    found += [Finding("no_file", name, path) for path in copy.absent]
    found += [Finding("no_name", name, path) for path in copy.strangers]
    found += [Finding("count", name, *one) for one in _counts(copy.dataset, copy.clips)]
    found += tree_faults(name, copy.root, copy.clips)
    for path in lists:
        found += _compared(copy, path)
    if contents:
        for same in same_contents([(copy.root, clip) for clip in copy.clips], tell):
            splits = {clip.split for clip, _ in same}
            kind = "content_in_splits" if len(splits) > 1 else "same_content"
            where = [f"{path} ({clip.split})" if len(splits) > 1 else path for clip, path in same]
            found.append(Finding(kind, name, same[0][1], "also " + ", ".join(where[1:])))
    return found


def _once(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _people(clips: Iterable[Clip]) -> Iterator[tuple[str, str]]:
    """Each person or source in two splits, and a clip of it in each."""
    seen: set[str] = set()
    for who, places in leaks(clips).items():
        where = ", ".join(f"{split}: {places[split]}" for split in SPLITS if split in places)
        # A source and the person in it are one leak where both stand in the same clips.
        if where not in seen:
            seen.add(where)
            yield who, where


def _counts(dataset: Dataset, clips: Iterable[Clip]) -> Iterator[tuple[str, str]]:
    """Published counts that differ from what is there, at each compression that is there."""
    found = count_clips(clips)
    for compression in sorted({key[0] for key in found}, key=str):
        for count in dataset.published:
            have = found.get((compression, count.method, count.split), 0)
            if have != count.clips:
                parts = (compression, count.method or count.what, count.split)
                yield "/".join(part for part in parts if part), f"{have:,} here, {count.clips:,} published"


def _compared(copy: Copy, path: Path) -> Iterator[Finding]:
    """A published list against the tree, and against the split and the labels that forgeprep gives."""
    name, where = copy.dataset.name, path.name
    entries = read_published(copy.dataset, path)
    clips = [*copy.clips, *copy.reals]
    index = Index(clips)
    splits: dict[str, list[str | None]] = defaultdict(list)
    said: dict[int, set[str]] = defaultdict(set)
    differs: dict[tuple[str, str, str], None] = {}
    for entry in entries:
        splits[entry.name].append(entry.split)
        numbers = index.find(entry.name)
        if not numbers:
            differs["no_file", entry.name, where] = None
        for number in numbers:
            clip = clips[number]
            said[number].update([entry.split] if entry.split else [])
            if entry.split not in (None, clip.split):
                differs["other_split", clip.clip_id, f"{where}: {entry.split}, here {clip.split}"] = None
            if entry.label is not None and entry.label != clip.label and clip.spans is None:
                told = "real" if entry.label == 0 else "fake"
                differs["other_label", clip.clip_id, f"{where}: {told}, and here not"] = None
    for kind, one, detail in differs:
        yield Finding(kind, name, one, detail)
    for one, own in splits.items():
        if len(own) > 1:
            several = sorted({split or "" for split in own})
            kind = "listed_in_splits" if len(several) > 1 else "listed_twice"
            yield Finding(kind, name, one, f"{where}: {len(own)} times, {', '.join(several)}".rstrip(", "))
    as_listed = [replace(clips[n], split=split) for n, own in said.items() for split in sorted(own)]  # type: ignore[arg-type]
    for who, places in _people(as_listed):
        yield Finding("person_in_splits", name, who, f"{where}: {places}")
    for clip in _unnamed(copy.clips, {number: own for number, own in said.items() if number < len(copy.clips)}):
        yield Finding("no_name", name, clip.path, f"not in {where}")


def _unnamed(clips: Sequence[Clip], said: Mapping[int, Collection[str]]) -> Iterator[Clip]:
    """Clips that a list leaves out, of the kinds and splits that it names at all: many lists are of one split alone."""
    kinds = {(clips[number].compression, clips[number].method) for number in said}
    splits = {split for own in said.values() for split in own} or set(SPLITS)
    for number, clip in enumerate(clips):
        if number not in said and (clip.compression, clip.method) in kinds and clip.split in splits:
            yield clip
