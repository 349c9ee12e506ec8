"""The splits of a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

SPLIT_NAMES: Mapping[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""What people call a split, in lower case -> the split."""

_STORED = {"val": "validation"}
_READ = {stored: split for split, stored in _STORED.items()}


def stored_split(split: str) -> str:
    """The word for a split in the columns of shards and tables: that of Hugging Face, which loads ``validation``.

    >>> stored_split("val"), stored_split("test")
    ('validation', 'test')
    """
    return _STORED.get(split, split)


def read_split(stored: str) -> str:
    """The split that a column names; before schema version 2 it was ``val``.

    >>> read_split("validation"), read_split("val")
    ('val', 'val')
    """
    return _READ.get(stored, stored)


def with_stored_split(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row as it is stored."""
    return {**row, "split": stored_split(row["split"])} if "split" in row else dict(row)


def with_read_split(row: dict[str, Any]) -> dict[str, Any]:
    """The row, changed in place, as forgeprep works with it."""
    if isinstance(row.get("split"), str):
        row["split"] = read_split(row["split"])
    return row


def split_name(text: str) -> str:
    """The name of a split that is called so; the text itself where there is none.

    >>> split_name("Validation"), split_name("test"), split_name("holdout")
    ('val', 'test', 'holdout')
    """
    return SPLIT_NAMES.get(text.strip().lower(), text)
