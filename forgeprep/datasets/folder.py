"""Any collection of videos or pictures in two folders.

::

    real/**                            originals
    fake/**                            a folder below fake/ names the method: fake/METHOD/**
    masks/**                           optional: under the path of the fake below fake/, any suffix
    {train,val,test}/{real,fake,masks}/**      the same, where the split is made already

A fake belongs to the real whose path below ``real/``, without the suffix, is its own below ``fake/`` or
``fake/METHOD/``, or all of it up to an underscore: ``fake/swap/071_054.mp4`` to ``real/071.mp4``. Another rule is an
option, ``pattern``. Without split folders, the sources are dealt out, each with its fakes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import Field, field_validator

from forgeprep.datasets.assemble import assemble
from forgeprep.datasets.base import Dataset, DatasetParams, Scan, ScanOptions
from forgeprep.datasets.listing import check_root, find_folders, walk_files
from forgeprep.datasets.splits import Ratios, split_by_ratio
from forgeprep.ops.video import PICTURE_SUFFIXES, VIDEO_SUFFIXES, is_picture
from forgeprep.schemas.clips import SPLITS, Clip, Forgery, Split

_MEDIA = PICTURE_SUFFIXES | VIDEO_SUFFIXES


class FolderParams(DatasetParams):
    """Options of ``folder``."""

    ratios: Ratios = Field(default=(0.8, 0.1, 0.1), description="shares of the sources: train,val,test")
    seed: int = Field(default=0, description="another seed deals the sources out otherwise")
    pattern: str = Field(
        default="",
        description="regular expression for a fake's path below fake/, without suffix, with the group (?P<original>…): "
        "its real's path below real/; and if wanted (?P<method>…)",
    )
    forgery: Literal["identity_replaced", "identity_remained", "attribute_edit", "entire_synthesis"] = Field(
        default="identity_replaced", description="what kind of forgery the fakes are"
    )

    @field_validator("pattern")
    @classmethod
    def _check(cls, value: str) -> str:
        try:
            groups = re.compile(value).groupindex
        except re.error as error:
            raise ValueError(f"no regular expression ({error})") from None
        if value and ("original" not in groups or set(groups) - {"original", "method"}):
            raise ValueError("needs the group (?P<original>…), and may have (?P<method>…)")
        return value


def scan(root: Path, options: ScanOptions) -> Scan:
    """List the clips under ``root``; raises UsageError where there are none."""
    check_root(root)
    params = options.params if isinstance(options.params, FolderParams) else FolderParams()
    made = [split for split in SPLITS if find_folders(root, [split], ["real", "fake"])]
    clips: list[Clip] = []
    strangers: list[str] = []
    for split in made:
        found, odd = _clips(root, find_folders(root, [split])[0], split, params, options)
        clips += found
        strangers += odd
    if not made:
        found, strangers = _clips(root, "", "train", params, options)
        splits = split_by_ratio((clip.source_id for clip in found), params.ratios, params.seed)
        clips = [replace(clip, split=splits[clip.source_id]) for clip in found]
    return assemble(FOLDER, root, clips, options, strangers=strangers)


def _clips(
    root: Path, home: str, split: Split, params: FolderParams, options: ScanOptions
) -> tuple[list[Clip], list[str]]:
    """The clips of one home of real/ and fake/, and the fakes that the pattern does not fit."""
    clips: list[Clip] = []
    strangers: list[str] = []
    prefix = f"folder/{home}/" if home else "folder/"
    reals: set[str] = set()
    for path, below, size in _files(root, home, "real"):
        reals.add(below)
        clips.append(_real(f"{prefix}real/{below}", path, split, size))
        options.progress(len(clips))
    masks = {below: path for path, below, _ in _files(root, home, "masks")}
    for path, below, size in _files(root, home, "fake"):
        told = re.fullmatch(params.pattern, below) if params.pattern else None
        if params.pattern and told is None:
            strangers.append(path)
            continue
        folder = below.split("/")[0] if "/" in below else "fake"
        method = (told.groupdict().get("method") if told else None) or folder
        original = told["original"] if told else _original(below, reals)
        clip = _fake(f"{prefix}fake/{below}", path, split, size, params.forgery)
        source = f"{prefix}real/{original}" if original else clip.source_id
        mask = {"mask": masks[below]} if below in masks else {}
        original_id = source if original else None
        clips.append(replace(clip, source_id=source, original_id=original_id, method=method, companions=mask))
        options.progress(len(clips))
    return clips, strangers


def _files(root: Path, home: str, kind: str) -> Iterator[tuple[str, str, int]]:
    """Path, path below the folder without suffix, and size."""
    for folder in find_folders(root, *([home.lower()], [kind]) if home else ([kind],)):
        for path, size in walk_files(root, folder, _MEDIA):
            yield path, str(PurePosixPath(path).relative_to(folder).with_suffix("")), size


def _original(below: str, reals: set[str]) -> str | None:
    """The real with the fake's own name, or the longest that it begins with, up to an underscore."""
    for name in dict.fromkeys([below, below.partition("/")[2]]):
        while name:
            if name in reals:
                return name
            name = name.rpartition("_")[0]
    return None


def _real(name: str, path: str, split: Split, size: int) -> Clip:
    return Clip(name, "folder", path, split, name, None, 0, "real", size_bytes=size, frame_count=_frames(path))


def _fake(name: str, path: str, split: Split, size: int, forgery: Forgery) -> Clip:
    return Clip(name, "folder", path, split, name, None, 1, forgery, size_bytes=size, frame_count=_frames(path))


def _frames(path: str) -> int:
    return int(is_picture(PurePosixPath(path)))


FOLDER = Dataset(
    name="folder",
    title="folder",
    url="",
    citation="",
    compressions=(),
    default_compressions=(),
    methods=(),
    layout=("real/**", "fake/** or fake/METHOD/**", "masks/** (optional)", "or all of these in train/, val/ and test/"),
    published=(),
    scan=scan,
    params=FolderParams,
    official_split=False,
)
