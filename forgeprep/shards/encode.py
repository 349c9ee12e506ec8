"""Pictures to bytes and back, and a sample's row made ready for a shard."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import cv2
import deflate
import numpy as np
import numpy.typing as npt
from zlib_ng import zlib_ng

from forgeprep.errors import VerifyError
from forgeprep.media import guard
from forgeprep.media.claims import excess_of, size_wh
from forgeprep.schemas.columns import Column, Packing
from forgeprep.schemas.samples import MAIN

UInt8 = npt.NDArray[np.uint8]

EXTENSIONS = {"png": "png", "jpeg": "jpg", "webp": "webp"}
"""Picture format -> file name extension."""

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_GRAY, _PNG_RGB = 0, 2
_FILTER_NONE, _FILTER_UP = 0, 2
_STRATEGIES: dict[Packing, int] = {"residual": zlib_ng.Z_HUFFMAN_ONLY, "runs": zlib_ng.Z_RLE}
"""How zlib-ng packs what no row above predicts."""
_IDAT_AT = 41
"""First byte of the packed picture, where nothing stands between it and the header."""
_MOST_PACKED = 1032
"""Deflate packs no tighter; a header that says more is no reason to ask for that much memory."""


def encode_image(array: UInt8, image_format: str = "png", quality: int = 95, *, packing: Packing = "smooth") -> bytes:
    """Encode a picture. Equal pictures give equal bytes.

    Args:
        array: uint8, (H, W, 3) RGB or (H, W) gray.
        image_format: ``png`` (lossless), ``jpeg`` or ``webp`` (which stores gray as RGB).
        quality: 1 to 100 for jpeg and webp; webp is lossless at 100.
        packing: what helps PNG, see :class:`forgeprep.schemas.columns.Column`.

    Raises:
        ValueError: the array is no picture of that kind, or the format is none of the three.
    """
    if image_format not in EXTENSIONS:
        raise ValueError(f"unknown picture format {image_format!r} (known: {', '.join(EXTENSIONS)})")
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or array.size == 0 or array.shape[2:] not in ((), (3,)):
        raise ValueError(f"a picture must be uint8 (H, W) or (H, W, 3); got {array.dtype} {array.shape}")
    if image_format == "png":
        return _png(array, packing)
    if image_format == "jpeg":
        options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    else:
        # OpenCV takes a quality over 100 for WebP's lossless mode.
        options = [cv2.IMWRITE_WEBP_QUALITY, quality if quality < 100 else 101]
    picture = cv2.cvtColor(array, cv2.COLOR_RGB2BGR) if array.ndim == 3 else np.ascontiguousarray(array)
    done, data = cv2.imencode(f".{EXTENSIONS[image_format]}", picture, options)
    if not done:
        raise ValueError(f"a picture of shape {array.shape} cannot be encoded as {image_format}")
    return data.tobytes()


def decode_image(data: bytes) -> UInt8:
    """Decode a picture: uint8 (H, W, 3) RGB, or (H, W) where it was stored gray.

    Raises:
        VerifyError: the bytes are damaged, or no 8-bit picture in gray or RGB.
    """
    # Decoders fill what is missing with gray or black and say nothing.
    if not _is_whole(data):
        raise VerifyError("the picture is damaged or cut short")
    own = _own_png(data)
    if own is not None:
        return own
    wide, high = size_wh(data) or (0, 0)
    excess = f"{wide} x {high} pixels" if wide * high > guard.MAX_PIXELS else excess_of(data)
    if excess is not None:
        raise VerifyError(f"the picture claims more than it holds ({excess})")
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except (cv2.error, MemoryError):
        picture = None
    if picture is None:
        raise VerifyError("the picture does not decode")
    if picture.dtype != np.uint8 or picture.shape[2:] not in ((), (3,)):
        raise VerifyError(f"the picture is neither 8-bit gray nor RGB, but {picture.dtype} {picture.shape}")
    if picture.ndim == 3:
        picture = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    return np.asarray(picture, np.uint8)


def encode_row(row: dict[str, Any], columns: Sequence[Column], image_format: str, quality: int) -> dict[str, Any]:
    """A sample's row as it is stored: pictures as ``{"bytes": …, "path": …}``, binary values as bytes.

    Only pictures that are :attr:`Column.as_run` use ``image_format``; all others are PNG. Keys of ``row`` that are no
    column are left out.

    Raises:
        VerifyError: the row lacks a column, holds None where a sample may not, or a value that its column cannot hold.
    """
    encoded: dict[str, Any] = {}
    for column in columns:
        value = row.get(column.name)
        if value is None and not column.nullable:
            raise VerifyError(f"{row.get('sample_id')}: lacks '{column.name}', a column of the stage '{column.stage}'")
        try:
            encoded[column.name] = _stored(value, column, row, image_format, quality)
        except (ValueError, TypeError, AttributeError) as error:
            name = f"'{column.name}' of the stage '{column.stage}'"
            raise VerifyError(f"{row.get('sample_id')}: {name} cannot be encoded ({error})") from error
    return encoded


def _stored(value: Any, column: Column, row: dict[str, Any], image_format: str, quality: int) -> Any:
    if value is not None and column.kind == "image":
        chosen = image_format if column.as_run else "png"
        ending = "" if column.name == MAIN else f".{column.name}"
        data = encode_image(value, chosen, quality, packing=column.packing)
        return {"bytes": data, "path": f"{row['sample_id']}{ending}.{EXTENSIONS[chosen]}"}
    return value if value is None or column.encode is None else column.encode(value)


def _png(array: UInt8, packing: Packing) -> bytes:
    """A PNG (ISO/IEC 15948), the container written here; a picture of zeros is packed once for each shape."""
    return _pack_png(array, packing) if array.max() else _empty_png(array.shape, packing)


@lru_cache(maxsize=64)
def _empty_png(shape: tuple[int, ...], packing: Packing) -> bytes:
    return _pack_png(np.zeros(shape, np.uint8), packing)


def _pack_png(array: UInt8, packing: Packing) -> bytes:
    """What is smooth is stored as the difference to the row above and packed by libdeflate, the rest by zlib-ng.

    On a 445 x 445 crop of video libdeflate takes 3.7 ms and 314 kB; OpenCV's fastest setting of that size takes 5.9 ms.
    zlib-ng without matches saves a fifth of the time on crops of 156 to 209 pixels, but makes 10 to 20 % more bytes and
    takes 20 to 50 % longer to unpack at each epoch; at 445 pixels it saves nothing. ISA-L takes 1.9 ms, but once in
    some 20,000 pictures its bytes were others than on another try.
    """
    height, width = array.shape[:2]
    rows = np.ascontiguousarray(array).reshape(height, -1)
    filtered = np.empty((height, 1 + rows.shape[1]), np.uint8)
    if packing in _STRATEGIES:
        filtered[:, 0] = _FILTER_NONE
        filtered[:, 1:] = rows
        # The largest memory level: few blocks, whose codes cost time and bytes.
        packer = zlib_ng.compressobj(1, zlib_ng.DEFLATED, zlib_ng.MAX_WBITS, 9, _STRATEGIES[packing])
        packed: bytes | bytearray = packer.compress(filtered) + packer.flush()
    else:
        filtered[:, 0] = _FILTER_UP
        filtered[0, 1:] = rows[0]
        np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
        packed = deflate.zlib_compress(filtered, 1)
    colour = _PNG_RGB if array.ndim == 3 else _PNG_GRAY
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", packed), (b"IEND", b""))
    return _PNG_MAGIC + b"".join(_png_chunk(name, data) for name, data in chunks)


def _png_chunk(name: bytes, data: bytes | bytearray) -> bytes:
    checksum = deflate.crc32(data, deflate.crc32(name))
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)


def _own_png(data: bytes) -> UInt8 | None:
    """Decode a PNG as :func:`_png` writes it; None for any other. A third of OpenCV's time: libpng inflates by zlib."""
    if len(data) < _IDAT_AT or data[:8] != _PNG_MAGIC or data[_IDAT_AT - 4 : _IDAT_AT] != b"IDAT":
        return None
    width, height, depth, colour, *rest = struct.unpack_from(">IIBBBBB", data, 16)
    (length,) = struct.unpack_from(">I", data, _IDAT_AT - 8)
    alone = len(data) == _IDAT_AT + length + 4 + 12
    channels = {_PNG_GRAY: 1, _PNG_RGB: 3}.get(colour)
    if channels is None or depth != 8 or any(rest) or not alone:
        return None
    size = height * (1 + width * channels)
    if not 0 < size <= length * _MOST_PACKED or width * height > guard.MAX_PIXELS:
        return None
    try:
        unpacked = deflate.zlib_decompress(memoryview(data)[_IDAT_AT : _IDAT_AT + length], size)
    except deflate.DeflateError:
        return None
    if len(unpacked) != size:
        return None
    filtered = np.frombuffer(unpacked, np.uint8).reshape(height, -1)
    filters = filtered[:, 0]
    shape = (height, width, 3) if channels == 3 else (height, width)
    if not filters.any():
        return filtered[:, 1:].reshape(shape)
    if (filters == _FILTER_UP).all():
        return _sum_of_rows(filtered[:, 1:]).reshape(shape)
    return None


