"""Which samples of a run are exported, and their rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from forgeprep.errors import UsageError, VerifyError, unknown_name
from forgeprep.io.storage import parquet_source
from forgeprep.ops.spread import evenly
from forgeprep.schemas.clips import SPLITS
from forgeprep.shards.names import table_path
from forgeprep.shards.random_access import Place, iter_values, read_at
from forgeprep.shards.read import shard_paths
from forgeprep.shards.sequences import MARK, is_sequence, split_frames

Row = dict[str, Any]
_KEYS = (
    "sample_id", "clip_id", "original_id", "original_frame", "track_id", "frame_index", "label", "forgery", "method",
    "family", "compression", MARK, "padded",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Selection:
    """Which samples are wanted; None stands for all.

    Attributes:
        splits: of train, val and test.
        methods: fakes of these methods; reals are always wanted.
        compressions: clips of these qualities.
        frames: so many frames of each face of a clip, evenly spread; of a fake that is forged in part so many forged
            ones, and as many others.
    """

    splits: tuple[str, ...] | None = None
    methods: tuple[str, ...] | None = None
    compressions: tuple[str, ...] | None = None
    frames: int | None = None

    def takes(self, method: str | None, compression: str | None) -> bool:
        """Whether a clip is wanted; ``method`` is None for a real one."""
        return (self.methods is None or method is None or method in self.methods) and (
            self.compressions is None or compression in self.compressions
        )


class Clips:
    """What a run knows of its clips: ``meta/clips.pq``, read when it is needed first."""

    def __init__(self, out: Path) -> None:
        self.out = out

    @cached_property
    def table(self) -> pa.Table:
        """The whole table; raises VerifyError where it is damaged."""
        path = table_path(self.out, "clips")
        try:
            return pq.read_table(parquet_source(path))
        except (OSError, ValueError, pa.ArrowException) as error:
            raise VerifyError(f"{path}: {' '.join(str(error).split())}; forgeprep verify tells more") from None

    @cached_property
    def methods(self) -> dict[str, str | None]:
        """clip_id -> method, None for a real."""
        return dict(zip(*(self.table[name].to_pylist() for name in ("clip_id", "method")), strict=True))

    @cached_property
    def compressions(self) -> set[str]:
        """The qualities that there are."""
        return set(self.table["compression"].to_pylist()) - {None}

    @cached_property
    def rows(self) -> list[Row]:
        """All clips, sorted by clip_id."""
        return sorted(self.table.to_pylist(), key=lambda clip: str(clip["clip_id"]))

    def check(self, selection: Selection) -> None:
        """Raise UsageError where a method or quality is wanted that the run does not have."""
        there = {name for name in self.methods.values() if name is not None}
        for kind, wanted, found in (
            ("split", selection.splits, set(SPLITS)),
            ("method of this run", selection.methods, there),
            ("compression of this run", selection.compressions, self.compressions),
        ):
            for name in wanted or ():
                if name not in found:
                    raise unknown_name(kind, name, sorted(found))


def parts_of(out: Path, selection: Selection) -> list[tuple[str, Path]]:
    """The shards that are read: split and file, in order.

    Raises:
        UsageError: there are none.
    """
    splits: list[str] = [split for split in SPLITS if selection.splits is None or split in selection.splits]
    found = [(split, path) for split in splits for path in shard_paths(out, split)]
    if not found:
        raise UsageError(f"{out}: has no shards of these splits; look with 'forgeprep inspect {out}'")
    return found


def chosen_rows(
    path: Path, clips: Clips, selection: Selection, columns: Sequence[str] | None
) -> Iterator[tuple[Row, bool]]:
    """The wanted samples of a shard as rows of single frames, and whether each lies beside its original's frame.

    A frame that stands in several sequences comes once. With ``columns``, rows hold these and the keys.
    """
    wanted, places = _choose(path, clips, selection)
    keys = {(row["clip_id"], row["track_id"], row["frame_index"]) for row in wanted.values()}
    left = set(wanted)
    for place in places:
        for row in _frames(read_at(place, None if columns is None else (*_KEYS, *columns))):
            if row["sample_id"] not in left:
                continue
            left.remove(row["sample_id"])
            row["clip_method"] = clips.methods.get(row["clip_id"], row["method"])
            original = (row.get("original_id"), row["track_id"], row.get("original_frame"))
            yield row, row["label"] == 0 or row.get("original_id") is None or original in keys


def count_rows(path: Path, clips: Clips, selection: Selection) -> Counter[tuple[str, str]]:
    """How many samples of a shard are wanted, by method (``real`` for reals) and clip_id; reads no pictures."""
    found, _ = _choose(path, clips, selection)
    return Counter((row["method"] or "real", row["clip_id"]) for row in found.values())


def _choose(path: Path, clips: Clips, selection: Selection) -> tuple[dict[str, Row], list[Place]]:
    """The wanted samples of a shard by sample_id, and where the rows lie that hold them."""
    faces: dict[tuple[str, int, int], dict[str, Row]] = defaultdict(dict)
    held: list[tuple[Place, list[str]]] = []
    for place, values in iter_values(path, _KEYS):
        frames = [
            row
            for row in _frames(values)
            if selection.takes(clips.methods.get(row["clip_id"], row["method"]), row["compression"])
        ]
        held.append((place, [row["sample_id"] for row in frames]))
        for row in frames:
            faces[row["clip_id"], row["track_id"], row["label"]].setdefault(row["sample_id"], row)
    chosen = [row for face in faces.values() for row in face.values()]
    if selection.frames is not None:
        chosen = _spread([list(face.values()) for face in faces.values()], selection.frames)
    wanted = {row["sample_id"]: row for row in chosen}
    return wanted, [place for place, names in held if not wanted.keys().isdisjoint(names)]


def _spread(faces: list[list[Row]], count: int) -> list[Row]:
    """``count`` rows of each face, evenly spread: the same of an original and its fakes, if they share so many."""
    groups: dict[tuple[str, int], list[list[Row]]] = defaultdict(list)
    for rows in faces:
        groups[rows[0].get("original_id") or rows[0]["clip_id"], rows[0]["track_id"]].append(rows)
    chosen: list[Row] = []
    for members in groups.values():
        moments = [{_moment(row): row for row in rows} for rows in members]
        # The few frames of a face that has not so many are all taken, and bind no other.
        shared = sorted(set.intersection(*([set(own) for own in moments if len(own) >= count] or [set()])))
        if len(shared) >= count:
            wanted = {shared[number] for number in evenly(len(shared), count)}
            chosen += [row for own in moments for at, row in own.items() if at in wanted or len(own) < count]
            continue
        for rows in members:
            rows.sort(key=lambda row: int(row["frame_index"]))
            chosen += [rows[number] for number in evenly(len(rows), count)]
    return chosen


def _moment(row: Row) -> int:
    """The frame of the original that shows what this row shows."""
    frame = row.get("original_frame")
    return int(row["frame_index"] if row.get("original_id") is None or frame is None else frame)


def _frames(row: Mapping[str, Any]) -> list[Row]:
    if not is_sequence(row):
        return [dict(row)]
    return split_frames(dict(row))[: len(row[MARK]) - row["padded"]]
