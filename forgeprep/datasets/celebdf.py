"""Celeb-DF v1 and v2: interviews of celebrities, swaps among them, and further real videos of YouTube.

::

    Celeb-real/idA_NNNN.mp4
    YouTube-real/NNNNN.mp4                    no fakes of these
    Celeb-synthesis/idA_idB_NNNN.mp4          idA's video NNNN with the face of idB
    List_of_testing_videos.txt                lines "1 YouTube-real/00170.mp4"; here 1 is real, 0 fake
    Celeb-real/idA_NNNN/NNNN.png              and so on, instead of videos: their frames

What a clip is follows from its folder; a digit of the list that says otherwise is refused. Listed videos are test, all
others train. The authors have no val: the option ``val`` takes people out of train, and swaps of them with others are
left out. The test list is by video, so most people stand in train and test both; it is kept, with a warning.
"""

from __future__ import annotations

import functools
import re
from contextlib import suppress
from pathlib import Path

from pydantic import Field

from forgeprep.datasets.base import Dataset, Listed, PublishedCount, Scan, ScanOptions
from forgeprep.datasets.frame_folders import HOMES, SequenceParams, list_clips, told_unused
from forgeprep.datasets.listing import VideoFile, check_root, find_folders, shown
from forgeprep.datasets.lists import read_lines, refuse
from forgeprep.datasets.scan import make_scan
from forgeprep.datasets.splits import split_by_ratio
from forgeprep.datasets.taxonomy import kind_of, methods_of
from forgeprep.errors import UsageError
from forgeprep.schemas.clips import Clip, Split
from forgeprep.text import counted

LIST = "List_of_testing_videos.txt"
METHOD = "Celeb-synthesis"
_PATTERNS = {
    "Celeb-real": re.compile(r"id[0-9]+_[0-9]{4}"),
    "YouTube-real": re.compile(r"[0-9]{5}"),
    METHOD: re.compile(r"id(?P<target>[0-9]+)_id(?P<source>[0-9]+)_(?P<number>[0-9]{4})"),
}


_LIST_LINES = {100: "celebdf-v1", 518: "celebdf-v2"}
"""Lines of the authors' test list -> the version that it comes with."""


class CelebDfParams(SequenceParams):
    """Options of ``celebdf-v1`` and ``celebdf-v2``."""

    val: float = Field(default=0.0, ge=0, lt=1, description="share of the people in train that becomes val")
    seed: int = Field(default=0, description="another seed chooses other people for val")


def scan(name: str, root: Path, options: ScanOptions) -> Scan:
    """List the clips of version ``name`` under ``root``; raises UsageError where there are none, or on a bad list."""
    check_root(root)
    params = options.params if isinstance(options.params, CelebDfParams) else CelebDfParams()
    files: dict[str, VideoFile] = {}
    strangers: list[str] = []
    unused: list[str] = []
    for folder, pattern in _PATTERNS.items():
        home = find_folders(root, [folder.lower()])
        pictures = [*find_folders(root, [folder.lower()], HOMES), *home]
        listing = list_clips(root, home, pictures, pattern, params.frames, unused)
        files |= {f"{folder}/{stem}": file for stem, file in listing.files.items()}
        strangers += [path for path in listing.strangers if path not in pictures]
    listed = _read_list(root) if files else set()
    splits = _splits(set(files), listed, params)
    clips = [_clip(name, key, file, splits[key]) for key, file in files.items() if key in splits]
    mixed = sorted(files.keys() - splits.keys())
    left_out = counted(len(mixed), "video left out, it", "videos left out, they")
    warnings = [f"{left_out} would leak people of val: {shown(mixed)}"] if mixed else []
    warnings += told_unused(unused)
    absent = [f"{key}.mp4" for key in listed if key not in files]
    return make_scan(DATASETS[name], root, clips, options, warnings=warnings, strangers=strangers, absent=absent)


def _splits(keys: set[str], listed: set[str], params: CelebDfParams) -> dict[str, Split]:
    """Video to split; a video that would mix val with another split has none."""
    people = {person for key in keys - listed for person in _people(key)}
    # Who stands in test as well would leak from val; only if there is nobody else.
    tested = {person for key in keys & listed for person in _people(key)}
    people = (people - tested) or people
    dealt = split_by_ratio(people, (1 - params.val, params.val, 0), params.seed)
    splits: dict[str, Split] = {}
    for key in keys:
        in_val = [dealt.get(person) == "val" for person in _people(key)]
        if key in listed:
            splits[key] = "test"
        elif not any(in_val):
            splits[key] = "train"
        elif all(in_val):
            splits[key] = "val"
    return splits


def _people(key: str) -> list[str]:
    """The celebrities in a video, or the video's own number where they are not named."""
    stem = key.partition("/")[2]
    return [part for part in stem.split("_") if part.startswith("id")] or [stem]


