"""Open files that somebody else may have written: only regular files of bounded size.

A named pipe makes its reader wait for ever, ``/dev/zero`` never ends, and a sparse file can claim a terabyte.
Such files raise an :class:`OSError` whose ``strerror`` says why, like any other file that cannot be read.
"""

from __future__ import annotations

import errno
import io
import json
import os
import stat
from pathlib import Path
from typing import Any

TEXT_BYTES = 64 << 20
"""Limit of configurations, and of files that forgeprep writes as JSON."""
LIST_BYTES = 1 << 30
"""Limit of lists and metadata of datasets, plans and tables: a million clips are a hundred megabytes."""
LINE_BYTES = 1 << 20
"""Limit of a line of a list."""
_DEEP = 200
"""Levels of JSON: no real file has more. Python's own limit depends on how deep the caller is."""


def check_regular(path: Path, limit: int | None = None) -> None:
    """Raise OSError unless a path of this machine is a regular file of at most ``limit`` bytes."""
    if isinstance(path, Path):
        _check(path.stat(), path, limit)


def open_regular(path: Path, limit: int | None = None) -> io.BufferedReader:
    """Open a regular file for reading bytes.

    Raises:
        OSError: it is missing, not a regular file, or has more than ``limit`` bytes.
    """
    if not _is_local(path):
        _check(path.stat(), path, limit)
        return path.open("rb")
    # Checked before: opening some devices already does something. Checked after: it may have been replaced.
    _check(path.stat(), path, limit)
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _check(os.fstat(handle), path, limit)
    except BaseException:
        os.close(handle)
        raise
    return io.BufferedReader(io.FileIO(handle, "rb"))


def read_bytes(path: Path, limit: int = TEXT_BYTES) -> bytes:
    """All of a regular file of at most ``limit`` bytes; raises OSError as :func:`open_regular` does."""
    with open_regular(path, limit) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise _refusal(errno.EFBIG, f"larger than {_size(limit)}", path)
    return data


def read_text(path: Path, limit: int = TEXT_BYTES, encoding: str = "utf-8") -> str:
    """All of a text file, with Unix line ends; raises OSError, or UnicodeDecodeError, which is a ValueError."""
    return read_bytes(path, limit).decode(encoding).replace("\r\n", "\n").replace("\r", "\n")


def read_json(path: Path, limit: int = TEXT_BYTES) -> Any:
    """What a JSON file holds.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not JSON, or nested too deeply.
    """
    return parse_json(read_bytes(path, limit))


def parse_json(data: bytes | str, **options: Any) -> Any:
    """JSON as Python values; raises ValueError for anything else, and for JSON that is nested too deeply."""
    try:
        value = json.loads(data, **options)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if _depth(value) > _DEEP:
        raise ValueError("nested too deeply")
    return value


def _is_local(path: object) -> bool:
    return isinstance(path, Path)


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level and depth <= _DEEP:
        # Only what can nest is kept: long lists of numbers cost nothing.
        inner = (v if isinstance(v, list) else v.values() for v in level if isinstance(v, (list, dict)))
        level = [item for items in inner for item in items if isinstance(item, (list, dict))]
        depth += 1
    return depth


def _check(status: os.stat_result, path: object, limit: int | None) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise _refusal(errno.EISDIR, "is a folder", path)
    if not stat.S_ISREG(status.st_mode):
        raise _refusal(errno.EINVAL, "not a regular file, but a pipe, a device or the like", path)
    if limit is not None and status.st_size > limit:
        raise _refusal(errno.EFBIG, f"larger than {_size(limit)}", path)


def _refusal(number: int, text: str, path: object) -> OSError:
    return OSError(number, text, str(path))


def _size(count: int) -> str:
    return f"{count >> 20} MB" if count >= 1 << 20 else f"{count:,} bytes"
