"""Face crops that you already have, as pictures in folders: the picture is the crop, no face is looked for.

::

    …/frames/<video>/NNN.png                       DeepfakeBench: beside it masks/, landmarks/; a JSON with the splits
    preprocessing/dataset_json/*.json
    [split/]class/**                               ImageFolder, also without splits
    split/{metadata.csv,images/**,masks/**}        Hugging Face's imagefolder
    masks/[split/]class/**                         masks, under the path of the picture

A class is told by a word for it (real, fake, 0_real, 1_fake, original, manipulated, …), else by the name of a method or
of a folder of reals (Deepfakes, youtube, Celeb-real). Folders that nothing is known of are refused, unless the options
``real``, ``fake`` or ``ignore`` name them. A folder of numbered pictures is a clip, as in ``folder``; the number is the
frame's.

Names of FaceForensics++, DFD and Celeb-DF say who is in a video and which real a fake was made of; elsewhere that is
the real of the same name. It is a guess: where the pictures do not fit, the fake goes without an original; only what a
table says is taken without that (``clip_id`` and ``original_id``, as forgeprep's exports have them). The split is
that of the JSON, the table or the folder, else FaceForensics++'s own; else sources are dealt out.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from os.path import commonpath
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from forgeprep.datasets.base import Dataset, DatasetParams, Scan, ScanOptions, match_names
from forgeprep.datasets.clips import fake_clip, real_clip, told_mixed
from forgeprep.datasets.crops_files import Item, find_items
from forgeprep.datasets.crops_names import QUALITIES, Names, Who, kind_of_method, looks_like, who_of
from forgeprep.datasets.ffpp import official_split
from forgeprep.datasets.frame_folders import STILL_TEXT, StillChoice, told_stills
from forgeprep.datasets.listing import check_root, shown
from forgeprep.datasets.scan import make_scan
from forgeprep.datasets.splits import Ratios, leak_text, leaks, split_together
from forgeprep.datasets.taxonomy import Kind
from forgeprep.errors import UsageError
from forgeprep.schemas.clips import SPLITS, Clip, Split, numbers_of
from forgeprep.text import counted

NAME = "crops"


class CropsParams(DatasetParams):
    """Options of ``crops``."""

    real: str = Field(default="", description="further folders of reals, comma-separated")
    fake: str = Field(default="", description="further folders of fakes, comma-separated; each is a method of its name")
    ignore: str = Field(default="", description="folders to leave out, comma-separated")
    method: str = Field(default="fake", min_length=1, description="method of fakes whose path names none")
    forgery: Literal["identity_replaced", "identity_remained", "attribute_edit", "entire_synthesis"] = Field(
        default="identity_replaced", description="what kind of forgery methods are that no dataset has"
    )
    names: Literal["auto", "trusted", "none"] = Field(
        default="auto",
        description="auto: names tell people and, if the pictures agree, originals; trusted: originals without that "
        "check, of crops that were cut alike; none: each clip is a source of its own",
    )
    masks: Literal["mask", "magnitude", "none"] = Field(
        default="mask",
        description="what masks/ holds: mask (forged above 1 of 255), magnitude (gray, forged above 25), or none: left",
    )
    splits: Literal["layout", "kept", "dealt"] = Field(
        default="layout",
        description="layout: as JSON, table or folders say, refused if a source or person is in two; kept: the same, "
        "with a warning; dealt: new ones by ratios",
    )
    json_file: str = Field(
        default="", description="DeepfakeBench's JSON, relative to --root; default: all in dataset_json/; none"
    )
    frames: StillChoice = Field(default="auto", description=STILL_TEXT)
    ratios: Ratios = Field(default=(0.8, 0.1, 0.1), description="shares of the sources, where nothing gives a split")
    seed: int = Field(default=0, description="another seed deals the sources out otherwise")

    @property
    def keeps_split(self) -> bool:
        """Whether the user wants the split as it is, even where it leaks."""
        return self.splits == "kept"

    def words(self, option: str) -> frozenset[str]:
        """The names in one of the options ``real``, ``fake`` and ``ignore``, in lower case."""
        return frozenset(name.strip().lower() for name in getattr(self, option).split(",") if name.strip())


@dataclass(frozen=True, slots=True)
class _Named:
    """An item and what its names say."""

    item: Item
    who: Who


def scan(root: Path, options: ScanOptions) -> Scan:
    """List the crops under ``root``.

    Raises:
        UsageError: there are none, a folder's class is not known, a list is broken, or splits leak.
    """
    check_root(root)
    params = options.params if isinstance(options.params, CropsParams) else CropsParams()
    names = Names(params.words("real"), params.words("fake"))
    _refuse_doubles(params)
    found = find_items(root, names, params.words("ignore"), params.frames, params.json_file, options.progress)
    _refuse_unknown(root, found.items)
    named = [_Named(item, _who(item, params)) for item in _of_qualities(root, found.items, options)]
    warnings = told_stills(found.stills) + found.told_rows()
    named, told = _with_splits(root, named, params)
    warnings += told
    clips, told = _clips(named, params)
    warnings += told
    if not any(one.item.split for one in named):
        clips = split_together(clips, params.ratios, params.seed, options.settled)
    if params.masks != "none":
        warnings += found.told_masks()
    dataset = replace(CROPS, official_split=True) if params.splits == "kept" else CROPS
    _check_leaks(root, clips, params, options)
    return make_scan(dataset, root, clips, options, strangers=found.strangers, warnings=warnings)


def _refuse_doubles(params: CropsParams) -> None:
    for one, other in itertools.combinations(("real", "fake", "ignore"), 2):
        both = sorted(params.words(one) & params.words(other))
        if both:
            raise UsageError(f"--option {one} and --option {other} both name {shown(both)}; name it in one of them")


def _refuse_unknown(root: Path, items: Iterable[Item]) -> None:
    unknown = list(dict.fromkeys(f"{item.top}/" for item in items if item.label is None))
    if unknown:
        raise UsageError(
            f"{root}: nothing says whether the pictures in {shown(unknown)} are real or fake: name the folders with "
            "--option real=NAME,… or fake=NAME,…, or leave them out with ignore=NAME,…; a column label in metadata.csv "
            "tells too"
        )


def _of_qualities(root: Path, items: list[Item], options: ScanOptions) -> list[Item]:
    if options.compressions is None:
        return items
    wanted = match_names("compression", options.compressions, ("raw", "c23", "c40"), aliases=QUALITIES)
    # What names no quality is of all.
    kept = [item for item in items if item.compression is None or item.compression in wanted]
    if items and not kept:
        there = sorted({str(item.compression) for item in items})
        raise UsageError(f"no {' or '.join(wanted)} crops under {root}: there are {' and '.join(there)}")
    return kept


def _who(item: Item, params: CropsParams) -> Who:
    """Who is in a picture or a clip; of pictures of one video, these are of one source."""
    if params.names == "none":
        return Who((), ())
    who = who_of(item.video, item.label or 0)
    return who if who.people or item.alone else replace(who, people=(item.home,))


def _with_splits(root: Path, named: list[_Named], params: CropsParams) -> tuple[list[_Named], list[str]]:
    """With the split of each, if there are any, and what is to be said of those that have none."""
    if params.splits == "dealt":
        return [replace(one, item=replace(one.item, split=None)) for one in named], []
    kept, mixed, lone = [], [], []
    any_told = any(one.item.split for one in named)
    for one in named:
        official = _official(one) if one.item.split is None and not any_told else {one.item.split}
        if len(official) > 1:
            mixed.append(one.item.name)
        else:
            kept.append(replace(one, item=replace(one.item, split=next(iter(official), None))))
    if any(one.item.split for one in kept):
        lone = [one.item.file.path for one in kept if one.item.split is None]
        kept = [one for one in kept if one.item.split is not None]
    told = f"{counted(len(lone), 'clip')} left out, whose split nothing tells: {shown(lone)}; --option splits=dealt "
    return kept, [f"{told}takes all, and makes new splits"] * bool(lone) + told_mixed(mixed)


def _official(one: _Named) -> set[Split | None]:
    """The splits of FaceForensics++ that the people of one of its clips are in."""
    if not one.item.ffpp or one.who.ffpp is None:
        return {None}
    return {official_split().get(person) for person in one.who.people}


def _clips(named: list[_Named], params: CropsParams) -> tuple[list[Clip], list[str]]:
    """The clips, and what is to be said of fakes whose original has other frames."""
    reals: dict[tuple[str, str], list[_Named]] = defaultdict(list)
    by_list: dict[tuple[str, str], _Named] = {}
    for one in named:
        if one.item.label == 0:
            for name in dict.fromkeys((one.item.video, *one.who.reals[:2])):
                reals[name, one.item.frame].append(one)
            if one.item.told_clip:
                by_list[one.item.told_clip, one.item.frame] = one
    clips, apart = [], list[tuple[_Named, _Named]]()
    for one in named:
        if one.item.label == 0:
            clips.append(_real(one))
            continue
        stated = by_list.get((one.item.told_original or "", one.item.frame))
        options = [] if stated is None else [stated]
        options += [other for other in _originals(one, reals) if other is not stated]
        met = [other for other in options if _meet(one.item, other.item)]
        if options and not met:
            apart.append((one, options[0]))
        guessed = stated is None and params.names != "trusted"
        clips.append(_fake(one, [f"{NAME}/{other.item.name}" for other in met[:4]], params, guessed=guessed))
    told = f"{counted(len(apart), 'fake is', 'fakes are')} taken without an original, whose pictures have other numbers"
    where = shown([f"{one.item.file.path}/" for one, _ in apart])
    return _tied(clips, apart), [f"{told}: {where}"] * bool(apart)


def _tied(clips: list[Clip], apart: list[tuple[_Named, _Named]]) -> list[Clip]:
    """The clips; fakes that go without their real stay in its split, since both show one person, if only by name."""
    kin: dict[str, str] = {}
    for fake, real in apart:
        if not set(fake.who.people) & set(real.who.people):
            kin |= dict.fromkeys((f"{NAME}/{one.item.name}" for one in (fake, real)), real.item.name)
    return [replace(c, identities=[*c.identities, kin[c.clip_id]]) if c.clip_id in kin else c for c in clips]


def _meet(fake: Item, real: Item) -> bool:
    """Whether enough of two clips' frames can be compared: nine in ten of the one that has fewer."""
    if fake.file.frames is None or real.file.frames is None:
        return True
    one, other = numbers_of(fake.file.frames), numbers_of(real.file.frames)
    return 10 * len(one & other) >= 9 * min(len(one), len(other))


