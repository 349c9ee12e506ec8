"""Before a run: what was found, what is missing, what will be made, and what that costs."""

from __future__ import annotations

from collections import Counter

from forgeprep.commands.terminal import add_cells, console, light_table, print_table
from forgeprep.datasets import get_dataset
from forgeprep.pipeline.preflight import estimate, makespan
from forgeprep.pipeline.run_folder import Prepared
from forgeprep.report.summary import size_text
from forgeprep.schemas.clips import SPLITS
from forgeprep.text import counted

SHOWN = 5
"""So many names of a list are shown."""
MOST_FOLDERS = 40
LOADERS = 8
"""Fewer shards than this leave workers of usual loaders without work."""


def print_plan(prepared: Prepared) -> None:
    """Warnings, what is missing against the published counts, the plan, and what an update changes."""
    for warning in prepared.scan.warnings:
        console.print(f"warning: {warning}", markup=False)
    if prepared.scan.missing:
        console.print("fewer clips than published (a partial copy is fine):")
        for missing in prepared.scan.missing:
            console.print(f"    {missing}", markup=False)
    table = light_table("plan", ["split", "compression", "method"], ["clips", "frames", "shards"])
    clips: Counter[tuple[str, str, str]] = Counter()
    frames: Counter[tuple[str, str, str]] = Counter()
    shards: dict[str, int] = dict(Counter(shard.split for shard in prepared.shards))
    for shard in prepared.shards:
        for compression, method, its_clips, its_frames in shard.kinds:
            key: tuple[str, str, str] = (shard.split, compression or "-", method or "")
            clips[key] += its_clips
            frames[key] += its_frames
    for key in sorted(clips, key=lambda k: (SPLITS.index(k[0]), k[1], k[2])):
        add_cells(
            table, key[0], key[1], key[2] or "real", f"{clips[key]:,}", f"{frames[key]:,}", str(shards.pop(key[0], ""))
        )
    print_table(table)
    _print_balance(frames)
    _print_fewer(prepared)
    # Of a split of few shards, readers that give whole shards to their workers keep few of these busy.
    train = [shard for shard in prepared.shards if shard.split == "train"]
    groups = sum(shard.groups for shard in train)
    if 0 < len(train) < LOADERS and len(train) < groups:
        console.print(
            f"note: train has {counted(len(train), 'shard')}, and loaders that read shard by "
            f"shard use no more workers than that; --shards N makes more, up to one a source group ({groups:,})"
        )
    if prepared.told is not None:
        console.print(prepared.told, markup=False)


def _print_fewer(prepared: Prepared) -> None:
    """The splits that have fewer source groups than shards were asked for."""
    made = Counter(shard.split for shard in prepared.shards)
    fewer = [f"{split} {made[split]}" for split in SPLITS if 0 < made[split] < (prepared.config.shards or 0)]
    if fewer and prepared.told is None:
        asked = f"note: --shards {prepared.config.shards}"
        console.print(
            f"{asked}: shards hold whole source groups, and there are fewer ({', '.join(fewer)})", markup=False
        )


def _print_balance(frames: Counter[tuple[str, str, str]]) -> None:
    """How many frames of reals and of fakes are expected in each split."""
    told = []
    for split in SPLITS:
        real, fake = (
            sum(n for key, n in frames.items() if key[0] == split and bool(key[2]) == label) for label in (False, True)
        )
        told += [f"{split} {real:,} real, {fake:,} fake"] if real or fake else []
    console.print(f"expected frames by label: {'; '.join(told)}", markup=False)


def print_estimate(prepared: Prepared, workers: int | None) -> None:
    """``--dry-run``: folders against the layout, fakes without original, broken files, disk and time.

    ``workers`` is None for a cluster, whose size is not known here.
    """
    _print_folders(prepared)
    _print_names("fakes without their original", prepared.scan.without_original)
    broken = [
        f"{clip.path} ({clip.error})"
        for shard in prepared.plan.shards()
        for group in shard.groups
        for clip in group.clips
        if clip.error
    ]
    _print_names("clips that cannot be opened", broken)
    found = estimate(prepared)
    if found is None:
        console.print("time and size: no sample could be made to tell")
        return
    console.print(f"samples: about {found.samples:,} (estimated from {found.timed:,} that were made and thrown away)")
    room = "" if found.free is None else f", where {size_text(found.free)} are free"
    console.print(f"disk:    about {size_text(found.bytes)} in {prepared.out}{room}")
    if found.free is not None and found.bytes > found.free:
        console.print("warning: that is more than is free; give another --out, --image-format webp, or fewer --frames")
    if workers is None:
        console.print(f"time:    about {_duration(found.seconds)} of one CPU, shared out over the cluster's")
    else:
        used = min(workers, len(prepared.shards))
        seconds = found.seconds * makespan([shard.requested for shard in prepared.shards], used)
        console.print(f"time:    about {_duration(seconds)} with {counted(used, 'shard')} at a time")


def _print_folders(prepared: Prepared) -> None:
    """The folders that clips were found in, beside the layout that was looked for."""
    console.print("layout looked for:")
    for line in get_dataset(prepared.config.dataset).layout:
        console.print(f"    {line}", markup=False)
    found = Counter(prepared.folders)
    depth = max(folder.count("/") for folder in found)
    # Datasets of pictures have a folder for each clip: then their parents are shown.
    while len(found) > MOST_FOLDERS and depth > 0:
        joined: Counter[str] = Counter()
        for folder, count in found.items():
            joined["/".join(folder.split("/")[:depth])] += count
        found, depth = joined, depth - 1
    table = light_table("layout found", ["folder"], ["files used"])
    for folder, count in sorted(found.items()):
        add_cells(table, folder, f"{count:,}")
    print_table(table)


def _print_names(what: str, names: list[str]) -> None:
    shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else "")
    console.print(f"{what}: {len(names):,}{': ' + shown if names else ''}", markup=False)


def _duration(seconds: float) -> str:
    """A time for people.

    >>> _duration(42.4), _duration(400), _duration(9000)
    ('42 s', '6.7 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
