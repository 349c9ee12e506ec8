"""The plan: which clips and frames go into which shard. Made from headers; the driver never decodes a pixel."""

from __future__ import annotations

import contextlib
import functools
import heapq
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from forgeprep.errors import MediaError, VerifyError
from forgeprep.io.machine import usable_cpus
from forgeprep.io.safe_files import LIST_BYTES, parse_json, read_bytes
from forgeprep.io.storage import is_remote, parquet_source
from forgeprep.media import process as media_process
from forgeprep.media.video import read_header
from forgeprep.pipeline.plan_rows import ROWS, ShardRows
from forgeprep.schemas.clip_table import Int64
from forgeprep.schemas.clips import BOXES, SPLITS, Clip, Split
from forgeprep.schemas.renamed import CLIP_COLUMNS_RENAMED, current_row
from forgeprep.shards.names import shard_name
from forgeprep.stages.base import Group, Wanted

PLAN_SCHEMA = pa.schema(
    [pa.field("shard", pa.string(), nullable=False), pa.field("split", pa.string(), nullable=False), *ROWS]
)
"""``meta/plan.pq``: a row group a shard, a row a clip; ``clip`` is the :class:`Clip` as JSON.

``frames`` are the wanted ones. ``reference`` is true for a real of another group that fakes of this one are compared
with. The file's metadata hold the :class:`Brief` of each shard.
"""
Select = Callable[[int, Group], Wanted]
"""The frames wanted of a source group, by how many its original has."""
_BRIEFS = "forgeprep.shards"
_AT_ONCE = 64
"""Headers that are asked for by one message."""


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """A shard to be made; its groups are sorted by source_id, but those that share faces stand together.

    ``name``: :func:`forgeprep.shards.names.shard_name`.
    """

    name: str
    split: Split
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class Brief:
    """What the driver keeps of a shard; all else stays in the file.

    Attributes:
        name: as of the :class:`ShardPlan`.
        split: its split.
        groups: source groups in it.
        clips: clips in it.
        requested: frames wanted, over all clips.
        inputs: digest of its input files and wanted frames.
        kinds: (compression, method, clips, frames), sorted.
    """

    name: str
    split: Split
    groups: int
    clips: int
    requested: int
    inputs: str
    kinds: tuple[tuple[str | None, str | None, int, int], ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """All shards to be made, as the bytes of a Parquet file: a million clips are a dozen megabytes."""

    data: bytes | memoryview
    briefs: tuple[Brief, ...]

    def shard(self, number: int) -> ShardPlan:
        """A shard's groups and clips."""
        return read_shard(pa.BufferReader(self.data), number)

    def shards(self) -> Iterator[ShardPlan]:
        """All shards, one after the other."""
        with pq.ParquetFile(pa.BufferReader(self.data)) as plan:
            yield from (_shard(plan, number) for number in range(len(self.briefs)))


def make_plan(
    clips: Iterable[Clip],
    root: Path,
    select: Select,
    shard_size: int,
    progress: Callable[[int], None] = lambda _: None,
    dataset: str | None = None,
    shards: int | None = None,
) -> Plan:
    """Group the clips, choose their frames and cut the groups into shards of about equal cost.

    ``select(frame_count, group)`` is the frames stage; ``progress`` is told how many headers are read;
    ``dataset`` stands in the names of the shards. Each split gets that many ``shards``, or for None as few as
    ``shard_size`` samples a shard allow. The result depends on the clips alone, not on their order.
    """
    by_split: dict[Split, list[Group]] = {split: [] for split in SPLITS}
    for group in _groups(with_headers(list(clips), root, progress), select):
        by_split[group.split].append(group)
    parts = {split: cut_groups(by_split[split], shard_size, shards) for split in SPLITS}
    return pack_plan(
        ShardPlan(shard_name(dataset, split, number), split, groups)
        for split, part in parts.items()
        for number, groups in enumerate(part)
    )


def pack_plan(shards: Iterable[ShardPlan], inputs: Mapping[str, str] | None = None) -> Plan:
    """The plan of these shards; ``inputs`` are the digests of those that are not made of a dataset's files."""

    def rows_of(shard: ShardPlan) -> ShardRows:
        rows = ShardRows(shard.name, shard.split)
        for group in shard.groups:
            rows.add(group)
        return rows

    return pack_rows(map(rows_of, shards), inputs)


def pack_rows(shards: Iterable[ShardRows], inputs: Mapping[str, str] | None = None) -> Plan:
    """As :func:`pack_plan`, of the shards' rows; they may be made one after the other."""
    sink = pa.BufferOutputStream()
    briefs = []
    # Each worker reads the whole footer, which has an entry for each column of each shard: keep those short.
    short = {"write_statistics": False, "use_dictionary": False}
    with pq.ParquetWriter(sink, PLAN_SCHEMA, compression="zstd", **short) as writer:
        for rows in shards:
            table = rows.table()
            count = len(table)
            named = [pa.array([text]).take(pa.array(np.zeros(count, np.int64))) for text in (rows.name, rows.split)]
            table = pa.table([*named, *table.columns], schema=PLAN_SCHEMA)
            writer.write_table(table, row_group_size=max(1, count))
            digest = rows.inputs if inputs is None else inputs[rows.name]
            counts = rows.groups, rows.clips, rows.requested
            briefs.append(Brief(rows.name, rows.split, *counts, digest, rows.kinds))
        writer.add_key_value_metadata({_BRIEFS: json.dumps([asdict(brief) for brief in briefs])})
    return Plan(memoryview(sink.getvalue()), tuple(briefs))


def open_plan(path: Path) -> Plan:
    """A plan as it was written.

    Raises:
        VerifyError: the file is damaged, or no plan.
    """
    try:
        data = read_bytes(path, LIST_BYTES)
        found = parse_json((pq.read_metadata(pa.BufferReader(data)).metadata or {})[_BRIEFS.encode()])
        briefs = [Brief(**{**brief, "kinds": tuple(map(tuple, brief["kinds"]))}) for brief in found]
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError) as error:
        problem = " ".join(str(error).split())[:120]
        raise VerifyError(
            f"{path}: damaged, or of another version ({problem}); use --overwrite to plan again"
        ) from None
    return Plan(data, tuple(briefs))


