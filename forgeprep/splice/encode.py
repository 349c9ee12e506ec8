"""Frames to an H.264 file: equal frames give equal bytes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from forgeprep.ops.geometry import frame_rgb, yuv_from_rgb
from forgeprep.ops.video import Frame, UInt8
from forgeprep.shards.records import publish, storage_errors, temporary_name

_SPACES = {"bt709": 1, "bt2020": 9}
_FULL_RANGE = 2


def write_video(path: Path, frames: Iterable[Frame], *, fps: float, crf: int) -> int:
    """Write frames as H.264 in MP4, without sound, whole or not at all; returns how many.

    The planes are coded as they are; all but the first frame are brought to its colour matrix and range. A last odd row
    or column, which 4:2:0 cannot hold, is cut off. Frames follow each other at a constant rate.

    Args:
        path: the file.
        frames: of one size.
        fps: frames a second; 25 where it is 0.
        crf: x264's quality: 0 is lossless, 18 all but free of loss, 51 the worst.

    Raises:
        StorageError: the file cannot be written.
        MediaError: what reading the frames raises.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_name(path)
        try:
            count = _encode(temporary, frames, Fraction(fps or 25.0).limit_denominator(1001), crf)
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
        # x264's macroblock tree reads memory it has not set: with it, equal frames give other bytes on another try.
        options = {"crf": str(crf), "preset": "medium", "threads": "1", "x264-params": "mbtree=0"}
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            if first is None:
                first = frame
                stream.width, stream.height = (side & ~1 for side in frame.size_wh)
                stream.codec_context.colorspace = _SPACES.get(frame.matrix, 2)
                if frame.full_range:
                    stream.codec_context.color_range = _FULL_RANGE
            picture = av.VideoFrame.from_ndarray(_planes(_recoded(frame, first)), format="yuv420p")
            picture.pts, picture.time_base = count, 1 / rate
            container.mux(stream.encode(picture))
            count += 1
        container.mux(stream.encode())
    return count


def _planes(frame: Frame) -> UInt8:
    """The planes of a frame one below the other, uint8 (H * 3 / 2, W), as PyAV takes them; H and W even."""
    width, height = (side & ~1 for side in frame.size_wh)
    planes = frame.y[:height, :width], *(p[: height // 2, : width // 2] for p in (frame.u, frame.v))
    return np.concatenate([plane.reshape(-1) for plane in planes]).reshape(height * 3 // 2, width)


def _recoded(frame: Frame, like: Frame) -> Frame:
    """The frame in another one's colour matrix and range, so that a piece does not show by its colours."""
    if (frame.matrix, frame.full_range) == (like.matrix, like.full_range):
        return frame
    y, u, v = cv2.split(yuv_from_rgb(frame_rgb(frame), like.matrix, like.full_range))
    half = frame.u.shape[1], frame.u.shape[0]
    u, v = (np.asarray(cv2.resize(plane, half, interpolation=cv2.INTER_AREA), np.uint8) for plane in (u, v))
    return Frame(frame.index, frame.time_s, np.asarray(y, np.uint8), u, v, like.matrix, like.full_range)
