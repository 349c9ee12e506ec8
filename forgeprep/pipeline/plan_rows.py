"""The rows of a shard in the plan's file, and its :class:`~forgeprep.pipeline.plan.Brief`, group by group."""

from __future__ import annotations

import hashlib
import json
import operator
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from forgeprep.schemas.clip_lines import PlainLines, text_of
from forgeprep.schemas.clip_table import Int64
from forgeprep.schemas.clips import BOXES, Clip, Split
from forgeprep.stages.base import Group

ROWS = pa.schema(
    [
        pa.field("source_id", pa.string(), nullable=False),
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("frames", pa.list_(pa.int32()), nullable=False),
        pa.field("clip", pa.string(), nullable=False),
        pa.field("reference", pa.bool_(), nullable=False),
    ]
)
"""The columns of a plan in which the rows of a shard differ."""
Kind = tuple[str | None, str | None]
"""Compression and method."""
_CLIP_FIELDS = [field.name for field in fields(Clip)]
values_of = operator.attrgetter(*_CLIP_FIELDS)
"""All that is said of a clip, in the order of its fields."""


def inputs_of(clip: Clip) -> list[Any]:
    """What tells whether a clip's files are the same as before, without reading them."""
    of_folder = [] if clip.frames is None else [clip.frames]
    faces_on = [clip.companions[BOXES]] if BOXES in clip.companions else []
    return [clip.clip_id, clip.path, clip.size_bytes, sorted(clip.companions), *of_folder, *faces_on]


class ShardRows:
    """A shard's rows, and what its brief counts.

    Attributes:
        groups, clips, requested: as of the brief.
    """

    def __init__(self, name: str, split: Split) -> None:
        self.name, self.split = name, split
        self.groups = self.clips = self.requested = 0
        self._tables: list[pa.Table] = []
        self._columns: dict[str, list[Any]] = {name: [] for name in ROWS.names}
        # Of this shard's inputs alone, so that a change of other files leaves it as it is.
        self._inputs = hashlib.sha256()
        self._kinds: dict[Kind, list[int]] = {}

    def add(self, group: Group) -> None:
        """Take a group in."""
        columns = self._columns
        for clip in group.members:
            columns["source_id"].append(group.source_id)
            columns["clip_id"].append(clip.clip_id)
            columns["frames"].append(group.frames_of(clip.clip_id))
            columns["clip"].append(json.dumps(dict(zip(_CLIP_FIELDS, values_of(clip), strict=True))))
            columns["reference"].append(clip in group.references)
        files = [[*inputs_of(c), c.options, c.guessed] for c in group.members]
        own = [sorted(group.own.items())] if group.own else []
        self._inputs.update(json.dumps([group.source_id, group.frames, files, *own]).encode())
        self.groups += 1
        for clip in group.clips:
            self._count((clip.compression, clip.method), 1, len(group.frames_of(clip.clip_id)))

    def add_plain(
        self, lines: PlainLines, sizes: Int64, frames: Sequence[tuple[int, ...]], kinds: Sequence[Kind]
    ) -> None:
        """Take in groups whose clips all give the same frames, and that are compared with no other's.

        Args:
            lines: of their clips, group by group.
            sizes: of each group, how many clips it has; at least one.
            frames: of each group, the frames that its clips give.
            kinds: of each clip, compression and method.
        """
        ends = np.cumsum(sizes)
        starts = ends - sizes
        number_of = {wanted: number for number, wanted in enumerate(dict.fromkeys(frames))}
        texts = [json.dumps(wanted) for wanted in number_of]
        of_group = [number_of[wanted] for wanted in frames]
        sources = lines.source_id.take(pa.array(starts)).to_pylist()
        heads = [f"[{quoted(source)}, {texts[at]}, [" for source, at in zip(sources, of_group, strict=True)]
        before, behind = np.zeros(len(lines.clip), np.int64), np.zeros(len(lines.clip), np.int64)
        before[starts], behind[ends - 1] = np.arange(1, len(heads) + 1), 1
        parts = (
            pa.array([", ", *heads]).take(pa.array(before)),
            lines.inputs,
            pa.array(["", "]]"]).take(pa.array(behind)),
        )
        self._inputs.update(text_of(pc.binary_join_element_wise(*parts, "")))
        of_row = np.repeat(of_group, sizes)
        wanted_of = [*number_of]
        for (kind, number), count in Counter(zip(kinds, of_row.tolist(), strict=True)).items():
            self._count(kind, count, count * len(wanted_of[number]))
        self.groups += len(sizes)
        self._flush()
        listed = pa.array(wanted_of, ROWS.field("frames").type).take(pa.array(of_row))
        own = pa.array(np.zeros(len(of_row), bool))
        self._tables.append(pa.table([lines.source_id, lines.clip_id, listed, lines.clip, own], schema=ROWS))

    def table(self) -> pa.Table:
        """All rows, with the columns :data:`ROWS`."""
        self._flush()
        return pa.concat_tables(self._tables or [ROWS.empty_table()]).combine_chunks()

    def _flush(self) -> None:
        if self._columns["clip"]:
            self._tables.append(pa.table(self._columns, schema=ROWS))
            self._columns = {name: [] for name in ROWS.names}

    def _count(self, kind: Kind, clips: int, frames: int) -> None:
        count = self._kinds.setdefault(kind, [0, 0])
        count[0] += clips
        count[1] += frames
        self.clips += clips
        self.requested += frames

    @property
    def inputs(self) -> str:
        """Digest of the input files and wanted frames."""
        return self._inputs.hexdigest()

    @property
    def kinds(self) -> tuple[tuple[str | None, str | None, int, int], ...]:
        """(compression, method, clips, frames), sorted."""
        return tuple((*kind, clips, frames) for kind, (clips, frames) in sorted(self._kinds.items(), key=str))
