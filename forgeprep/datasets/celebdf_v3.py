"""Celeb-DF++, the third version: Celeb-DF v2 and 21 further methods of swapping, re-enactment and talking faces.

::

    Celeb-real/idA_NNNN.mp4, YouTube-real/NNNNN.mp4
    Celeb-synthesis/FaceSwap/<method>/idA_idB_NNNN.mp4               idA's video NNNN with the face of idB
    Celeb-synthesis/FaceReenact/<method>/idA_idB_NNNN.mp4            … with the motion of idB
    Celeb-synthesis/TalkingFace/<method>/idA_NNNN_test_REF.mp4       a picture of idA's video NNNN made to talk
    List_of_testing_videos.txt                                       lines "1 YouTube-real/00170.mp4"; here 1 is real

A method is its folder, and names recur in every method. Re-enacted clips (but those of LivePortrait) and talking faces
are cropped to the face, and show other moments than their original: that is a guess, and the pictures tell. What does
not fit has no original and no mask; ``pairs=none`` guesses nothing. Lines of the list that cannot be right are told.
The options ``val`` and ``seed`` are those of ``celebdf-v2``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field

from forgeprep.datasets.base import Dataset, PublishedCount, Scan, ScanOptions
from forgeprep.datasets.celebdf import CelebDfParams, read_list, test_list
from forgeprep.datasets.clips import fake_clip, real_clip, spelled, val_people
from forgeprep.datasets.frame_folders import HOMES, list_clips, told_unused
from forgeprep.datasets.listing import Listing, VideoFile, check_root, find_folders, listed, shown
from forgeprep.datasets.lists import read_lines
from forgeprep.datasets.scan import make_scan
from forgeprep.datasets.taxonomy import Kind, methods_of
from forgeprep.schemas.clips import Clip, Forgery, Split
from forgeprep.text import counted

NAME = "celebdf-v3"
_KINDS: dict[str, Forgery] = {
    "FaceSwap": "identity_replaced",
    "FaceReenact": "identity_remained",
    "TalkingFace": "identity_remained",
}
_REAL = {"Celeb-real": re.compile(r"id[0-9]+_[0-9]{4}"), "YouTube-real": re.compile(r"[0-9]{5}")}
_FAKE = re.compile(r"(?P<target>id[0-9]+)_(?:(?P<source>id[0-9]+)_(?P<take>[0-9]{4})|(?P<still>[0-9]{4})_test_.+)")
_STATED = "Celeb-DF-v2"
"""The method whose clips are those of the second version: whole frames, moment for moment."""


class CelebDfPlusParams(CelebDfParams):
    """Options of ``celebdf-v3``."""

    pairs: Literal["name", "none"] = Field(default="name", description="originals by name, or none at all")


def scan(root: Path, options: ScanOptions) -> Scan:
    """List the clips under ``root``; raises UsageError where there are none."""
    check_root(root)
    params = options.params if isinstance(options.params, CelebDfPlusParams) else CelebDfPlusParams()
    strangers: list[str] = []
    unused: list[str] = []
    files: dict[str, VideoFile] = {}

    def take(place: str, levels: list[list[str]], pattern: re.Pattern[str]) -> None:
        home = find_folders(root, *levels)
        pictures = [*find_folders(root, *levels, HOMES), *home]
        listing: Listing = list_clips(root, home, pictures, pattern, params.frames, unused)
        files.update({f"{place}/{stem}": file for stem, file in listing.files.items()})
        strangers.extend(path for path in listing.strangers if path not in pictures)

    for folder, pattern in _REAL.items():
        take(folder, [[folder.lower()]], pattern)
    for folder in _KINDS:
        for home in find_folders(root, ["celeb-synthesis"], [folder.lower()]):
            for name in [name for name, size in listed(root, home) if size is None]:
                method = spelled(name, methods_of(NAME))
                take(f"{folder}/{method}", [["celeb-synthesis"], [folder.lower()], [name.lower()]], _FAKE)
    tested, warnings = _tested(root, set(files)) if files else (set(), [])
    clips = [_clip(key, file, "test" if key in tested else "train", params) for key, file in sorted(files.items())]
    clips, told = val_people(clips, params.val, params.seed)
    warnings += told + told_unused(unused)
    absent = [key for key in tested if key not in files]
    return make_scan(CELEBDF_V3, root, clips, options, warnings=warnings, strangers=strangers, absent=absent)


def _tested(root: Path, keys: set[str]) -> tuple[set[str], list[str]]:
    """The videos of the test list as ``FaceSwap/SimSwap/id0_id1_0000``, and what is to be told of its lines."""
    path = test_list(root)
    found: set[str] = set()
    odd: list[str] = []
    for number, line in read_lines(path):
        digit, _, place = line.partition(" ")
        key = _key(place.strip())
        if digit not in ("0", "1") or key is None:
            odd.append(f"line {number} names no video ('{line[:80]}')")
        elif (digit == "1") != (key.split("/")[0] in _REAL):
            odd.append(f"line {number} says {digit} of {place}, and the folder counts")
            found.add(key)
        else:
            found.add(key)
    told = [f"{path}: {counted(len(odd), 'line is', 'lines are')} wrong: {shown(odd)}"] if odd else []
    if not found & keys:
        told.append(f"{path}: names none of the videos that are here, so all of them are train")
    return found, told


def _key(place: str) -> str | None:
    *folders, file = place.split("/")
    stem = file.removesuffix(".mp4")
    known = {name.lower(): name for name in (*_REAL, *_KINDS)}
    folders = [f for f in folders if f.lower() != "celeb-synthesis"]
    top = known.get(folders[0].lower()) if folders else None
    if top in _REAL and len(folders) == 1 and _REAL[top].fullmatch(stem):
        return f"{top}/{stem}"
    if top in _KINDS and len(folders) == 2 and _FAKE.fullmatch(stem):
        return f"{top}/{spelled(folders[1], methods_of(NAME))}/{stem}"
    return None


def _clip(key: str, file: VideoFile, split: Split, params: CelebDfPlusParams) -> Clip:
    folder, *between, stem = key.split("/")
    if folder in _REAL:
        return real_clip(NAME, key, file, split, [stem.split("_")[0]])
    found = _FAKE.fullmatch(stem)
    assert found is not None
    target, method = found["target"], between[0]
    stated = method == _STATED
    original = f"Celeb-real/{target}_{found['take'] or found['still']}"
    people = [target, *([found["source"]] if found["source"] else [])]
    paired = stated or params.pairs == "name"
    return fake_clip(
        NAME,
        f"{method}/{stem}",
        file,
        split,
        method,
        original if paired else None,
        people,
        Kind(_KINDS[folder], None),
        source_id=f"{NAME}/{original}",
        guessed=paired and not stated,
    )


def looks_like(root: Path) -> bool:
    """Whether there is a folder of swaps, re-enactments or talking faces."""
    return bool(find_folders(root, ["celeb-synthesis"], [name.lower() for name in _KINDS]))


def _published() -> tuple[PublishedCount, ...]:
    fakes = {method: 340 if method == _STATED else 200 for method in methods_of(NAME)}
    fakes |= dict.fromkeys(methods_of(NAME)[15:], 300)
    return (
        PublishedCount("originals", None, "train", 712),
        PublishedCount("originals", None, "test", 178),
        *(PublishedCount("fakes", method, "test", count) for method, count in fakes.items()),
    )


CELEBDF_V3 = Dataset(
    name=NAME,
    title="Celeb-DF++",
    url="https://github.com/OUC-VAS/Celeb-DF-PP",
    citation="Li et al., Celeb-DF++: A Large-scale Challenging Video DeepFake Benchmark, arXiv:2507.18015, 2025",
    compressions=(),
    default_compressions=(),
    methods=methods_of(NAME),
    layout=(
        "Celeb-real/idA_NNNN.mp4",
        "YouTube-real/NNNNN.mp4",
        "Celeb-synthesis/FaceSwap/<method>/idA_idB_NNNN.mp4",
        "Celeb-synthesis/FaceReenact/<method>/idA_idB_NNNN.mp4",
        "Celeb-synthesis/TalkingFace/<method>/idA_NNNN_test_REF.mp4",
        "List_of_testing_videos.txt (1 = real)",
    ),
    # 890 real and 53,196 fake clips; of each method only those of the test list are counted by the authors.
    published=_published(),
    scan=scan,
    looks_like=looks_like,
    read_list=read_list,
    params=CelebDfPlusParams,
)
