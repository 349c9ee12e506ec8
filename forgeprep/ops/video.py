"""Decode a video in sequence, frame by frame, its planes kept as they are; a picture is a video of one frame.

Frames are numbered by presentation order of the *packets in the file*, so a frame that the decoder loses leaves a gap
in the numbers instead of shifting all later ones.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgeprep.errors import MediaError
from forgeprep.ops import guard, outside
from forgeprep.ops.frames import Frame, cropped, squared, turned
from forgeprep.ops.pictures import check_there, is_picture, picture_facts, read_picture
from forgeprep.ops.planes import Facts, edges_of, facts_of, frame_of, orientation, pixel_aspect, siting_of
from forgeprep.reading import open_regular
from forgeprep.storage import media_source

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"})

_READ_BYTES = 1 << 18
_MOST_PIXELS_A_BYTE = 4096
"""Of a whole file: a black frame of 8K, packed as tightly as can be, is 8 KB with its container."""
_TOO_MUCH = "its decoder asks for more memory than a worker may take"
_CONTAINER = {"format_whitelist": guard.FORMATS, "protocol_whitelist": guard.PROTOCOLS}


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
        check_there(path)
        return VideoHeader(frame_count=1, fps=0.0)
    if outside.wanted():
        check_there(path)
        return VideoHeader(**outside.ask("header", path))
    with _open(path) as container:
        stream = container.streams.video[0]
        # An edit list hides frames that the container counts; PyAV tells of them from version 17 on.
        hidden = sum(entry.is_discard for entry in getattr(stream, "index_entries", ()))
        count = max(0, stream.frames - hidden)
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
    Frames are upright and have square pixels: what the file says of cropping, the shape of its pixels, mirroring and
    rotation is applied. Planes are views of the decoder's buffers: read-only.

    Raises:
        MediaError: the file is missing, empty or no video.
    """
    import av

    if outside.wanted():
        check_there(path)
        yield from outside.frames(path)
        return
    if is_picture(path):
        yield read_picture(path)
        return
    with _open(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        stream.codec_context.thread_type = "NONE"
        stream.codec_context.options = {"max_pixels": str(guard.MAX_PIXELS)}
        edges, aspect, codec = edges_of(container), pixel_aspect(stream), stream.codec_context.codec.name
        siting: tuple[float, float] | None = None
        waiting: list[int] = []
        index = -1
        for packet in _packets(container, stream, path):
            if packet.pts is not None and not packet.is_discard:
                heapq.heappush(waiting, packet.pts)
            try:
                decoded = packet.decode()
            except (av.error.FFmpegError, MemoryError) as error:
                if isinstance(error, MemoryError) and index < 0:
                    raise guard.excessive(path, _TOO_MUCH) from None
                continue
            for picture in decoded:
                siting = siting_of(picture, codec) if index < 0 else siting
                index = _next_index(index, waiting, picture.pts)
                if not picture.is_corrupt:
                    # As it is coded, the picture is cropped and its pixels have their shape; then it is turned.
                    frame = squared(cropped(frame_of(picture, index, siting), edges), aspect)
                    yield turned(frame, orientation(picture))


def read_facts(path: Path) -> Facts:
    """What a file says of its coding, and its first frame of its colours.

    Raises:
        MediaError: the file is missing, empty, no video, or none of its frames can be decoded.
    """
    import av

    if outside.wanted():
        check_there(path)
        return Facts(**outside.ask("facts", path))
    if is_picture(path):
        return picture_facts(path)
    with _open(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.options = {"max_pixels": str(guard.MAX_PIXELS)}
        edges = edges_of(container)
        for packet in _packets(container, stream, path):
            try:
                decoded = packet.decode()
            except (av.error.FFmpegError, MemoryError):
                continue
            if decoded:
                return facts_of(stream, decoded[0], edges)
    raise MediaError(str(path), "none of its frames can be decoded")


def sha256_of(path: Path) -> str | None:
    """SHA-256 of a file's bytes as hex; None if it cannot be read."""
    try:
        check_there(path)
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, MediaError):
        return None


def _open(path: Path) -> Any:
    import av

    check_there(path)
    # Titles and the like need not be UTF-8; from version 19 on PyAV bears that without being told.
    lenient: dict[str, Any] = {} if int(av.__version__.partition(".")[0]) >= 19 else {"metadata_errors": "replace"}
    try:
        container = av.open(
            media_source(path), mode="r", buffer_size=_READ_BYTES, container_options=dict(_CONTAINER), **lenient
        )
    except MemoryError:
        raise guard.excessive(path, _TOO_MUCH) from None
    except (av.error.FFmpegError, OSError, ValueError, ArithmeticError) as error:
        text = getattr(error, "strerror", None) or str(error)
        raise MediaError(str(path), f"not a video that can be opened ({text}); fetch it again") from None
    if not container.streams.video:
        container.close()
        raise MediaError(str(path), "the file has no video stream")
    if getattr(container.streams.video[0], "codec_context", None) is None:
        container.close()
        raise MediaError(str(path), "its video is coded in a way that the decoder does not know")
    coded = container.streams.video[0].codec_context
    if coded.width * coded.height > _MOST_PIXELS_A_BYTE * path.stat().st_size:
        container.close()
        raise guard.excessive(path, f"{coded.width} x {coded.height} pixels in {path.stat().st_size:,} bytes")
    return container


def _packets(container: Any, stream: Any, path: Path) -> Iterator[Any]:
    import av

    # Samples that overlap, or have no bytes, make a small file endless.
    left = 2 * path.stat().st_size + (1 << 16)
    try:
        for packet in container.demux(stream):
            left -= max(packet.size, guard.LEAST_FRAME_BYTES)
            if left < 0:
                raise guard.excessive(path, "its frames are more than its bytes")
            guard.alive(packet.size)
            yield packet
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
