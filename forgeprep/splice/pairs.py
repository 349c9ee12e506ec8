"""Which fakes of a source group lie on their original, and at which frames they are forged.

The crop stage decides it, as it does in a run: a frame counts if the fake shows the same moment, pixel on pixel, and
one of its faces differs from the original. A fake that lags is thereby taken at the frames that fit.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from forgeprep.errors import MediaError
from forgeprep.media.video import read_frames, read_rate
from forgeprep.params.crop import CropParams
from forgeprep.schemas.clips import Clip
from forgeprep.schemas.drops import REASONS, Drop
from forgeprep.splice.spans import Bools
from forgeprep.stages.base import ClipLog, Group, GroupLog
from forgeprep.stages.crop.group import samples_of_group
from forgeprep.text import counted

MOST_ASTRAY = 0.1
"""A fake is refused if more of its frames than this share do not lie on the original."""

SKIPPED = {
    "no_original": "the dataset has no original of it, or it lies in another split",
    "still": "a picture, or a clip of one frame",
    "too_short": "its spans find no room among the frames that are forged and lie on the original",
    "no_face": "no face was found at any frame",
    "unaligned": "it shows something else than its original outside the faces, in more than a tenth of the frames",
    "size_mismatch": "its picture is another size than its original's, or lies elsewhere in the frame",
    **{name: REASONS[name] for name in ("unreadable", "worker_died", "decode_error", "no_visual_change")},
}
"""Reason -> why a fake gave no clip."""


@dataclass(frozen=True, slots=True)
class Skip:
    """A fake that gave no clip; ``reason`` is one of :data:`SKIPPED`, ``detail`` says more."""

    clip_id: str
    split: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Pair:
    """A fake that lies on its original: frame of the original -> frame of the fake, where it is forged."""

    clip: Clip
    partner: dict[int, int]

    def usable(self, frames: int) -> Bools:
        """The frames that may be replaced, bool (frames,)."""
        usable = np.zeros(frames, bool)
        usable[[index for index in self.partner if index < frames]] = True
        return usable


@dataclass(slots=True)
class Verified:
    """What became of a source group's fakes: ``frames`` of the original, at ``fps``."""

    frames: int = 0
    fps: float = 0.0
    pairs: list[Pair] = field(default_factory=list)
    skipped: list[Skip] = field(default_factory=list)


def verify_pairs(group: Group, root: Path, params: CropParams) -> Verified:
    """Compare all fakes of a group with its original, frame by frame."""
    found = Verified()
    original = group.original
    fakes = []
    for clip in group.clips:
        if clip.label == 0:
            continue
        reason, detail = _refuse(clip, original, group)
        if reason is None:
            # A fake without an original is of no use here: a guess counts like what the dataset states.
            fakes.append(replace(clip, guessed=False))
        else:
            found.skipped.append(Skip(clip.clip_id, clip.split, reason, detail))
    if original is None or not fakes:
        return found
    try:
        found.frames, found.fps = _count(root / original.path), read_rate(root / original.path)
    except MediaError as error:
        detail = f"in the original: {error.message}"
        found.skipped += [Skip(clip.clip_id, clip.split, error.reason, detail) for clip in fakes]
        return found
    log = GroupLog()
    partners: dict[str, dict[int, int]] = {clip.clip_id: {} for clip in fakes}
    whole = replace(group, clips=(original, *fakes), references=(), frames=tuple(range(found.frames)))
    for samples in samples_of_group(whole, root, params, frozenset(), log):
        for sample in samples:
            if sample.reason is None and sample.label == 1 and sample.original_frame is not None:
                partners[sample.clip_id][sample.original_frame] = sample.frame_index
    for clip in fakes:
        drops = [drop for drop in log.drops if drop.clip_id == clip.clip_id]
        entries = log.clips[clip.clip_id], log.clips[original.clip_id]
        reason, detail = _unfit(entries, drops, partners[clip.clip_id], found.frames)
        if reason is None:
            found.pairs.append(Pair(clip, partners[clip.clip_id]))
        else:
            found.skipped.append(Skip(clip.clip_id, clip.split, reason, detail))
    return found


def _refuse(clip: Clip, original: Clip | None, group: Group) -> tuple[str | None, str]:
    """Why a fake cannot be compared at all."""
    if original is None or clip.original_id != original.clip_id:
        return "no_original", clip.original_id or ""
    if original in group.references:
        return "no_original", f"{original.clip_id} is in the split {original.split}"
    if clip.error is not None or original.error is not None:
        return "unreadable", clip.error or f"in the original: {original.error}"
    if clip.frame_count == 1 or original.frame_count == 1:
        return "still", ""
    if clip.frames is not None or original.frames is not None:
        return "still", "a folder of pictures, which has no frame rate"
    return None, ""


def _unfit(
    entries: tuple[ClipLog, ClipLog], drops: list[Drop], partner: dict[int, int], frames: int
) -> tuple[str | None, str]:
    """Why a fake that was compared gives no pieces."""
    fake, original = entries
    reasons = Counter(drop.reason for drop in drops)
    if fake.width is not None and (fake.width, fake.height) != (original.width, original.height):
        return "size_mismatch", f"{fake.width}x{fake.height}, the original {original.width}x{original.height}"
    if fake.scale not in (None, 1.0) or fake.shift not in (None, (0.0, 0.0)):
        return "size_mismatch", "its picture is scaled or shifted"
    # Without a detail: no frame of the fake shows this one, as at the end of one that lags.
    astray = sum(drop.reason == "size_mismatch" or (drop.reason == "unaligned" and bool(drop.detail)) for drop in drops)
    if astray > MOST_ASTRAY * frames:
        return (
            "unaligned",
            f"{astray} of {counted(frames, 'frame shows', 'frames show')} something else outside the faces",
        )
    if partner:
        return None, ""
    if fake.visual_change is False:
        return "no_visual_change", ""
    reason = next((name for name, _ in reasons.most_common() if name in SKIPPED), "unaligned")
    return reason, fake.error or original.error or ""


def _count(path: Path) -> int:
    """How many frames a clip has; all of them have to be there, in one size.

    Raises:
        MediaError: it cannot be read, or not whole.
    """
    count, size_wh = 0, None
    for frame in read_frames(path):
        if frame.index != count:
            raise MediaError(str(path), f"frame {count} cannot be decoded", reason="decode_error")
        if size_wh not in (None, frame.size_wh):
            raise MediaError(str(path), f"its picture changes its size at frame {count}", reason="size_mismatch")
        count, size_wh = count + 1, frame.size_wh
    return count
