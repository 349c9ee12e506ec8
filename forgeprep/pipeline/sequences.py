"""From frames to sequences: rows are collected sequence by sequence, and drops are counted in sequences."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from forgeprep.schemas.columns import Column
from forgeprep.schemas.drops import Drop
from forgeprep.schemas.samples import SAME
from forgeprep.shards.sequences import join_frames
from forgeprep.stages.base import Group, GroupLog

Row = dict[str, Any]


@dataclass(slots=True)
class _Open:
    """The sequence of a clip whose frames are coming in: track -> frame of the plan -> row."""

    number: int
    rows: dict[int, dict[int, Row]] = field(default_factory=lambda: defaultdict(dict))


class SequenceBuilder:
    """Joins the rows of a group's clips; of each clip they come in order of time, and one sequence is held."""

    def __init__(self, group: Group, log: GroupLog, columns: Sequence[Column]) -> None:
        self.group, self.log = group, log
        self.once = frozenset(column.name for column in columns if column.in_sequence != "each")
        self.same = tuple(column.name for column in columns if column.in_sequence == "same")
        self.length = group.sequence_length or 1
        self.numbers: dict[tuple[int, ...], dict[int, int]] = {}
        self.open: dict[str, _Open] = {}
        # (clip, sequence) -> track -> why the face is not in all of it; None where the sample was made.
        self.verdicts: dict[tuple[str, int], dict[int, str | None]] = defaultdict(dict)

    def add(self, row: Row) -> Iterator[Row]:
        """Take a frame's row; yields the samples that are complete by it."""
        frame = frame_of_plan(row["frame_index"], row["original_frame"])
        number = self._numbers(row["clip_id"])[frame]
        sequence = self.open.get(row["clip_id"])
        if sequence is None or sequence.number != number:
            yield from self._close(row["clip_id"])
            sequence = self.open[row["clip_id"]] = _Open(number)
        sequence.rows[row["track_id"]][frame] = row

    def finish(self) -> Iterator[Row]:
        """The last samples; then the group's drops are counted in samples."""
        for clip_id in list(self.open):
            yield from self._close(clip_id)
        self.log.drops = list(self._drops())

    def _sequences(self, clip_id: str) -> list[tuple[int, ...]]:
        """The sequences of a clip: the group's, unless it turned out to have another original."""
        return replace(self.group, frames=self.log.clips[clip_id].frames).sequences

    def _numbers(self, clip_id: str) -> dict[int, int]:
        """Frame -> number of its sequence."""
        frames = self.log.clips[clip_id].frames
        if frames not in self.numbers:
            sequences = enumerate(self._sequences(clip_id))
            self.numbers[frames] = {frame: number for number, sequence in sequences for frame in sequence}
        return self.numbers[frames]

    def _close(self, clip_id: str) -> Iterator[Row]:
        sequence = self.open.pop(clip_id, None)
        if sequence is None:
            return
        frames = self._sequences(clip_id)[sequence.number]
        for track, rows in sorted(sequence.rows.items()):
            there = [rows[frame] for frame in frames if frame in rows]
            problem = None
            if len(there) < len(frames):
                problem = f"{len(there)} of {len(frames)} frames"
            elif changing := [name for name in self.same if any(row[name] != there[0][name] for row in there)]:
                problem = "the picture changes its size" if changing[0] in SAME else f"{changing[0]} changes"
            self.verdicts[clip_id, sequence.number][track] = problem
            if problem is None:
                self.log.clips[clip_id].written += 1
                yield join_frames(there, self.length, self.once)

    def _drops(self) -> Iterator[Drop]:
        """One for each sample that was not made, with the reason of its first frame that was dropped."""
        frames: dict[tuple[str, int], list[Drop]] = defaultdict(list)
        for drop in sorted(self.log.drops, key=lambda d: d.frame_index):
            numbers = self._numbers(drop.clip_id)
            if drop.frame_index in numbers:
                frames[drop.clip_id, numbers[drop.frame_index]].append(drop)
        derived = [name for name, entry in self.log.clips.items() if entry.made_of is not None]
        for clip_id in (*(clip.clip_id for clip in self.group.clips), *derived):
            for number, sequence in enumerate(self._sequences(clip_id)):
                drops = frames[clip_id, number]
                verdicts = self.verdicts[clip_id, number]
                tracks = verdicts.keys() | {drop.track_id for drop in drops if drop.track_id is not None}
                place = self.group.split, self.group.source_id, clip_id, sequence[0]
                if not tracks:
                    yield Drop(*place, None, *_of_nobody(drops))
                for track in sorted(tracks):
                    if track not in verdicts or verdicts[track] is not None:
                        yield Drop(*place, track, *_of_face(track, drops, verdicts.get(track)))


def frame_of_plan(frame: int, original_frame: int | None) -> int:
    """The frame that a row was planned as: frames are chosen on the original, where there is one."""
    return frame if original_frame is None else original_frame


def _of_nobody(drops: list[Drop]) -> tuple[str, str | None]:
    """Reason and detail of a sequence in which no face is known: what is true of most frames."""
    counts = Counter(drop.reason for drop in drops)
    reason = max(counts, key=lambda name: (counts[name], name)) if counts else "no_face"
    return reason, next((drop.detail for drop in drops if drop.reason == reason), None)


def _of_face(track: int, drops: list[Drop], problem: str | None) -> tuple[str, str | None]:
    """Reason and detail of a face that did not make a sample."""
    # That another frame shows nobody only says that this face is not in all of them.
    of_all = [drop for drop in drops if drop.track_id is None and drop.reason != "no_face"]
    own = [drop for drop in drops if drop.track_id == track] or of_all
    if own:
        return own[0].reason, ": ".join(part for part in (f"frame {own[0].frame_index}", own[0].detail) if part)
    return "tube_broken", problem
