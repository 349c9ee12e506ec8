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
original, whole syntheses above all, has no mask: the mask is absent, not empty. In papers the mask of a whole synthesis
is all ones: ``synthesis-mask=ones``.

The authors' loaders give each generator one set of reals, CelebA_HQ, or FFHQ for Diffae in test, and as many of them as
it has fakes: ``reals=per-generator``. With ``--detector whole`` pictures are taken as they are, as in these loaders.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
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
_SPELLINGS = {"colladiffusion": "CollaborativeDiffusion"} | {
    name.lower().replace("-", ""): name for name in methods_of("genface")
}
_KNOWN = "|".join("[-_]?".join(name) for name in sorted(_SPELLINGS, key=len, reverse=True))
_FIRST, _LAST = re.compile(rf"({_KNOWN})_(.+)", re.IGNORECASE), re.compile(rf"(.+)_({_KNOWN})", re.IGNORECASE)


class GenFaceParams(DatasetParams):
    """Options of ``genface``."""

    pairs: Literal["name", "none"] = Field(default="name", description="originals by name, or none at all")
    reals: Literal["both", "per-generator"] = Field(
        default="both",
        description="all reals, or for each generator as many as it has fakes, from the set that the authors' loaders "
        "use with it",
    )
    synthesis_mask: Literal["absent", "ones"] = Field(
        default="absent", description="the mask of a whole synthesis: none, or all of the picture"
    )


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
                        clip = _fake(name, split, path, size, originals, forgery, method, family)
                        ones = top == "efs" and params.synthesis_mask == "ones"
                        clips.append(replace(clip, companions={"whole": path}) if ones else clip)
                        _tell(clips, options)
    if params.reals == "per-generator":
        asked = None if options.methods is None else {method.lower() for method in options.methods}
        clips = _per_generator([c for c in clips if asked is None or c.label == 0 or str(c.method).lower() in asked])
    return make_scan(GENFACE, root, clips, options, strangers=strangers)


def _per_generator(clips: list[Clip]) -> list[Clip]:
    """The fakes, and of each split's reals those that the authors' loaders would use with them.

    Generators of one set share its reals: of the most that one of them needs, those come first that a fake may be made
    of, then by name.
    """
    fakes = Counter((clip.split, clip.method) for clip in clips if clip.label)
    need: Counter[tuple[Split, str]] = Counter()
    for (split, method), count in fakes.items():
        need[split, _set_of(split, method)] = max(count, need[split, _set_of(split, method)])
    wanted = {name for clip in clips if clip.label for name in _own_options(clip)}
    kept: set[str] = set()
    for (split, folder), count in need.items():
        reals = [c.clip_id for c in clips if not c.label and c.clip_id.lower().startswith(_home(split, folder))]
        kept.update(sorted(reals, key=lambda name: (name not in wanted, name))[:count])
    paired = []
    for clip in clips:
        options = [name for name in _own_options(clip) if name in kept]
        if clip.label and clip.options:
            source = options[0] if options else clip.clip_id
            original = options[0] if options else None
            clip = replace(
                clip, original_id=original, source_id=source, guessed=bool(options), candidates=options[1:] or None
            )
        if clip.label or clip.clip_id in kept:
            paired.append(clip)
    return paired


def _own_options(fake: Clip) -> list[str]:
    """The originals that come into question, as far as they are of the split and the set of the fake's generator."""
    home = _home(fake.split, _set_of(fake.split, fake.method))
    return [name for name in fake.options if name.lower().startswith(home)]


def _home(split: Split, folder: str) -> str:
    return f"genface/{split}/real/{folder}/"


def _set_of(split: Split, method: str | None) -> str:
    return "ffhq" if (split, method) == ("test", "Diffae") else "celeba_hq"


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
    first, last = _FIRST.fullmatch(stem), _LAST.fullmatch(stem)
    if last is not None and (top == "fs" or first is None):
        return _spelled(last[2]), last[1]
    if first is not None:
        return _spelled(first[1]), first[2]
    if top == "am":
        return "Diffae" if branch == "diffusion" else "AM-GAN", stem
    parts = stem.rpartition("_") if top == "fs" else stem.partition("_")
    word, rest = (parts[2], parts[0]) if top == "fs" else (parts[0], parts[2])
    # A generator that the table does not know keeps its own name.
    return (word, rest) if re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", word) and rest else (f"{top}-{branch}".upper(), stem)


def _spelled(word: str) -> str:
    return _SPELLINGS[re.sub("[-_]", "", word).lower()]


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
