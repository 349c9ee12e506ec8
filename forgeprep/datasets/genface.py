"""GenFace: pictures of whole synthesis, face swaps and attribute edits, by diffusion models and GANs.

::

    {train,val,test}/real/{CelebA_HQ,FFHQ}/*
    {train,val,test}/fake/EFS/{Diffusion,GAN}/GENERATOR_*       entire face synthesis
    {train,val,test}/fake/FS/{Diffusion,GAN}/*_GENERATOR.*      face swap
    {train,val,test}/fake/AM/{Diffusion,GAN}/*                  attribute manipulation

``training``, ``valid``, ``validation``, ``dev`` and ``testing`` are such splits too; other folders with pictures beside
them, and beside real/ and fake/, are refused.

The tree is known from the authors' loaders alone; the GAN folders of EFS and AM are inferred. Which pictures were
swapped or edited is not documented: a fake whose name, without its generator, is that of a real of the same split (or
begins with it) is guessed to be made of it. Both sets of reals hold the same numbers, so the pipeline compares the fake
with each candidate, and leaves it unpaired where none fits; the option ``pairs=none`` leaves all unpaired. What has no
original, whole syntheses above all, has no mask: the mask is absent, not empty.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import Field

from forgeprep.datasets.base import Dataset, DatasetParams, Scan, ScanOptions
from forgeprep.datasets.listing import check_root, find_folders, walk_files
from forgeprep.datasets.scan import make_scan
from forgeprep.datasets.split_folders import refuse_others, split_folders, unknown_folders
from forgeprep.datasets.taxonomy import methods_of
from forgeprep.media.pictures import PICTURE_SUFFIXES
from forgeprep.schemas.clips import SPLITS, Clip, Forgery, Split
from forgeprep.schemas.splits import SPLIT_NAMES

_FORGERIES: dict[str, Forgery] = {"efs": "entire_synthesis", "fs": "identity_replaced", "am": "attribute_edit"}
_FAMILIES = {"diffusion": "diffusion", "gan": "gan"}
_SPELLINGS = {"colladiffusion": "CollaborativeDiffusion"} | {name.lower(): name for name in methods_of("genface")}


class GenFaceParams(DatasetParams):
    """Options of ``genface``."""

    pairs: Literal["name", "none"] = Field(default="name", description="originals by name, or none at all")


def scan(root: Path, options: ScanOptions) -> Scan:
    """List the pictures under ``root``; raises UsageError where there are none."""
    check_root(root)
    params = options.params if isinstance(options.params, GenFaceParams) else GenFaceParams()
    clips: list[Clip] = []
    homes = {split: home for home, split in split_folders(root, ("real", "fake")).items()}
    strangers = _unknown(root, homes)
    reals: dict[Split, dict[str, list[str]]] = {split: {} for split in SPLITS}
    for split, home in homes.items():
        for folder in find_folders(root, [home.lower()], ["real"]):
            for path, size in walk_files(root, folder, PICTURE_SUFFIXES, strangers):
                clips.append(_real(split, path[len(folder) + 1 :], path, size))
                reals[split].setdefault(PurePosixPath(path).stem, []).append(clips[-1].clip_id)
                _tell(clips, options)
    for split, home in homes.items():
        # Its own split first: an original of another one is a leak of the authors' making.
        known = [reals[split], *(reals[other] for other in SPLITS if other != split)]
        for top, forgery in _FORGERIES.items():
            for branch, family in _FAMILIES.items():
                for folder in find_folders(root, [home.lower()], ["fake"], [top], [branch]):
                    for path, size in walk_files(root, folder, PICTURE_SUFFIXES, strangers):
                        method, rest = _method_of(PurePosixPath(path).stem, top, branch)
                        originals = _originals(rest, known) if params.pairs == "name" and top != "efs" else []
                        below = PurePosixPath(path).relative_to(folder.split("/")[0]).with_suffix("")
                        name = f"genface/{split}/{below}"
                        clips.append(_fake(name, split, path, size, originals, forgery, method, family))
                        _tell(clips, options)
    return make_scan(GENFACE, root, clips, options, strangers=strangers)


def _unknown(root: Path, homes: Mapping[Split, str]) -> list[str]:
    """Folders where pictures would be looked for in vain, such as ``train/fake/XX/``; such splits are refused."""
    tops, branches = list(_FORGERIES), list(_FAMILIES)
    refuse_others(root, "", [*homes.values(), *find_folders(root, ["truth"])], ", ".join(SPLIT_NAMES))
    found = []
    for home in homes.values():
        levels = [home.lower()]
        refuse_others(root, home, find_folders(root, levels, ["real", "fake"]), "real and fake")
        for fake in find_folders(root, levels, ["fake"]):
            found += unknown_folders(root, fake, find_folders(root, levels, ["fake"], tops))
        for top in tops:
            for folder in find_folders(root, levels, ["fake"], [top]):
                found += unknown_folders(root, folder, find_folders(root, levels, ["fake"], [top], branches))
    return found


def _tell(clips: list[Clip], options: ScanOptions) -> None:
    if len(clips) % 1000 == 0:
        options.progress(len(clips))


def _method_of(stem: str, top: str, branch: str) -> tuple[str, str]:
    """The generator that a picture's name tells, and the name without it."""
    first, _, after = stem.partition("_")
    before, _, last = stem.rpartition("_")
    for word, rest in ((last, before), (first, after)) if top == "fs" else ((first, after), (last, before)):
        if word.lower() in _SPELLINGS:
            return _SPELLINGS[word.lower()], rest
    if top == "am":
        return "Diffae" if branch == "diffusion" else "AM-GAN", stem
    word, rest = (last, before) if top == "fs" else (first, after)
    # A generator that the table does not know keeps its own name.
    return (word, rest) if re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", word) and rest else (f"{top}-{branch}".upper(), stem)


