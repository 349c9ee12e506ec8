"""Decode a video in sequence, frame by frame, its planes kept as they are; a picture is a video of one frame.

Frames are numbered as they are shown, see :mod:`forgeprep.media.numbering`; one that the decoder loses leaves a gap in
the numbers instead of shifting all later ones. Of several streams the one with the most pixels is the video; cover art
does not count. A folder of numbered pictures is a video too, see :mod:`forgeprep.media.frame_folder`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgeprep.errors import MediaError
from forgeprep.io.safe_files import open_regular
from forgeprep.io.storage import media_source
from forgeprep.media import guard
from forgeprep.media import process as media_process
from forgeprep.media.frame_folder import (
    frame_folder_facts,
    frame_folder_sha256,
    is_frame_folder,
    pictures_in,
    read_frame_folder,
)
from forgeprep.media.frames import Frame, cropped, squared, turned
from forgeprep.media.numbering import Numbering, is_shown, stamps_rise
from forgeprep.media.pictures import check_there, is_picture, picture_facts, read_picture
from forgeprep.media.planes import Facts, edges_of, facts_of, frame_of, orientation, pixel_aspect, siting_of

VIDEO_SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm", ".wmv"}
)

_READ_BYTES = 1 << 18
_MOST_PIXELS_A_BYTE = 4096
"""Limit of a frame's pixels for each byte of the file: the smallest file of a black 8K frame is 8 KB."""
_TOO_MUCH = "its decoder asks for more memory than a worker may take"
_CONTAINER = {"format_whitelist": guard.FORMATS, "protocol_whitelist": guard.PROTOCOLS}


@dataclass(frozen=True, slots=True)
class VideoHeader:
    """What the container says, unverified: frames (0 if it does not say), frames per second."""

    frame_count: int
    fps: float


@dataclass(slots=True)
class Learned:
    """Facts of a file that are found while its frames are read, so that no file is opened twice.

    Attributes:
        fps: frames per second, known with the first frame; 0 where the header does not say.
        facts: what the file says of its coding, known with the first frame.
        sha256: of its bytes as hex, known after the last frame; None too where reading ended before that.
    """

    fps: float | None = None
    facts: Facts | None = None
    sha256: str | None = None


def read_rate(path: Path) -> float:
    """Frames per second, 0 where the header does not say; raises MediaError as :func:`read_header` does."""
    return read_header(path, count=False).fps


def read_header(path: Path, *, count: bool = True) -> VideoHeader:
    """Read a video's header without decoding it.

    Where the container has no table of its frames, they are counted, which reads the whole file. Without ``count``
    their number is then 0.

    Raises:
        MediaError: the file is missing, empty or no video.
    """
    if is_picture(path):
        check_there(path)
        return VideoHeader(frame_count=1, fps=0.0)
    if is_frame_folder(path):
        return VideoHeader(frame_count=len(pictures_in(path)), fps=0.0)
    if media_process.in_use():
        check_there(path)
        return VideoHeader(**media_process.ask("header" if count else "rate", path))
    with _open(path) as container:
        stream = video_stream(container)
        rate = stream.average_rate or stream.guessed_rate
        # Other containers have no table of their frames: their number is a guess, or missing.
        told = container.format.name == "avi" or "mp4" in container.format.name
        # An edit list hides frames that the container counts; PyAV tells of them from version 17 on.
        hidden = sum(entry.is_discard for entry in getattr(stream, "index_entries", ()))
        frames = max(0, stream.frames - hidden) if told else 0
        # The header of an interrupted recording may claim a billion frames.
        if frames > path.stat().st_size // guard.LEAST_FRAME_BYTES:
            frames = 0
        if not frames and count:
            frames = _count_packets(container, stream, path)
        return VideoHeader(frame_count=frames, fps=float(rate or 0.0))


@dataclass(frozen=True, slots=True)
class Times:
    """When the frames of a video are shown.

    Attributes:
        seconds: of each frame, from the first one on, rising.
        told: whether the file itself tells; else they follow from its frames per second.
    """

    seconds: list[float]
    told: bool


def read_times(path: Path) -> Times:
    """When each frame of a video is shown, by its packets: all is read, nothing decoded.

    Raises:
        MediaError: the file is missing, empty or no video.
    """
    if is_picture(path) or is_frame_folder(path):
        return Times([0.0] * read_header(path).frame_count, told=False)
    if media_process.in_use():
        check_there(path)
        return Times(**media_process.ask("times", path))
    with _open(path) as container:
        stream = video_stream(container)
        codec = stream.codec_context.codec.name
        stamps = [packet.pts for packet in _packets(container, stream, path) if is_shown(packet, codec)]
        known = sorted(stamp for stamp in stamps if stamp is not None)
        if len(set(known)) == len(stamps) and known:
            return Times([float((stamp - known[0]) * stream.time_base) for stamp in known], told=True)
        step = 1 / float(stream.average_rate or stream.guessed_rate or 25)
        return Times([number * step for number in range(len(stamps))], told=False)


