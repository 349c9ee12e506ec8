"""DeeperForensics-1.0: eleven variants of the faces of 100 paid actors on the 1000 clips of FaceForensics++.

::

    manipulated_videos/<variant>/TTT_ANNN.mp4     clip TTT of FaceForensics++ with the face of actor MNNN or WNNN
    lists/splits/{train,val,test}.txt             names of fakes, by actor: 703, 96 and 201

The reals are the targets, FaceForensics++ at c23, which lies elsewhere: ``--real-root ffpp=DIR``. The 48,475 videos of
the actors (``source_videos``) are not those that the fakes are made of, and are not used.

The authors split by actor, and each clip has one actor. A real goes with its fakes: ``split=official``. With
``split=ffpp`` all follow FaceForensics++'s own split, for comparisons with it; then an actor may stand in two.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from forgeprep.datasets.base import Dataset, PublishedCount, Scan, ScanOptions
from forgeprep.datasets.clips import fake_clip
from forgeprep.datasets.ffpp import official_split
from forgeprep.datasets.frame_folders import SequenceParams, list_clips, told_unused
from forgeprep.datasets.listing import check_root, find_folders, listed, shown
from forgeprep.datasets.lists import read_lines
from forgeprep.datasets.other_reals import reals_of, told_without
from forgeprep.datasets.scan import make_scan
from forgeprep.datasets.taxonomy import methods_of
from forgeprep.schemas.clips import SPLITS, Clip, Split
from forgeprep.text import counted

NAME = "deeperforensics"
_STEM = re.compile(r"(?P<target>[0-9]{3})_(?P<actor>[MW][0-9]{3})")


class DeeperForensicsParams(SequenceParams):
    """Options of ``deeperforensics``."""

    split: Literal["official", "ffpp"] = Field(
        default="official", description="the authors' split, by actor, or that of FaceForensics++"
    )


def scan(root: Path, options: ScanOptions) -> Scan:
    """List the clips under ``root`` and the reals of FaceForensics++; raises UsageError where there are no fakes."""
    check_root(root)
    params = options.params if isinstance(options.params, DeeperForensicsParams) else DeeperForensicsParams()
    reals = reals_of("ffpp", options, ("c23",))
    warnings = told_without(options, "ffpp")
    told, odd = _splits(root) if params.split == "official" else (None, [])
    warnings += odd
    clips: list[Clip] = []
    strangers: list[str] = []
    unused: list[str] = []
    unlisted: list[str] = []
    homes: dict[str, Split] = {}
    for home in find_folders(root, ["manipulated_videos"]):
        for name in [name for name, size in listed(root, home) if size is None]:
            folder = f"{home}/{name}"
            listing = list_clips(root, [folder], [folder], _STEM, params.frames, unused)
            strangers += listing.strangers
            for stem, file in listing.files.items():
                target, actor = stem.split("_")
                split = official_split()[target] if told is None else told.get(stem)
                if split is None:
                    unlisted.append(f"{folder}/{stem}")
                    continue
                homes[target] = split
                where: dict[str, Any] = {"source_id": f"ffpp/c23/{target}", "original_id": f"ffpp/c23/youtube/{target}"}
                clips.append(fake_clip(NAME, f"{name}/{stem}", file, split, name, people=[actor], **where))
    # Of a target whose fakes are not here, the real goes where FaceForensics++ has it.
    used = [replace(clip, split=homes[name]) for name, clip in reals.items() if name in homes]
    if unlisted:
        warnings.append(f"{counted(len(unlisted), 'fake')} left out, in no list of a split: {shown(unlisted)}")
    warnings += told_unused(unused)
    found = used + clips if clips else []
    return make_scan(DEEPERFORENSICS, root, found, options, warnings=warnings, strangers=strangers)


def _splits(root: Path) -> tuple[dict[str, Split] | None, list[str]]:
    """Name of a fake -> its split; None without lists. And what is to be told."""
    homes = find_folders(root, ["lists"], ["splits"])
    found: dict[str, Split] = {}
    twice: list[str] = []
    for home in homes:
        for split in SPLITS:
            file = root / home / f"{split}.txt"
            for _, line in read_lines(file) if file.is_file() else ():
                stem = line.split()[0].rpartition("/")[2].removesuffix(".mp4")
                if found.setdefault(stem, split) != split:
                    twice.append(stem)
    if found:
        told = f"{root / homes[0]}: {counted(len(twice), 'name')} in two lists, the first counts: {shown(twice)}"
        return found, [told] if twice else []
    return None, [f"no lists/splits/train.txt and so on in {root}: split as FaceForensics++, by target, not by actor"]


def looks_like(root: Path) -> bool:
    """Whether a variant's folder is there."""
    return bool(find_folders(root, ["manipulated_videos"], [name.lower() for name in methods_of(NAME)]))


DEEPERFORENSICS = Dataset(
    name=NAME,
    title="DeeperForensics-1.0",
    url="https://github.com/EndlessSora/DeeperForensics-1.0",
    citation="Jiang et al., DeeperForensics-1.0: A Dataset for Real-World Face Forgery Detection, CVPR 2020",
    compressions=(),
    default_compressions=(),
    methods=methods_of(NAME),
    layout=("manipulated_videos/<variant>/TTT_ANNN.mp4", "lists/splits/{train,val,test}.txt"),
    published=tuple(
        PublishedCount("fakes", method, split, count)
        for method in methods_of(NAME)
        for split, count in zip(SPLITS, (703, 96, 201), strict=True)
    ),
    scan=scan,
    looks_like=looks_like,
    params=DeeperForensicsParams,
    reals_from=("ffpp",),
)
