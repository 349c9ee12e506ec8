"""Let a run grow: what is new or changed in the dataset is planned, and all other shards stay as they are.

A source group keeps its shard. Clips that are new go into new shards, those of an old source too: what they are
compared with is read as a reference, and gives its samples where it stands already.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from forgeprep.datasets import get_dataset
from forgeprep.errors import StorageError, UsageError
from forgeprep.io.storage import parquet_source
from forgeprep.pipeline.plan import (
    Plan,
    Select,
    ShardPlan,
    cut_groups,
    group_of,
    identity_of,
    pack_plan,
    with_headers,
)
from forgeprep.schemas.clips import SPLITS, Clip, Split
from forgeprep.schemas.config import RunConfig
from forgeprep.shards.names import has_first_names, shard_name, table_path
from forgeprep.shards.records import read_record, record_path, shard_number
from forgeprep.stages.base import Group
from forgeprep.text import counted

Key = tuple[str, Split]
"""Source and split: the clips of one are planned together."""


@dataclass(slots=True)
class Update:
    """The plan of a run that has grown, and what becomes of its shards.

    Attributes:
        plan: all shards, old and new.
        new, changed, removed: clips by their ids.
        kept_removed: whether what is removed stays in the run.
        other_frames: whether other frames are wanted than before.
        added, remade, gone: names of shards that are new, made again, and taken away.
    """

    plan: Plan
    new: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    kept_removed: bool = False
    other_frames: bool = False
    added: list[str] = field(default_factory=list)
    remade: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)

    @property
    def nothing(self) -> bool:
        """Whether all shards stay as they are."""
        return not (self.added or self.remade or self.gone)

    def told(self) -> str:
        """What is done, in one line."""
        clips = clips_text(self.new, self.changed, self.removed)
        if self.other_frames:
            clips = "other frames are wanted" + (f", {clips}" if clips else "")
        if self.nothing:
            clips = clips or "no clip is new or changed"
            return f"update: {clips}; the plan of {counted(len(self.plan.briefs), 'shard')} stays as it is"
        stay = " (removed ones stay in the run)" if self.removed and self.kept_removed else ""
        kept = len(self.plan.briefs) - len(self.added) - len(self.remade)
        shards = f"{counted(len(self.added), 'new shard')}, {len(self.remade):,} made again, {kept:,} kept as they are"
        return f"update: {clips}{stay}: {shards}" + (f", {len(self.gone):,} taken away" if self.gone else "")


def clips_text(new: Sequence[str], changed: Sequence[str], removed: Sequence[str]) -> str:
    """How many clips came, changed and went, each with the first by name; empty where none did."""
    kinds = (("new", new), ("changed", changed), ("removed", removed))
    return ", ".join(f"{counted(len(names), f'{what} clip')} (e.g. {names[0]})" for what, names in kinds if names)


def widened(config: RunConfig, before: RunConfig) -> RunConfig:
    """The configuration with the compressions, methods and splits of both: an update takes nothing away."""
    usual = get_dataset(config.dataset).default_compressions

    def both(name: str, default: tuple[str, ...] | None) -> tuple[str, ...] | None:
        asked, had = getattr(config, name), getattr(before, name)
        if asked == had:
            return asked  # type: ignore[no-any-return]
        if default is None and None in (asked, had):
            return None
        return tuple(dict.fromkeys([*(had or default or ()), *(asked or default or ())]))

    splits = tuple(split for split in SPLITS if split in {*config.splits, *before.splits})
    chosen = {"compression": both("compression", usual), "methods": both("methods", None), "splits": splits}
    return config.model_copy(update=chosen)


def settled_sources(out: Path) -> dict[str, Split]:
    """source_id -> split, of what the run in ``out`` has planned; empty where there is none, or its plan is damaged."""
    with suppress(OSError, ValueError, KeyError, pa.ArrowException):
        table = pq.read_table(parquet_source(table_path(out, "plan")), columns=["source_id", "split", "reference"])
        rows = table.group_by(["source_id", "split"]).aggregate([]).to_pylist()
        splits: dict[str, set[Split]] = defaultdict(set)
        for row in rows:
            splits[row["source_id"]].add(row["split"])
        return {name: min(found) for name, found in splits.items() if len(found) == 1}
    return {}


def compare_clips(old: Plan, clips: Iterable[Clip]) -> tuple[list[str], list[str], list[str]]:
    """The ids of clips that are new, changed, and removed since a plan was made; sorted."""
    now = {clip.clip_id: clip for clip in clips}
    before = {clip.clip_id: clip for shard in old.shards() for group in shard.groups for clip in group.clips}
    changed = (name for name in now.keys() & before.keys() if identity_of(now[name]) != identity_of(before[name]))
    return sorted(now.keys() - before.keys()), sorted(changed), sorted(before.keys() - now.keys())


def plan_update(
    old: Plan,
    clips: Sequence[Clip],
    root: Path,
    select: Select,
    config: RunConfig,
    out: Path,
    *,
    keep_removed: bool,
    refit: Callable[[Group], bool] | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Update:
    """Plan what has come, changed or gone since the run in ``out`` was planned.

    Args:
        old: its plan.
        clips: those of the dataset as it is now.
        root: the dataset's folder.
        select: the frames stage, as for a new plan.
        config: the run's configuration.
        out: the run's folder.
        keep_removed: leave the samples of clips whose files are gone.
        refit: whether other frames of a group are wanted than before; None where all are as they were.
        progress: is told how many headers are read.

    Raises:
        UsageError: a shard that would have to be made again holds clips whose files are gone, with ``keep_removed``.
    """
    new, changed, removed = compare_clips(old, clips)
    now = {clip.clip_id: clip for clip in clips}
    if keep_removed:
        gone = set(removed)
        stay = (
            clip for shard in old.shards() for group in shard.groups for clip in group.clips if clip.clip_id in gone
        )
        now |= {clip.clip_id: clip for clip in stay}
    update = Update(old, new, changed, removed, keep_removed, refit is not None)
    placed = _homes(old, now)
    shards: list[ShardPlan] = []
    for shard in old.shards():
        groups = [_regrouped(group, now, placed, root, select, refit) for group in shard.groups]
        left = tuple(group for group in groups if group is not None)
        if not left:
            update.gone.append(shard.name)
            continue
        if any(a is not b for a, b in zip(groups, shard.groups, strict=True)):
            _refuse_missing(out, shard, left, set(removed) if keep_removed else set())
            update.remade.append(shard.name)
        shards.append(replace(shard, groups=left))
    fresh = [clip for name, clip in now.items() if name not in placed]
    for made in _new_shards(fresh, now, root, select, config, out, old, progress):
        update.added.append(made.name)
        shards.append(made)
    shards.sort(key=lambda shard: (SPLITS.index(shard.split), shard_number(shard.name), shard.name))
    update.plan = pack_plan(shards)
    return update


def withdraw(out: Path, update: Update) -> None:
    """Withdraw the records of shards that are made again, and all of those that are taken away.

    Raises:
        StorageError: the folder cannot be written.
    """
    try:
        for name in (*update.remade, *update.gone):
            record = read_record(out, name) if name in update.gone else None
            record_path(out, name).unlink(missing_ok=True)
            for file in record["files"] if record is not None else ():
                (out / file["path"]).unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"{out}: cannot be written ({error.strerror or error})") from None


def _homes(old: Plan, now: Mapping[str, Clip]) -> dict[str, tuple[str, Key]]:
    """clip_id -> shard and source, of clips that keep their place, and of new originals of fakes that lacked theirs."""
    placed: dict[str, tuple[str, Key]] = {}
    wanted: dict[str, tuple[str, Key]] = {}
    for shard in old.shards():
        for group in shard.groups:
            key = group.source_id, group.split
            for clip in group.clips:
                found = now.get(clip.clip_id)
                if found is not None and (found.source_id, found.split) == key:
                    placed[clip.clip_id] = shard.name, key
                    for name in found.options:
                        wanted.setdefault(name, (shard.name, key))
    for name, (shard_of, key) in wanted.items():
        original = now.get(name)
        if name not in placed and original is not None and (original.source_id, original.split) == key:
            placed[name] = shard_of, key
    return placed


def _regrouped(
    group: Group,
    now: Mapping[str, Clip],
    placed: Mapping[str, tuple[str, Key]],
    root: Path,
    select: Select,
    refit: Callable[[Group], bool] | None,
) -> Group | None:
    """The group with what its clips are now: itself where nothing changed, None where nothing is left."""
    key = group.source_id, group.split
    names = [clip.clip_id for clip in group.clips if placed.get(clip.clip_id, ("", None))[1] == key]
    home = next((placed[name][0] for name in names), None)
    options = {option for name in names for option in now[name].options}
    names += [name for name in options if name not in names and placed.get(name) == (home, key)]
    if not names:
        return None
    members = [now[name] for name in names]
    references = _references(members, now)
    before = {clip.clip_id: identity_of(clip) for clip in group.members}
    after = {clip.clip_id: identity_of(clip) for clip in (*members, *references)}
    same_roles = {clip.clip_id for clip in group.clips} == set(names)
    as_before = before == after and same_roles and not (refit is not None and refit(group))
    return group if as_before else _planned(members, references, root, select)


def _planned(members: Sequence[Clip], references: Sequence[Clip], root: Path, select: Select) -> Group:
    """The group of these clips, after a look at the headers that nobody has read."""
    known = {clip.clip_id: clip for clip in with_headers([*members, *references], root)}
    return group_of([known[clip.clip_id] for clip in members], select, [known[clip.clip_id] for clip in references])


def _references(members: Sequence[Clip], now: Mapping[str, Clip]) -> list[Clip]:
    """The reals that these clips are compared with and that are not among them."""
    own = {clip.clip_id for clip in members}
    options = dict.fromkeys(name for clip in sorted(members, key=_order) for name in clip.options)
    return [now[name] for name in options if name in now and name not in own]


def _order(clip: Clip) -> tuple[int, str]:
    return clip.label, clip.clip_id


def _new_shards(
    fresh: Sequence[Clip],
    now: Mapping[str, Clip],
    root: Path,
    select: Select,
    config: RunConfig,
    out: Path,
    old: Plan,
    progress: Callable[[int], None],
) -> list[ShardPlan]:
    """Shards of the clips that have no place yet, numbered after those that there are."""
    # Originals of others too: how long one is tells which frames are wanted.
    needed = {clip.clip_id for clip in fresh} | {r.clip_id for r in _references(fresh, now)}
    known = {clip.clip_id: clip for clip in with_headers([now[name] for name in sorted(needed)], root, progress)}
    members: dict[Key, list[Clip]] = defaultdict(list)
    for clip in fresh:
        members[clip.source_id, clip.split].append(known[clip.clip_id])
    groups: dict[Split, list[Group]] = {split: [] for split in SPLITS}
    for key in sorted(members):
        groups[key[1]].append(group_of(members[key], select, _references(members[key], known)))
    numbers = {split: [shard_number(b.name) + 1 for b in old.briefs if b.split == split] for split in SPLITS}
    dataset = None if has_first_names(out) else config.dataset
    return [
        ShardPlan(shard_name(dataset, split, max(numbers[split], default=0) + count), split, part)
        for split in SPLITS
        for count, part in enumerate(cut_groups(groups[split], config.shard_size) if groups[split] else ())
    ]


def _refuse_missing(out: Path, shard: ShardPlan, groups: Sequence[Group], gone: set[str]) -> None:
    missing = sorted({clip.clip_id for group in groups for clip in group.members if clip.clip_id in gone})
    if missing:
        raise UsageError(
            f"{out}: shard {shard.name} has to be made again, and the files of {len(missing):,} of its clips are gone "
            f"({missing[0]}); put them back, or leave --keep-removed out"
        )
