"""Frames to an H.264 file: equal frames give equal bytes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from forgeprep.io.atomic import publish, storage_errors, temporary_name
from forgeprep.io.storage import is_remote, upload
from forgeprep.media.colour import yuv_from_rgb
from forgeprep.media.frames import Frame
from forgeprep.media.regions import frame_rgb

_SPACES = {"bt709": 1, "bt2020": 9}
_FULL_RANGE = 2
_FORMATS = {
    ("yuv", (1, 1), 8): "yuv420p", ("yuv", (1, 0), 8): "yuv422p", ("yuv", (0, 0), 8): "yuv444p",
    ("yuv", (1, 1), 10): "yuv420p10le", ("yuv", (1, 0), 10): "yuv422p10le", ("yuv", (0, 0), 10): "yuv444p10le",
    ("gray", (0, 0), 8): "gray",
}  # fmt: skip
"""Formats that x264 codes without conversion: model, halvings of chroma and bits -> FFmpeg's pixel format."""


def write_video(path: Path, frames: Iterable[Frame], *, fps: float, crf: int) -> int:
    """Write frames as H.264 in MP4, without sound, whole or not at all; returns how many.

    The planes are coded as they are (4:2:0, 4:2:2, 4:4:4, 8 or 10 bits, gray; others as 4:4:4); all but the first frame
    are brought to its format, colour matrix and range. A last odd row or column, which halved chroma cannot hold, is
    cut off. Frames follow each other at a constant rate.

    Args:
        path: the file.
        frames: of one size.
        fps: frames a second; 25 where it is 0.
        crf: x264's quality: 0 is lossless, 18 all but free of loss, 51 the worst.

    Raises:
        StorageError: the file cannot be written.
        MediaError: what reading the frames raises.
    """
    rate = Fraction(fps or 25.0).limit_denominator(1001)
    with storage_errors(path):
        if is_remote(path):
            # A codec seeks back to write the index; nothing can be changed there once it is uploaded.
            with tempfile.TemporaryDirectory(prefix="forgeprep-") as folder:
                local = Path(folder) / path.name
                count = _encode(local, frames, rate, crf)
                with local.open("rb") as file:
                    upload(file, path)
            return count
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_name(path)
        try:
            count = _encode(temporary, frames, rate, crf)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            publish(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    return count


def _encode(path: Path, frames: Iterable[Frame], rate: Fraction, crf: int) -> int:
    first: Frame | None = None
    count = 0
    with av.open(str(path), "w", format="mp4") as container:
        # x264's macroblock tree reads memory that it has not set: equal frames would give different bytes.
        options = {"crf": str(crf), "preset": "medium", "threads": "1", "x264-params": "mbtree=0"}
        stream = container.add_stream("libx264", rate=rate, options=options)
        for frame in frames:
            if first is None:
                first = _codable(frame)
                stream.pix_fmt = _FORMATS[first.model, first.shift, first.bits]
                stream.width, stream.height = _even(first)
                stream.codec_context.colorspace = _SPACES.get(first.matrix, 2)
                if first.full_range:
                    stream.codec_context.color_range = _FULL_RANGE
            picture = _picture(_recoded(_codable(frame), first), stream)
            picture.pts, picture.time_base = count, 1 / rate
            container.mux(stream.encode(picture))
            count += 1
        container.mux(stream.encode())
    return count


def _even(frame: Frame) -> tuple[int, int]:
    """Width and height without the last column or row that halved chroma cannot hold."""
    return frame.size_wh[0] >> frame.shift[0] << frame.shift[0], frame.size_wh[1] >> frame.shift[1] << frame.shift[1]


def _codable(frame: Frame) -> Frame:
    """The frame itself where x264 codes its planes without conversion; else the frame as 4:4:4 of 8 bits."""
    if (frame.model, frame.shift, frame.bits) in _FORMATS:
        return frame
    return _as_yuv(frame, frame.matrix, frame.full_range)


def _as_yuv(frame: Frame, matrix: str, full_range: bool) -> Frame:
    planes = cv2.split(yuv_from_rgb(frame_rgb(frame), matrix, full_range))
    return replace(frame, planes=tuple(planes), model="yuv", shift=(0, 0), bits=8, matrix=matrix, full_range=full_range)


def _picture(frame: Frame, stream: Any) -> av.VideoFrame:
    """The planes as a picture of PyAV."""
    picture = av.VideoFrame(stream.width, stream.height, stream.pix_fmt)
    for number, (plane, own) in enumerate(zip(frame.planes, picture.planes, strict=True)):
        sx, sy = frame.shift if number else (0, 0)
        part = np.ascontiguousarray(plane[: stream.height >> sy, : stream.width >> sx])
        rows = np.zeros((part.shape[0], own.line_size), np.uint8)
        rows[:, : part.shape[1] * part.itemsize] = part.view(np.uint8).reshape(part.shape[0], -1)
        own.update(rows.tobytes())
    return picture


def _recoded(frame: Frame, like: Frame) -> Frame:
    """The frame in another one's format, colour matrix and range, so that a piece does not show by its colours."""
    told = (frame.model, frame.shift, frame.bits, frame.matrix, frame.full_range)
    if told == (like.model, like.shift, like.bits, like.matrix, like.full_range):
        return frame
    full = _as_yuv(frame, like.matrix, like.full_range)
    (width, height), (sx, sy) = frame.size_wh, like.shift
    sizes = [(width, height), *[(-(-width >> sx), -(-height >> sy))] * 2]
    planes = [cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p, size in zip(full.planes, sizes, strict=False)]
    wide = [np.left_shift(p, like.bits - 8, dtype=np.uint16) if like.bits > 8 else p for p in planes]
    return replace(full, planes=tuple(wide[: len(like.planes)]), model=like.model, shift=like.shift, bits=like.bits)
