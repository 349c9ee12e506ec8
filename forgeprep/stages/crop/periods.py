"""Seconds become frames: what a dataset says of periods, by the times at which a clip's frames are shown.

A frame is forged if it begins to be shown within a period. Frame rates do not matter, and may vary. How many frames a
list says that there are does not matter either: those that the file has count.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from forgeprep.errors import MediaError
from forgeprep.media.video import read_times
from forgeprep.schemas.clips import Clip
from forgeprep.stages.base import Group
from forgeprep.text import counted

ROUNDING_S = 1e-3
"""Lists and containers round to milliseconds."""

Run = tuple[int, int]
"""First frame, and the frame after the last."""


def with_frames(group: Group, root: Path) -> tuple[Group, dict[str, list[str]]]:
    """The group with the periods of its clips as frames, and by clip what is to be told of that.

    A fake with periods that is longer or shorter than its original has that as a guess, whatever a list says. A clip
    that cannot be read stays as it is: whoever reads it says so.
    """
    told: dict[str, list[str]] = {}
    members: dict[str, Clip] = {}
    for clip in group.members:
        members[clip.clip_id] = clip
        if clip.periods is not None or clip.audio_periods is not None or clip.listed_frames:
            with suppress(MediaError):
                members[clip.clip_id], told[clip.clip_id] = _with_frames(clip, root / clip.path)
    for name, clip in members.items():
        original = members.get(clip.original_id or "")
        if clip.periods is not None and original is not None and original.frame_count != clip.frame_count:
            members[name] = replace(clip, guessed=True)
    clips, references = (tuple(members[c.clip_id] for c in part) for part in (group.clips, group.references))
    return replace(group, clips=clips, references=references), told


def forged_runs(clip: Clip) -> list[Run]:
    """The frames that are forged by what the dataset says of periods, as runs."""
    return [(first, first + count) for first, count, label in clip.spans or () if label] if clip.periods else []


def end_of(clip: Clip) -> int:
    """How many frames a clip has whose periods are frames."""
    return max((first + count for first, count, _ in clip.spans or ()), default=0)


def _with_frames(clip: Clip, path: Path) -> tuple[Clip, list[str]]:
    times = read_times(path)
    count, warnings = len(times.seconds), []
    if clip.listed_frames and clip.listed_frames != count:
        frames = counted(clip.listed_frames, "frame")
        warnings.append(f"the dataset's list says {frames}, the file has {count:,}: those of the file count")
    if not times.told and (clip.periods or clip.audio_periods):
        warnings.append("its frames have no times of their own: periods follow from its frames per second")
    found: dict[str, Any] = {"frame_count": count}
    if clip.periods is not None:
        runs = frames_in(clip.periods, times.seconds)
        found["spans"] = _spans(runs, count)
        if clip.periods and not runs:
            warnings.append("no frame is shown in the periods that the dataset's list calls forged")
        late = sum(end > times.seconds[-1] + 1 for _, end in clip.periods) if times.seconds else 0
        if late:
            warnings.append(f"{counted(late, 'period')} of the dataset's list reach beyond the end of the file")
    if clip.audio_periods is not None:
        found["audio_spans"] = [[a, b - a] for a, b in frames_in(clip.audio_periods, times.seconds)]
    return replace(clip, **found), warnings


def frames_in(periods: Iterable[Sequence[float]], seconds: Sequence[float]) -> list[Run]:
    """The frames that begin to be shown within periods, as runs that do not touch.

    Args:
        periods: ``[start, end)`` in seconds, in any order.
        seconds: when each frame is shown, rising.

    >>> frames_in([[0.1, 0.2]], [0.0, 0.04, 0.1, 0.19, 0.2, 0.5])
    [(2, 4)]
    """
    runs: list[Run] = []
    for start, end in sorted((float(start), float(end)) for start, end in periods):
        first, last = (bisect_left(seconds, time - ROUNDING_S) for time in (start, end))
        if last <= first:
            continue
        if runs and first <= runs[-1][1]:
            before = runs.pop()
            first, last = before[0], max(before[1], last)
        runs.append((first, last))
    return runs


def _spans(runs: Iterable[Run], count: int) -> list[list[int]]:
    """All frames of a clip, as :attr:`forgeprep.schemas.clips.Clip.spans`: those in ``runs`` are forged."""
    spans: list[list[int]] = []
    at = 0
    for first, last in runs:
        spans += [[at, first - at, 0]] if first > at else []
        spans.append([first, last - first, 1])
        at = last
    return spans + ([[at, count - at, 0]] if count > at else [])
