"""Where FaceForensics++ keeps its clips, and what to tell a user whose folder does not look like that.

Besides the authors' layout there is the copy on Kaggle, *flat*: ``FaceForensics++_C23/{original,<method>}/*.mp4``, of
one compression, which the folder's name tells.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path

from forgeprep.datasets.frame_folders import HOMES
from forgeprep.datasets.listing import find_folders, shown, suggest_root
from forgeprep.datasets.taxonomy import methods_of
from forgeprep.errors import UsageError
from forgeprep.io.storage import is_remote
from forgeprep.schemas.clips import Clip, Split

COMPRESSIONS = ("raw", "c23", "c40")
COMPRESSION_ALIASES = {"c0": "raw"}

METHODS = methods_of("ffpp")

PICTURE_HOMES = (*HOMES, "videos")
"""Where folders of pictures lie in place of videos: beside these, or among them."""

_ROOT_FOLDERS = ("original_sequences", "manipulated_sequences")
_ORIGINALS = ("original_sequences", "youtube")

FLAT = "FaceForensics++_C23"
FLAT_COMPRESSION = "c23"
_FLAT_ORIGINALS = "original"
_TOLD = re.compile(rf"(?<![a-z0-9])({'|'.join([*COMPRESSIONS, *COMPRESSION_ALIASES])})(?![a-z0-9])")


def method_folders(root: Path, method: str) -> list[str]:
    """The folders of a method, relative to ``root``."""
    flat = [folder for home in flat_homes(root) for folder in _below(root, home, method)]
    return find_folders(root, ["manipulated_sequences"], [method.lower()]) or flat


def clip_folders(root: Path, compression: str, method: str | None = None, *kinds: str) -> list[str]:
    """The folders with the clips of a method (None: the originals) at a compression; two where some are in ``c0``.

    ``kinds`` are the names of the last folder, ``videos`` without any; a flat copy has no such level.
    """
    place = _ORIGINALS if method is None else ("manipulated_sequences", method.lower())
    spellings = [compression, *(alias for alias, name in COMPRESSION_ALIASES.items() if name == compression)]
    found = find_folders(root, *([name] for name in place), spellings, kinds or ["videos"])
    if found:
        return found
    homes = [home for home, told in flat_homes(root).items() if (told or FLAT_COMPRESSION) == compression]
    return [folder for home in homes for folder in _below(root, home, method or _FLAT_ORIGINALS)]


def flat_homes(root: Path) -> dict[str, str | None]:
    """The folders that are flat copies, ``root`` itself or some in it, with the compression that their names tell.

    There are none where the authors' folders are.
    """
    if find_folders(root, _ROOT_FOLDERS):
        return {}
    if _below(root, "", _FLAT_ORIGINALS):
        return {"": _told(Path(os.path.abspath(root)).name)}  # noqa: PTH100 -- "." has to become a name
    named = {path.name: _told(path.name) for path in sorted(root.iterdir()) if _told(path.name) and path.is_dir()}
    return {name: told for name, told in named.items() if _below(root, name, _FLAT_ORIGINALS)}


def _below(root: Path, home: str, name: str) -> list[str]:
    return find_folders(root, *([home.lower()], [name.lower()]) if home else ([name.lower()],))


def _told(name: str) -> str | None:
    """The compression that a folder's name tells."""
    found = _TOLD.search(name.lower().replace("_", "-"))
    return None if found is None else COMPRESSION_ALIASES.get(found[1], found[1])


def flat_warnings(root: Path, compressions: Sequence[str]) -> list[str]:
    """What is to be told of a flat copy."""
    told = []
    for home, compression in flat_homes(root).items():
        place = root / home
        if compression is None and FLAT_COMPRESSION in compressions:
            told.append(f"nothing says how {place} is compressed: taken as {FLAT_COMPRESSION}")
        if _below(root, home, "DeepFakeDetection"):
            other = place / "DeepFakeDetection"
            told.append(f"{other} left out: it is another dataset, and its originals are not here")
    return told


def mask_folders(root: Path, method: str) -> list[str]:
    """The folders with the masks that come with a method; they serve all compressions."""
    return find_folders(root, ["manipulated_sequences"], [method.lower()], ["masks"], ["videos"])


