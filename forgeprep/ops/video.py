"""Decode a video in sequence, frame by frame, with its planes kept in YUV; a picture is a video of one frame.

Frames are numbered by presentation order of the *packets in the file*, so a frame that the decoder loses leaves a gap
in the numbers instead of shifting all later ones.
"""

from __future__ import annotations

import hashlib
import heapq
import stat
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import PIL.Image

from forgeprep.errors import MediaError
from forgeprep.ops import guard
from forgeprep.storage import media_source

UInt8 = npt.NDArray[np.uint8]

PICTURE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"})

_READ_BYTES = 1 << 18
_AVCOL_SPC_BT709 = 1
_AVCOL_SPC_BT2020 = (9, 10)
_AVCOL_RANGE_FULL = 2


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded picture, 4:2:0.

    Attributes:
        index: position in presentation order, from 0.
        time_s: presentation time in seconds.
        y: luma, uint8 (H, W).
        u, v: chroma, uint8 (ceil(H/2), ceil(W/2)).
        matrix: ``bt601``, ``bt709`` or ``bt2020``; untagged video counts as BT.601, as FFmpeg's converters do.
        full_range: True where black is 0 and white 255, False for 16 to 235.
        rgb: uint8 (H, W, 3), only of a picture, whose colours need not be halved; the planes follow from it.
    """

    index: int
    time_s: float
    y: UInt8
    u: UInt8
    v: UInt8
    matrix: str = "bt601"
    full_range: bool = False
    rgb: UInt8 | None = None

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.y.shape[1], self.y.shape[0]


@dataclass(frozen=True, slots=True)
class VideoHeader:
    """What the container says, unverified: frames (0 if it does not say), frames per second."""

    frame_count: int
    fps: float


def read_header(path: Path) -> VideoHeader:
    """Read a video's header without decoding it.

    Raises:
        MediaError: the file is missing, empty or no video.
    """
    import av

    if is_picture(path):
        _check_there(path)
        return VideoHeader(frame_count=1, fps=0.0)
    with _open(path) as container:
        stream = container.streams.video[0]
        count = stream.frames
        rate = stream.average_rate or stream.guessed_rate
        if not count and stream.duration and stream.time_base and rate:
            count = round(float(stream.duration * stream.time_base * rate))
        if not count and container.duration and rate:
            count = round(container.duration / av.time_base * float(rate))
        if count > path.stat().st_size // guard.LEAST_FRAME_BYTES:
            raise MediaError(str(path), f"its header claims {count:,} frames, more than the file can hold")
        return VideoHeader(frame_count=int(count), fps=float(rate or 0.0))


def read_frames(path: Path) -> Iterator[Frame]:
    """Yield the frames of a video in order of presentation, decoded on the calling thread.

    A frame that cannot be decoded, that the decoder marks as damaged or that is larger than
    :data:`forgeprep.ops.guard.MAX_PIXELS` is left out; later ones keep their index.
    Display rotation is applied. Arrays may be views of the decoder's buffers: read-only.

    Raises:
        MediaError: the file is missing, empty or no video.
    """
    import av

    if is_picture(path):
        yield _picture(path)
        return
    with _open(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        stream.codec_context.thread_type = "NONE"
        stream.codec_context.options = {"max_pixels": str(guard.MAX_PIXELS)}
        waiting: list[int] = []
        index = -1
        for packet in _packets(container, stream):
            if packet.pts is not None and not packet.is_discard:
                heapq.heappush(waiting, packet.pts)
            try:
                decoded = packet.decode()
            except (av.error.FFmpegError, MemoryError):
                continue
            guard.alive()
            for picture in decoded:
                index = _next_index(index, waiting, picture.pts)
                if not picture.is_corrupt:
                    yield _planes(picture, index)


def is_picture(path: Path | PurePath) -> bool:
    """Whether a file is a still picture, by its suffix."""
    return path.suffix.lower() in PICTURE_SUFFIXES


def sha256_of(path: Path) -> str | None:
    """SHA-256 of a file's bytes as hex; None if it cannot be read."""
    try:
        _check_there(path)
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, MediaError):
        return None


