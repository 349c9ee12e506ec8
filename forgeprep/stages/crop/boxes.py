"""Step 2 of a frame: whose faces a clip has, its own or those of the same clip at another compression.

A file's faces are kept for a while, since groups that share them stand side by side in a shard: it is searched once.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from forgeprep.errors import MediaError
from forgeprep.faces.landmarks import FramesWithFaces
from forgeprep.faces.lent import Lender, Seen, frames_with_lent_faces, lent
from forgeprep.faces.lookahead import frames_with_faces, search_again
from forgeprep.faces.search import find_faces
from forgeprep.faces.tracks import Survey
from forgeprep.media.frame_folder import is_frame_folder
from forgeprep.media.frames import Frame
from forgeprep.media.video import Learned, read_frames
from forgeprep.params.crop import CropParams
from forgeprep.schemas.clips import BOXES, Clip
from forgeprep.stages.crop.detector import detector_of

_KEPT = 16
_Key = tuple[str, int, int, str, float]
_kept: OrderedDict[_Key, Lender] = OrderedDict()


@dataclass(slots=True)
class Finder:
    """Finds the faces of one clip, or has them from elsewhere.

    Attributes:
        path: the clip.
        params: how faces are found.
        lender: whose faces it has; None where they are found on the clip.
        may_lend: whether others may come for its faces.
        found_on: the path of the file that faces are found on, relative to the dataset's root.
        refused: why another file's faces are not taken.
    """

    path: Path
    params: CropParams
    lender: Lender | None
    may_lend: bool
    found_on: str
    refused: str | None = None

    def frames(self, learned: Learned, found: Survey) -> FramesWithFaces:
        """The clip's frames with their faces, in one pass; ``found`` is complete after the last one.

        Raises:
            MediaError: the clip cannot be read.
        """
        if self.lender is not None:
            return frames_with_lent_faces(read_frames(self.path, learned), self.lender, found)
        return self._own(learned, found)

    def _own(self, learned: Learned, found: Survey) -> FramesWithFaces:
        seen = Seen()

        def frames() -> Iterator[Frame]:
            opened = read_frames(self.path, learned)
            return seen.watch(opened) if self.may_lend else opened

        yield from frames_with_faces(frames, detector_of(self.params), found)
        if self.may_lend:
            _keep(self.path, self.params, Lender(found, seen))

    def survey(self) -> Survey:
        """All faces of a clip that is read again.

        Raises:
            MediaError: the clip cannot be read.
        """
        if self.lender is not None:
            return lent(self.lender, (frame.index for frame in read_frames(self.path)))
        made = _searched(self.path, self.params)
        if self.may_lend:
            _keep(self.path, self.params, made)
        return made.survey


def finder_of(clip: Clip, root: Path, params: CropParams) -> Finder:
    """How the faces of a clip are found: as it says, unless the other file shows something else or cannot be read."""
    path, other = root / clip.path, clip.companions.get(BOXES)
    may_lend = clip.compression is not None and other is None
    own = Finder(path, params, _recall(path, params) if may_lend else None, may_lend, clip.path)
    if other is None:
        return own
    try:
        lender = _recall(root / other, params) or _keep(root / other, params, _searched(root / other, params))
    except MediaError:
        own.refused = "unreadable"
        return own
    try:
        own.refused = lender.refusal(read_frames(path), clip.frame_count)
    except MediaError:
        return own  # Whoever reads it on will find out.
    return own if own.refused else Finder(path, params, lender, False, other)


def _searched(path: Path, params: CropParams) -> Lender:
    """Find all faces of a file; raises MediaError where it cannot be read."""
    seen = Seen()
    found = find_faces(seen.watch(read_frames(path)), detector_of(params), sparse=is_frame_folder(path))
    if len(found.frames) == 1 and not found.tracks:
        found = search_again(next(read_frames(path)), detector_of(params))
    return Lender(found, seen)


def _recall(path: Path, params: CropParams) -> Lender | None:
    key = _key(path, params)
    return None if key is None else _kept.get(key)


def _keep(path: Path, params: CropParams, lender: Lender) -> Lender:
    key = _key(path, params)
    if key is not None:
        _kept[key] = lender
        while len(_kept) > _KEPT:
            _kept.popitem(last=False)
    return lender


def _key(path: Path, params: CropParams) -> _Key | None:
    """What the faces of a file follow from; None where the file is not there."""
    try:
        facts: os.stat_result = path.stat()
    except OSError:
        return None
    return str(path), facts.st_size, facts.st_mtime_ns, params.detector, params.min_face
