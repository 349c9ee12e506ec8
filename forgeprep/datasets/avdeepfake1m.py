"""AV-Deepfake1M and its successor, AV-Deepfake1M++: words of clips of VoxCeleb2 replaced, seen or heard or both.

::

    {train,val}/idNNNNN/<video>/NNNNN/real.mp4, fake_video_fake_audio.mp4, fake_video_real_audio.mp4, …
    {train,val}_metadata.json                      file, original, modify_type, visual_fake_segments (seconds), …
    {train,val}_metadata/<file>.json                the same, one file a clip
    {train,val}/<file>.json                         the same, beside the clip (++)

What was said of LAV-DF holds here too: sound alone looks real (``sound-fakes``), a fake of another length is laid on
its original piece by piece, and the frames of the file count. The labels of the authors' test are not public: their val
is val, or with ``validation=test`` test.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from forgeprep.datasets.base import Dataset, PublishedCount, Scan, ScanOptions
from forgeprep.datasets.clips import fake_clip, real_clip, sound_fake, with_sound
from forgeprep.datasets.lavdf import SoundParams, frames_of, readable
from forgeprep.datasets.listing import VideoFile, check_root, find_folders, safe_file, shown, walk_files
from forgeprep.datasets.lists import read_json_list, refuse
from forgeprep.datasets.scan import make_scan
from forgeprep.datasets.taxonomy import methods_of
from forgeprep.errors import UsageError
from forgeprep.media.video import VIDEO_SUFFIXES
from forgeprep.schemas.clips import Clip, Split
from forgeprep.text import counted

NAME = "avdeepfake1m"
METHOD = "content-driven"
_KINDS = ("real", "visual_modified", "audio_modified", "both_modified")


class AvDeepfake1mParams(SoundParams):
    """Options of ``avdeepfake1m``."""

    validation: Literal["val", "test"] = Field(default="val", description="the split that the authors' val becomes")


def scan(root: Path, options: ScanOptions) -> Scan:
    """List the clips under ``root``; raises UsageError where there are none, or no list."""
    check_root(root)
    params = options.params if isinstance(options.params, AvDeepfake1mParams) else AvDeepfake1mParams()
    clips: list[Clip] = []
    absent: list[str] = []
    strangers: list[str] = []
    warnings: list[str] = []
    splits: dict[str, Split] = {"train": "train", "val": params.validation}
    for called, split in splits.items():
        homes = find_folders(root, [called])
        entries, told = _read(root, called, homes)
        warnings += told
        there = {path[len(home) + 1 :]: path for home in homes for path, _ in walk_files(root, home, VIDEO_SUFFIXES)}
        if there and not entries:
            refuse(root / f"{called}_metadata.json", None, "no such file, and it tells the labels; fetch it")
        for name, entry in entries.items():
            path = there.get(name)
            if path is None:
                absent.append(f"{called}/{name}")
                continue
            clip = _clip(called, VideoFile(name, path, safe_file(root, path) or 0), entry, split, entries, params)
            clips += [] if clip is None else [clip]
            if len(clips) % 1000 == 0:
                options.progress(len(clips))
        strangers += [path for name, path in there.items() if name not in entries]
    return make_scan(AVDEEPFAKE1M, root, clips, options, warnings=warnings, strangers=strangers, absent=absent)


def _read(root: Path, called: str, homes: list[str]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Path of a clip below its split's folder -> its entry, and what is to be told of entries that are none."""
    found: dict[str, dict[str, Any]] = {}
    odd: list[str] = []
    for entry in _entries(root, called, homes, odd):
        name = str(entry.get("file") or "").removeprefix(f"{called}/")
        kind = str(entry.get("modify_type") or "").replace("-", "_")
        if not name or kind not in _KINDS:
            odd.append(name or "an entry without a file")
        else:
            found[name] = {**entry, "modify_type": kind}
    if not odd:
        return found, []
    left_out = counted(len(odd), "entry of {0} is", "entries of {0} are").format(called)
    return found, [f"{root}: {left_out} left out, without a file or of no known modify_type: {shown(odd)}"]


def _entries(root: Path, called: str, homes: list[str], odd: list[str]) -> Iterator[dict[str, Any]]:
    """From the one list; else from the lists of one clip each, in a folder of their own or beside the clips."""
    whole = root / f"{called}_metadata.json"
    if whole.is_file():
        yield from read_json_list(whole)
        return
    for home in [*find_folders(root, [f"{called}_metadata"]), *homes]:
        for path, _ in walk_files(root, home, {".json"}):
            try:
                # An object by names where it holds one clip: {"file": ..., ...}.
                (entry,) = read_json_list(root / path, single=True)
            except (UsageError, ValueError):
                odd.append(path)
                continue
            below = path[len(home) + 1 :].removesuffix(".json")
            yield {"file": below if below.endswith(".mp4") else f"{below}.mp4", **entry}


def _clip(
    called: str,
    file: VideoFile,
    entry: dict[str, Any],
    split: Split,
    entries: dict[str, dict[str, Any]],
    params: AvDeepfake1mParams,
) -> Clip | None:
    below = f"{called}/{file.stem.rpartition('.')[0]}"
    people = [file.stem.split("/")[0]]
    kind, rule, frames = entry["modify_type"], params.sound_fakes, frames_of(entry)
    both = readable(entry.get("fake_segments"))
    audio = readable(entry.get("audio_fake_segments")) or both
    if kind == "audio_modified":
        clip = sound_fake(NAME, below, file, split, METHOD, rule, people, audio)
        return None if clip is None else replace(clip, listed_frames=frames)
    if kind == "real":
        return with_sound(real_clip(NAME, below, file, split, people, listed_frames=frames), False, rule)
    original = str(entry.get("original") or "").removeprefix(f"{called}/")
    of_real = frames_of(entries.get(original, {}))
    fake = fake_clip(
        NAME,
        below,
        file,
        split,
        METHOD,
        f"{called}/{original.rpartition('.')[0]}" if original else None,
        people,
        guessed=bool(original) and (frames != of_real or not frames),
        periods=(readable(entry.get("visual_fake_segments")) or both) or None,
        listed_frames=frames,
    )
    return with_sound(fake, kind == "both_modified", rule, audio)


def looks_like(root: Path) -> bool:
    """Whether a list of train or val is there, and its folder of people."""
    for called in ("train", "val"):
        for home in find_folders(root, [called]):
            if (root / f"{called}_metadata.json").is_file() or (root / f"{called}_metadata").is_dir():
                return True
            if next((root / home).glob("id*/*/*/real.json"), None) is not None:
                return True
    return False


AVDEEPFAKE1M = Dataset(
    name=NAME,
    title="AV-Deepfake1M",
    url="https://github.com/ControlNet/AV-Deepfake1M",
    citation="Cai et al., AV-Deepfake1M: A Large-Scale LLM-Driven Audio-Visual Deepfake Dataset, ACM MM 2024",
    compressions=(),
    default_compressions=(),
    methods=methods_of(NAME),
    layout=(
        "{train,val}/idNNNNN/<video>/NNNNN/{real,fake_video_…,real_video_fake_audio}.mp4",
        "{train,val}_metadata.json, or {train,val}_metadata/<file>.json, or a .json beside each clip",
    ),
    # 286,721 of 1,146,760 clips are real in sight and sound.
    published=(PublishedCount("originals", None, None, 286721),),
    scan=scan,
    looks_like=looks_like,
    params=AvDeepfake1mParams,
)