def _originals(fake: _Named, reals: Mapping[tuple[str, str], list[_Named]]) -> list[_Named]:
    """The reals that a fake may be made of: of its split and quality, and the nearest in the tree first."""

    def rank(other: _Named) -> tuple[bool, bool, int, str]:
        own, its = fake.item, other.item
        return (
            own.split != its.split,
            own.compression != its.compression,
            -len(commonpath([own.name, its.name])),
            its.name,
        )

    found: dict[str, _Named] = {}
    for name in fake.who.reals:
        same = [one for one in reals.get((name, fake.item.frame), ()) if one.item.compression == fake.item.compression]
        found |= {one.item.name: one for one in sorted(same, key=rank)}
    return list(found.values())


def _facts(one: _Named) -> dict[str, Any]:
    facts: dict[str, Any] = {"compression": one.item.compression}
    if one.item.file.frames is None:
        facts["frame_count"] = 1
    if one.item.landmarks:
        facts["companions"] = {"landmarks": one.item.landmarks}
    return facts


def _real(one: _Named) -> Clip:
    return real_clip(NAME, one.item.name, one.item.file, one.item.split or SPLITS[0], one.who.people, **_facts(one))


def _fake(one: _Named, options: list[str], params: CropsParams, *, guessed: bool) -> Clip:
    item = one.item
    method = item.method or params.method
    kind = kind_of_method(method) or Kind(params.forgery, None)
    facts = _facts(one) | {"one_face": True, "spans": item.spans}
    if item.mask and params.masks != "none":
        facts["companions"] = {params.masks: item.mask, **facts.get("companions", {})}
    clip = fake_clip(
        NAME, item.name, item.file, item.split or SPLITS[0], method, people=one.who.people, kind=kind, **facts
    )
    if not options:
        return clip
    others = options[1:] if guessed else []
    return replace(clip, original_id=options[0], source_id=options[0], guessed=guessed, candidates=others or None)


def _check_leaks(root: Path, clips: list[Clip], params: CropsParams, options: ScanOptions) -> None:
    found = {} if params.splits == "kept" or options.leaks == "keep" else leaks(clips)
    if found:
        raise UsageError(
            f"{root}: {counted(len(found), 'source or person stands', 'sources or people stand')} in more than one "
            f"split: {leak_text(found)}; --option splits=dealt makes new ones, splits=kept takes them as they are, "
            "and names=none does not read people from names"
        )


CROPS = Dataset(
    name=NAME,
    title="crops",
    url="",
    citation="",
    # The folders name them, if anything does; those asked for are chosen all the same.
    compressions=(),
    default_compressions=(),
    methods=(),
    layout=(
        "…/frames/<video>/NNN.png with masks/, landmarks/ and preprocessing/dataset_json/*.json (DeepfakeBench)",
        "[train/]class/** (ImageFolder) with masks/[train/]class/**",
        "train/metadata.csv, train/images/**, train/masks/** (Hugging Face's imagefolder)",
    ),
    published=(),
    scan=scan,
    looks_like=looks_like,
    params=CropsParams,
    official_split=False,
    defaults={"detector": "whole", "mask_source": "available"},
)
