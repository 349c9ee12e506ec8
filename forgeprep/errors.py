"""Every error that forgeprep raises on purpose.

::

    ForgeprepError                 exit code 1
    ├── UsageError                 exit code 2: the command or the configuration is off
    │   └── ConfigMismatch         the output folder belongs to another configuration
    ├── MediaError                 a clip cannot be read; the run goes on and lists it in the drops
    ├── StageError                 a stage of another package does what no stage may
    ├── StorageError               the output cannot be written (no space, no permission)
    ├── GroupFailed                a source group cannot be worked on, and nothing foresaw it; the run goes on without
    │   └── OutOfMemory            it takes more memory than a worker may
    ├── VerifyError                shards are not what their records say
    └── Stopped                    exit code 130, or 143: the user or a scheduler stopped the run

A message is one line: what was found, where, and what to do about it. A *drop* is no error: it is a planned sample
that could not be made, recorded with a reason from :data:`forgeprep.schemas.drops.REASONS`.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable
from difflib import SequenceMatcher

_LONGEST = 500
"""Letters of what is told of a media file: it stands in tables, once for each sample that was lost."""


class ForgeprepError(Exception):
    """The base of all errors that are reported without a traceback."""

    exit_code = 1


class ForgeprepWarning(UserWarning):
    """Something that works, but not as well as it should; the command line shows it as one line."""


class UsageError(ForgeprepError):
    """The command line, the configuration or the input folder is not usable as given."""

    exit_code = 2


class ConfigMismatch(UsageError):
    """The output folder was filled with another configuration, plan or software version."""


class MediaError(ForgeprepError):
    """A media file cannot be opened or decoded.

    Attributes:
        path: the file.
        reason: the drop reason that its samples get, one of :data:`forgeprep.schemas.drops.REASONS`.
    """

    def __init__(self, path: str, message: str, *, reason: str = "unreadable") -> None:
        message = message[:_LONGEST]
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message
        self.reason = reason

    def __reduce__(self) -> tuple[object, ...]:
        return _media_error, (self.path, self.message, self.reason)


class GroupFailed(ForgeprepError):
    """Work on a source group ended in an error that nothing foresaw.

    Attributes:
        group: its number in the shard.
        problem: the error and where it came from, on one line.
        owner: what another package adds in whose code it arose; empty for forgeprep's own.
    """

    def __init__(self, group: int, problem: str, owner: str = "") -> None:
        super().__init__(group, problem, owner)
        self.group = group
        self.problem = problem
        self.owner = owner

    def __str__(self) -> str:
        return f"source group {self.group}: {self.problem}"


class OutOfMemory(GroupFailed):
    """Work on a source group takes more memory than a worker may (``--worker-memory``)."""


class StageError(ForgeprepError):
    """A stage does what it has not declared; its author has to mend it."""


class StorageError(ForgeprepError):
    """The output folder cannot be written."""


class VerifyError(ForgeprepError):
    """A shard or its record is damaged or inconsistent."""


class Stopped(ForgeprepError):
    """The user stopped the run (Ctrl-C), or a scheduler did: then the exit code is 143."""

    exit_code = 130


def _media_error(path: str, message: str, reason: str) -> MediaError:
    return MediaError(path, message, reason=reason)


def one_line(message: object) -> str:
    """A message on one line that can be read, whatever it holds: a file's name may contain a line break.

    Of a long one, its beginning says what and where, its end what to do.
    """
    text = " ".join(str(message).split())
    return text if len(text) <= 2000 else f"{text[:1000]} … {text[-1000:]}"


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """A :class:`UsageError` for a name that is not in ``known``; suggests the nearest one.

    >>> str(unknown_name("stage", "mas", ["crop", "mask"]))
    "unknown stage 'mas': did you mean 'mask'? (known: crop, mask)"
    """
    names = sorted(known)
    plain = {known.lower(): known for known in names}
    near = nearest(name.lower(), plain)
    hint = f": did you mean '{plain[near]}'?" if near else ""
    return UsageError(f"unknown {kind} '{name}'{hint} (known: {', '.join(names) or 'none'})")


def nearest(name: str, known: Iterable[str], cutoff: float = 0.5) -> str | None:
    """The known name that is most like this one, by at least ``cutoff`` of 1; of equals, the one that begins alike.

    >>> nearest("c24", ["c40", "c23", "raw"])
    'c23'
    """
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=cutoff)
    return max(near, key=lambda one: (SequenceMatcher(None, name, one).ratio(), _alike(name, one)), default=None)


def _alike(a: str, b: str) -> int:
    """With how many same letters both begin."""
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))
