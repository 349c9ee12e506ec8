"""Which of several sources a setting is taken from. Pure: nothing is read and nothing is looked for here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any


@dataclass(frozen=True, slots=True)
class Source:
    """Where settings come from.

    Attributes:
        origin: its name for people: ``--config run.yaml``, ``FORGEPREP_FFPP_ROOT``.
        values: name -> value; None stands for "not given".
    """

    origin: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Taken:
    """A value, and the :class:`Source` that gave it."""

    value: Any
    source: Source


def take(sources: Iterable[Source]) -> dict[str, Taken]:
    """Every name that is given, from the first of the sources that gives it.

    >>> taken = take([Source("flag", {"root": None}), Source("file", {"root": "/a", "size": 8})])
    >>> [(name, one.value, one.source.origin) for name, one in taken.items()]
    [('root', '/a', 'file'), ('size', 8, 'file')]
    """
    found: dict[str, Taken] = {}
    for source in sources:
        for name, value in source.values.items():
            if value is not None:
                found.setdefault(name, Taken(value, source))
    return found


def root_variable(dataset: str) -> str:
    """The environment variable that holds a dataset's root.

    >>> root_variable("celebdf-v2")
    'FORGEPREP_CELEBDF_V2_ROOT'
    """
    letters = (letter if letter.isascii() and letter.isalnum() else "_" for letter in dataset.upper())
    return f"FORGEPREP_{''.join(letters)}_ROOT"


def default_out(kind: str, dataset: str, here: PurePath, root: PurePath | None) -> PurePath:
    """Where to write if nobody says: ``here/kind/dataset``, or beside ``root`` where that would lie inside it.

    Args:
        kind: ``shards`` or ``spliced``.
        dataset: its name.
        here: the working folder, absolute and without links.
        root: the same of the dataset's folder, which is not ``/``; None where it is on another machine.
    """
    beside = [] if root is None else [root.parent / kind, root.parent / f"{root.name}-{kind}"]
    homes = [here / kind, *beside]
    return next(home / dataset for home in homes if root is None or not (home / dataset).is_relative_to(root))
