"""What keeps a hostile file from taking its process along: size limits, a clock, and a list of files to leave alone."""

from __future__ import annotations

import faulthandler
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from forgeprep.errors import MediaError

MAX_PIXELS = 1 << 26
"""Larger pictures are refused before memory is asked for: 67 million, twice those of an 8K video."""
LEAST_FRAME_BYTES = 8
"""No codec packs a frame tighter; a header that claims more frames than the file can hold is wrong."""

_condemned: dict[str, str] = {}
_limit: float | None = None
_wound = 0.0


def condemn(files: Mapping[Path, str]) -> None:
    """From now on these files are not opened in this process; the text says why."""
    _condemned.update({str(path): why for path, why in files.items()})


def check(path: Path) -> None:
    """Raise MediaError for a condemned file."""
    why = _condemned.get(str(path))
    if why is not None:
        raise MediaError(str(path), why, reason="worker_died")


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


def alive() -> None:
    """Say that work goes on; cheap enough to be called for every frame."""
    if _limit is not None and time.monotonic() - _wound > min(1.0, _limit / 4):
        _wind()


def _set(seconds: float | None) -> None:
    global _limit
    _limit = seconds
    faulthandler.cancel_dump_traceback_later()
    _wind()


def _wind() -> None:
    global _wound
    if _limit is not None:
        _wound = time.monotonic()
        faulthandler.dump_traceback_later(_limit, exit=True)
