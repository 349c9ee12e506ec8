"""The rows of a shard in the plan's file, and its :class:`~forgeprep.pipeline.plan.Brief`, group by group."""

from __future__ import annotations

import hashlib
import json
import operator
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from forgeprep.schemas.clip_lines import PlainLine
from forgeprep.schemas.clips import BOXES, Clip, Split
from forgeprep.stages.base import Group

_CLIP_FIELDS = [field.name for field in fields(Clip)]
_values_of = operator.attrgetter(*_CLIP_FIELDS)


def inputs_of(clip: Clip) -> list[Any]:
    """What tells whether a clip's files are the same as before, without reading them."""
    of_folder = [] if clip.frames is None else [clip.frames]
    faces_on = [clip.companions[BOXES]] if BOXES in clip.companions else []
    return [clip.clip_id, clip.path, clip.size_bytes, sorted(clip.companions), *of_folder, *faces_on]


class ShardRows:
    """A shard's rows, as columns of lists, and what its brief counts.

    Attributes:
        columns: of :data:`~forgeprep.pipeline.plan.PLAN_SCHEMA`.
        groups, clips, requested: as of the brief.
    """

    def __init__(self, name: str, split: Split) -> None:
        self.name, self.split = name, split
        self.columns: dict[str, list[Any]] = {
            column: [] for column in ("source_id", "clip_id", "frames", "clip", "reference")
        }
        self.groups = self.clips = self.requested = 0
        # Of this shard's inputs alone, so that a change of other files leaves it as it is.
        self._inputs = hashlib.sha256()
        self._kinds: dict[tuple[str | None, str | None], list[int]] = {}

    def add(self, group: Group) -> None:
        """Take a group in."""
        for clip in group.members:
            line = json.dumps(dict(zip(_CLIP_FIELDS, _values_of(clip), strict=True)))
            self._add_row(group.source_id, clip.clip_id, group.frames_of(clip.clip_id), line, clip in group.references)
        files = [[*inputs_of(c), c.options, c.guessed] for c in group.members]
        own = [sorted(group.own.items())] if group.own else []
        self._inputs.update(json.dumps([group.source_id, group.frames, files, *own]).encode())
        self.groups += 1
        for clip in group.clips:
            self._count((clip.compression, clip.method), len(group.frames_of(clip.clip_id)))

    def add_plain(self, source_id: str, frames: tuple[int, ...], lines: Sequence[PlainLine]) -> None:
        """Take a group in whose clips all give the same frames, and that is compared with no other's: its lines."""
        for line in lines:
            self._add_row(source_id, line.clip_id, frames, line.clip, False)
            self._count((line.compression, line.method), len(frames))
        files = ", ".join([line.inputs for line in lines])
        self._inputs.update(f"[{json.dumps(source_id)}, {json.dumps(frames)}, [{files}]]".encode())
        self.groups += 1

    def _add_row(self, source_id: str, clip_id: str, frames: tuple[int, ...], clip: str, reference: bool) -> None:
        columns = self.columns
        columns["source_id"].append(source_id)
        columns["clip_id"].append(clip_id)
        columns["frames"].append(frames)
        columns["clip"].append(clip)
        columns["reference"].append(reference)

    def _count(self, kind: tuple[str | None, str | None], frames: int) -> None:
        count = self._kinds.setdefault(kind, [0, 0])
        count[0] += 1
        count[1] += frames
        self.clips += 1
        self.requested += frames

    @property
    def inputs(self) -> str:
        """Digest of the input files and wanted frames."""
        return self._inputs.hexdigest()

    @property
    def kinds(self) -> tuple[tuple[str | None, str | None, int, int], ...]:
        """(compression, method, clips, frames), sorted."""
        return tuple((*kind, clips, frames) for kind, (clips, frames) in sorted(self._kinds.items(), key=str))
