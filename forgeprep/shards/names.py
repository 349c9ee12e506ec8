"""What the files of a run are called: its shards, and its tables."""

from __future__ import annotations

import re
from pathlib import Path

TABLES = ("shards", "clips", "drops")
"""The tables that a run writes at its end, see :func:`table_path`; ``plan`` is written at its beginning."""


def shard_name(dataset: str | None, split: str, number: int) -> str:
    """A shard's name: its folder and its base name, without a suffix."""
    return f"{split}/{number:05d}"


def has_first_names(out: Path) -> bool:
    """Whether the shards of a run have the names of schema versions before 2: such a run goes on with them."""
    return any(re.fullmatch(r"[0-9]{5,}", path.stem) for path in out.glob("state/*/*.json"))


def table_path(out: Path, name: str) -> Path:
    """Where a table of a run lies."""
    return out / f"{name}.parquet"


def all_tables(out: Path) -> dict[str, Path]:
    """The tables that a run writes at its end, by name."""
    return {name: table_path(out, name) for name in TABLES}


def final_files(out: Path) -> list[Path]:
    """What a run writes when all its shards are made."""
    return [*all_tables(out).values(), out / "README.md", out / "croissant.json"]
