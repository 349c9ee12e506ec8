"""The same bytes under another name, here and on remote storage: a link where there can be one, else a copy."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from forgeprep.io.atomic import publish, temporary_name
from forgeprep.io.storage import is_remote, upload


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file that nobody writes into a second name; the target appears whole or not at all.

    Two names of this machine share the bytes where the file system allows it. Remote storage copies by itself, without
    a way through this machine, within one kind of storage.

    Raises:
        OSError: a file cannot be read or written.
    """
    if is_remote(target):
        _to_remote(source, target)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(target)
    try:
        if not _linked(source, temporary):
            with source.open("rb") as file, temporary.open("wb") as copy:
                shutil.copyfileobj(file, copy, 8 << 20)
                copy.flush()
                os.fsync(copy.fileno())
        publish(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def move(source: Path, target: Path) -> None:
    """Give a file another name on the same storage, in place of what has that name; again is harmless.

    Raises:
        OSError: it cannot be moved.
    """
    if is_remote(source) and is_remote(target):
        _copy_there(source, target)
        source.unlink(missing_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        publish(source, target)


def _linked(source: Path, target: Path) -> bool:
    if is_remote(source):
        return False
    # Other file systems, those without links, and files of others refuse.
    with suppress(OSError):
        os.link(source.resolve(), target)
        return True
    return False


def _to_remote(source: Path, target: Path) -> None:
    if is_remote(source) and source.parts[0] == target.parts[0]:
        _copy_there(source, target)
        return
    with source.open("rb") as file:
        upload(file, target)


def _copy_there(source: Any, target: Any) -> None:
    target.filesystem.copy_file(source.key, target.key)
