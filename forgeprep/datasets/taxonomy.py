"""What each forgery method of each dataset is, in one table: ``taxonomy.csv``.

Four levels, from coarse to fine: ``label`` (real or fake), ``forgery`` (what was done to the face), ``family`` (what
kind of program did it) and ``method`` (which program). ForgeryNet's "identity remained" is ``identity_remained`` and
``attribute_edit`` taken together; its "identity replaced" is ``identity_replaced``.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, get_args

from forgeprep.schemas.clips import Forgery

FORGERIES: tuple[Forgery, ...] = get_args(Forgery)
FAMILIES = ("autoencoder", "diffusion", "gan", "graphics", "neural_rendering")
"""Families of methods; a method that combines several, or unknown ones, has none."""


LEVELS = ("label", "identity", "forgery", "family", "method")
"""Levels at which a sample has a class, from coarse to fine; ``identity`` is ForgeryNet's three-way one."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a method does (``forgery``) and what kind of program it is (``family``; None = unknown or several)."""

    forgery: Forgery
    family: str | None


@functools.cache
def taxonomy() -> dict[str, dict[str, Kind]]:
    """Dataset -> method -> what it is, in the order of the table."""
    text = resources.files("forgeprep.datasets").joinpath("taxonomy.csv").read_text(encoding="ascii")
    table: dict[str, dict[str, Kind]] = {}
    for row in csv.DictReader(text.splitlines()):
        forgery = next(name for name in FORGERIES if name == row["forgery"])
        table.setdefault(row["dataset"], {})[row["method"]] = Kind(forgery, row["family"] or None)
    return table


def methods_of(dataset: str) -> tuple[str, ...]:
    """The forgery methods of a dataset, in the order of the table."""
    return tuple(taxonomy()[dataset])


def kind_of(dataset: str, method: str) -> Kind:
    """What a method is; raises KeyError where the table has no such row."""
    return taxonomy()[dataset][method]


def class_at(level: str, sample: Mapping[str, Any]) -> str | None:
    """The class of a sample at a level; ``real`` at all of them for a real, None where it is not known.

    Args:
        level: of :data:`LEVELS`.
        sample: its columns ``label``, ``forgery``, ``family`` and ``method``.
    """
    if sample["label"] == 0:
        return "real"
    if level == "label":
        return "fake"
    if level == "identity":
        return _IDENTITIES.get(sample.get("forgery"))
    name = sample.get(level)
    return None if name is None else str(name)


_IDENTITIES: dict[str | None, str] = {
    "identity_replaced": "identity_replaced",
    "identity_remained": "identity_remained",
    "attribute_edit": "identity_remained",
}
