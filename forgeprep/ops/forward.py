"""Read a clip beside another one: forward, but with the last few frames at hand."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path

from forgeprep.errors import MediaError
from forgeprep.ops.frames import Frame
from forgeprep.ops.video import Learned, read_frames

KEPT = 5
"""So many frames are kept: the wanted one with two neighbours on each side."""


class ForwardReader:
    """Access forward: a frame at an index that only grows, or one of the last few before it."""

    def __init__(self, path: Path, learned: Learned | None = None) -> None:
        self.stream: Iterator[Frame] = read_frames(path, learned)
        self.recent: deque[Frame] = deque(maxlen=KEPT)
        self.ended = False
        self.error: str | None = None
        self.reason = "past_end"

    @property
    def last(self) -> Frame | None:
        """The frame that was read last."""
        return self.recent[-1] if self.recent else None

    def at(self, index: int) -> Frame | None:
        """The frame at ``index``; None if it is not in the file, or too far back."""
        while not self.ended and (self.last is None or self.last.index < index):
            try:
                self.recent.append(next(self.stream))
            except StopIteration:
                self.ended = True
            except MediaError as error:
                self.ended = True
                self.error, self.reason = error.message, error.reason
        return next((frame for frame in self.recent if frame.index == index), None)

    def missing(self) -> tuple[str, str | None]:
        """Why there was no frame: a drop reason and its detail."""
        return (self.reason, self.error) if self.ended else ("decode_error", None)

    def close(self) -> None:
        """Let the decoder go."""
        self.stream.close()  # type: ignore[attr-defined]
