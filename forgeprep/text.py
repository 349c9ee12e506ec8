"""Words for numbers, in messages and pages."""

from __future__ import annotations


def counted(number: int, one: str, more: str | None = None) -> str:
    """A number and its noun, with whatever else changes with the number; ``more`` is ``one`` with an s by default.

    >>> counted(1, "shard"), counted(1200, "shard"), counted(1, "file is", "files are")
    ('1 shard', '1,200 shards', '1 file is')
    """
    return f"{number:,} {one if number == 1 else more or one + 's'}"