def _read_list(root: Path) -> set[str]:
    """The test videos, as ``Celeb-real/id0_0001``."""
    path = test_list(root)
    found: set[str] = set()
    for number, line in read_lines(path):
        digit, _, place = line.partition(" ")
        folder, _, file = place.strip().partition("/")
        known = {name.lower(): name for name in _PATTERNS}.get(folder.lower())
        stem = file.removesuffix(".mp4")
        if digit not in ("0", "1"):
            refuse(path, number, f"must begin with 1 (real) or 0 (fake), got '{line[:60]}'")
        if known is None or file == stem or not _PATTERNS[known].fullmatch(stem):
            refuse(path, number, f"names no video of Celeb-DF: '{place[:80]}'")
        if (digit == "1") != (known != METHOD):
            refuse(path, number, f"says {digit} ({'real' if digit == '1' else 'fake'}) of a video in {known}")
        if f"{known}/{stem}" in found:
            refuse(path, number, f"{place} stands there twice")
        found.add(f"{known}/{stem}")
    if not found:
        refuse(path, None, "names no video; fetch it again")
    return found


def read_list(path: Path) -> list[Listed] | None:
    """The authors' list of test videos, ``1 YouTube-real/00170.mp4`` where 1 is real; None for another file."""
    if path.suffix.lower() != ".txt":
        return None
    found = []
    for _, line in read_lines(path):
        digit, _, place = line.partition(" ")
        if digit not in ("0", "1") or "/" not in place:
            return None
        found.append(Listed(place.strip(), "test", int(digit == "0")))
    return found


def test_list(root: Path) -> Path:
    """The file of the test list; raises UsageError where there is none."""
    path = _list_file(root)
    if path is None:
        raise UsageError(f"{root / LIST}: no such file, so the test videos are unknown; it comes with the dataset")
    return path


def _list_file(root: Path) -> Path | None:
    return next((path for path in sorted(root.iterdir()) if path.name.lower() == LIST.lower()), None)


def _source(key: str) -> str:
    """The source group of a video: its original's name."""
    folder, _, stem = key.partition("/")
    if folder != METHOD:
        return stem
    target, _, number = stem.split("_")
    return f"{target}_{number}"


def _clip(name: str, key: str, file: VideoFile, split: Split) -> Clip:
    fake = key.startswith(METHOD)
    source = _source(key)
    kind = kind_of(name, METHOD)
    return Clip(
        clip_id=f"{name}/{key}",
        dataset=name,
        **file.facts,
        split=split,
        source_id=f"{name}/{source}",
        original_id=f"{name}/Celeb-real/{source}" if fake else None,
        label=int(fake),
        forgery=kind.forgery if fake else "real",
        method=METHOD if fake else None,
        family=kind.family if fake else None,
        identities=_people(key),
    )


def looks_like(name: str, root: Path) -> bool:
    """Whether the folders of Celeb-DF are there, and neither the root's name nor its list is that of another version.

    Both versions have the same folders; the test lists of the authors differ in length.
    """
    if not (find_folders(root, ["celeb-real"]) and find_folders(root, [METHOD.lower()])):
        return False
    # Celeb-DF++ has folders of methods there.
    if find_folders(root, [METHOD.lower()], ["faceswap", "facereenact", "talkingface"]):
        return False
    with suppress(OSError, UsageError):
        path = _list_file(root)
        version = _LIST_LINES.get(sum(1 for _ in read_lines(path))) if path is not None else None
        if version is not None:
            return version == name
    told = re.search(r"v([12])(?![0-9])", root.name.lower())
    return told is None or name == f"celebdf-v{told[1]}"


def _dataset(name: str, version: int, real: tuple[int, int], fake: tuple[int, int]) -> Dataset:
    return Dataset(
        name=name,
        title=f"Celeb-DF v{version}",
        url="https://github.com/yuezunli/celeb-deepfakeforensics",
        citation="Li et al., Celeb-DF: A Large-scale Challenging Dataset for DeepFake Forensics, CVPR 2020",
        compressions=(),
        default_compressions=(),
        methods=methods_of(name),
        layout=(
            "Celeb-real/idA_NNNN.mp4",
            "YouTube-real/NNNNN.mp4",
            "Celeb-synthesis/idA_idB_NNNN.mp4",
            f"{LIST} (1 = real)",
            "or, instead of videos, folders of their frames: Celeb-real/idA_NNNN/NNNN.png",
        ),
        published=(
            PublishedCount("originals", None, "train", real[0]),
            PublishedCount("originals", None, "test", real[1]),
            PublishedCount("fakes", METHOD, "train", fake[0]),
            PublishedCount("fakes", METHOD, "test", fake[1]),
        ),
        scan=functools.partial(scan, name),
        looks_like=functools.partial(looks_like, name),
        read_list=read_list,
        params=CelebDfParams,
    )


DATASETS = {
    # 158 + 250 and 590 + 300 real, 795 and 5639 fake videos, less those of the test lists.
    "celebdf-v1": _dataset("celebdf-v1", 1, (370, 38), (733, 62)),
    "celebdf-v2": _dataset("celebdf-v2", 2, (712, 178), (5299, 340)),
}
V1, V2 = DATASETS["celebdf-v1"], DATASETS["celebdf-v2"]
