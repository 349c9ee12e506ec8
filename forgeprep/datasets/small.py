"""Smaller datasets whose file names say it all, by one table: UADFV, DFDM, KoDF, Deepfake-Eval-2024.

::

    UADFV                real/NNNN.mp4, fake/NNNN_fake.mp4
    DFDM                 DFDM_crf{0,10,23}/<model>/…idA_idB_NNNN.mp4; the reals are Celeb-DF v2: --real-root
    KoDF                 …/<target>_<source>_<code>_<number>.mp4, and reals …/<person>_<number>.mp4
    Deepfake-Eval-2024   video-metadata-publish.csv (Filename, Video Ground Truth, Finetuning Set) and the videos

The folders of DFDM and KoDF are inferred, so these originals are guesses: what does not fit has none. Without an
official split, people are dealt out (``ratios``, ``seed``); fakes that mix people of two splits are left out. DFDM has
Celeb-DF's.
"""

from __future__ import annotations

import csv
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from pydantic import Field

from forgeprep.datasets.base import Dataset, DatasetParams, PublishedCount, Scan, ScanOptions
from forgeprep.datasets.clips import deal_people, fake_clip, real_clip, spelled
from forgeprep.datasets.listing import VideoFile, check_root, find_folders, shown, walk_files
from forgeprep.datasets.lists import read_lines, refuse
from forgeprep.datasets.other_reals import reals_of, told_without
from forgeprep.datasets.scan import make_scan
from forgeprep.datasets.splits import Ratios
from forgeprep.datasets.taxonomy import methods_of
from forgeprep.media.video import VIDEO_SUFFIXES
from forgeprep.schemas.clips import Clip, Split
from forgeprep.schemas.splits import split_name
from forgeprep.text import counted


class SmallParams(DatasetParams):
    """Options of the datasets of this file."""

    ratios: Ratios = Field(default=(0.7, 0.15, 0.15), description="shares of the people in train, val and test")
    seed: int = Field(default=0, description="another seed deals the people out otherwise")


@dataclass(frozen=True, slots=True)
class Small:
    """A row of the table.

    Attributes:
        title: and ``url``, ``citation``, ``layout``: as those of a dataset.
        real: what the path of a real looks like, relative to the root, in any case; its group ``name`` is what fakes
            call it, ``person`` who is in it.
        fake: the same of a fake; its group ``original`` is the real's ``name``, ``target`` and ``source`` are people,
            ``method`` is its method, else it is the table's only one.
        marks: folders or files of a root, in lower case; one of them tells it.
        published: reals and fakes.
        elsewhere: the dataset that its reals lie in.
        guessed: whether originals are guesses.
        labels: a list's file and its columns of names, labels and splits, instead of ``real`` and ``fake``.
        sound: the list's column that says of the sound whether it is real, where it has one.
        heard: whether its videos have sound, so that of a real it is known.
    """

    title: str
    url: str
    citation: str
    layout: tuple[str, ...]
    marks: tuple[str, ...]
    published: tuple[int, int]
    real: str = r"(?!)"
    fake: str = r"(?!)"
    elsewhere: str | None = None
    guessed: bool = True
    labels: tuple[str, str, str, str] | None = None
    sound: str | None = None
    heard: bool = False


