"""The faces of each frame of a clip, in one pass, as early as they are certain.

A face's box at a frame depends on key frames around it, and that it is a face on its first detections: so a few dozen
frames are held until all that matters has been seen. Where they would take too much memory, the rest of the clip is
searched first and read a second time; the faces are the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace

from forgeprep.faces.detectors import FaceDetector
from forgeprep.faces.search import Search, find_faces
from forgeprep.faces.tracks import Face, Survey
from forgeprep.media.frames import Frame

HELD_BYTES = 128 << 20
"""Frames that wait for their faces take no more than this; most often they are 17."""

Frames = Callable[[], Iterator[Frame]]
"""Opens a clip again and yields its frames."""


def frames_with_faces(clip: Frames, detector: FaceDetector, found: Survey) -> Iterator[tuple[Frame, list[Face]]]:
    """Yield a clip's frames with their faces, sorted by track.

    Args:
        clip: opens the clip; called twice where too much would have to be held.
        detector: the face detector.
        found: an empty survey, which is complete when all frames have come.

    Raises:
        MediaError: the clip cannot be read.
    """
    search = Search(detector, found)
    held: deque[Frame] = deque()
    size, last = 0, -1
    frames = clip()
    for frame in frames:
        search.push(frame)
        held.append(frame)
        size += frame.nbytes
        until = search.settled()
        while held and held[0].index < until:
            done = held.popleft()
            size, last = size - done.nbytes, done.index
            yield done, search.faces_at(done.index)
        # One is held in any case: a large picture is no reason to read it again.
        if size > HELD_BYTES and len(held) > 1:
            break
    if len(held) > 1 and size > HELD_BYTES:
        held.clear()
        for frame in frames:
            search.push(frame)
        search.finish()
        yield from ((frame, found.faces_at(frame.index)) for frame in clip() if frame.index > last)
        return
    search.finish()
    if len(found.frames) == 1 and not found.tracks:
        found.found = search_again(held[0], detector).found
    yield from ((frame, found.faces_at(frame.index)) for frame in held)


def search_again(picture: Frame, detector: FaceDetector) -> Survey:
    """Search a picture without a face once more, at a third of the usual lines, which averages noise out.

    Of heavily perturbed pictures whose face was missed, real and fake alike, that finds most.
    """
    lines = detector.coarse // 3
    return find_faces(iter([picture]), replace(detector, coarse=lines, fine=lines))
