"""Memory that two processes share to pass frames: they are copied twice and never serialised."""

from __future__ import annotations

import mmap
import os
import tempfile
from dataclasses import replace

import numpy as np

from forgeprep.media.frames import Frame

Layout = list[tuple[int, tuple[int, ...], str]]
"""Of each plane: its first byte, shape and dtype."""

_ALIGN = 64


def new_slab() -> int:
    """The handle of an empty slab, to be passed to another process and closed."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("forgeprep")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class Slab:
    """Holds the planes of one frame; the next may be put after this one was taken."""

    def __init__(self, handle: int) -> None:
        self.handle = handle
        self.memory: mmap.mmap | None = None

    def put(self, frame: Frame) -> tuple[Frame, Layout]:
        """Copy a frame's planes in; returns the frame without them, and where they lie."""
        layout: Layout = []
        end = 0
        for plane in frame.planes:
            layout.append((end, plane.shape, plane.dtype.str))
            end += -(-plane.nbytes // _ALIGN) * _ALIGN
        if os.fstat(self.handle).st_size < end:
            os.ftruncate(self.handle, end)
        for view, plane in zip(self._views(layout, end), frame.planes, strict=True):
            np.copyto(view, plane)
        return replace(frame, planes=()), layout

    def take(self, frame: Frame, layout: Layout) -> Frame:
        """The frame with its planes, copied out."""
        start, shape, kind = layout[-1]
        end = start + int(np.prod(shape)) * np.dtype(kind).itemsize
        return replace(frame, planes=tuple(view.copy() for view in self._views(layout, end)))

    def close(self) -> None:
        """Release the memory; may be called twice."""
        self.memory = None
        if self.handle >= 0:
            os.close(self.handle)
        self.handle = -1

    def _views(self, layout: Layout, end: int) -> list[np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
        if self.memory is None or len(self.memory) < end:
            self.memory = mmap.mmap(self.handle, os.fstat(self.handle).st_size)
        return [np.ndarray(shape, kind, self.memory, start) for start, shape, kind in layout]
