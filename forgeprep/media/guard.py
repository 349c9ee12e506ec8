"""What keeps a hostile file from taking its process along: size limits, a clock, and a list of files to leave alone."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import resource
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from forgeprep.errors import MediaError

MAX_PIXELS = 1 << 26
"""Larger pictures are refused before memory is asked for: 67 million, twice those of an 8K video."""
LEAST_FRAME_BYTES = 8
"""No codec packs a frame tighter; a header that claims more frames than the file can hold is wrong."""
MEMORY = 2 << 30
"""Bytes that a process which reads media may take beyond what it has at its start, unless the user says otherwise."""
TIMEOUT_S = 600.0
"""So long a process may show no progress, unless the user says otherwise."""
FORMATS = (
    "matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,ivf,h264,hevc,av1,obu,m4v,h263,mjpeg,"
    "yuv4mpegpipe,nut,mxf,rm,dv,vc1,vvc,gif,apng,png_pipe,jpeg_pipe,webp_pipe,bmp_pipe,tiff_pipe,gif_pipe,"
    "jpegxl_pipe,jpegxl_anim"
)
"""FFmpeg's names of the containers that are opened: each is one file. Playlists and the like open others."""
PROTOCOLS = "file"

_LEAST_BYTES_A_SECOND = 100
"""A clip from whose bytes less is decoded makes no progress, though it may yield frames without end."""

_condemned: dict[str, str] = {}
_limit: float | None = None
_wound = 0.0
_credit = 0
_ceiling: int | None = None


def condemn(files: Mapping[Path, str]) -> None:
    """From now on these files are not opened in this process; the text says why."""
    _condemned.update({str(path): why for path, why in files.items()})


def check(path: Path) -> None:
    """Raise MediaError for a condemned file."""
    why = _condemned.get(str(path))
    if why is not None:
        raise MediaError(str(path), why, reason="worker_died")


def excessive(path: Path, what: str) -> MediaError:
    """The error for a file that asks for more memory or time than its bytes are worth."""
    return MediaError(str(path), f"claims more than it holds ({what}); fetch it again")


@contextmanager
def clock(seconds: float | None) -> Iterator[None]:
    """End this process if :func:`alive` is not called for so long; None stops the clock.

    The clock is C, so it works while native code holds Python's lock; nothing but the end of the process helps then.
    """
    before = _limit
    _set(seconds)
    try:
        yield
    finally:
        _set(before)


def alive(count: int | None = None) -> None:
    """Say that work goes on; cheap enough to be called for every frame.

    ``count`` is how many bytes of a file were decoded since the last call: frames of nothing are no progress.
    """
    global _credit
    if _limit is None:
        return
    since = time.monotonic() - _wound
    if count is not None:
        _credit += count
        if _credit < since * _LEAST_BYTES_A_SECOND:
            return
    if since > min(1.0, _limit / 4):
        _wind()


def limit_memory(count: int) -> None:
    """Let this process take so many bytes beyond what it has now; said again, it is still counted from the first time.

    What Ray, torch and the like have mapped is not counted: only what is written to and belongs to this process alone.
    """
    global _ceiling
    if _ceiling is None:
        _ceiling = _own_bytes()
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = _ceiling + count
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


@contextmanager
def memory(count: int) -> Iterator[None]:
    """Inside, this process may take so many bytes beyond what it has now; then all as before."""
    before, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = _own_bytes() + count
    for limit in (before, hard):
        wanted = wanted if limit == resource.RLIM_INFINITY else min(wanted, limit)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (before, hard))


def release_memory() -> None:
    """Give back to the system what the C library keeps of freed memory: a gigabyte after one large picture."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _own_bytes() -> int:
    """What RLIMIT_DATA counts: private memory that can be written to."""
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return int(next(line for line in lines if line.startswith("VmData:")).split()[1]) << 10
    return 1 << 30


def is_hollow(path: Path, status: os.stat_result) -> bool:
    """Whether all but an eighth of a large file is holes: a download that was never filled, or a trap."""
    size = status.st_size
    local: object = path
    if not isinstance(local, Path) or size < 64 << 20 or status.st_blocks * 512 >= size // 8:
        return False
    # Not every file system counts blocks; holes are then not told either, and the file counts as full.
    held = at = 0
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            for _ in range(10_000):
                start = os.lseek(handle, at, os.SEEK_DATA)
                at = os.lseek(handle, start, os.SEEK_HOLE)
                held += at - start
        except OSError:  # no more data
            pass
        finally:
            os.close(handle)
        return held < size // 8
    return False


def _set(seconds: float | None) -> None:
    global _limit
    _limit = seconds
    faulthandler.cancel_dump_traceback_later()
    _wind()


def _wind() -> None:
    global _wound, _credit
    _credit = 0
    if _limit is not None:
        _wound = time.monotonic()
        faulthandler.dump_traceback_later(_limit, exit=True)
