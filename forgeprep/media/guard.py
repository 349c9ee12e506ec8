"""Protection from hostile files: size limits, a clock, and a list of files that are not opened again."""

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
"""Larger pictures are refused before memory is taken: 67 million pixels, twice an 8K video."""
LEAST_FRAME_BYTES = 8
"""The fewest bytes of a frame in any codec: a header that claims more frames than fit into the file is wrong."""
MEMORY = 2 << 30
"""Bytes that a process which reads media may take beyond those at its start, unless the user sets another limit."""
TIMEOUT_S = 600.0
"""Seconds that a process may show no progress, unless the user sets another limit."""
FORMATS = (
    "matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,ivf,h264,hevc,av1,obu,m4v,h263,mjpeg,"
    "yuv4mpegpipe,nut,mxf,rm,dv,vc1,vvc,gif,apng,png_pipe,jpeg_pipe,webp_pipe,bmp_pipe,tiff_pipe,gif_pipe,"
    "jpegxl_pipe,jpegxl_anim"
)
"""FFmpeg's names of the containers that are opened. Playlists and the like are not: they open other files."""
PROTOCOLS = "file"

_LEAST_BYTES_A_SECOND = 100
"""A clip of which fewer bytes are decoded makes no progress, even if it yields frames without end."""

_refused: dict[str, str] = {}
_limit: float | None = None
_started_s = 0.0
_decoded_bytes = 0
_first_bytes: int | None = None


def refuse(files: Mapping[Path, str]) -> None:
    """Do not open these files in this process from now on; the texts say why."""
    _refused.update({str(path): why for path, why in files.items()})


def check(path: Path) -> None:
    """Raise MediaError for a file of :func:`refuse`."""
    why = _refused.get(str(path))
    if why is not None:
        raise MediaError(str(path), why, reason="worker_died")


def excessive(path: Path, what: str) -> MediaError:
    """The error for a file that asks for more memory or time than its bytes are worth."""
    return MediaError(str(path), f"claims more than it holds ({what}); fetch it again")


@contextmanager
def clock(seconds: float | None) -> Iterator[None]:
    """End this process if :func:`alive` is not called for this many seconds; None stops the clock.

    The clock is written in C, so it works while native code holds Python's lock. Nothing but ending the process helps
    then.
    """
    before = _limit
    _set(seconds)
    try:
        yield
    finally:
        _set(before)


def alive(count: int | None = None) -> None:
    """Report progress; cheap enough to be called for every frame.

    ``count`` is how many bytes of a file were decoded since the last call: frames without bytes are no progress.
    """
    global _decoded_bytes
    if _limit is None:
        return
    since = time.monotonic() - _started_s
    if count is not None:
        _decoded_bytes += count
        if _decoded_bytes < since * _LEAST_BYTES_A_SECOND:
            return
    if since > min(1.0, _limit / 4):
        _restart()


def limit_memory(count: int) -> None:
    """Let this process take ``count`` bytes beyond what it had at the first call.

    Only private memory that can be written to counts, not the files that Ray, torch and the like have mapped.
    """
    global _first_bytes
    if _first_bytes is None:
        _first_bytes = _own_bytes()
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = _first_bytes + count
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


@contextmanager
def memory(count: int) -> Iterator[None]:
    """Inside, this process may take ``count`` bytes beyond what it has now; afterwards the old limit holds again."""
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
    """Return freed memory that the C library keeps to the system: a gigabyte after one large picture."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _own_bytes() -> int:
    """What RLIMIT_DATA counts: private memory that can be written to."""
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return int(next(line for line in lines if line.startswith("VmData:")).split()[1]) << 10
    return 1 << 30


def is_hollow(path: Path, status: os.stat_result) -> bool:
    """Whether less than an eighth of a large file holds data: an unfinished download, or a trap."""
    size = status.st_size
    local: object = path
    if not isinstance(local, Path) or size < 64 << 20 or status.st_blocks * 512 >= size // 8:
        return False
    # Some file systems do not count blocks. They do not report holes either, and the file counts as full.
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
    _restart()


def _restart() -> None:
    global _started_s, _decoded_bytes
    _decoded_bytes = 0
    if _limit is not None:
        _started_s = time.monotonic()
        faulthandler.dump_traceback_later(_limit, exit=True)
