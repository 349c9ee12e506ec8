"""Columns whose names have changed: the one place that turns the names of earlier schema versions into those of today.

Files of schema versions 0 and 1 have the older names. No column of today has one of them, so that a name alone tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

import pyarrow as pa

SAMPLE_COLUMNS_RENAMED = {"generator": "family"}
"""Older name -> name of today, of columns of shards, and of tables and lists that have a row a sample."""

CLIP_COLUMNS_RENAMED = {**SAMPLE_COLUMNS_RENAMED, "segments": "detected_spans"}
"""The same of clips: in ``clips.parquet``, in records and in plans."""

_OLDER = {new: old for old, new in SAMPLE_COLUMNS_RENAMED.items()}

V = TypeVar("V")


def current_name(name: str) -> str:
    """The name of today of a column of samples.

    >>> current_name("generator"), current_name("method")
    ('family', 'method')
    """
    return SAMPLE_COLUMNS_RENAMED.get(name, name)


def current_row(row: dict[str, V], renamed: Mapping[str, str] = SAMPLE_COLUMNS_RENAMED) -> dict[str, V]:
    """The row by the names of today; ``renamed`` is :data:`CLIP_COLUMNS_RENAMED` for a clip.

    >>> current_row({"label": 1, "generator": "gan"})
    {'label': 1, 'family': 'gan'}
    """
    if renamed.keys().isdisjoint(row):
        return row
    return {renamed.get(name, name): value for name, value in row.items()}


def current_table(table: pa.Table) -> pa.Table:
    """The table by the names of today."""
    names = [current_name(name) for name in table.column_names]
    return table if names == table.column_names else table.rename_columns(names)


def with_older_names(names: Iterable[str]) -> list[str]:
    """Names of columns, and after them the older names of those that have one: what to look for in a file.

    >>> with_older_names(["label", "family"])
    ['label', 'family', 'generator']
    """
    asked = list(names)
    return asked + [_OLDER[name] for name in asked if name in _OLDER]


def stored_names(names: Iterable[str], present: Iterable[str]) -> list[str]:
    """What a file that has the columns ``present`` calls these columns; names that it lacks stay as they are.

    >>> stored_names(["label", "family"], ["label", "generator"])
    ['label', 'generator']
    """
    there = set(present)
    return [name if name in there or _OLDER.get(name) not in there else _OLDER[name] for name in names]
