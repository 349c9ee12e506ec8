"""Compare the size that a picture's header claims with its bytes, before a decoder takes memory for it."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path

import PIL.Image

from forgeprep.io.safe_files import open_regular
from forgeprep.media import guard

MAX_PICTURE_BYTES = 1 << 29
"""Limit of a picture file: 67 million pixels of 16-bit RGB are 400 MB unpacked."""
_SLACK = 1 << 26
"""A chunk may claim so many bytes more than the file holds: of a truncated file a decoder reads what is there."""
_MOST_PACKED = 1032
"""The highest compression ratio of Deflate."""
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_JPEG_FRAMES = (0xC2, 0xC6, 0xCA, 0xCE)
"""Markers of the frame headers of progressive JPEGs."""
_MOST_SCANNED = 1 << 31
"""Limit of pixels times scans: 32 scans of the largest picture. Encoders write about ten."""
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


def picture_bytes(path: Path) -> bytes:
    """A picture file's bytes, after a check that they can hold what the header claims.

    Raises:
        MediaError: they cannot.
        OSError: the file cannot be read.
    """
    with open_regular(path) as file:
        data = file.read(MAX_PICTURE_BYTES + 1)
    if len(data) > MAX_PICTURE_BYTES:
        raise guard.excessive(path, f"more than {MAX_PICTURE_BYTES >> 20} MB for one picture")
    excess = excess_of(data)
    if excess is not None:
        raise guard.excessive(path, excess)
    return data


def excess_of(data: bytes) -> str | None:
    """What a picture claims beyond what its bytes can hold, in words; None if nothing."""
    if data.startswith(_PNG_MAGIC):
        return _excess_of_png(data)
    if data.startswith(b"\xff\xd8"):
        return _excess_of_jpeg(data)
    if data.startswith(b"RIFF"):
        return _excess_of_riff(data)
    return None


def size_wh(data: bytes) -> tuple[int, int] | None:
    """Width and height from a picture's header; None where it cannot be read."""
    try:
        with PIL.Image.open(io.BytesIO(data)) as picture:
            return picture.size
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning):
        return guard.MAX_PIXELS, guard.MAX_PIXELS
    except Exception:  # Pillow raises many kinds at damaged headers; the decoder will say what is wrong
        return None


def _excess_of_png(data: bytes) -> str | None:
    packed = 0
    for name, at, length in _png_chunks(data):
        if length > len(data) - at + _SLACK:
            return f"a chunk of {length:,} bytes in {len(data):,}"
        if name in (b"IDAT", b"fdAT"):
            packed += min(length, len(data) - at)
        elif length > _SLACK:
            return f"a chunk of {length:,} bytes beside the picture"
    if data[12:16] == b"IHDR" and len(data) >= 29:
        width, height, bits, colour = struct.unpack_from(">IIBB", data, 16)
        wanted = width * height * _PNG_CHANNELS.get(colour, 1) * bits // 8
        if wanted > packed * _MOST_PACKED + _SLACK:
            return f"{width} x {height} pixels in {packed:,} bytes"
    return None


def _excess_of_jpeg(data: bytes) -> str | None:
    """Each scan of a progressive JPEG is a pass over the whole picture, however few its bytes."""
    frame = _progressive_frame(data)
    if frame is not None:
        height, width = struct.unpack_from(">HH", data, frame + 5)
        scans = data.count(b"\xff\xda")
        if scans * height * width > _MOST_SCANNED:
            return f"{scans:,} scans of {width} x {height} pixels in {len(data):,} bytes"
    return None


def _progressive_frame(data: bytes) -> int | None:
    """The position of a progressive JPEG's frame header; None in any other JPEG."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        if data[at + 1] in _JPEG_FRAMES:
            return at
        at += 1 if data[at + 1] == 0xFF else 2 + struct.unpack_from(">H", data, at + 2)[0]
    return None


def _excess_of_riff(data: bytes) -> str | None:
    lengths = (length for _, at, length in _riff_chunks(data) if length > len(data) - at + _SLACK)
    worst = next(lengths, None)
    return None if worst is None else f"a chunk of {worst:,} bytes in {len(data):,}"


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, first byte and claimed length of each chunk."""
    at = len(_PNG_MAGIC)
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        yield name, at + 8, length
        at += length + 12


def _riff_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    at = 12
    while at + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, at)
        yield name, at + 8, length
        at += 8 + length + (length & 1)