def read_frames(path: Path, learned: Learned | None = None) -> Iterator[Frame]:
    """Yield the frames of a video in order of presentation, decoded on the calling thread; fills in ``learned``.

    A frame that cannot be decoded, that the decoder marks as damaged or that is larger than
    :data:`forgeprep.media.guard.MAX_PIXELS` is left out; later ones keep their index.
    Frames are upright and have square pixels: what the file says of cropping, the shape of its pixels, mirroring and
    rotation is applied. Planes are views of the decoder's buffers: read-only.

    Raises:
        MediaError: the file is missing, empty or no video.
    """
    if is_picture(path):
        yield read_picture(path)
        return
    if is_frame_folder(path):
        yield from read_frame_folder(path)
        return
    if media_process.in_use():
        check_there(path)
        yield from media_process.frames(path, learned)
        return
    told = learned or Learned()
    with _open(path) as container:
        stream = video_stream(container)
        _on_this_thread(stream)
        edges, aspect, codec = edges_of(container, stream), pixel_aspect(stream), stream.codec_context.codec.name
        rate = stream.average_rate or stream.guessed_rate
        told.fps = float(rate or 0.0)
        numbering = Numbering(lambda: stamps_rise(path, _stamps), 1 / float(rate or 25))
        siting: tuple[float, float] | None = None
        turn, size = (False, False, False), (0, 0)
        for packet in _packets(container, stream, path):
            if is_shown(packet, codec):
                numbering.packet(packet.pts)
            for picture in _decoded(packet, path, first=numbering.index < 0):
                if numbering.index < 0:
                    siting, told.facts = siting_of(picture, codec), facts_of(stream, picture, edges)
                if size != (picture.width, picture.height):
                    # Not for every picture: PyAV's answer keeps the picture in memory until garbage is collected.
                    turn, size = orientation(picture), (picture.width, picture.height)
                index, time_s = numbering.picture(picture.pts, picture.time)
                if not picture.is_corrupt:
                    # Cropping and the shape of pixels refer to the coded picture, so turning comes last.
                    frame = squared(cropped(frame_of(picture, index, time_s, siting), edges), aspect)
                    yield turned(frame, turn)
    if learned is not None:
        # The file is still in the system's cache.
        learned.sha256 = sha256_of(path)


def video_stream(container: Any) -> Any:
    """The stream that is the video: the one with the most pixels; None where there is none, or cover art only."""
    from av.stream import Disposition

    still = Disposition.attached_pic | Disposition.timed_thumbnails
    moving = [stream for stream in container.streams.video if not stream.disposition & still]
    return max(moving, key=_rank, default=None)


def _rank(stream: Any) -> tuple[bool, int, int]:
    coded = getattr(stream, "codec_context", None)
    return stream.frames != 1, (-1 if coded is None else coded.width * coded.height), -stream.index


def read_facts(path: Path) -> Facts:
    """What a file says of its coding, and its first frame of its colours.

    Raises:
        MediaError: the file is missing, empty, no video, or none of its frames can be decoded.
    """
    if is_picture(path):
        return picture_facts(path)
    if is_frame_folder(path):
        return frame_folder_facts(path)
    if media_process.in_use():
        check_there(path)
        return Facts(**media_process.ask("facts", path))
    with _open(path) as container:
        stream = video_stream(container)
        _on_this_thread(stream)
        edges = edges_of(container, stream)
        for packet in _packets(container, stream, path):
            for picture in _decoded(packet, path, first=True):
                return facts_of(stream, picture, edges)
    raise MediaError(str(path), "none of its frames can be decoded")


def sha256_of(path: Path) -> str | None:
    """SHA-256 of a file's bytes as hex, or of all the pictures of a folder; None if it cannot be read."""
    try:
        if is_frame_folder(path):
            return frame_folder_sha256(path)
        check_there(path)
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, MediaError):
        return None


def _open(path: Path) -> Any:
    import av

    check_there(path)
    # Titles and the like need not be UTF-8; from version 19 on PyAV accepts that by default.
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
    if video_stream(container) is None:
        container.close()
        raise MediaError(str(path), "the file has no video stream")
    if getattr(video_stream(container), "codec_context", None) is None:
        container.close()
        raise MediaError(str(path), "its video is coded in a way that the decoder does not know")
    coded = video_stream(container).codec_context
    if coded.width * coded.height > _MOST_PIXELS_A_BYTE * path.stat().st_size:
        container.close()
        raise guard.excessive(path, f"{coded.width} x {coded.height} pixels in {path.stat().st_size:,} bytes")
    return container


def _packets(container: Any, stream: Any, path: Path) -> Iterator[Any]:
    import av

    # Overlapping or empty samples can make a small file endless.
    left = 2 * path.stat().st_size + (1 << 16)
    try:
        for packet in container.demux(stream):
            left -= max(packet.size, guard.LEAST_FRAME_BYTES)
            if left < 0:
                raise guard.excessive(path, "its frames are more than its bytes")
            guard.alive(packet.size)
            yield packet
    except av.error.FFmpegError:
        # A truncated file: the frames so far are good, the others count as missing.
        return


def _on_this_thread(stream: Any) -> None:
    stream.codec_context.thread_count = 1
    stream.codec_context.thread_type = "NONE"
    stream.codec_context.options = {"max_pixels": str(guard.MAX_PIXELS)}


def _decoded(packet: Any, path: Path, *, first: bool) -> list[Any]:
    """The pictures that come out of the decoder at a packet; none where it cannot be decoded.

    If the ``first`` picture asks for too much memory, all will; a later one that does is damaged.
    """
    import av

    try:
        pictures: list[Any] = packet.decode()
    except MemoryError:
        if first:
            raise guard.excessive(path, _TOO_MUCH) from None
        return []
    except av.error.FFmpegError:
        return []
    return pictures


def _count_packets(container: Any, stream: Any, path: Path) -> int:
    """How many pictures a stream shows, by its packets: all is read, nothing decoded."""
    codec = stream.codec_context.codec.name
    return sum(is_shown(packet, codec) for packet in _packets(container, stream, path))


def _stamps(path: Path) -> list[int | None]:
    """The time stamps of the pictures, as they come out of the decoder."""
    with _open(path) as container:
        stream = video_stream(container)
        _on_this_thread(stream)
        return [
            picture.pts
            for packet in _packets(container, stream, path)
            for picture in _decoded(packet, path, first=False)
        ]
