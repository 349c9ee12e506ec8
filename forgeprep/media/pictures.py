"""Still pictures as frames: colours unchanged, turned upright by their EXIF data."""

from __future__ import annotations

import stat
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath

import cv2
import numpy as np
import PIL.Image
import PIL.ImageOps

from forgeprep.errors import MediaError
from forgeprep.io.safe_files import open_regular
from forgeprep.media import guard
from forgeprep.media import process as media_process
from forgeprep.media.claims import picture_bytes
from forgeprep.media.frames import Frame, UInt8
from forgeprep.media.planes import Facts

PICTURE_SUFFIXES = frozenset(
    {".avif", ".bmp", ".heic", ".heif", ".jfif", ".jp2", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)

_EXIF_ORIENTATION = 274
_UNREADABLE = (OSError, ValueError, SyntaxError, TypeError, OverflowError, MemoryError, RuntimeError, struct.error)
"""Exceptions that Pillow and its plug-ins raise at a damaged file."""
_TURNS = {
    1: (0, False),
    2: (0, True),
    3: (180, False),
    4: (180, True),
    5: (270, True),
    6: (90, False),
    7: (90, True),
    8: (270, False),
}
"""EXIF orientation -> clockwise degrees, and whether the picture is mirrored before it is turned."""


def is_picture(path: Path | PurePath) -> bool:
    """Whether a file is a still picture, by its suffix."""
    return path.suffix.lower() in PICTURE_SUFFIXES


def read_picture(path: Path) -> Frame:
    """A still picture as an RGB frame of 8 or 16 bits; transparency is ignored.

    Raises:
        MediaError: the file is missing, too large, or cannot be decoded.
    """
    check_there(path)
    if media_process.in_use():
        frame: Frame = next(media_process.frames(path))
        return frame
    _check_pixels(path)
    bgr = None
    try:
        data = np.frombuffer(picture_bytes(path), np.uint8)
        bgr = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
        if bgr is not None and bgr.dtype not in (np.uint8, np.uint16):
            bgr = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except MemoryError:
        raise guard.excessive(path, "its decoder asks for more memory than a worker may take") from None
    except (cv2.error, OSError) as error:
        if getattr(error, "code", 0) == cv2.Error.StsNoMem:
            raise guard.excessive(path, "its decoder asks for more memory than a worker may take") from None
        bgr = None
    if bgr is None:
        bgr = _read_by_pillow(path)
    if bgr is None:
        raise MediaError(str(path), "not a picture that can be decoded; fetch it again")
    if min(bgr.shape[:2]) < 2:
        raise MediaError(str(path), f"a picture of {bgr.shape[1]} x {bgr.shape[0]} pixels, too small for a face")
    planes = tuple(bgr[..., channel] for channel in (2, 1, 0))
    bits = 8 * bgr.dtype.itemsize
    return Frame(0, 0.0, planes, model="rgb", shift=(0, 0), bits=bits, full_range=True, siting=(0.0, 0.0))


def _read_by_pillow(path: Path) -> UInt8 | None:
    """A picture that OpenCV cannot read, such as HEIC, as upright BGR of 8 bits; None if it is no picture."""
    try:
        with _opened(path) as picture:
            upright = PIL.ImageOps.exif_transpose(picture).convert("RGB")
            return np.asarray(upright, np.uint8)[..., ::-1]
    except (*_UNREADABLE, PIL.Image.DecompressionBombError):
        return None


@contextmanager
def _opened(path: Path) -> Iterator[PIL.Image.Image]:
    """A picture's header, read by Pillow with its warnings off."""
    import pi_heif

    pi_heif.register_heif_opener()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with open_regular(path) as file, PIL.Image.open(file) as picture:
            yield picture


def picture_facts(path: Path) -> Facts:
    """What a picture's header says; raises MediaError as :func:`read_picture` does."""
    check_there(path)
    if media_process.in_use():
        return Facts(**media_process.ask("facts", path))
    try:
        with _opened(path) as picture:
            codec, mode = str(picture.format).lower(), picture.mode
            turn = picture.info.get("original_orientation") or picture.getexif().get(_EXIF_ORIENTATION, 1)
            rotation, mirrored = _TURNS.get(turn, (0, False))
    except (*_UNREADABLE, PIL.Image.DecompressionBombError):
        raise MediaError(str(path), "not a picture that can be decoded; fetch it again") from None
    return Facts(codec=codec, pixel_format=mode, color_range="full", rotation=rotation, mirrored=mirrored)


def check_there(path: Path) -> None:
    """Raise MediaError unless the path is a file with something in it."""
    guard.check(path)
    try:
        status = path.stat()
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise MediaError(str(path), "no such file" if missing else f"cannot be read ({error.strerror})") from None
    # Opening a named pipe would wait for a writer.
    if not stat.S_ISREG(status.st_mode):
        raise MediaError(str(path), "not a file")
    if status.st_size == 0:
        raise MediaError(str(path), "the file is empty; fetch it again")
    if guard.is_hollow(path, status):
        raise guard.excessive(path, f"{status.st_size:,} bytes, nearly all of them holes")


def _check_pixels(path: Path) -> None:
    """Refuse a picture whose header claims too many pixels, before a decoder takes memory for them."""
    try:
        with _opened(path) as picture:
            width, height = picture.size
    except PIL.Image.DecompressionBombError:
        width = height = guard.MAX_PIXELS
    except _UNREADABLE:
        return
    if width * height > guard.MAX_PIXELS:
        raise MediaError(str(path), f"more than {guard.MAX_PIXELS:,} pixels: too large to decode")
