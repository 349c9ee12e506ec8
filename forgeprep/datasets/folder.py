"""Any collection of videos or pictures in two folders.

::

    real/**                            originals
    fake/**                            a folder below fake/ names the method: fake/METHOD/**
    masks/**                           optional: under the path of the fake below fake/, any suffix
    {train,val,test}/{real,fake,masks}/**      the same, where the split is made already; training, valid, validation,
                                               dev and testing are such names too

Any other folder of videos or pictures beside these is refused, unless the option ``ignore`` names it.

A folder of numbered pictures anywhere below real/ and fake/ is one clip if its pictures are the frames of a video: if
each looks like the next (``frames=auto``). Pictures that lie in real/ or fake/ themselves are clips of their own.

A fake belongs to the real whose path below ``real/``, without the suffix, is its own below ``fake/`` or
``fake/METHOD/``, or all of it up to an underscore: ``fake/swap/071_054.mp4`` to ``real/071.mp4``. Another rule is an
option, ``pattern``. Without split folders, the sources are dealt out, each with its fakes; if what follows the
original's name is the name of a real too, that is who lent the face, and both stay in one split.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import Field, field_validator

from forgeprep.datasets.base import Dataset, DatasetParams, Scan, ScanOptions
from forgeprep.datasets.frame_folders import STILL_TEXT, StillChoice, candidates, clip_folders, joined, told_stills
from forgeprep.datasets.listing import VideoFile, check_root, find_folders, listed, walk_files
from forgeprep.datasets.scan import make_scan
from forgeprep.datasets.split_folders import MEDIA, refuse_others, split_folders
from forgeprep.datasets.splits import Ratios, split_together
from forgeprep.errors import UsageError
from forgeprep.media.pictures import is_picture
from forgeprep.schemas.clips import SPLITS, Clip, Split
from forgeprep.schemas.splits import SPLIT_NAMES


class FolderParams(DatasetParams):
    """Options of ``folder``."""

    frames: StillChoice = Field(default="auto", description=STILL_TEXT)
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

    ignore: str = Field(default="", description="names of folders beside real/ and fake/ to leave out, comma-separated")

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
    homes = split_folders(root, ("real", "fake"))
    if homes and find_folders(root, ["real", "fake"]):
        raise UsageError(f"{root} holds real/ or fake/ and also {', '.join(homes)} with such folders; keep one kind")
    _refuse_others(root, homes, params)
    clips: list[Clip] = []
    strangers = [path for home in homes or ("",) for path in _files_beside(root, home)]
    stills: list[str] = []
    clip_of = functools.partial(clip_folders, root, params.frames, stills)
    for home, split in (homes or {"": SPLITS[0]}).items():
        for file in _files(root, home, "real", strangers, clip_of):
            name = f"{_prefix(home)}real/{file.stem}"
            # The size tells two videos of one name apart, and finds one video that lies in two splits.
            people = [f"{file.stem} ({file.size_bytes} bytes)"]
            clips.append(_clip(name, file, split, source_id=name, identities=people))
            options.progress(len(clips))
    reals = {clip.clip_id: clip for clip in clips}
    for home, split in (homes or {"": SPLITS[0]}).items():
        fakes = _files(root, home, "fake", strangers, clip_of)
        # A fake's mask is of the same kind, whatever its pictures look like.
        as_fakes = functools.partial(_of_both, {file.stem for file in fakes if file.frames is not None})
        masks = {file.stem: file.path for file in _files(root, home, "masks", strangers, as_fakes)}
        for file in fakes:
            path, below = file.path, file.stem
            told = re.fullmatch(params.pattern, below) if params.pattern else None
            if params.pattern and told is None:
                strangers.append(path)
                continue
            facts = _facts(below, home, homes, told, reals) | {"forgery": params.forgery, "label": 1}
            mask = {"mask": masks[below]} if below in masks else {}
            clips.append(_clip(f"{_prefix(home)}fake/{below}", file, split, **facts, companions=mask))
            options.progress(len(clips))
    if not homes:
        clips = split_together(clips, params.ratios, params.seed, options.settled)
    return make_scan(FOLDER, root, clips, options, strangers=strangers, warnings=told_stills(stills))


def _facts(
    below: str, home: str, homes: Collection[str], told: re.Match[str] | None, reals: Mapping[str, Clip]
) -> dict[str, Any]:
    """What a fake's path says: its method, its source and who is in it."""
    folder, _, rest = below.partition("/") if "/" in below else ("fake", "", below)
    method = (told.groupdict().get("method") if told else None) or folder
    # The fake's own split comes first; an original of another one is a leak, which is found later.
    prefixes = [f"{_prefix(one)}real/" for one in (home, *(other for other in homes if other != home))]
    name = told["original"] if told else None
    found = None
    for prefix in prefixes:
        candidate = name if told else _original(below, prefix, reals)
        if found is None and candidate is not None and prefix + candidate in reals:
            found, name = prefix + candidate, candidate
    if found is None or name is None:
        named = f"{prefixes[0]}{name}" if name else None
        return {"method": method, "source_id": named or f"{_prefix(home)}fake/{rest}", "original_id": named}
    # Whose face it is, where the name goes on with that of another real (071_054); or the other way round.
    donor = _original(rest[len(name) :].lstrip("_"), prefixes[0], reals) if rest.startswith(name) else None
    others = [prefixes[0] + donor] if donor else []
    # A shorter name, where nothing but names tells: 1 beside 1_2.
    start = found[: -len(name)]
    others += [] if told else [start + one for one in _originals(below, start, reals) if one != name]
    others = list(dict.fromkeys(others))
    # All who may be in it stay in its split.
    people = [person for one in (found, *others) for person in reals[one].identities]
    guess = {"guessed": not told, "candidates": others or None if not told else None}
    return {"method": method, "source_id": found, "original_id": found, "identities": people, **guess}


