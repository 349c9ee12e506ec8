"""What the files of a run are called: its shards, and its tables."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

TABLES = ("shards", "clips", "drops")
"""What a run writes at its end, beside the plan."""
_LONGEST = 100


def shard_name(dataset: str | None, split: str, number: int) -> str:
    """A shard's name: its folder and its base name, without a suffix.

    Base names differ between splits and datasets, because some readers know a file by its base name alone: with
    ``train/00000.tar`` and ``val/00000.tar`` those that keep copies give train for val.

    Args:
        dataset: the dataset's name; None for the names of schema versions before 2.
        split: its split.
        number: from 0 on, in its split.

    >>> shard_name("ffpp", "train", 0)
    'train/ffpp-train-00000'
    >>> shard_name("my set.v2/é", "val", 7)
    'val/my%20set%2Ev2%2F%C3%A9-val-00007'
    >>> shard_name(None, "val", 7)
    'val/00007'
    """
    if dataset is None:
        return f"{split}/{number:05d}"
    # No two names become the same: "%" is replaced too, and of long ones the digest tells them apart.
    plain = re.sub(r"[^A-Za-z0-9_-]", lambda found: "".join(f"%{b:02X}" for b in found[0].encode()), dataset)
    if len(plain) > _LONGEST:
        plain = f"{plain[:_LONGEST]}%{hashlib.sha256(dataset.encode()).hexdigest()[:16]}"
    return f"{split}/{plain}-{split}-{number:05d}"


def has_first_names(out: Path) -> bool:
    """Whether the shards of a run have the names of schema versions before 2: such a run goes on with them."""
    return any(re.fullmatch(r"[0-9]{5,}", path.stem) for path in out.glob("state/*/*.json"))
