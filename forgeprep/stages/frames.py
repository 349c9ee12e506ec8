"""Which frames are taken: as many as asked for, evenly spread, all, or every n-th.

For video detectors, samples are runs of frames (``--sequence-length 16 --sequence-stride 2``: frames 0, 2, … 30). The
same rules then choose such runs, *windows*, which never overlap, so that no frame is stored twice. Where the numbers in
a folder of pictures mostly do not follow each other, they are what somebody chose of a video: there a window holds
pictures that follow each other, whatever their numbers.

Reals, fakes and methods may have rules of their own. Of one source group, the clip that gives most frames is asked
first; the others take theirs, evenly spread, from its frames. So wherever both are taken, an original and its fakes
show the same moments.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from forgeprep.errors import UsageError, unknown_name
from forgeprep.ops.spread import evenly
from forgeprep.params.frames import EVERY
from forgeprep.params.frames import FramesParams as FramesParams
from forgeprep.schemas.clips import Clip, Split
from forgeprep.stages.base import Group, Stage, Wanted, common


def wanted_of(frame_count: int, group: Group, params: FramesParams) -> Wanted:
    """The frames wanted of a source group whose original has so many.

    Raises:
        UsageError: no rule is given for one of the clips.
    """
    rules = {clip.clip_id: rule_of(clip, group.split, params) for clip in group.clips}
    found = _by_rule(frame_count, group, params, tuple(dict.fromkeys(rules.values())))
    most = max(found.values(), key=len)
    rest = set().union(*found.values()) - set(most)
    frames = tuple(sorted({*most, *rest})) if rest else most
    return Wanted(frames, {name: found[rule] for name, rule in rules.items() if found[rule] != frames})


def _by_rule(frame_count: int, group: Group, params: FramesParams, rules: Sequence[str]) -> dict[str, tuple[int, ...]]:
    numbers = sorted((rule for rule in rules if rule.isdigit()), key=int)
    alone = [rule for rule in rules if not rule.isdigit()] or numbers[-1:]
    pictures = any(clip.frames for clip in group.members)
    found = {rule: _chosen(frame_count, rule, params, group.labelled, pictures=pictures) for rule in alone}
    base = max(found.values(), key=len)
    step = params.sequence_length or 1
    if step == 1 and group.labelled and alone != numbers[-1:]:
        base = tuple(index for index in base if index in common(group.labelled)) or base
    windows = [base[at : at + step] for at in range(0, len(base), step)]
    for rule in numbers:
        if rule not in found:
            found[rule] = tuple(index for at in evenly(len(windows), int(rule)) for index in windows[at])
    return found


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
    return _chosen(frame_count, params.rules(split)[EVERY], params, labelled)


def _chosen(
    frame_count: int,
    rule: str,
    params: FramesParams,
    labelled: Sequence[frozenset[int]],
    *,
    pictures: bool = False,
) -> tuple[int, ...]:
    if pictures and params.sequence_length is not None:
        there = sorted(index for index in common(labelled) if index < frame_count)
        if 2 * len(_stretches(there)) > len(there) > 1:
            return tuple(there[at] for at in _sequence_frames([(0, len(there))], rule, params))
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


def topped_up(group: Group, params: FramesParams) -> Group:
    """The group with what other frames may stand in for: wanted ones of clips of which only a number was asked for."""
    if params.sequence_length is not None:
        return group
    rules = {clip.clip_id: rule_of(clip, group.split, params) for clip in group.clips}
    spread = frozenset(name for name, rule in rules.items() if rule.isdigit())
    return replace(group, top_up=len(spread) == len(rules), spread=spread)


def check_asked(params: FramesParams, methods: Iterable[str], clips: Iterable[Clip]) -> None:
    """Raise UsageError where a rule is for no method of the dataset, or a clip has none."""
    kinds = {(clip.split, clip.label, clip.method): clip for clip in clips}
    there = {clip.method for clip in kinds.values() if clip.method is not None}
    known = {name.lower() for name in (*methods, *there)}
    for name in params.names:
        if name.lower() not in known:
            raise unknown_name("name in --frames", name, ["real", "fake", EVERY, *sorted({*methods, *there})])
    for clip in kinds.values():
        rule_of(clip, clip.split, params)


def asks_otherwise(group: Group, before: FramesParams, now: FramesParams) -> bool:
    """Whether other rules hold for clips of a group than before."""
    return any(rule_of(clip, group.split, before) != rule_of(clip, group.split, now) for clip in group.clips)


def rule_of(clip: Clip, split: Split, params: FramesParams) -> str:
    """The rule by which frames of a clip are taken: a number, ``all`` or ``every:N``.

    Raises:
        UsageError: none is given for it.
    """
    rules = params.rules(split)
    for name in ((clip.method or "").lower(), "fake" if clip.label else "real", EVERY):
        if name in rules:
            return rules[name]
    what = f"the method '{clip.method}' of {clip.clip_id}" if clip.label else f"reals ({clip.clip_id})"
    more = f"{clip.method}=N, fake=N" if clip.label else "real=N"
    raise UsageError(f"--frames says nothing of {what}; add {more} or *=N")


STAGE = Stage(
    name="frames",
    summary="choose the frames of each clip; a fake gets the frames of its original",
    needs=(),
    adds=(),
    params=FramesParams,
    select=wanted_of,
)