def _originals(rest: str, reals: Sequence[Mapping[str, Sequence[str]]]) -> list[str]:
    """The reals that a fake may be made of, the likeliest first."""
    names = dict.fromkeys((rest, rest.partition("_")[0]))
    return [real for known in reals for name in names for real in known.get(name, ())]


def _real(split: Split, below: str, path: str, size: int) -> Clip:
    name = f"genface/{split}/real/{PurePosixPath(below).with_suffix('')}"
    # The size tells two pictures of one name apart, and finds one picture that lies in two splits.
    who = f"{PurePosixPath(below).stem} ({size} bytes)"
    return Clip(name, "genface", path, split, name, None, 0, "real", identities=[who], size_bytes=size, frame_count=1)


def _fake(
    name: str, split: Split, path: str, size: int, originals: list[str], forgery: Forgery, method: str, family: str
) -> Clip:
    original = originals[0] if originals else None
    return Clip(
        clip_id=name,
        dataset="genface",
        path=path,
        split=split,
        source_id=original or name,
        original_id=original,
        label=1,
        forgery=forgery,
        method=method,
        family=family,
        guessed=bool(originals),
        candidates=originals[1:] or None,
        size_bytes=size,
        frame_count=1,
    )


def looks_like(root: Path) -> bool:
    """Whether a split has a folder of one of the three kinds of forgery."""
    return bool(find_folders(root, SPLITS, ["fake"], list(_FORGERIES)))


GENFACE = Dataset(
    name="genface",
    title="GenFace",
    url="https://github.com/Jenine-321/GenFace",
    citation="Zhang et al., GenFace: A Large-Scale Fine-Grained Face Forgery Benchmark, IEEE TIFS 2024",
    compressions=(),
    default_compressions=(),
    methods=methods_of("genface"),
    layout=(
        "{train,val,test}/real/*/*",
        "{train,val,test}/fake/EFS/{Diffusion,GAN}/GENERATOR_*",
        "{train,val,test}/fake/FS/{Diffusion,GAN}/*_GENERATOR.*",
        "{train,val,test}/fake/AM/{Diffusion,GAN}/*",
    ),
    published=(),
    scan=scan,
    looks_like=looks_like,
    params=GenFaceParams,
)
