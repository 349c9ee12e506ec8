"""Read a clip frame by frame in step with another one, holding few frames in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path

from forgeprep.errors import MediaError
from forgeprep.media.frames import Frame
from forgeprep.media.video import Learned, read_frames


class ForwardReader:
    """Gives the frame at an index that only grows, and frames after it.

    Attributes:
        size_wh: width and height of the frame that was read last; None before the first.
        error: why reading ended early, in words; None where it did not.
        reason: the drop reason for frames that are not there: ``past_end`` unless reading ended early.
    """

    def __init__(self, path: Path, learned: Learned | None = None) -> None:
        self.stream: Iterator[Frame] = read_frames(path, learned)
        self.held: deque[Frame] = deque()
        self.ended = False
        self.size_wh: tuple[int, int] | None = None
        self.error: str | None = None
        self.reason = "past_end"

    def at(self, index: int) -> Frame | None:
        """The frame at ``index``, or None if the file lacks it or it was passed; earlier frames are released."""
        while True:
            while self.held and self.held[0].index < index:
                self.held.popleft()
            if self.held or not self._read():
                return self.held[0] if self.held and self.held[0].index == index else None

    def ahead(self, index: int) -> Frame | None:
        """A later frame, or None if the file lacks it; frames before it are kept for :meth:`at`."""
        while (not self.held or self.held[-1].index < index) and self._read():
            pass
        return next((frame for frame in self.held if frame.index == index), None)

    def _read(self) -> bool:
        """Read one more frame into memory; False at the end."""
        if self.ended:
            return False
        try:
            self.held.append(next(self.stream))
        except StopIteration:
            self.ended = True
        except MediaError as error:
            self.ended = True
            self.error, self.reason = error.message, error.reason
        if not self.ended:
            self.size_wh = self.held[-1].size_wh
        return not self.ended

    def missing(self) -> tuple[str, str | None]:
        """Why there was no frame: a drop reason and its detail."""
        return (self.reason, self.error) if self.ended else ("decode_error", None)

    def close(self) -> None:
        """Close the decoder, and let go of what it decoded: one frame keeps the memory of all."""
        self.stream.close()  # type: ignore[attr-defined]
        self.held.clear()
