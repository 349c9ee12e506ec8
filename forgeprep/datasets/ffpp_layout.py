"""Where FaceForensics++ keeps its clips, and what to tell a user whose folder does not look like that."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from forgeprep.datasets.listing import find_folders, shown, suggest_root
from forgeprep.datasets.taxonomy import methods_of
from forgeprep.errors import UsageError
from forgeprep.schemas.clips import Clip, Split

COMPRESSIONS = ("raw", "c23", "c40")
COMPRESSION_ALIASES = {"c0": "raw"}

METHODS = methods_of("ffpp")

_ROOT_FOLDERS = ("original_sequences", "manipulated_sequences")
_ORIGINALS = ("original_sequences", "youtube")


def method_folders(root: Path, method: str) -> list[str]:
    """The folders of a method, relative to ``root``."""
    return find_folders(root, ["manipulated_sequences"], [method.lower()])


def clip_folders(root: Path, compression: str, method: str | None = None, kind: str = "videos") -> list[str]:
    """The folders with the clips of a method (None: the originals) at a compression; two where some are in ``c0``."""
    place = _ORIGINALS if method is None else ("manipulated_sequences", method.lower())
    spellings = [compression, *(alias for alias, name in COMPRESSION_ALIASES.items() if name == compression)]
    return find_folders(root, *([name] for name in place), spellings, [kind])


def mask_folders(root: Path, method: str) -> list[str]:
    """The folders with the masks that come with a method; they serve all compressions."""
    return find_folders(root, ["manipulated_sequences"], [method.lower()], ["masks"], ["videos"])


def check_found(root: Path, clips: Sequence[Clip], compressions: Sequence[str], strangers: Sequence[str]) -> None:
    """Raise a :class:`UsageError` that names the likely mistake, if there are no clips."""
    if clips:
        return
    asked = compressions[0] if len(compressions) == 1 else f"{{{','.join(compressions)}}}"
    looked = (
        f"no FaceForensics++ clips under {root}: looked for original_sequences/youtube/{asked}/videos/AAA.mp4 "
        f"and manipulated_sequences/<method>/{asked}/videos/AAA_BBB.mp4"
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
        there = ", ".join(name for name in COMPRESSIONS if name not in without and _has_folder(root, name, "videos"))
        raise UsageError(f"no {' or '.join(without)} clips under {root}: the compressions there are: {there}")
    have_methods = {clip.method for clip in clips}
    without = [name for name in methods or () if name not in have_methods]
    if without:
        present = [name for name in METHODS if any(clip_folders(root, quality, name) for quality in compressions)]
        there = ", ".join(name for name in present if name not in without) or "none"
        wanted = f"{' or '.join(without)} clips at {' or '.join(compressions)}"
        raise UsageError(f"no {wanted} under {root}: the methods there are: {there}")


def check_splits(root: Path, chosen: Collection[Clip], clips: Collection[Clip], splits: Sequence[Split]) -> None:
    """Raise a :class:`UsageError` if there are clips, but none in the splits that were asked for."""
    if not chosen:
        raise UsageError(f"none of the {len(clips)} FaceForensics++ clips under {root} is in: {', '.join(splits)}")


def _advice(root: Path, compressions: Sequence[str], strangers: Sequence[str]) -> str | None:
    """What went wrong where no clip was found, if it can be told."""
    if not find_folders(root, _ROOT_FOLDERS):
        suggestion = suggest_root(root, _ROOT_FOLDERS)
        return f"did you mean --root {suggestion}?" if suggestion else None
    others = [name for name in COMPRESSIONS if name not in compressions and _has_folder(root, name, "videos")]
    if others:
        return f"the compressions there are: {', '.join(others)}"
    actors = find_folders(root, ["original_sequences"], ["actors"])
    swapped = method_folders(root, "DeepFakeDetection")
    if (actors or swapped) and not any(_has_folder(root, name, "videos") for name in compressions):
        there = shown([*actors, *swapped])
        return f"what lies there ({there}) is DeepFakeDetection, another dataset that shares these folders"
    if any(_has_folder(root, name, "images") for name in compressions):
        return "there are extracted pictures (images/) only: the videos are needed"
    if strangers:
        return f"files there are named otherwise: {shown(strangers)}"
    return None


def _has_folder(root: Path, compression: str, kind: str) -> bool:
    return any(clip_folders(root, compression, method, kind) for method in (None, *METHODS))
