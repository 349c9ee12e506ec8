"""What goes into the shards of a run that is made of others: parts of their shards, and the account of them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from forgeprep.curate.source import Record, Source
from forgeprep.pipeline.configure import digest
from forgeprep.pipeline.plan import ShardPlan
from forgeprep.schemas.clips import Split
from forgeprep.schemas.drops import DROP_SCHEMA
from forgeprep.stages.base import Group

CLIP_OF_DROP = DROP_SCHEMA.get_field_index("clip_id")


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of a shard, in its order.

    Attributes:
        source: number of the run.
        record: number of the shard in it.
        rows: ``sample_id``, ``first`` and ``second`` of the rows; None for all of them.
    """

    source: int
    record: int
    rows: pa.Table | None = None


@dataclass(slots=True)
class LeftOut:
    """What a run lacks of those that it was made of; none of it is a failure."""

    samples: int = 0
    clips: int = 0
    drops: int = 0

    def add(self, other: LeftOut) -> None:
        """Count more."""
        self.samples += other.samples
        self.clips += other.clips
        self.drops += other.drops


@dataclass(frozen=True, slots=True)
class Target:
    """A shard to be made.

    Attributes:
        name: its name.
        split: its split.
        parts: where its rows come from.
        clips, drops: the account of its rows, as in a commit record.
        left_out: what its source shards had besides.
    """

    name: str
    split: Split
    parts: tuple[Part, ...]
    clips: tuple[dict[str, Any], ...]
    drops: tuple[Sequence[Any], ...]
    left_out: LeftOut = field(default_factory=LeftOut)

    @property
    def rows(self) -> int:
        """How many samples it has."""
        return sum(clip["written"] for clip in self.clips)

    def inputs(self, sources: Sequence[Source]) -> str:
        """Digest of all that its content follows from, besides the run's settings."""
        parts = []
        for part in self.parts:
            file = sources[part.source].records[part.record]["files"][0]
            ids = None if part.rows is None else hashlib.sha256("\n".join(part.rows["sample_id"].to_pylist()).encode())
            parts.append([file["sha256"], None if ids is None else ids.hexdigest()])
        return digest([parts, self.clips, self.drops])

    def is_whole(self, sources: Sequence[Source], formats: Collection[str]) -> Record | None:
        """The record of the shard that it is a copy of; None where rows are left out, joined or of other formats."""
        if len(self.parts) != 1 or self.parts[0].rows is not None:
            return None
        record = sources[self.parts[0].source].records[self.parts[0].record]
        return record if {file["format"] for file in record["files"]} == set(formats) else None


def whole(name: str, source: int, number: int, record: Record) -> Target:
    """A shard as it is."""
    split: Split = record["split"]
    return Target(name, split, (Part(source, number),), tuple(record["clips"]), tuple(record["drops"]))


def filtered(
    name: str, source: int, number: int, record: Record, kept: pa.Table | None, *, keep_empty: bool
) -> Target | None:
    """A shard with some of its rows, ``kept``; None where neither a row nor a clip is left.

    A clip goes if it had samples and has none left. Clips that had none stay with ``keep_empty``, for nobody chose
    between their samples. The drops of a clip go where it goes.
    """
    left = Counter(kept["clip_id"].to_pylist()) if kept is not None else Counter[str]()
    clips = [
        {**clip, "written": left[clip["clip_id"]]}
        for clip in record["clips"]
        if left[clip["clip_id"]] or (keep_empty and not clip["written"])
    ]
    names = {clip["clip_id"] for clip in clips}
    drops = [drop for drop in record["drops"] if drop[CLIP_OF_DROP] in names]
    rows = left.total()
    lost = LeftOut(record["rows"] - rows, len(record["clips"]) - len(clips), len(record["drops"]) - len(drops))
    all_rows = rows == record["rows"]
    part = Part(source, number, None if all_rows or kept is None else kept.select(["sample_id", "first", "second"]))
    split: Split = record["split"]
    if not clips:
        return None
    # A shard whose clips never had a sample is taken as it is.
    return Target(name, split, (part,), tuple(clips), tuple(drops), lost)


def everything(records: Iterable[Record]) -> LeftOut:
    """What shards hold in all."""
    total = LeftOut()
    for record in records:
        total.add(LeftOut(record["rows"], len(record["clips"]), len(record["drops"])))
    return total


def missing(sources: Sequence[Source], targets: Sequence[Target]) -> LeftOut:
    """What the targets lack of the runs that they are made of."""
    had = everything(record for source in sources for record in source.records)
    has = LeftOut(
        sum(target.rows for target in targets),
        sum(len(target.clips) for target in targets),
        sum(len(target.drops) for target in targets),
    )
    return LeftOut(had.samples - has.samples, had.clips - has.clips, had.drops - has.drops)


def plan_of(target: Target, groups: Mapping[tuple[int, int], Sequence[Group]]) -> ShardPlan:
    """A target as a plan has it: of the groups that its rows were planned in, the clips that it holds."""
    names = {clip["clip_id"] for clip in target.clips}
    found: dict[str, Group] = {}
    for part in target.parts:
        for group in groups[part.source, part.record]:
            clips = tuple(clip for clip in group.clips if clip.clip_id in names)
            before = found.get(group.source_id)
            if before is not None:
                found[group.source_id] = _together(before, replace(group, clips=clips))
            elif clips:
                found[group.source_id] = replace(group, clips=clips)
    return ShardPlan(target.name, target.split, tuple(found[name] for name in sorted(found)))


def _together(first: Group, second: Group) -> Group:
    """A group as two runs planned it: of a clip that both have, the frames of both."""
    have = {clip.clip_id for clip in first.members}
    clips = (*first.clips, *(clip for clip in second.clips if clip.clip_id not in have))
    others = (clip for clip in second.references if clip.clip_id not in have)
    wanted: dict[str, set[int]] = {}
    for group in (first, second):
        for clip in group.clips:
            wanted.setdefault(clip.clip_id, set()).update(group.frames_of(clip.clip_id))
    frames = tuple(sorted({*first.frames, *second.frames}))
    chosen = {name: tuple(sorted(own)) for name, own in wanted.items()}
    return replace(
        first,
        clips=clips,
        frames=frames,
        references=(*first.references, *others),
        own={name: own for name, own in chosen.items() if own != frames},
        spread=first.spread | second.spread,
    )
