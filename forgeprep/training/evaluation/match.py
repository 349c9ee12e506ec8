"""Find the sample, or the clip, that a line of a score file is about."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from forgeprep.errors import UsageError
from forgeprep.export.stems import stems_of
from forgeprep.text import counted
from forgeprep.training.evaluation.score_files import ScoreFile, frame_number
from forgeprep.training.evaluation.truth import Row, Truth

_SEVERAL = -1
_SUFFIX = re.compile(r"\.(png|jpe?g|webp|bmp|tiff?|npy|mp4|avi|mov|mkv|webm)$", re.IGNORECASE)


@dataclass(slots=True)
class Matched:
    """The samples, or clips, of a split with the scores of a file.

    Attributes:
        level: what an entry is.
        rows: a row for each sample; of clips that of a forged sample, where there is one.
        scores: float64, NaN where the file has none.
        status: ``ok``, ``missing`` or ``error``, of each.
        notes: what is to be said of the file, a line each.
        unknown: how many ids are of none of them.
    """

    level: Literal["frames", "clips"]
    rows: list[Row]
    scores: npt.NDArray[np.float64]
    status: list[str]
    notes: list[str] = field(default_factory=list)
    unknown: int = 0


class Names:
    """Names of things, of which the last parts are names too as long as they are of one thing alone."""

    def __init__(self, names: Iterable[tuple[str, int]]) -> None:
        self._whole: dict[str, int] = {}
        self._tails: dict[str, int] = {}
        for name, number in names:
            _put(self._whole, name, number)
            at = name.find("/")
            while at >= 0:
                _put(self._tails, name[at + 1 :], number)
                at = name.find("/", at + 1)

    def find(self, text: str) -> int | None:
        """The number of the thing that a text names, -1 for several; None for none.

        A text may have more in front of a whole name, or be the last part of one: not both, or a method that is not
        there would be found by the clip's name alone.
        """
        rest = plain_path(text)
        found = self._whole.get(rest)
        if found is None:
            found = self._tails.get(rest)
        while found is None and "/" in rest:
            rest = rest.partition("/")[2]
            # A bare name is no whole one: other folders have it too.
            found = self._whole.get(rest) if "/" in rest else None
        return found


def _put(names: dict[str, int], name: str, number: int) -> None:
    if names.setdefault(name, number) != number:
        names[name] = _SEVERAL


def plain_path(text: str) -> str:
    """A path as it is compared: with slashes, without a suffix, and without what leads to the present folder.

    >>> plain_path("./frames\\\\071_054\\\\000123.PNG")
    'frames/071_054/000123'
    """
    return _SUFFIX.sub("", text.replace("\\", "/").removeprefix("./").strip("/"))


def match(file: ScoreFile, truth: Truth, where: str) -> Matched:
    """The samples of a split with the scores of a file; clips, where it names clips.

    Args:
        file: the scores.
        truth: the samples.
        where: the shards and the split, for messages.

    Raises:
        UsageError: not one line is about any of them.
    """
    if file.frames is not None:
        return _fill(file, truth, _by_frame(file, truth), "frames", where)
    if file.facts.get("level") != "clip":
        found = _by_sample(file, truth)
        clips = None if any(at is not None for at in found) else _by_clip(file, truth)
        if clips is None or not any(at is not None for at in clips):
            return _fill(file, truth, found, "frames", where)
    return _fill(file, truth, _by_clip(file, truth), "clips", where)


def clip_rows(truth: Truth) -> list[Row]:
    """A row for each clip: that of a forged sample, where it has one."""
    found: dict[str, Row] = {}
    for row in truth.rows:
        if row["clip_id"] not in found or row["label"] > found[row["clip_id"]]["label"]:
            found[row["clip_id"]] = row
    return [found[clip_id] for clip_id in sorted(found)]


def _by_sample(file: ScoreFile, truth: Truth) -> list[int | None]:
    ids = {row["sample_id"]: number for number, row in enumerate(truth.rows)}
    found = [ids.get(text) for text in file.ids]
    # Other names cost memory, a dozen a sample: they are made where they are needed.
    if any(at is None for at in found):
        names = Names((stem, number) for number, row in enumerate(truth.rows) for stem in _stems(row, truth))
        found = [names.find(text) if at is None else at for text, at in zip(file.ids, found, strict=True)]
    return found


def _stems(row: Row, truth: Truth) -> list[str]:
    frame = row["frame_index"]
    if not isinstance(frame, int):  # A stored sequence is no picture.
        return [row["sample_id"]]
    return [row["sample_id"], *stems_of({**row, "clip_method": truth.clips[row["clip_id"]].method}, truth.dataset)]


def _by_clip(file: ScoreFile, truth: Truth) -> list[int | None]:
    names = _clip_names(truth, [row["clip_id"] for row in clip_rows(truth)])
    return [names.find(text) for text in file.ids]


def _by_frame(file: ScoreFile, truth: Truth) -> list[int | None]:
    """By clip and frame; where a frame shows several faces, nobody knows whose the score is."""
    clips = sorted(truth.clips)
    names = _clip_names(truth, clips)
    frames: dict[tuple[str, Any], int] = {}
    for number, row in enumerate(truth.rows):
        key = (row["clip_id"], _frame(row))
        frames[key] = _SEVERAL if key in frames else number
    found: list[int | None] = []
    for text, frame in zip(file.ids, file.frames or (), strict=True):
        clip = names.find(text)
        found.append(clip if clip in (None, _SEVERAL) else frames.get((clips[clip or 0], frame)))
    return found


def _frame(row: Row) -> Any:
    """The frame of a sample, the first one of a stored sequence."""
    return row["frame_index"] if isinstance(row["frame_index"], int) else row["frame_index"][0]


def _other_frames(file: ScoreFile, truth: Truth, places: Sequence[int | None]) -> str | None:
    """What to say of lines whose clip is there and whose frame is not; None where there are none."""
    clips = sorted(truth.clips)
    names = _clip_names(truth, clips)
    there = {(row["clip_id"], _frame(row)) for row in truth.rows}
    lost: list[tuple[str, int]] = []
    first = ""
    for number, (text, at) in enumerate(zip(file.ids, places, strict=True)):
        if at is not None:
            continue
        folder, _, name = plain_path(text).rpartition("/")
        # Without a column of frames, a picture is called after its frame.
        clip = names.find(text if file.frames is not None else folder)
        frame = file.frames[number] if file.frames is not None else frame_number(name)
        if clip is not None and clip != _SEVERAL and frame is not None:
            first = first or f"frame {frame} of '{clips[clip][:100]}'"
            lost.append((clips[clip], frame))
    if not lost:
        return None
    told = f"{counted(len(lost), 'line')} of clips that are there and of frames that are not, such as {first}"
    for step, why in ((-1, "perhaps its frames count from 1, ours from 0"), (1, "perhaps its frames are one too low")):
        if all((clip, frame + step) in there for clip, frame in lost):
            return f"{told}; {why}"
    return told


def _clip_names(truth: Truth, clips: Sequence[str]) -> Names:
    paths = [(clip_id, plain_path(truth.clips[clip_id].path)) for clip_id in clips]
    return Names((name, number) for number, pair in enumerate(paths) for name in pair if name)


def _fill(
    file: ScoreFile, truth: Truth, places: Sequence[int | None], level: Literal["frames", "clips"], where: str
) -> Matched:
    """Put scores to their samples, and count what does not fit."""
    rows = truth.rows if level == "frames" else clip_rows(truth)
    scores, status = np.full(len(rows), np.nan), ["missing"] * len(rows)
    unknown: list[str] = []
    several: list[str] = []
    twice: dict[int, bool] = {}
    taken: set[int] = set()
    for text, score, told, at in zip(file.ids, file.scores.tolist(), file.status, places, strict=True):
        if at is None or at == _SEVERAL:
            (unknown if at is None else several).append(text)
        elif at in taken:
            other = told == "ok" and score != scores[at]
            twice[at] = twice.get(at, False) or other
        else:
            taken.add(at)
            status[at] = told
            scores[at] = score if told == "ok" else np.nan
    kind = "sample" if level == "frames" else "clip"
    elsewhere = _other_frames(file, truth, places) if unknown and level == "frames" else None
    if not taken:
        ours = rows[0]["sample_id" if level == "frames" else "clip_id"]
        example = f"'{file.ids[0]}'" if file.ids else "nothing"
        told = f"{file.path}: none of its ids is a {kind} of {where}: it has {example}, we have '{ours}'"
        if several:
            told += (
                f"; {counted(len(several), 'id fits', 'ids fit')} several {kind}s each, such as '{several[0][:100]}'"
            )
        raise UsageError("; ".join(filter(None, (told, elsewhere))))
    notes = [
        f"{file.path}: {counted(len(file.ids), 'line')}, of {len(taken):,} of the {len(rows):,} {kind}s of {where}"
    ]
    notes += _note(file, len(unknown), f"is no {kind} of {where}", f"are no {kind}s of {where}", unknown, "id")
    notes += [f"{file.path}: {elsewhere}"] if elsewhere else []
    notes += _note(file, len(several), "fits several, and counts for none", "fit several each, and count for none",
                   several, "id")  # fmt: skip
    if twice:
        other = sum(twice.values())
        told = f", {other:,} of them with another score" if other else ", always with the same score"
        kinds = counted(len(twice), kind)
        notes.append(f"{file.path}: {kinds} {'comes' if len(twice) == 1 else 'come'} more than once{told}; "
                     "the first line counts")  # fmt: skip
    return Matched(level, rows, scores, status, notes, len(unknown))


def _note(file: ScoreFile, number: int, one: str, more: str, examples: Sequence[str], what: str) -> list[str]:
    if not number:
        return []
    return [f"{file.path}: {counted(number, what)} {one if number == 1 else more}, such as '{examples[0][:100]}'"]


def outside(scores: npt.NDArray[np.float64]) -> int:
    """How many scores are no probabilities."""
    return int(np.count_nonzero((scores < 0) | (scores > 1)))
