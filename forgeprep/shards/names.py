"""What the files of a run are called: its shards, and its tables."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

TABLES = ("shards", "clips", "drops")
"""The tables that a run writes at its end, see :func:`table_path`; ``plan`` is written at its beginning."""
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
    'val/my~20set~2Ev2~2F~C3~A9-val-00007'
    >>> shard_name(None, "val", 7)
    'val/00007'
    """
    if dataset is None:
        return f"{split}/{number:05d}"
    # No two names become the same: "~" is replaced too, and of long ones the digest tells them apart. Not "%", which
    # readers that take paths for URLs would decode.
    plain = re.sub(r"[^A-Za-z0-9_-]", lambda found: "".join(f"~{b:02X}" for b in found[0].encode()), dataset)
    if len(plain) > _LONGEST:
        plain = f"{plain[:_LONGEST]}~{hashlib.sha256(dataset.encode()).hexdigest()[:16]}"
    return f"{split}/{plain}-{split}-{number:05d}"


def has_first_names(out: Path) -> bool:
    """Whether the shards of a run have the names of schema versions before 2: such a run goes on with them."""
    return any(re.fullmatch(r"[0-9]{5,}", path.stem) for path in out.glob("state/*/*.json"))


def table_path(out: Path, name: str) -> Path:
    """Where a table of a run lies: ``meta/NAME.pq``, or ``NAME.parquet`` in a run of a schema version before 2.

    The bytes are Parquet's. The ending is another one, so that ``**/*.parquet`` finds the samples and nothing else.
    """
    first = out / f"{name}.parquet"
    return first if first.is_file() or (out / "plan.parquet").is_file() else out / "meta" / f"{name}.pq"


def final_files(out: Path) -> list[Path]:
    """What a run writes when all its shards are made."""
    return [*all_tables(out).values(), out / "README.md", out / "croissant.json"]


def all_tables(out: Path) -> dict[str, Path]:
    """The tables that a run writes at its end, by name."""
    return {name: table_path(out, name) for name in TABLES}