TABLE: dict[str, Small] = {
    "uadfv": Small(
        title="UADFV",
        url="https://github.com/yuezunli/WIFS2018_In_Ictu_Oculi",
        citation="Li et al., In Ictu Oculi: Exposing AI Created Fake Videos by Detecting Eye Blinking, WIFS 2018",
        layout=("real/NNNN.mp4", "fake/NNNN_fake.mp4"),
        marks=("fake/0000_fake.mp4",),
        published=(49, 49),
        real=r"real/(?P<person>(?P<name>[0-9]{4}))",
        fake=r"fake/(?P<target>(?P<original>[0-9]{4}))_fake",
        guessed=False,
    ),
    "dfdm": Small(
        title="DFDM",
        url="https://github.com/shanface33/Deepfake_Model_Attribution",
        citation="Jia et al., Model Attribution of Face-swap Deepfake Videos, ICIP 2022",
        layout=("DFDM_crf{0,10,23}/<model>/…idA_idB_NNNN.mp4",),
        marks=("dfdm_crf0", "dfdm_crf10", "dfdm_crf23"),
        published=(0, 6450),
        fake=r"dfdm_crf[0-9]+/(?P<method>[^/]+)/(?:.*[/_])?(?P<target>id[0-9]+)_(?P<source>id[0-9]+)_(?P<take>[0-9]{4}).*",
        elsewhere="celebdf-v2",
    ),
    "kodf": Small(
        title="KoDF",
        url="https://moneybrain-research.github.io/kodf.html",
        citation="Kwon et al., KoDF: A Large-scale Korean DeepFake Detection Dataset, ICCV 2021",
        layout=("…/<person>_<number>.mp4", "…/<target>_<source>_<code>_<number>.mp4, code 1 to 5"),
        marks=("synthesized_videos",),
        published=(62166, 175776),
        real=r"(?:.*/)?(?P<name>(?P<person>[0-9]+)_[0-9]+)",
        fake=r"(?:.*/)?(?P<target>[0-9]+)_(?P<source>[0-9]+)_(?P<method>[1-5])_(?P<take>[0-9]+)",
        heard=True,
    ),
    "deepfake-eval-2024": Small(
        title="Deepfake-Eval-2024",
        url="https://huggingface.co/datasets/nuriachandra/Deepfake-Eval-2024",
        citation="Chandra et al., Deepfake-Eval-2024: An In-the-Wild Benchmark of Deepfakes, arXiv:2503.02857",
        layout=("video-metadata-publish.csv", "…/<Filename>"),
        marks=("video-metadata-publish.csv",),
        published=(0, 0),
        labels=("video-metadata-publish.csv", "Filename", "Video Ground Truth", "Finetuning Set"),
        sound="Audio Ground Truth",
    ),
}


def scan(name: str, root: Path, options: ScanOptions) -> Scan:
    """List the clips of dataset ``name`` under ``root``; raises UsageError where there are none."""
    check_root(root)
    small = TABLE[name]
    params = options.params if isinstance(options.params, SmallParams) else SmallParams()
    strangers: list[str] = []
    files = {path: size for path, size in walk_files(root, "", VIDEO_SUFFIXES) if not path.startswith("truth/")}
    if small.labels is not None:
        clips, warnings, absent = _labelled(name, small.labels, small.sound, root, files)
        named = {clip.path for clip in clips}
        strangers = [path for path in files if path not in named]
        return make_scan(DATASETS[name], root, clips, options, warnings=warnings, strangers=strangers, absent=absent)
    elsewhere = reals_of(small.elsewhere, options) if small.elsewhere else {}
    warnings = told_without(options, small.elsewhere) if small.elsewhere else []
    clips = [*_reals(name, small, files), *elsewhere.values()]
    reals = {clip.clip_id.rpartition("/")[2]: clip for clip in clips}
    for path, size in files.items():
        clip = _fake(name, small, path, size, reals)
        clips += [clip] if clip is not None else []
    used = {clip.path for clip in clips}
    strangers = [path for path in files if path not in used and str(root / path) not in used]
    if not any(clip.label for clip in clips):
        clips = []
    if small.elsewhere is None and clips:
        clips, mixed = deal_people(clips, params.ratios, params.seed)
        warnings += mixed
    return make_scan(DATASETS[name], root, clips, options, warnings=warnings, strangers=strangers)


def _reals(name: str, small: Small, files: Mapping[str, int]) -> list[Clip]:
    pattern, found = re.compile(small.real, re.IGNORECASE), []
    for path, size in files.items():
        match = pattern.fullmatch(path.rpartition(".")[0])
        if match is not None:
            found.append(real_clip(name, f"real/{match['name']}", VideoFile(match["name"], path, size), "train",
                                   [match["person"]], audio_label=0 if small.heard else None))  # fmt: skip
    return found