def read_shard(file: Path | pa.NativeFile, number: int) -> ShardPlan:
    """One shard of a plan's file, by its number."""
    with pq.ParquetFile(parquet_source(file) if not isinstance(file, pa.NativeFile) else file) as plan:
        return _shard(plan, number)


def with_headers(clips: Sequence[Clip], root: Path, progress: Callable[[int], None] = lambda _: None) -> list[Clip]:
    """The clips with what their containers' headers say; those whose number of frames is known are left as they are."""
    read = iter(read_headers([clip.path for clip in clips if not clip.frame_count], root, progress))
    return [clip if clip.frame_count else _with_header(clip, *next(read)) for clip in clips]


def _with_header(clip: Clip, frame_count: int, error: str | None) -> Clip:
    return replace(clip, frame_count=frame_count, error=error)


def read_headers(
    paths: Sequence[str], root: Path, progress: Callable[[int], None] = lambda _: None
) -> list[tuple[int, str | None]]:
    """Of each clip the number of frames that its container's header promises, or 0 and why it cannot be read."""
    # Threads, because a header is a wait for the disk or the network. Each has a process that reads, so that a hostile
    # header takes nothing along. One more has to read a hundred headers until it has made up for its start.
    threads = 8 if is_remote(root) else min(8, max(2, usable_cpus()), 1 + len(paths) // 100)
    # A message for each file takes as long as its header, where that is near.
    size = 1 if is_remote(root) else max(1, min(_AT_ONCE, len(paths) // (4 * threads)))
    batches = [paths[start : start + size] for start in range(0, len(paths), size)]
    found: list[tuple[int, str | None]] = []
    with media_process.reading(), ThreadPoolExecutor(threads) as pool:
        for read in pool.map(functools.partial(_headers, root), batches):
            found += read
            progress(len(found))
    return found


def _headers(root: Path, paths: Sequence[str]) -> list[tuple[int, str | None]]:
    if len(paths) > 1:
        with contextlib.suppress(MediaError):
            found = media_process.ask_headers([root / path for path in paths])
            return [(0, one.message) if isinstance(one, MediaError) else (one["frame_count"], None) for one in found]
    # Alone, or one of them has killed the reader: which, is seen one by one.
    return [_header(root / path) for path in paths]


def _header(path: Path) -> tuple[int, str | None]:
    try:
        return read_header(path).frame_count, None
    except MediaError as error:
        return 0, error.message


def group_of(clips: list[Clip], select: Select, references: Sequence[Clip] = ()) -> Group:
    """The source group of these clips of one split: the original first, then its fakes by name."""
    members = sorted(clips, key=lambda clip: (clip.label, clip.clip_id))
    group = Group(members[0].source_id, members[0].split, tuple(members), (), references=tuple(references))
    original = group.original
    counts = [original.end] if original and original.frame_count else [clip.end for clip in members]
    # A clip without a readable header is planned with one frame, so that it shows up among the drops.
    count = max(1, *counts)
    wanted = select(count, group)
    return replace(group, frames=wanted.frames, own=wanted.own)


def _groups(clips: list[Clip], select: Select) -> list[Group]:
    members: dict[tuple[str, Split], list[Clip]] = defaultdict(list)
    by_id = {clip.clip_id: clip for clip in clips}
    for clip in clips:
        members[clip.source_id, clip.split].append(clip)
    groups = []
    for key in sorted(members):
        options = dict.fromkeys(name for clip in members[key] for name in clip.options)
        there = [by_id[name] for name in options if name in by_id]
        groups.append(group_of(members[key], select, [c for c in there if (c.source_id, c.split) != key]))
    return groups


def cut_groups(groups: list[Group], shard_size: int, shards: int | None = None) -> list[tuple[Group, ...]]:
    """Spread groups over so many ``shards``, or for None over as few as ``shard_size`` samples a shard allow.

    Groups whose faces are found on one file stay together, that file's own group first, so that it is searched once.
    """
    lent = {clip.faces_path for clip in map(_first, groups) if BOXES in clip.companions}
    by_file: dict[str, list[Group]] = defaultdict(list)
    for group in sorted(groups, key=_order):
        path = _first(group).faces_path
        by_file[path if path in lent else f"/{group.source_id}"].append(group)
    together = {members[0].source_id: members for members in by_file.values()}
    parts = spread({name: sum(map(cost_of, members)) for name, members in together.items()}, shard_size, shards)
    return [tuple(group for name in part for group in together[name]) for part in parts]


def _order(group: Group) -> tuple[bool, str]:
    return BOXES in _first(group).companions, group.source_id


def _first(group: Group) -> Clip:
    """The clip that the group's faces are found on: its original, or where it has none its first clip."""
    return group.original or group.clips[0]


def spread(costs: Mapping[str, int], shard_size: int, shards: int | None = None) -> list[list[str]]:
    """Spread names over as few parts as the size allows: the costliest first, each to the emptiest part; both sorted.

    >>> spread({"a": 2, "b": 5, "c": 3}, 5)
    [['a', 'c'], ['b']]
    """
    names = sorted(costs)
    parts = spread_evenly(np.array([costs[name] for name in names], np.int64), shard_size, shards)
    return [[names[number] for number in part.tolist()] for part in parts]


def spread_evenly(costs: Int64, shard_size: int, shards: int | None = None) -> list[Int64]:
    """The same of costs alone: the places of those in each part."""
    count = min(len(costs), shards or max(1, math.ceil(int(costs.sum()) / shard_size)))
    loads = [(0, number) for number in range(count)]
    order = np.argsort(-costs, kind="stable")
    part_of = np.empty(len(costs), np.int32)
    for place, cost in zip(order.tolist(), costs[order].tolist(), strict=True):
        load, emptiest = loads[0]
        part_of[place] = emptiest
        heapq.heapreplace(loads, (load + cost, emptiest))
    ends = np.cumsum(np.bincount(part_of, minlength=count))[:-1]
    parts = np.split(np.argsort(part_of, kind="stable"), ends) if count else []
    return sorted(parts, key=lambda part: part[:1].tolist())


def cost_of(group: Group) -> int:
    """Frames wanted of a group, over all its clips."""
    return group.requested


def _shard(plan: pq.ParquetFile, number: int) -> ShardPlan:
    # Not from the briefs: to read those of all shards for each one would take longer than the rows.
    rows = plan.read_row_group(number).to_pylist()
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["source_id"], []).append(row)
    split: Split = rows[0]["split"]
    return ShardPlan(rows[0]["shard"], split, tuple(_group(name, split, members) for name, members in groups.items()))


def _group(source_id: str, split: Split, rows: list[dict[str, Any]]) -> Group:
    clips = [(Clip(**current_row(json.loads(row["clip"]), CLIP_COLUMNS_RENAMED)), row["reference"]) for row in rows]
    wanted = {row["clip_id"]: tuple(row["frames"]) for row in rows if not row["reference"]}
    most = max(wanted.values(), key=len)
    rest = set().union(*wanted.values()) - set(most)
    frames = tuple(sorted({*most, *rest})) if rest else most
    return Group(
        source_id,
        split,
        tuple(clip for clip, is_reference in clips if not is_reference),
        frames,
        references=tuple(clip for clip, is_reference in clips if is_reference),
        own={name: own for name, own in wanted.items() if own != frames},
    )


def identity_of(clip: Clip | None) -> dict[str, Any] | None:
    """What the scan says of a clip, without what its header says; None of none."""
    return None if clip is None else {**asdict(clip), "frame_count": 0, "error": None}
