"""FaceForensics++: 1000 YouTube clips and up to five forgeries of each, at three compressions.

::

    original_sequences/youtube/{raw,c23,c40}/videos/AAA.mp4
    manipulated_sequences/<method>/{raw,c23,c40}/videos/AAA_BBB.mp4      AAA is forged, with the face or motion of BBB
    manipulated_sequences/<method>/masks/videos/AAA_BBB.mp4              optional, one for all compressions
    FaceForensics++_C23/{original,<method>}/*.mp4                        instead of all that: the copy on Kaggle
    …/images/AAA/NNNN.png, …/images/AAA_BBB/NNNN.png                     instead of videos: their frames

Folder names are matched without case; ``c0`` is another name of ``raw``. The original of a fake is AAA at the *same*
compression. Without a choice of methods, those of the five are used whose folder exists, FaceShifter among them.
"""

from __future__ import annotations

import csv
import functools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

from forgeprep.datasets.base import Dataset, Listed, PublishedCount, Scan, ScanOptions, count_missing, match_names
from forgeprep.datasets.boxes import with_boxes
from forgeprep.datasets.ffpp_layout import (
    COMPRESSION_ALIASES,
    COMPRESSIONS,
    METHODS,
    PICTURE_HOMES,
    check_asked,
    check_found,
    check_splits,
    clip_folders,
    flat_warnings,
    mask_folders,
    mask_pictures,
    method_folders,
)
from forgeprep.datasets.frame_folders import Choice, SequenceParams, list_clips, told, told_unused
from forgeprep.datasets.listing import Listing, check_root, find_folders, shown
from forgeprep.datasets.lists import read_json_value
from forgeprep.datasets.scan import check_leaks
from forgeprep.datasets.taxonomy import kind_of
from forgeprep.schemas.clips import Clip, Split
from forgeprep.schemas.splits import SPLIT_NAMES
from forgeprep.text import counted

_LATER_METHODS = {"FaceShifter"}  # published after the other four: most copies lack it, which is nothing to report

_REAL = re.compile(r"[0-9]{3}")
_FAKE = re.compile(r"[0-9]{3}_[0-9]{3}")

_SAME_VIDEO = (
    "331 332", "524 525", "566 567", "605 606", "614 615", "618 619", "639 640", "685 686 687", "755 756", "766 767",
    "769 770", "787 788", "837 838", "875 876", "883 884", "937 938", "942 943", "954 955", "967 968", "973 974",
    "982 983", "993 994",
)  # fmt: skip
"""Clips that were cut from one YouTube video, by the list of videos that comes with the dataset; 977 videos in all."""


def _video_of(number: str) -> str:
    """The YouTube video behind a clip, named by the first of its clips."""
    return next((same.split()[0] for same in _SAME_VIDEO if number in same), number)


@functools.cache
def official_pairs() -> tuple[tuple[Split, str, str], ...]:
    """The 500 official pairs (split, a, b): 360 train, 70 val, 70 test; the fakes are a_b and b_a."""
    text = resources.files("forgeprep.datasets").joinpath("ffpp_splits.csv").read_text(encoding="ascii")
    splits: dict[str, Split] = {"train": "train", "val": "val", "test": "test"}
    return tuple((splits[row["split"]], row["a"], row["b"]) for row in csv.DictReader(text.splitlines()))


@functools.cache
def official_split() -> Mapping[str, Split]:
    """Clip number ``"000"`` … ``"999"`` to its split: 720 train, 140 val, 140 test."""
    return {number: split for split, a, b in official_pairs() for number in (a, b)}


