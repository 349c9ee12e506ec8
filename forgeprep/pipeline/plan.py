"""The plan: which clips and frames go into which shard. Made from headers; the driver never decodes a pixel."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from forgeprep.errors import MediaError
from forgeprep.ops.video import read_header
from forgeprep.schemas.clips import SPLITS, Clip, Split
from forgeprep.stages.base import Group

PLAN_SCHEMA = pa.schema(
    [
        pa.field("shard", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("source_id", pa.string(), nullable=False),
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("frames", pa.list_(pa.int32()), nullable=False),
        pa.field("clip", pa.string(), nullable=False),
        pa.field("reference", pa.bool_(), nullable=False),
    ]
)
"""``plan.parquet``: a row a clip; ``clip`` is the :class:`Clip` as JSON, ``frames`` the wanted frame indices.

``reference`` is true for an original of another split, which its fakes are compared with.
"""


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """A shard to be made: ``name`` is ``split/number``, its groups are sorted by source_id."""

    name: str
    split: Split
    groups: tuple[Group, ...]

    @property
    def requested(self) -> int:
        """Frames wanted, over all clips."""
        return sum(len(group.frames) * len(group.clips) for group in self.groups)


def make_plan(
    clips: Iterable[Clip], root: Path, select: Callable[[int, Split], tuple[int, ...]], shard_size: int
) -> list[ShardPlan]:
    """Group the clips, choose their frames and cut the groups into shards of about equal cost.

    ``select(frame_count, split)`` is the frames stage. The result depends on the clips alone, not on their order.
    """
    by_split: dict[Split, list[Group]] = {split: [] for split in SPLITS}
    for group in _groups(with_headers(list(clips), root), select):
        by_split[group.split].append(group)
    return [shard for split in SPLITS for shard in _cut(split, by_split[split], shard_size)]


def plan_table(shards: Sequence[ShardPlan]) -> pa.Table:
    """The plan as an Arrow table, in order."""
    rows = [
        {
            "shard": shard.name,
            "split": shard.split,
            "source_id": group.source_id,
            "clip_id": clip.clip_id,
            "frames": list(group.frames),
            "clip": json.dumps(clip.to_dict(), sort_keys=True),
            "reference": clip is group.reference,
        }
        for shard in shards
        for group in shard.groups
        for clip in (*group.clips, *([group.reference] if group.reference else []))
    ]
    return pa.Table.from_pylist(rows, schema=PLAN_SCHEMA)


def plan_from_table(table: pa.Table) -> list[ShardPlan]:
    """The inverse of :func:`plan_table`."""
    shards: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for row in table.to_pylist():
        shards.setdefault(row["shard"], {}).setdefault(row["source_id"], []).append(row)
    return [
        ShardPlan(
            name,
            next(iter(groups.values()))[0]["split"],
            tuple(
                Group(
                    source_id,
                    rows[0]["split"],
                    tuple(Clip(**json.loads(row["clip"])) for row in rows if not row["reference"]),
                    tuple(rows[0]["frames"]),
                    reference=next((Clip(**json.loads(row["clip"])) for row in rows if row["reference"]), None),
                )
                for source_id, rows in groups.items()
            ),
        )
        for name, groups in shards.items()
    ]


def with_headers(clips: list[Clip], root: Path) -> list[Clip]:
    """The clips with what their containers' headers say."""

    def probe(clip: Clip) -> Clip:
        try:
            return replace(clip, frame_count=read_header(root / clip.path).frame_count)
        except MediaError as error:
            return replace(clip, error=error.message)

    # Threads, because a header is a wait for the disk or the network.
    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(probe, clips))


def group_of(
    clips: list[Clip], select: Callable[[int, Split], tuple[int, ...]], reference: Clip | None = None
) -> Group:
    """The source group of these clips of one split: the original first, then its fakes by name."""
    members = sorted(clips, key=lambda clip: (clip.label, clip.clip_id))
    original = members[0] if members[0].label == 0 else reference
    counts = [original.frame_count] if original and original.frame_count else [clip.frame_count for clip in members]
    # A clip without a readable header is planned with one frame, so that it shows up among the drops.
    count = max(1, *counts)
    group = Group(members[0].source_id, members[0].split, tuple(members), (), reference=reference)
    known = sorted(index for index in group.known or () if index < count)
    chosen = select(len(known) or count, group.split)
    return replace(group, frames=tuple(known[i] for i in chosen) if known else chosen)


def _groups(clips: list[Clip], select: Callable[[int, Split], tuple[int, ...]]) -> list[Group]:
    members: dict[tuple[str, Split], list[Clip]] = defaultdict(list)
    by_id = {clip.clip_id: clip for clip in clips}
    for clip in clips:
        members[clip.source_id, clip.split].append(clip)
    groups = []
    for key in sorted(members):
        original = by_id.get(next((c.original_id for c in members[key] if c.original_id), ""))
        elsewhere = original if original is not None and original.split != key[1] else None
        groups.append(group_of(members[key], select, elsewhere))
    return groups


def _cut(split: Split, groups: list[Group], shard_size: int) -> list[ShardPlan]:
    """Spread groups over as few shards as ``shard_size`` samples allow: largest first, each to the emptiest shard."""
    total = sum(_cost(group) for group in groups)
    count = min(len(groups), max(1, math.ceil(total / shard_size)))
    bins: list[list[Group]] = [[] for _ in range(count)]
    loads = [0] * count
    for group in sorted(groups, key=lambda g: (-_cost(g), g.source_id)):
        emptiest = loads.index(min(loads))
        bins[emptiest].append(group)
        loads[emptiest] += _cost(group)
    ordered = sorted((sorted(b, key=lambda g: g.source_id) for b in bins), key=lambda b: b[0].source_id)
    return [ShardPlan(f"{split}/{number:05d}", split, tuple(b)) for number, b in enumerate(ordered)]


def _cost(group: Group) -> int:
    return len(group.frames) * len(group.clips)
