"""The splits of a dataset."""

from __future__ import annotations

from typing import Literal

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

_ALIASES = {"training": "train", "valid": "val", "validation": "val", "testing": "test"}


def split_name(text: str) -> str:
    """The name of a split that is called so; the text itself where there is none.

    >>> split_name("Validation"), split_name("test"), split_name("dev")
    ('val', 'test', 'dev')
    """
    name = text.strip().lower()
    return _ALIASES.get(name, name if name in SPLITS else text)