def _fake(name: str, small: Small, path: str, size: int, reals: Mapping[str, Clip]) -> Clip | None:
    match = re.fullmatch(small.fake, path.rpartition(".")[0], re.IGNORECASE)
    if match is None:
        return None
    told = match.groupdict()
    methods = methods_of(name)
    method = told.get("method")
    method = (
        methods[0] if method is None else methods[int(method) - 1] if method.isdecimal() else spelled(method, methods)
    )
    key = told.get("original") or f"{told['target']}_{told['take']}"
    original = reals.get(key)
    people = [person for person in (told["target"], told.get("source")) if person]
    split: Split = original.split if original is not None else "train" if small.elsewhere is None else "test"
    file = VideoFile(PurePosixPath(path).stem, path, size)
    below = path.rpartition(".")[0] if small.elsewhere else f"{method}/{file.stem}"
    return fake_clip(name, below, file, split, method, original, people, guessed=small.guessed and original is not None)


def _labelled(
    name: str, labels: tuple[str, str, str, str], sound: str | None, root: Path, files: Mapping[str, int]
) -> tuple[list[Clip], list[str], list[str]]:
    """The clips that a list names, what is to be told of its lines, and names of which there is no file."""
    list_name, *columns = labels
    path = root / list_name
    if not path.is_file():
        refuse(path, None, "no such file, and it tells the labels; it comes with the dataset")
    by_name: dict[str, str] = {}
    for file in files:
        by_name.setdefault(PurePosixPath(file).name, file)
    rows = csv.DictReader([line for _, line in read_lines(path)])
    if not set(columns) <= {*(rows.fieldnames or ())}:
        refuse(path, 1, f"must have the columns {', '.join(columns)}")
    clips: list[Clip] = []
    odd: list[str] = []
    absent: list[str] = []
    seen: set[str] = set()
    for row in rows:
        stem, label, part = (str(row[column] or "").strip() for column in columns)
        splits: dict[str, Split] = {"train": "train", "val": "val", "validation": "val", "test": "test"}
        split = splits.get(split_name(part.lower()))
        if label.lower() not in ("real", "fake") or split is None or stem in seen:
            odd.append(f"{stem} ({label}, {part})")
        elif stem not in by_name:
            absent.append(stem)
        else:
            seen.add(stem)
            video = VideoFile(stem, by_name[stem], files[by_name[stem]])
            make = (name, stem.rpartition(".")[0] or stem, video, split)
            heard = {"real": 0, "fake": 1}.get(str(row.get(sound or "") or "").strip().lower())
            clip = real_clip(*make) if label.lower() == "real" else fake_clip(*make, methods_of(name)[0])
            clips.append(replace(clip, audio_label=heard))
    told = f"{path}: {counted(len(odd), 'line', 'lines')} left out, twice or not labelled Real or Fake: {shown(odd)}"
    return clips, [told] if odd else [], absent


def looks_like(name: str, root: Path) -> bool:
    """Whether one of the table's marks is there."""
    return any((root / mark).is_file() or find_folders(root, [mark]) for mark in TABLE[name].marks)


def _dataset(name: str, small: Small) -> Dataset:
    real, fake = small.published
    counts = [PublishedCount("originals", None, None, real)] if real else []
    if fake and len(methods_of(name)) == 1:
        counts.append(PublishedCount("fakes", methods_of(name)[0], None, fake))
    return Dataset(
        name=name,
        title=small.title,
        url=small.url,
        citation=small.citation,
        compressions=(),
        default_compressions=(),
        methods=methods_of(name),
        layout=small.layout,
        published=tuple(counts),
        scan=functools.partial(scan, name),
        looks_like=functools.partial(looks_like, name),
        params=DatasetParams if small.labels or small.elsewhere else SmallParams,
        official_split=bool(small.labels or small.elsewhere),
        reals_from=(small.elsewhere,) if small.elsewhere else (),
    )


DATASETS = {name: _dataset(name, small) for name, small in TABLE.items()}
UADFV, DFDM, KODF, DEEPFAKE_EVAL_2024 = DATASETS.values()
