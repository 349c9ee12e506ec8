"""Find a dataset's folder near the working folder, and say what a folder holds that is not what was asked for."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from forgeprep.datasets import dataset_names, get_dataset
from forgeprep.datasets.base import Dataset, Scan, ScanOptions
from forgeprep.errors import UsageError
from forgeprep.io.storage import is_remote, real_name, visible_entries

MOST_FOLDERS = 1000
"""So many folders below the working folder are looked into: it may be a home folder on a slow disk."""
MOST_ENTRIES = 10_000
"""A folder with more entries is no root, but one of pictures: it is not looked into."""


def find_roots(dataset: Dataset, here: Path) -> list[Path]:
    """The folders near ``here`` that look like a root of the dataset.

    The nearest of ``here`` and the folders above it, by itself; else all among the folders in ``here`` and those in
    these, where two names of one folder count once.

    Args:
        dataset: what is looked for.
        here: an absolute path.
    """
    above = next((folder for folder in (here, *here.parents) if recognised(dataset, folder)), None)
    if above is not None:
        return [above]
    found: dict[str, Path] = {}
    for folder in _folders_below(here):
        if recognised(dataset, folder):
            found.setdefault(real_name(folder), folder)
    return list(found.values())


def recognised(dataset: Dataset, folder: Path) -> bool:
    """Whether a folder looks like a root of the dataset; one that cannot be read does not."""
    try:
        return dataset.looks_like is not None and not _is_crowded(folder) and dataset.looks_like(folder)
    except (OSError, UsageError):
        return False


def scan_root(dataset: Dataset, root: Path, options: ScanOptions) -> Scan:
    """List the clips under ``root``, as the dataset's ``scan`` does; warns where another version of it lies there.

    Raises:
        UsageError: there are none; where the folder is another dataset's, or this one's lies near, that is said.
    """
    try:
        scan = dataset.scan(root, options)
    except UsageError as error:
        hint = _hint(dataset, root)
        # A part of this folder is no remedy for what stands in its way.
        below = f"did you mean --root {root.absolute()}/"
        in_vain = "did you mean --root" in str(error) or ("known there are" in str(error) and below in str(hint))
        if hint is None or in_vain:
            raise
        raise UsageError(f"{error}; {hint}") from None
    others = [] if dataset.looks_like is None or recognised(dataset, root) else _others(root)
    twins = [name for name in others if get_dataset(name).layout == dataset.layout]
    told = [f"{root} looks like {' or '.join(twins)}, and {dataset.name} is asked for"] if twins else []
    return replace(scan, warnings=[*told, *scan.warnings])


def _hint(dataset: Dataset, root: Path) -> str | None:
    if not root.is_dir() or recognised(dataset, root):
        return None
    if dataset.looks_like is not None and not is_remote(root):
        near = find_roots(dataset, root.absolute())
        if len(near) == 1:
            return f"did you mean --root {near[0]}?"
    others = _others(root)
    return (
        f"{root} looks like {' or '.join(others)}: did you mean {others[0]} instead of {dataset.name}?"
        if others
        else None
    )


def _others(root: Path) -> list[str]:
    return [name for name in _names() if recognised(get_dataset(name), root)]


def _names() -> Iterator[str]:
    """All datasets but for those of packages that cannot be loaded here."""
    for name in dataset_names():
        try:
            get_dataset(name)
        except UsageError:
            continue
        yield name


def _folders_below(here: Path) -> Iterator[Path]:
    """The folders in ``here``, then those in them; none of a dataset's own folders, as ``train`` with its reals."""
    children = list(_children(here))[:MOST_FOLDERS]
    yield from children
    left = MOST_FOLDERS - len(children)
    datasets = [get_dataset(name) for name in _names()]
    for child in children:
        if left <= 0:
            return
        if not any(recognised(dataset, child) for dataset in datasets):
            for folder in list(_children(child))[:left]:
                left -= 1
                yield folder


def _is_crowded(folder: Path) -> bool:
    if is_remote(folder):
        return False
    with os.scandir(folder) as entries:
        return next(itertools.islice(entries, MOST_ENTRIES, None), None) is not None


def _children(folder: Path) -> Iterator[Path]:
    try:
        if _is_crowded(folder):
            return
        yield from (folder / entry.name for entry in visible_entries(folder) if entry.is_dir())
    except OSError:
        return