def _kinds(root: Path, home: str) -> list[str]:
    levels = [[home.lower()]] if home else []
    return find_folders(root, *levels, ["real", "fake", "masks"])


def _files_beside(root: Path, home: str) -> list[str]:
    """Videos and pictures that lie in a home itself."""
    inside = (name for name, size in listed(root, home) if size is not None)
    return [f"{home}/{name}".lstrip("/") for name in inside if PurePosixPath(name).suffix.lower() in MEDIA]


def _refuse_others(root: Path, homes: Mapping[str, Split], params: FolderParams) -> None:
    ignored = [name.strip() for name in params.ignore.split(",")]
    splits = f"{', '.join(SPLIT_NAMES)}, with real/, fake/ and masks/ in each"
    if homes:
        refuse_others(root, "", homes, splits, ignored)
    for home in homes or ("",):
        if kinds := _kinds(root, home):
            refuse_others(root, home, kinds, f"real, fake, masks{'' if homes else f'; or {splits}'}", ignored)


def _prefix(home: str) -> str:
    return f"folder/{home}/" if home else "folder/"


def _files(
    root: Path,
    home: str,
    kind: str,
    strangers: list[str],
    clip_of: Callable[[Mapping[str, Sequence[str]]], Collection[str]],
) -> list[VideoFile]:
    """The videos and pictures of a class, and the folders that are clips, by their paths below it, without suffix.

    ``clip_of`` says which of some folders of numbered pictures are clips; both by their paths below the class.
    """
    files: list[VideoFile] = []
    for folder in find_folders(root, *([home.lower()], [kind]) if home else ([kind],)):
        sizes = dict(walk_files(root, folder, MEDIA, strangers))
        found = {place[len(folder) + 1 :]: paths for place, paths in candidates(sizes).items() if place != folder}
        clips = clip_of(found)
        for below in sorted(found.keys() & set(clips)):
            files.append(joined(f"{folder}/{below}", below, {path: sizes.pop(path) for path in found[below]}))
        for path, size in sizes.items():
            files.append(VideoFile(str(PurePosixPath(path).relative_to(folder).with_suffix("")), path, size))
    return files


def _of_both(names: set[str], found: Mapping[str, Sequence[str]]) -> set[str]:
    return names & found.keys()


def _original(below: str, prefix: str, reals: Mapping[str, Clip]) -> str | None:
    """The real with the fake's own name, or the longest that it begins with, up to an underscore."""
    return next(_originals(below, prefix, reals), None)


def _originals(below: str, prefix: str, reals: Mapping[str, Clip]) -> Iterator[str]:
    """All reals that a fake's name may stand for, the likeliest first."""
    for name in dict.fromkeys([below, below.partition("/")[2]]):
        while name:
            if prefix + name in reals:
                yield name
            name = name.rpartition("_")[0]


def _clip(name: str, file: VideoFile, split: Split, **facts: Any) -> Clip:
    count = int(is_picture(PurePosixPath(file.path)))
    plain = {"original_id": None, "label": 0, "forgery": "real", "frame_count": count}
    return Clip(clip_id=name, dataset="folder", split=split, **{**plain, **file.facts, **facts})


def looks_like(root: Path) -> bool:
    """Whether reals and fakes are there, in two folders or in two of each split, and it is not GenFace or UADFV."""
    homes = ["", *find_folders(root, SPLITS)]
    both = any(len(_kinds(root, home)) >= 2 for home in homes)
    named = (root / "fake" / "0000_fake.mp4").is_file()
    return both and not named and not find_folders(root, SPLITS, ["fake"], ["efs", "fs", "am"], ["diffusion", "gan"])


FOLDER = Dataset(
    name="folder",
    title="folder",
    url="",
    citation="",
    compressions=(),
    default_compressions=(),
    methods=(),
    layout=(
        "real/**",
        "fake/** or fake/METHOD/**",
        "masks/** (optional)",
        "or all of these in train/, val/ and test/ (or training, valid, validation, dev, testing); each a video, a "
        "picture or a folder of a video's frames",
    ),
    published=(),
    scan=scan,
    looks_like=looks_like,
    params=FolderParams,
    official_split=False,
)
