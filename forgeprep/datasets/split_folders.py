"""Folders that are named as a split, and those that stand beside known ones: used or refused, never left out."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from forgeprep.datasets.listing import find_folders, listed, shown, walk_files
from forgeprep.errors import UsageError
from forgeprep.io.storage import real_name
from forgeprep.media.pictures import PICTURE_SUFFIXES
from forgeprep.media.video import VIDEO_SUFFIXES
from forgeprep.schemas.splits import SPLIT_NAMES, Split

MEDIA = PICTURE_SUFFIXES | VIDEO_SUFFIXES


def split_folders(root: Path, kinds: Collection[str] = ()) -> dict[str, Split]:
    """Folders of ``root`` that are named as a split, in the order of :data:`SPLIT_NAMES`; with one of ``kinds`` inside.

    Raises:
        UsageError: two of them are one split.
    """
    found = {
        folder: split
        for name, split in SPLIT_NAMES.items()
        for folder in find_folders(root, [name])
        if not kinds or find_folders(root / folder, list(kinds))
    }
    for split in dict.fromkeys(found.values()):
        both = [folder for folder, other in found.items() if other == split]
        if len(both) > 1:
            raise UsageError(f"{root}: {shown(both)} are both the split {split}; keep one of them")
    return found


def unknown_folders(root: Path, home: str, used: Collection[str], ignored: Collection[str] = ()) -> list[str]:
    """Folders with videos or pictures that stand beside those that are used, each with a slash at its end.

    Runs of forgeprep are passed over: ``--out`` may lie in the dataset's folder, and a report has pictures.

    Args:
        root: the dataset.
        home: the folder to look into, relative to ``root``; "" for ``root`` itself.
        used: the folders in it that are used, relative to ``root``.
        ignored: names of folders that the user wants left out.
    """
    known = {real_name(root / folder) for folder in used}
    others = [f"{home}/{name}" if home else name for name, size in listed(root, home) if size is None]
    return [
        f"{folder}/"
        for folder in others
        if folder not in used
        and folder.rpartition("/")[2] not in ignored
        and real_name(root / folder) not in known
        and not (root / folder / "run.json").is_file()
        and next(walk_files(root, folder, MEDIA), None) is not None
    ]


def refuse_others(
    root: Path, home: str, used: Collection[str], expected: str, ignored: Collection[str] | None = None
) -> None:
    """Refuse :func:`unknown_folders`; ``expected`` says in words what is looked for.

    ``ignored`` are the names in the dataset's option ``ignore``; None where it has none.

    Raises:
        UsageError: there are such folders.
    """
    unknown = unknown_folders(root, home, used, ignored or ())
    if unknown:
        raise UsageError(
            f"{root}: nothing says what the videos or pictures in {shown(unknown)} are; known there are {expected}: "
            f"rename or move them{'' if ignored is None else ', or leave them out with --option ignore=NAME'}"
        )