def _open(path: Path) -> Any:
    import av

    _check_there(path)
    # Titles and the like need not be UTF-8; from version 19 on PyAV bears that without being told.
    lenient: dict[str, Any] = {} if int(av.__version__.partition(".")[0]) >= 19 else {"metadata_errors": "replace"}
    try:
        container = av.open(media_source(path), mode="r", buffer_size=_READ_BYTES, **lenient)
    except (av.error.FFmpegError, OSError, ValueError, ArithmeticError, MemoryError) as error:
        text = getattr(error, "strerror", None) or str(error)
        raise MediaError(str(path), f"not a video that can be opened ({text}); fetch it again") from None
    if not container.streams.video:
        container.close()
        raise MediaError(str(path), "the file has no video stream")
    if getattr(container.streams.video[0], "codec_context", None) is None:
        container.close()
        raise MediaError(str(path), "its video is coded in a way that the decoder does not know")
    return container


def _check_there(path: Path) -> None:
    guard.check(path)
    try:
        status = path.stat()
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise MediaError(str(path), "no such file" if missing else f"cannot be read ({error.strerror})") from None
    # To open a named pipe is to wait for somebody who writes to it.
    if not stat.S_ISREG(status.st_mode):
        raise MediaError(str(path), "not a file")
    if status.st_size == 0:
        raise MediaError(str(path), "the file is empty; fetch it again")


def _picture(path: Path) -> Frame:
    """A still picture as a frame, turned as its EXIF data say."""
    _check_there(path)
    _check_pixels(path)
    try:
        bgr = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    except (cv2.error, OSError, MemoryError):
        bgr = None
    if bgr is None:
        raise MediaError(str(path), "not a picture that can be decoded; fetch it again")
    if min(bgr.shape[:2]) < 2:
        raise MediaError(str(path), f"a picture of {bgr.shape[1]} x {bgr.shape[0]} pixels, too small for a face")
    y, cr, cb = cv2.split(cv2.cvtColor(bgr, cv2.COLOR_BGR2YCrCb))
    half = (bgr.shape[1] + 1) // 2, (bgr.shape[0] + 1) // 2
    u, v = (np.asarray(cv2.resize(plane, half, interpolation=cv2.INTER_AREA), np.uint8) for plane in (cb, cr))
    rgb = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
    return Frame(0, 0.0, np.asarray(y, np.uint8), u, v, "bt601", full_range=True, rgb=rgb)


def _check_pixels(path: Path) -> None:
    """Refuse a picture whose header asks for too much, before a decoder does as it says."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with path.open("rb") as file, PIL.Image.open(file) as picture:
                width, height = picture.size
    except PIL.Image.DecompressionBombError:
        width = height = guard.MAX_PIXELS
    except (OSError, ValueError, SyntaxError, TypeError, OverflowError):
        return
    if width * height > guard.MAX_PIXELS:
        raise MediaError(str(path), f"more than {guard.MAX_PIXELS:,} pixels: too large to decode")


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    import av

    try:
        yield from container.demux(stream)
    except av.error.FFmpegError:
        # A file that was cut short: what came before is good, the rest shows up as missing frames.
        return


def _next_index(index: int, waiting: list[int], pts: int | None) -> int:
    """The index of the picture with this time stamp: one more than the last, plus the pictures lost between."""
    if pts is None or not waiting or pts not in waiting:
        return index + 1
    while waiting:
        index += 1
        if heapq.heappop(waiting) == pts:
            break
    return index


def _planes(picture: Any, index: int) -> Frame:
    if picture.format.name not in ("yuv420p", "yuvj420p"):
        picture = _to_420(picture)
    width, height = picture.width, picture.height
    half = (height + 1) // 2, (width + 1) // 2
    y, u, v = (
        np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:rows, :columns]
        for plane, (rows, columns) in zip(picture.planes, ((height, width), half, half), strict=True)
    )
    quarter_turns = round(picture.rotation / 90) % 4
    if quarter_turns:
        y, u, v = (np.ascontiguousarray(np.rot90(plane, quarter_turns)) for plane in (y, u, v))
    space = int(picture.colorspace)
    matrix = "bt709" if space == _AVCOL_SPC_BT709 else "bt2020" if space in _AVCOL_SPC_BT2020 else "bt601"
    full = int(picture.color_range) == _AVCOL_RANGE_FULL or picture.format.name == "yuvj420p"
    return Frame(index, float(picture.time or 0.0), y, u, v, matrix, full)


def _to_420(picture: Any) -> Any:
    """Other pixel formats (4:4:4, 4:2:2, 10 bit, RGB) as 8-bit 4:2:0, by FFmpeg's scaler."""
    converted = picture.reformat(format="yuv420p")
    converted.pts, converted.time_base = picture.pts, picture.time_base
    return converted
