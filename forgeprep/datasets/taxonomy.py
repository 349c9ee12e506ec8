"""What each forgery method of each dataset is, in one table: ``taxonomy.csv``.

Four levels, from coarse to fine: ``label`` (real or fake), ``forgery`` (what was done to the face), ``generator`` (what
kind of program did it) and ``method`` (which one). ForgeryNet's "identity remained" is ``identity_remained`` and
``attribute_edit`` taken together; its "identity replaced" is ``identity_replaced``.
"""

from __future__ import annotations

import csv
import functools
from dataclasses import dataclass
from importlib import resources
from typing import get_args

from forgeprep.schemas.clips import Forgery

FORGERIES: tuple[Forgery, ...] = get_args(Forgery)
GENERATORS = ("autoencoder", "diffusion", "gan", "graphics", "neural_rendering")
"""Kinds of generator; a method made with several of them, or with unknown ones, has none."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a method does (``forgery``) and what kind of program does it (``generator``; None = unknown or several)."""

    forgery: Forgery
    generator: str | None


@functools.cache
def taxonomy() -> dict[str, dict[str, Kind]]:
    """Dataset -> method -> what it is, in the order of the table."""
    text = resources.files("forgeprep.datasets").joinpath("taxonomy.csv").read_text(encoding="ascii")
    table: dict[str, dict[str, Kind]] = {}
    for row in csv.DictReader(text.splitlines()):
        forgery = next(name for name in FORGERIES if name == row["forgery"])
        table.setdefault(row["dataset"], {})[row["method"]] = Kind(forgery, row["generator"] or None)
    return table


def methods_of(dataset: str) -> tuple[str, ...]:
    """The forgery methods of a dataset, in the order of the table."""
    return tuple(taxonomy()[dataset])


def kind_of(dataset: str, method: str) -> Kind:
    """What a method is; raises KeyError where the table has no such row."""
    return taxonomy()[dataset][method]
