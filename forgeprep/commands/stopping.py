"""How a command is stopped: it cleans up, tells so in one line, and its exit code is 128 and the signal's number."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from forgeprep.errors import Stopped

_LATER_S = 0.05
_MOST_DELAYS = 200
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
_asked: list[signal.Signals] = []
"""What has come, and after it an entry for each time that it was put off."""


@contextmanager
def stoppable(out: Path | None = None) -> Iterator[Callable[[], None]]:
    """Turn Ctrl-C, or a request to terminate, into :class:`~forgeprep.errors.Stopped`; may be nested.

    Libraries may answer either with errors of their own, or drop it, so the signal itself is noted; the function that
    is given raises it again.

    Args:
        out: the folder in which finished work stays; None as long as there is none.
    """
    if threading.current_thread() is not threading.main_thread():  # No other one may set handlers.
        yield lambda: None
        return
    outermost = signal.getsignal(signal.SIGINT) is not _stop
    if outermost:
        _asked.clear()
    before = {number: signal.signal(number, _stop) for number in _SIGNALS}
    try:
        yield _check
        _check()
    except BaseException as error:
        if isinstance(error, Stopped) or not (_asked or isinstance(error, KeyboardInterrupt)):
            raise
        stays = f"; finished shards stay in {out}, run the same command to go on" if out is not None else ""
        stopped = Stopped(f"stopped{stays}")
        stopped.exit_code = 128 + (_asked[0] if _asked else signal.SIGINT)
        raise stopped from error
    finally:
        if outermost:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, frame: FrameType | None) -> None:
    if number != signal.SIGALRM or _asked:
        _asked.append(signal.Signals(number))
    # An exception in the middle of an import may leave Python's lock of all imports taken for ever.
    if _imports(frame) and len(_asked) < _MOST_DELAYS:
        signal.setitimer(signal.ITIMER_REAL, _LATER_S)
    else:
        _check()


def _check() -> None:
    if _asked:
        raise SystemExit(128 + signal.SIGTERM) if _asked[0] == signal.SIGTERM else KeyboardInterrupt


def _imports(frame: FrameType | None) -> bool:
    """Whether this is in the middle of an import."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
