"""Which frames are taken: as many as asked for, evenly spread, all, or every n-th.

For video detectors, samples are runs of frames (``--sequence-length 16 --sequence-stride 2``: frames 0, 2, … 30). The
same rules then choose such runs, *windows*, which never overlap, so that no frame is stored twice.
"""

from __future__ import annotations

from collections.abc import Sequence

from forgeprep.errors import UsageError
from forgeprep.ops.spread import evenly
from forgeprep.params.frames import FramesParams as FramesParams
from forgeprep.schemas.clips import Split
from forgeprep.stages.base import Stage, common


def select(
    frame_count: int, split: Split, params: FramesParams, labelled: Sequence[frozenset[int]] = ()
) -> tuple[int, ...]:
    """Frame indices, ascending, without repeats; fewer than asked for only where the clip is shorter.

    Where the dataset labels only some frames of the clips, ``labelled`` are those of each. Of a number of frames, those
    are taken that are labelled in all clips, if there are any; else those that are in one, and the others' will be
    drops. With ``sequence_length``, the frames come window by window, each of that many; of a clip that is too short
    for one, those that there are.

    >>> select(10, "train", FramesParams(frames="4"))
    (0, 3, 6, 9)
    >>> select(10, "train", FramesParams(frames="2", sequence_length=2, sequence_stride=3))
    (0, 3, 6, 9)
    """
    rule = _rule_of(split, params)
    found = common(labelled) if rule.isdigit() else frozenset().union(*labelled)
    known = sorted(index for index in found if index < frame_count)
    if params.sequence_length is not None:
        return _sequence_frames(_stretches(known) or [(0, frame_count)], rule, params)
    chosen = _spread(len(known) or frame_count, rule)
    return tuple(known[i] for i in chosen) if known else chosen


def _spread(frame_count: int, rule: str) -> tuple[int, ...]:
    if rule == "all":
        return tuple(range(frame_count))
    if rule.startswith("every:"):
        return tuple(range(0, frame_count, int(rule.removeprefix("every:"))))
    return evenly(frame_count, int(rule))


def _sequence_frames(stretches: list[tuple[int, int]], rule: str, params: FramesParams) -> tuple[int, ...]:
    """The frames of windows that lie in stretches (first frame, frames) of a clip, one after the other."""
    span, stride, length = params.span, params.sequence_stride, params.sequence_length or 1
    starts: list[int] = []
    for first, count in stretches:
        starts += [first + start for start in _starts(count, rule, span, alone=len(stretches) == 1)]
    if rule.isdigit() and len(starts) > int(rule):
        starts = [starts[i] for i in _spread(len(starts), rule)]
    if not starts:
        first, count = max(stretches, key=lambda stretch: stretch[1])
        return tuple(range(first, first + count, stride))[:length]
    return tuple(start + i * stride for start in starts for i in range(length))


def _starts(count: int, rule: str, span: int, *, alone: bool) -> list[int]:
    """Where windows begin in a stretch of so many frames; ``alone``: it is the only one of the clip."""
    most = count // span
    if rule.startswith("every:"):
        step = int(rule.removeprefix("every:"))
        if step < span:
            raise UsageError(f"--frames {rule}: samples of {span} frames would overlap; every:{span} is the least")
        return list(range(0, count - span + 1, step))
    wanted = min(most, int(rule)) if rule.isdigit() and alone else most
    if wanted <= 1:
        return [(count - span) // 2] if wanted else []
    return [i * (count - span) // (wanted - 1) for i in range(wanted)]


def _stretches(frames: Sequence[int]) -> list[tuple[int, int]]:
    """Ascending frames as stretches without gaps: first frame, number of frames."""
    found: list[tuple[int, int]] = []
    for frame in frames:
        if found and frame == sum(found[-1]):
            found[-1] = found[-1][0], found[-1][1] + 1
        else:
            found.append((frame, 1))
    return found


def tops_up(split: Split, params: FramesParams) -> bool:
    """Whether other frames may stand in for wanted ones: where only their number was asked for."""
    return params.sequence_length is None and _rule_of(split, params).isdigit()


def _rule_of(split: Split, params: FramesParams) -> str:
    return params.frames if isinstance(params.frames, str) else params.frames[split]


STAGE = Stage(
    name="frames",
    summary="choose the frames of each clip; a fake gets the frames of its original",
    needs=(),
    adds=(),
    params=FramesParams,
    select=select,
)
