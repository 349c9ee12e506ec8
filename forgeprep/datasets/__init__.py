"""The datasets that forgeprep can read, by name.

Built-in datasets stand in a plain dict and are imported when asked for. A third party adds one with an entry point in
the group ``forgeprep.datasets`` whose value is a :class:`forgeprep.datasets.base.Dataset`::

    [project.entry-points."forgeprep.datasets"]
    mine = "my_package.mine:MINE"
"""

from __future__ import annotations

import importlib
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from forgeprep.errors import UsageError, unknown_name

if TYPE_CHECKING:
    from forgeprep.datasets.base import Dataset

__all__ = ["dataset_names", "get_dataset"]

ENTRY_POINT_GROUP = "forgeprep.datasets"

# name -> "module:attribute": a string, so that listing the names imports nothing
_BUILT_IN = {
    "celebdf-v1": "forgeprep.datasets.celebdf:V1",
    "celebdf-v2": "forgeprep.datasets.celebdf:V2",
    "dfd": "forgeprep.datasets.dfd:DFD",
    "dfdc": "forgeprep.datasets.dfdc:DFDC",
    "dfdc-preview": "forgeprep.datasets.dfdc_preview:DFDC_PREVIEW",
    "ffpp": "forgeprep.datasets.ffpp:FFPP",
    "folder": "forgeprep.datasets.folder:FOLDER",
    "forgerynet": "forgeprep.datasets.forgerynet:FORGERYNET",
    "genface": "forgeprep.datasets.genface:GENFACE",
    "manifest": "forgeprep.datasets.manifest:MANIFEST",
}


def dataset_names() -> list[str]:
    """The names that :func:`get_dataset` knows, sorted; imports none of them."""
    return sorted({*_BUILT_IN, *(point.name for point in _third_party())})


def get_dataset(name: str) -> Dataset:
    """The dataset of that name.

    Raises:
        UsageError: the name is unknown, stands for two datasets, or its package cannot be loaded.
    """
    points = [point for point in _third_party() if point.name == name]
    # No order of precedence: which of two packages wins would depend on what else is installed.
    if len(points) + (name in _BUILT_IN) > 1:
        owners = ["forgeprep"] * (name in _BUILT_IN) + sorted(_owner(point) for point in points)
        raise UsageError(f"dataset '{name}' is defined by {' and '.join(owners)}: uninstall all but one")
    if name in _BUILT_IN:
        module, attribute = _BUILT_IN[name].split(":")
        return _checked(name, "forgeprep", getattr(importlib.import_module(module), attribute))
    if not points:
        raise unknown_name("dataset", name, dataset_names())
    try:
        found = points[0].load()
    except Exception as error:  # whatever a third party's module does at import: the user is told which package it is
        problem = f"{type(error).__name__}: {error}"
        raise UsageError(f"dataset '{name}' of {_owner(points[0])} cannot be loaded ({problem})") from error
    return _checked(name, _owner(points[0]), found)


def _checked(name: str, owner: str, found: object) -> Dataset:
    from forgeprep.datasets.base import Dataset

    if not isinstance(found, Dataset):
        raise UsageError(f"dataset '{name}' of {owner} is a {type(found).__name__}, not a forgeprep Dataset")
    if found.name != name:
        raise UsageError(f"dataset '{name}' of {owner} calls itself '{found.name}': both names have to be the same")
    return found


def _third_party() -> list[EntryPoint]:
    return list(entry_points(group=ENTRY_POINT_GROUP))


def _owner(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value
