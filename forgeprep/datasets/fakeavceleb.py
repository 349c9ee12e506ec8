"""FakeAVCeleb: 500 celebrities, with the face, the voice or both forged.

::

    RealVideo-RealAudio/<race>/<gender>/<id>/<clip>.mp4          500
    RealVideo-FakeAudio/<race>/<gender>/<id>/<clip>_fake.mp4     500; nothing visible is forged
    FakeVideo-RealAudio/<race>/<gender>/<id>/<clip>_….mp4        9,709
    FakeVideo-FakeAudio/<race>/<gender>/<id>/<clip>_….mp4        10,835
    meta_data.csv                                                source, target1, target2, method, …, filename, path

What a clip is follows from its folder; ``meta_data.csv`` tells the method and whose face was swapped in. It has more
rows than there are clips, and other names in some versions. The original is the RealVideo-RealAudio clip of the same
person whose name the fake's begins with, up to its first ``_``; if that person has one clip alone, it is that one.

RealVideo-FakeAudio looks real: it is a real here (``label`` 0), left out with ``sound-fakes=skip``, or a fake whose
mask is empty with ``sound-fakes=fake``. The columns ``visual_label`` and ``audio_label`` say both, whatever the label.
There is no official split: people are dealt out (``ratios``, ``seed``), and swaps of people of two splits are left
out; with ``swaps=by-source`` they are kept where the video's own person is, as in most papers, and the other's face
leaks.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import Field

from forgeprep.datasets.base import Dataset, DatasetParams, PublishedCount, Scan, ScanOptions
from forgeprep.datasets.clips import (
    SOUND_FAKES,
    SoundRule,
    deal_people,
    fake_clip,
    real_clip,
    sound_fake,
    spelled,
    with_sound,
)
from forgeprep.datasets.listing import VideoFile, check_root, find_folders, shown, walk_files
from forgeprep.datasets.lists import read_lines
from forgeprep.datasets.scan import make_scan
from forgeprep.datasets.splits import Ratios
from forgeprep.datasets.taxonomy import methods_of
from forgeprep.media.video import VIDEO_SUFFIXES
from forgeprep.schemas.clips import Clip
from forgeprep.text import counted

NAME = "fakeavceleb"
LIST = "meta_data.csv"
_FOLDERS = ("RealVideo-RealAudio", "RealVideo-FakeAudio", "FakeVideo-RealAudio", "FakeVideo-FakeAudio")
VOICE = "rtvc"
"""The method of RealVideo-FakeAudio: a cloned voice."""
UNKNOWN = "unknown"
"""The method of a fake that ``meta_data.csv`` does not name."""


class FakeAvCelebParams(DatasetParams):
    """Options of ``fakeavceleb``."""

    ratios: Ratios = Field(default=(0.7, 0.15, 0.15), description="shares of the people in train, val and test")
    seed: int = Field(default=0, description="another seed deals the people out otherwise")
    swaps: Literal["strict", "by-source"] = Field(
        default="strict",
        description="swaps of people of two splits: leave them out, or keep them by the video's own person, which "
        "leaks the other's face",
    )
    sound_fakes: SoundRule = Field(default="real", description=SOUND_FAKES)


@dataclass(frozen=True, slots=True)
class _Row:
    method: str
    swapped: str | None


def scan(root: Path, options: ScanOptions) -> Scan:
    """List the clips under ``root``; raises UsageError where there are none."""
    check_root(root)
    params = options.params if isinstance(options.params, FakeAvCelebParams) else FakeAvCelebParams()
    strangers: list[str] = []
    files: dict[str, dict[str, VideoFile]] = {}
    for folder in _FOLDERS:
        found = files.setdefault(folder, {})
        for home in find_folders(root, [folder.lower()]):
            for path, size in walk_files(root, home, VIDEO_SUFFIXES, strangers):
                below = path[len(home) + 1 :].rpartition(".")[0]
                if below.count("/") == 3:
                    found[below] = VideoFile(below.rpartition("/")[2], path, size)
                else:
                    strangers.append(path)
    rows, warnings = _read_rows(root)
    originals: dict[str, list[str]] = defaultdict(list)
    for below in files["RealVideo-RealAudio"]:
        originals[below.rpartition("/")[0]].append(below)
    clips: list[Clip] = []
    untold: list[str] = []
    for folder, found in files.items():
        for below, file in found.items():
            clip = _clip(folder, below, file, rows, originals, params)
            clips += [clip] if clip is not None else []
            untold += [file.path] if clip is not None and clip.method == UNKNOWN else []
    if untold and rows:
        warnings.append(
            f"{counted(len(untold), 'fake')} without a row in {LIST}, of method '{UNKNOWN}': {shown(untold)}"
        )
    absent = [key for key in rows if key.partition("/")[2] not in files[key.partition("/")[0]]]
    if params.swaps == "by-source":
        warnings.append(
            "swaps are split by the video's own person: the face that was swapped in may stand in two splits"
        )
    clips, mixed = deal_people(clips, params.ratios, params.seed)
    return make_scan(FAKEAVCELEB, root, clips, options, warnings=warnings + mixed, strangers=strangers, absent=absent)


def _read_rows(root: Path) -> tuple[dict[str, _Row], list[str]]:
    """``FakeVideo-RealAudio/<race>/<gender>/<id>/<clip>`` -> its row, and what is to be told of the list."""
    path = root / LIST
    if not path.is_file():
        return {}, [f"{path}: no such file, so the methods are unknown; it comes with the dataset"]
    lines = [line for _, line in read_lines(path)]
    found: dict[str, _Row] = {}
    odd = twice = 0
    for row in csv.DictReader(lines):
        values = {str(name).strip().lower(): str(value or "").strip() for name, value in row.items() if name}
        parts = values.get("path", "").replace("\\", "/").split("/")
        name = values.get("filename") or values.get("path", "")
        parts = [part for part in parts if part and not part.endswith(".mp4")]
        at = next((i for i, part in enumerate(parts) if part in _FOLDERS), None)
        folders = (
            parts[at:] if at is not None else [values.get(key, "") for key in ("type", "race", "gender", "source")]
        )
        stem = PurePosixPath(name.replace("\\", "/")).stem
        if len(folders) != 4 or folders[0] not in _FOLDERS or not all(folders) or not stem:
            odd += 1
            continue
        key = "/".join([*folders, stem])
        twice += key in found
        # Of a voice's source nothing is seen; only swappers show another face.
        swapper = any(word in values.get("method", "").lower() for word in ("faceswap", "fsgan"))
        target = values.get("target1", "-")
        method = spelled(values.get("method", ""), methods_of(NAME)) or UNKNOWN
        found[key] = _Row(method, target if swapper and target not in ("-", "") else None)
    told = [f"{path}: {counted(odd, 'row names', 'rows name')} no clip, left out"] if odd else []
    return found, told + ([f"{path}: {counted(twice, 'clip stands', 'clips stand')} there twice"] if twice else [])


def _clip(
    folder: str,
    below: str,
    file: VideoFile,
    rows: dict[str, _Row],
    originals: dict[str, list[str]],
    params: FakeAvCelebParams,
) -> Clip | None:
    home, _, stem = below.rpartition("/")
    person = home.rpartition("/")[2]
    name = f"{folder}/{below}"
    if folder == "RealVideo-FakeAudio":
        return sound_fake(NAME, name, file, "train", VOICE, params.sound_fakes, [person])
    if folder.startswith("RealVideo"):
        return with_sound(real_clip(NAME, name, file, "train", [person]), False, params.sound_fakes)
    row = rows.get(name) or _Row(UNKNOWN, None)
    real = f"{home}/{stem.split('_')[0]}"
    named = real in originals.get(home, [])
    only = originals[home][0] if len(originals.get(home, [])) == 1 else None
    original = real if named else only
    clip = fake_clip(
        NAME,
        name,
        file,
        "train",
        row.method,
        None if original is None else f"RealVideo-RealAudio/{original}",
        [person, *([row.swapped] if row.swapped not in (None, person) and params.swaps == "strict" else [])],
        # Lips that are moved to another voice, or a swap, may be of another length, and cropped.
        guessed=original is not None,
    )
    return with_sound(clip, folder.endswith("FakeAudio"), params.sound_fakes)


def looks_like(root: Path) -> bool:
    """Whether two of the four folders are there."""
    return len(find_folders(root, [folder.lower() for folder in _FOLDERS])) > 1


FAKEAVCELEB = Dataset(
    name=NAME,
    title="FakeAVCeleb",
    url="https://github.com/DASH-Lab/FakeAVCeleb",
    citation="Khalid et al., FakeAVCeleb: A Novel Audio-Video Multimodal Deepfake Dataset, NeurIPS Datasets 2021",
    compressions=(),
    default_compressions=(),
    methods=methods_of(NAME),
    layout=(
        "{RealVideo,FakeVideo}-{RealAudio,FakeAudio}/<race>/<gender>/<id>/<clip>.mp4",
        f"{LIST} (methods, and whose face was swapped in)",
    ),
    # With RealVideo-FakeAudio, which looks real; of the 20,544 fakes no count of each method is published.
    published=(PublishedCount("originals", None, None, 1000),),
    scan=scan,
    looks_like=looks_like,
    params=FakeAvCelebParams,
    official_split=False,
)
