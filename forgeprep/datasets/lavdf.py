"""LAV-DF: clips of VoxCeleb2 in which a few words were replaced, seen or heard or both.

::

    {train,dev,test}/NNNNNN.mp4
    metadata.json, or metadata.min.json       file, split, fake_periods (seconds), original, modify_video, …

Periods become spans of frames by the times at which the frames are shown. A clip whose sound alone is forged looks
real: it is a real here, left out with ``sound-fakes=skip``, or with ``sound-fakes=fake`` a fake with an empty mask. A
forged clip may be longer or shorter than its original. Then it does not lie on it frame by frame: it is laid on it
piece by piece, around its periods, and its original is a guess. Where the pictures do not fit, it has no mask, and its
labels are those of the list. The number of frames in the list may be wrong: those of the file count, and the clips
table says so.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import Field

from forgeprep.datasets.base import Dataset, DatasetParams, PublishedCount, Scan, ScanOptions
from forgeprep.datasets.clips import SOUND_FAKES, SoundRule, fake_clip, flags, real_clip, sound_fake, with_sound
from forgeprep.datasets.listing import VideoFile, check_root, find_folders, safe_file, shown, walk_files
from forgeprep.datasets.lists import read_json_list, refuse
from forgeprep.datasets.scan import make_scan
from forgeprep.datasets.taxonomy import methods_of
from forgeprep.media.video import VIDEO_SUFFIXES
from forgeprep.schemas.clips import Clip, Split
from forgeprep.schemas.splits import SPLIT_NAMES
from forgeprep.text import counted

NAME = "lavdf"
LISTS = ("metadata.json", "metadata.min.json")
METHOD = "content-driven"
FOLDERS = ("train", "dev", "test")


class SoundParams(DatasetParams):
    """Options of datasets in which faces, voices or both are forged in periods."""

    sound_fakes: SoundRule = Field(default="real", description=SOUND_FAKES)


def scan(root: Path, options: ScanOptions) -> Scan:
    """List the clips under ``root``; raises UsageError where there are none, or no list."""
    check_root(root)
    params = options.params if isinstance(options.params, SoundParams) else SoundParams()
    path = next((root / name for name in LISTS if (root / name).is_file()), None)
    if path is None:
        refuse(root / LISTS[0], None, "no such file, and it tells the labels; it comes with the dataset")
    entries = {str(entry.get("file", "")): entry for entry in read_json_list(path)}
    clips: list[Clip] = []
    absent: list[str] = []
    odd: list[str] = []
    for name, entry in entries.items():
        size = safe_file(root, name) if name else None
        split = SPLIT_NAMES.get(str(entry.get("split") or name.split("/")[0]).lower())
        if split is None or not name:
            odd.append(name or "an entry without a file")
        elif size is None:
            absent.append(name)
        else:
            clip = _clip(name, entry, size, split, entries, params)
            clips += [] if clip is None else [clip]
            odd += [name] if clip is not None and clip.label and not _has_period(clip) else []
        options.progress(len(clips))
    homes = find_folders(root, FOLDERS)
    strangers = [file for home in homes for file, _ in walk_files(root, home, VIDEO_SUFFIXES) if file not in entries]
    told = [f"{path}: {counted(len(odd), 'entry', 'entries')} without a split or a period, as they are: {shown(odd)}"]
    return make_scan(LAVDF, root, clips, options, warnings=told if odd else [], strangers=strangers, absent=absent)


def _clip(
    name: str, entry: dict[str, Any], size: int, split: Split, entries: dict[str, Any], params: SoundParams
) -> Clip | None:
    file = VideoFile(name.rpartition("/")[2], name, size)
    below = name.rpartition(".")[0]
    seen, heard = flags(entry, "modify_video", "modify_audio")
    original = str(entry.get("original") or "")
    periods = readable(entry.get("fake_periods"))
    rule, listed = params.sound_fakes, frames_of(entry)
    if heard and not seen:
        clip = sound_fake(NAME, below, file, split, METHOD, rule, periods=periods)
        return None if clip is None else replace(clip, listed_frames=listed)
    if not seen:
        return with_sound(real_clip(NAME, below, file, split, listed_frames=listed), False, rule)
    other = frames_of(entries.get(original, {}))
    fake = fake_clip(
        NAME,
        below,
        file,
        split,
        METHOD,
        original.rpartition(".")[0] or None,
        guessed=bool(original) and (listed != other or not listed),
        periods=periods or None,
        listed_frames=listed,
    )
    return with_sound(fake, heard, rule, periods)


def _has_period(clip: Clip) -> bool:
    return bool(clip.audio_periods if clip.audio_only == "yes" else clip.periods)


def frames_of(entry: dict[str, Any]) -> int:
    """How many frames a list says that a clip has; 0 where it does not."""
    value = entry.get("video_frames")
    return value if isinstance(value, int) and 0 < value < 10_000_000 else 0


def readable(periods: Any) -> list[list[float]]:
    """Periods of a list in seconds; those that are none are left out."""
    found = []
    for pair in periods if isinstance(periods, list) else ():
        if isinstance(pair, list) and len(pair) == 2 and all(isinstance(value, int | float) for value in pair):
            start, end = pair
            if 0 <= start < end < 1e6:
                found.append([float(start), float(end)])
    return found


def looks_like(root: Path) -> bool:
    """Whether the list and a folder ``dev`` are there."""
    return any((root / name).is_file() for name in LISTS) and bool(find_folders(root, ["dev"]))


LAVDF = Dataset(
    name=NAME,
    title="LAV-DF",
    url="https://github.com/ControlNet/LAV-DF",
    citation="Cai et al., Do You Really Mean That? Content Driven Audio-Visual Deepfake Dataset, DICTA 2022",
    compressions=(),
    default_compressions=(),
    methods=methods_of(NAME),
    layout=("{train,dev,test}/NNNNNN.mp4", "metadata.json, or metadata.min.json"),
    # 136,304 clips, 36,431 of them real in sight and sound; those forged in sound alone count as real here.
    published=(PublishedCount("originals", None, None, 36431),),
    scan=scan,
    looks_like=looks_like,
    params=SoundParams,
)
