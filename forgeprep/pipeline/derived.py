"""The account of clips that a stage makes of others, which are no files: self-blended images, for one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from forgeprep.datasets.taxonomy import FORGERIES
from forgeprep.stages.base import ClipLog, GroupLog, Sample


def enter_derived(samples: Sequence[Sample], log: GroupLog) -> None:
    """Begin the account of the clips that these samples are of, where it has not begun.

    Nothing was planned, requested or decoded for such a clip: it has the file and the frames of the one it was made of.
    """
    for sample in samples:
        if sample.clip_id in log.clips:
            continue
        parent = log.clips[sample.original_id or ""]
        clip = replace(
            parent.clip,
            clip_id=sample.clip_id,
            original_id=sample.original_id,
            label=sample.label,
            forgery=next(name for name in FORGERIES if name == sample.forgery),
            method=sample.method,
            family=sample.family,
            guessed=False,
            candidates=None,
            companions={},
            spans=None,
            error=None,
        )
        log.clips[sample.clip_id] = ClipLog(clip, parent.frames, made_of=sample.original_id)


def close_derived(log: GroupLog) -> None:
    """Take over what is known of the files, once the clips that they are have been closed."""
    for entry in log.clips.values():
        if entry.made_of is not None:
            parent = log.clips[entry.made_of]
            entry.sha256, entry.fps, entry.facts = parent.sha256, parent.fps, parent.facts
            entry.width, entry.height, entry.tracks = parent.width, parent.height, parent.tracks