def scan(root: Path, options: ScanOptions) -> Scan:
    """List the clips under ``root``.

    Methods: those asked for, else those of the five whose folder exists. A fake stands in the split of its target; one
    that mixes two splits is no clip of FaceForensics++ and is left out with a warning, because it would leak a face.

    Raises:
        UsageError: no clips, or none of a compression or method that was asked for, or two files for one clip.
    """
    check_root(root)
    compressions = match_names(
        "compression", options.compressions or FFPP.default_compressions, COMPRESSIONS, aliases=COMPRESSION_ALIASES
    )
    present = [method for method in METHODS if method_folders(root, method)]
    methods = tuple(present) if options.methods is None else match_names("method", options.methods, METHODS)
    params = options.params if isinstance(options.params, SequenceParams) else SequenceParams()
    unused: list[str] = []
    clips, strangers = _list_clips(root, compressions, methods, params.frames, unused)
    check_found(root, clips, compressions, strangers)
    check_asked(root, clips, compressions=compressions, methods=options.methods and methods)

    crossing = [clip.path for clip in clips if _crosses(clip)]
    chosen = [clip for clip in clips if clip.split in options.splits and not _crosses(clip)]
    chosen.sort(key=lambda clip: clip.clip_id)
    check_splits(root, chosen, clips, options.splits)

    chosen, without_boxes = with_boxes(
        FFPP, chosen, options.boxes_from, lambda name, method: _list(root, name, method, params.frames, []).files
    )
    on_disk = {clip.clip_id for clip in chosen}
    orphans = [clip for clip in chosen if clip.original_id is not None and clip.original_id not in on_disk]
    absent = [m for m in METHODS if m not in {*present, *_LATER_METHODS}] if options.methods is None else []
    return Scan(
        clips=chosen,
        warnings=_warnings(sorted(strangers), crossing, absent, orphans, chosen, options)
        + flat_warnings(root, compressions)
        + told(chosen)
        + told_unused(unused)
        + without_boxes,
        missing=count_missing(
            FFPP.published, chosen, compressions=compressions, methods=methods, splits=options.splits
        ),
        without_original=[clip.clip_id for clip in orphans],
        strangers=sorted([*strangers, *crossing]),
    )


def _list_clips(
    root: Path, compressions: Sequence[str], methods: Sequence[str], frames: Choice, unused: list[str]
) -> tuple[list[Clip], list[str]]:
    """Every clip of every split, and the paths of what is no clip; ``unused`` are folders of pictures beside videos."""
    clips: list[Clip] = []
    strangers: list[str] = []
    masks = {method: _list_masks(root, method, frames) for method in methods}
    for compression in compressions:
        originals = _list(root, compression, None, frames, unused)
        clips += _original_clips(originals, compression)
        strangers += originals.strangers
        for method in methods:
            fakes = _list(root, compression, method, frames, unused)
            clips += _fake_clips(fakes, compression, method, masks[method])
            strangers += fakes.strangers
    for listing in masks.values():
        strangers += listing.strangers
    return clips, strangers


def _list(root: Path, compression: str, method: str | None, frames: Choice, unused: list[str]) -> Listing:
    folders, pictures = (clip_folders(root, compression, method, *kinds) for kinds in ((), PICTURE_HOMES))
    return list_clips(root, folders, pictures, _REAL if method is None else _FAKE, frames, unused)


def _list_masks(root: Path, method: str, frames: Choice) -> Listing:
    """The masks of a method; they serve clips of either kind."""
    folders, pictures = mask_folders(root, method), mask_pictures(root, method)
    found = list_clips(root, folders, pictures, _FAKE, frames)
    return found if found.files or frames == "auto" else list_clips(root, folders, pictures, _FAKE, "auto")


def _original_clips(listing: Listing, compression: str) -> list[Clip]:
    return [
        Clip(
            clip_id=f"ffpp/{compression}/youtube/{number}",
            dataset="ffpp",
            **file.facts,
            split=official_split()[number],
            source_id=f"ffpp/{compression}/{number}",
            original_id=None,
            label=0,
            forgery="real",
            compression=compression,
            identities=[_video_of(number)],
        )
        for number, file in listing.files.items()
    ]


def _fake_clips(listing: Listing, compression: str, method: str, masks: Listing) -> list[Clip]:
    clips = []
    for stem, file in listing.files.items():
        target = stem[:3]
        mask = masks.files.get(stem)
        clips.append(
            Clip(
                clip_id=f"ffpp/{compression}/{method}/{stem}",
                dataset="ffpp",
                **file.facts,
                split=official_split()[target],
                source_id=f"ffpp/{compression}/{target}",
                original_id=f"ffpp/{compression}/youtube/{target}",
                label=1,
                forgery=kind_of("ffpp", method).forgery,
                method=method,
                family=kind_of("ffpp", method).family,
                compression=compression,
                companions={} if mask is None else {"mask": mask.path},
                identities=[_video_of(target), _video_of(stem[4:])],
            )
        )
    return clips


