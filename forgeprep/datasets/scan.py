"""From the clips that an adapter found to a :class:`Scan`: what every dataset has to check and tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from forgeprep.datasets import frame_folders as sequences
from forgeprep.datasets import scan_tables as tables
from forgeprep.datasets.base import Dataset, Scan, ScanOptions, count_missing, match_names
from forgeprep.datasets.listing import safe_file, shown
from forgeprep.datasets.splits import class_texts, leak_text, leaks
from forgeprep.errors import UsageError
from forgeprep.schemas.clip_table import ClipKind, ClipTable
from forgeprep.schemas.clips import Clip
from forgeprep.text import counted


def make_scan(
    dataset: Dataset,
    root: Path,
    clips: list[Clip] | ClipTable,
    options: ScanOptions,
    *,
    compressions: Sequence[str | None] = (None,),
    warnings: Sequence[str] = (),
    strangers: Sequence[str] = (),
    absent: Sequence[str] = (),
) -> Scan:
    """Choose the clips that were asked for, sort them and say what is missing or wrong.

    Args:
        dataset: whose they are.
        root: where they lie.
        clips: all that were found, of all splits.
        options: what is asked for.
        compressions: those that were looked for.
        warnings: what else there is to tell.
        strangers: files that are left out, because nothing says what they are.
        absent: files that a list names and that are not there.

    Raises:
        UsageError: no clips, none of what was asked for, two files for one clip, or a split made here leaks.
    """
    chosen, methods = _chosen(dataset, root, clips, options, strangers)
    big = chosen if isinstance(chosen, ClipTable) else None
    # Of a table, only the clips that a question is about are made.
    on_disk = set() if big is not None else {clip.clip_id for clip in chosen if clip.label == 0}
    orphans = (
        tables.orphans(big)
        if big is not None
        else [c.clip_id for c in chosen if c.options and on_disk.isdisjoint(c.options)]
    )
    told = [
        *warnings,
        *check_leaks(dataset, chosen if big is None else tables.leaking(big), options),
        *(
            []
            if dataset.official_split or options.methods == ()
            else class_texts(chosen if big is None else tables.one_of_each(big), options.splits)
        ),
        *sequences.told(chosen if big is None else tables.sequences(big)),
        *_told(root, chosen, strangers, absent, orphans),
    ]
    found = chosen if big is None else tables.counts(big)
    missing = count_missing(dataset.published, found, compressions=compressions, methods=methods, splits=options.splits)
    return Scan(chosen, told, missing, orphans, sorted(absent), sorted(strangers))


def _chosen(
    dataset: Dataset, root: Path, clips: list[Clip] | ClipTable, options: ScanOptions, strangers: Sequence[str]
) -> tuple[list[Clip] | ClipTable, tuple[str, ...]]:
    """The clips that were asked for, sorted, and the methods that were looked for; raises UsageError without any."""
    if not clips:
        looked = "; ".join(dataset.layout)
        hint = f"; what is there is named otherwise: {shown(sorted(strangers))}" if strangers else ""
        raise UsageError(f"no {dataset.title} clips under {root}: looked for {looked}{hint}")
    kinds = clips.kinds if isinstance(clips, ClipTable) else clips
    there = tuple(sorted({kind.method for kind in kinds if kind.method is not None}))
    known = tuple(dict.fromkeys([*dataset.methods, *there]))
    methods = there if options.methods is None else match_names("method", options.methods, known)
    without = [name for name in methods if name not in there]
    if without:
        raise UsageError(
            f"no {' or '.join(without)} clips under {root}: the methods there are: {', '.join(there) or 'none'}"
        )

    def asked_for(kind: Clip | ClipKind) -> bool:
        return kind.split in options.splits and (kind.method is None or kind.method in methods)

    count = len(clips)
    chosen: list[Clip] | ClipTable
    if isinstance(clips, ClipTable):
        tables.choose(clips, [asked_for(kind) for kind in clips.kinds])
        chosen = clips
    else:
        chosen = [clip for clip in clips if asked_for(clip)]
    if not chosen:
        raise UsageError(
            f"of {counted(count, f'{dataset.title} clip')} under {root} none is in: {', '.join(options.splits)}"
        )
    if isinstance(chosen, ClipTable):
        tables.sort(chosen)
        _check_names(root, tables.doubles(chosen))
    else:
        chosen.sort(key=lambda clip: clip.clip_id)
        _check_names(root, chosen)
    return chosen, methods


def _told(
    root: Path, chosen: Sequence[Clip], strangers: Sequence[str], absent: Sequence[str], orphans: Sequence[str]
) -> list[str]:
    """Warnings of what was left out, and of fakes without an original."""
    told = []
    if strangers:
        told.append(
            f"{counted(len(strangers), 'file')} left out, for nothing in place and name says what it is: "
            f"{shown(sorted(strangers))}"
        )
    # Under such a name nothing lies there: it is the escaped form of one that no table can hold.
    escaped = tables.escaped(chosen) if isinstance(chosen, ClipTable) else chosen
    odd = [clip.path for clip in escaped if "\\" in clip.path and safe_file(root, clip.path) is None]
    if odd:
        told.append(
            f"{counted(len(odd), 'file')} cannot be used, with control characters or no UTF-8 in the name: "
            f"{shown(odd)}; rename what is named so"
        )
    if absent:
        told.append(f"{counted(len(absent), 'file is', 'files are')} listed but not there: {shown(sorted(absent))}")
    if orphans:
        told.append(f"{counted(len(orphans), 'fake')} without an original on disk, so without a mask: {shown(orphans)}")
    unpaired = (
        tables.unpaired(chosen)
        if isinstance(chosen, ClipTable)
        else [c.clip_id for c in chosen if c.label == 1 and c.original_id is None and c.forgery != "entire_synthesis"]
    )
    if unpaired:
        told.append(
            f"{counted(len(unpaired), 'fake')} for which no original is known, so that masks are provided or absent: "
            f"{shown(unpaired)}"
        )
    return told


def check_leaks(dataset: Dataset, clips: Sequence[Clip], options: ScanOptions) -> list[str]:
    """A warning, if the authors' own split puts a video or a person into two splits; an error, if one made here does.

    Raises:
        UsageError: a split that is not the authors' leaks.
    """
    found = leaks(clips)
    if not found:
        return []
    leaking = counted(len(found), "source video or person stands", "source videos or people stand")
    if not dataset.official_split and options.leaks == "refuse":
        raise UsageError(
            f"the splits leak, {leaking} in more than one: {leak_text(found)}; change them so that each stands in one"
        )
    if not dataset.official_split:
        return [f"the splits leak, {leaking} in more than one: {leak_text(found)}"]
    return [f"the official split is kept as published, but {leaking} in more than one part of it: {leak_text(found)}"]


def _check_names(root: Path, clips: Sequence[Clip]) -> None:
    doubles = [name for name, count in Counter(clip.clip_id for clip in clips).items() if count > 1]
    if doubles:
        paths = [clip.path for clip in clips if clip.clip_id == doubles[0]]
        raise UsageError(
            f"{counted(len(doubles), 'clip has', 'clips have')} two files under {root}: {doubles[0]} "
            f"({' and '.join(paths)}); keep one"
        )