def mask_pictures(root: Path, method: str) -> list[str]:
    """The folders with masks as folders of pictures."""
    home = ["manipulated_sequences"], [method.lower()], ["masks"]
    return [*find_folders(root, *home, PICTURE_HOMES), *find_folders(root, *home)]


def check_found(root: Path, clips: Sequence[Clip], compressions: Sequence[str], strangers: Sequence[str]) -> None:
    """Raise a :class:`UsageError` that names the likely mistake, if there are no clips."""
    if clips:
        return
    asked = compressions[0] if len(compressions) == 1 else f"{{{','.join(compressions)}}}"
    looked = (
        f"no FaceForensics++ clips under {root}: looked for original_sequences/youtube/{asked}/videos/AAA.mp4 "
        f"and manipulated_sequences/<method>/{asked}/videos/AAA_BBB.mp4, or {FLAT}/original/AAA.mp4 and so on"
    )
    advice = _advice(root, compressions, strangers)
    raise UsageError(f"{looked}; {advice}" if advice else looked)


def check_asked(
    root: Path, clips: Sequence[Clip], *, compressions: Sequence[str], methods: Sequence[str] | None
) -> None:
    """Raise a :class:`UsageError` if a compression, or a method that was asked for by name, has not a single clip."""
    have_compressions = {clip.compression for clip in clips}
    without = [name for name in compressions if name not in have_compressions]
    if without:
        there = ", ".join(name for name in COMPRESSIONS if name not in without and _has_folder(root, name))
        raise UsageError(f"no {' or '.join(without)} clips under {root}: the compressions there are: {there}")
    have_methods = {clip.method for clip in clips}
    without = [name for name in methods or () if name not in have_methods]
    if without:
        present = [
            name
            for name in METHODS
            if any(clip_folders(root, quality, name, *PICTURE_HOMES) for quality in compressions)
        ]
        there = ", ".join(name for name in present if name not in without) or "none"
        wanted = f"{' or '.join(without)} clips at {' or '.join(compressions)}"
        raise UsageError(f"no {wanted} under {root}: the methods there are: {there}")


def check_splits(root: Path, chosen: Collection[Clip], clips: Collection[Clip], splits: Sequence[Split]) -> None:
    """Raise a :class:`UsageError` if there are clips, but none in the splits that were asked for."""
    if not chosen:
        raise UsageError(f"none of the {len(clips)} FaceForensics++ clips under {root} is in: {', '.join(splits)}")


def _advice(root: Path, compressions: Sequence[str], strangers: Sequence[str]) -> str | None:
    """What went wrong where no clip was found, if it can be told."""
    if not find_folders(root, _ROOT_FOLDERS) and not flat_homes(root):
        parent = Path(os.path.abspath(root)).parent  # noqa: PTH100 -- as in suggest_root
        suggestion = suggest_root(root, _ROOT_FOLDERS) or (str(parent) if _is_flat(root, parent) else None)
        return f"did you mean --root {suggestion}?" if suggestion else None
    others = [name for name in COMPRESSIONS if name not in compressions and _has_folder(root, name)]
    if others:
        return f"the compressions there are: {', '.join(others)}"
    actors = find_folders(root, ["original_sequences"], ["actors"])
    swapped = method_folders(root, "DeepFakeDetection")
    if (actors or swapped) and not any(_has_folder(root, name) for name in compressions):
        there = shown([*actors, *swapped])
        return f"what lies there ({there}) is DeepFakeDetection, another dataset that shares these folders"
    # A flat copy has no folders of their own for these.
    if not flat_homes(root) and any(
        clip_folders(root, name, method, *HOMES) for name in compressions for method in (None, *METHODS)
    ):
        return "there are folders of pictures only: leave out frames=videos"
    if strangers:
        return f"files there are named otherwise: {shown(strangers)}"
    return None


def _is_flat(root: Path, parent: Path) -> bool:
    """Whether a root is a folder of a flat copy: ``original`` or that of a method."""
    names = {name.lower() for name in (_FLAT_ORIGINALS, *METHODS)}
    return not is_remote(root) and Path(os.path.abspath(root)).name.lower() in names and bool(flat_homes(parent))  # noqa: PTH100


def _has_folder(root: Path, compression: str) -> bool:
    return any(clip_folders(root, compression, method, *PICTURE_HOMES) for method in (None, *METHODS))