def _crosses(clip: Clip) -> bool:
    """Whether a fake's source stands in another split than its target; no official pair does."""
    return official_split()[clip.clip_id[-3:]] != clip.split


def _warnings(
    strangers: Sequence[str],
    crossing: Sequence[str],
    absent: Sequence[str],
    orphans: Sequence[Clip],
    clips: Sequence[Clip],
    options: ScanOptions,
) -> list[str]:
    warnings = []
    if strangers:
        warnings.append(
            f"{counted(len(strangers), 'entry', 'entries')} left out, not files named AAA.mp4 (originals) or "
            f"AAA_BBB.mp4 (fakes, masks) with three digits each: {shown(strangers)}"
        )
    if crossing:
        warnings.append(
            f"{counted(len(crossing), 'fake')} left out, of no official pair and made from clips of two splits: "
            f"{shown(crossing)}"
        )
    if absent:
        warnings.append(f"methods without a folder, left out: {', '.join(absent)}")
    if orphans:
        originals = sorted({clip.original_id for clip in orphans if clip.original_id is not None})
        fakes_have = counted(len(orphans), "fake has", "fakes have")
        warnings.append(f"{fakes_have} no original on disk; missing originals: {shown(originals)}")
    fakes = Counter(clip.method for clip in clips if clip.method is not None)
    masked = Counter(clip.method for clip in clips if "mask" in clip.companions)
    partly = [f"{method} {masked[method]} of {fakes[method]}" for method in fakes if 0 < masked[method] < fakes[method]]
    if partly:
        warnings.append(f"only some fakes have the dataset's own mask: {', '.join(partly)}")
    return warnings + check_leaks(FFPP, clips, options)


def _published() -> tuple[PublishedCount, ...]:
    originals: dict[Split, int] = {"train": 720, "val": 140, "test": 140}
    return (
        *(PublishedCount("originals", None, split, number) for split, number in originals.items()),
        *(PublishedCount("fakes", method, split, number) for method in METHODS for split, number in originals.items()),
    )


def read_list(path: Path) -> list[Listed] | None:
    """The authors' ``train.json`` and so on, pairs of numbers: both originals and both fakes of each, for all methods.

    None where the file holds something else. The file's name tells the split.
    """
    pairs = read_json_value(path) if path.suffix.lower() == ".json" else None
    if not isinstance(pairs, list) or not pairs or not all(_is_pair(pair) for pair in pairs):
        return None
    split = SPLIT_NAMES.get(path.stem.lower())
    return [
        Listed(name, split, label)
        for a, b in pairs
        for name, label in ((a, 0), (b, 0), (f"{a}_{b}", 1), (f"{b}_{a}", 1))
    ]


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(v, str) and _REAL.fullmatch(v) for v in value)


def looks_like(root: Path) -> bool:
    """Whether the originals' folder or that of a method is there, as the authors or Kaggle have them."""
    if find_folders(root, ["original_sequences"], ["youtube"]):
        return True
    methods = [method.lower() for method in METHODS]
    flat = find_folders(root, ["original"]) and find_folders(root, methods)
    return bool(flat or find_folders(root, ["manipulated_sequences"], methods))


FFPP = Dataset(
    name="ffpp",
    title="FaceForensics++",
    url="https://github.com/ondyari/FaceForensics",
    citation="Rössler et al., FaceForensics++: Learning to Detect Manipulated Facial Images, ICCV 2019",
    compressions=COMPRESSIONS,
    default_compressions=("c23",),
    compression_aliases=COMPRESSION_ALIASES,
    methods=METHODS,
    layout=(
        "original_sequences/youtube/<compression>/videos/AAA.mp4",
        "manipulated_sequences/<method>/<compression>/videos/AAA_BBB.mp4",
        "manipulated_sequences/<method>/masks/videos/AAA_BBB.mp4 (optional)",
        "or, instead of videos, images/AAA/NNNN.png and images/AAA_BBB/NNNN.png, beside the folders videos",
        "or FaceForensics++_C23/original/AAA.mp4, FaceForensics++_C23/<method>/AAA_BBB.mp4 (the copy on Kaggle)",
    ),
    published=_published(),
    scan=scan,
    looks_like=looks_like,
    read_list=read_list,
    params=SequenceParams,
)