def _sum_of_rows(rows: UInt8) -> UInt8:
    """Each row with all above it added, modulo 256, uint8 (H, W); ``np.add.accumulate`` goes byte by byte.

    Rows of sums over 2, 4, 8 and 16 rows are made of all rows at once; then whole blocks of 16 follow from the last.
    """
    height = len(rows)
    sums, other = np.empty(rows.shape, np.uint8), np.empty(rows.shape, np.uint8)
    sums[0] = rows[0]
    np.add(rows[1:], rows[:-1], out=sums[1:])
    reach = 2
    while reach < min(16, height):
        other[:reach] = sums[:reach]
        np.add(sums[reach:], sums[:-reach], out=other[reach:])
        sums, other, reach = other, sums, 2 * reach
    for start in range(reach, height, reach):
        block = sums[start : start + reach]
        block += sums[start - reach : start - reach + len(block)]
    return sums


def _is_whole(data: bytes) -> bool:
    """Whether an encoded picture is complete; for PNG, whether every chunk has its checksum."""
    if data.startswith(_PNG_MAGIC):
        return _png_is_whole(data)
    if data.startswith(b"RIFF"):
        return len(data) >= 12 and struct.unpack_from("<I", data, 4)[0] + 8 == len(data)
    return data.startswith(b"\xff\xd8") and data.endswith(b"\xff\xd9")


def _png_is_whole(data: bytes) -> bool:
    at, name = len(_PNG_MAGIC), b""
    view = memoryview(data)
    while at + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        if end + 4 > len(data) or struct.unpack_from(">I", data, end)[0] != deflate.crc32(view[at + 4 : end]):
            return False
        at = end + 4
    return name == b"IEND" and at == len(data)
