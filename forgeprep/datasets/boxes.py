"""Which other compression of a clip its faces are found on (``--boxes-from``), for adapters that have several."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from forgeprep.datasets.base import Dataset, match_names
from forgeprep.datasets.listing import VideoFile, shown
from forgeprep.errors import UsageError
from forgeprep.schemas.clips import BOXES, Clip
from forgeprep.text import counted

BEST, OWN = "best", "own"
CHOICES = (BEST, OWN)
"""Besides the names of compressions."""

Files = Callable[[str, str | None], Mapping[str, VideoFile]]
"""``(compression, method)``: the files of a method, or for None of the originals, by the stem of their clip_id."""


def boxes_from_name(dataset: Dataset, asked: str) -> str:
    """A value of ``--boxes-from`` in the dataset's spelling.

    Raises:
        UsageError: it is none of the compressions, nor of :data:`CHOICES`; or the dataset has no compressions.
    """
    name = dataset.compression_aliases.get(asked.lower(), asked.lower())
    if name in CHOICES:
        return name
    if not dataset.compressions:
        raise UsageError(f"--boxes-from {asked}: {dataset.title} has one quality of each clip; leave it out")
    (found,) = match_names("value of --boxes-from", [name], [*dataset.compressions, *CHOICES])
    return found


def with_boxes(dataset: Dataset, clips: Sequence[Clip], asked: str, files: Files) -> tuple[list[Clip], list[str]]:
    """The clips, with the file that lends its faces to each as a companion, and warnings.

    A file and a folder of pictures do not lend to each other, since their frames may be numbered otherwise.

    Args:
        dataset: whose clips they are; its compressions stand in their order, the best one first.
        clips: those that were found.
        asked: a compression, ``best`` (the best that lies there, if it is better than the clip's own) or ``own``.
        files: lists the files of a compression; called once for each.
    """
    asked, known = boxes_from_name(dataset, asked), dataset.compressions
    found: dict[tuple[str, str | None], Mapping[str, VideoFile]] = {}

    def lender(clip: Clip) -> str | None:
        own = known.index(clip.compression) if clip.compression in known else 0
        stem = clip.clip_id.rpartition("/")[2]
        for name in known[:own] if asked == BEST else [asked]:
            if (name, clip.method) not in found:
                found[name, clip.method] = files(name, clip.method)
            file = found[name, clip.method].get(stem)
            if file is not None and (file.frames is None) == (clip.frames is None):
                return file.path
        return None

    if asked == OWN:
        return list(clips), []
    lent, without = [], []
    for clip in clips:
        path = lender(clip) if clip.compression != asked else None
        if path is None and asked not in (BEST, clip.compression):
            without.append(clip.clip_id)
        lent.append(clip if path is None else replace(clip, companions={**clip.companions, BOXES: path}))
    return lent, _told(without, asked)


def _told(without: Sequence[str], asked: str) -> list[str]:
    if not without:
        return []
    clips = counted(len(without), "clip is not there", "clips are not there")
    return [f"--boxes-from {asked}: {clips} at {asked}, so faces are found on their own files: {shown(without)}"]
