"""DFDC: 119,154 training videos in 50 parts, and labelled folders of validation and test.

::

    dfdc_train_part_0/metadata.json           {"x.mp4": {"label": "FAKE", "split": "train", "original": "y.mp4"}, …}
    dfdc_train_part_0/x.mp4                   … to dfdc_train_part_49
    dfdc_train_part_0/x/NNNN.png              instead of x.mp4: its frames
    validation/labels.csv, test/labels.csv    filename,label; 1 = fake; their videos beside them or in videos/; the
                                              folders may be called val, valid, dev and testing too

The authors name no method and no people, and their parts are all "train": the options ``val_parts`` and ``test_parts``
deal whole parts out, by default in the usual way, 35-39 and 40-49. Where the authors' validation or test folder is
there, it is that split and no part is. Some fakes are forged in the sound alone: the pipeline finds that nothing
visible differs (``visual_change`` is false) and makes no samples of them. An original may be absent on disk. A part
without its ``metadata.json`` is left out, with a warning.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from forgeprep.datasets.base import Dataset, PublishedCount, Scan, ScanOptions
from forgeprep.datasets.frame_folders import HOMES, Choice, SequenceParams, list_clips, told_unused
from forgeprep.datasets.listing import Listing, VideoFile, check_root, find_folders
from forgeprep.datasets.lists import read_json_object, read_lines, refuse, refuse_entry
from forgeprep.datasets.scan import make_scan
from forgeprep.datasets.split_folders import split_folders
from forgeprep.datasets.taxonomy import kind_of, methods_of
from forgeprep.schemas.clips import Clip, Split
from forgeprep.schemas.splits import SPLIT_NAMES
from forgeprep.text import counted

METHOD = "DFDC"
LAST_PART = 49
_PART = re.compile(r"dfdc_train_part_0*([0-9]+)", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_LABELS = ("labels.csv", "label.csv")


def _parts(text: object) -> str:
    for piece in filter(None, (piece.strip() for piece in str(text).split(","))):
        found = re.fullmatch(r"([0-9]{1,2})(?:-([0-9]{1,2}))?", piece)
        if found is None or int(found[1]) > int(found[2] or found[1]) or int(found[2] or found[1]) > LAST_PART:
            raise ValueError(f"must be numbers of parts from 0 to {LAST_PART}, such as 35-39,44")
    return str(text)


class DfdcParams(SequenceParams):
    """Options of ``dfdc``."""

    val_parts: str = Field(default="35-39", description="parts that make up val, such as 35-39 or 3,5,7")
    test_parts: str = Field(default="40-49", description="parts that make up test")

    @field_validator("val_parts", "test_parts", mode="before")
    @classmethod
    def _check(cls, value: object) -> str:
        return _parts(value)

    @model_validator(mode="after")
    def _check_apart(self) -> Self:
        both = sorted(_numbers(self.val_parts) & _numbers(self.test_parts))
        if both:
            raise ValueError(f"val_parts and test_parts share part {both[0]}; give both options")
        return self


def scan(root: Path, options: ScanOptions) -> Scan:
    """List the clips under ``root``; raises UsageError where there are none, or on bad metadata."""
    check_root(root)
    params = options.params if isinstance(options.params, DfdcParams) else DfdcParams()
    clips: list[Clip] = []
    strangers: list[str] = []
    absent: list[str] = []
    labelled: dict[Split, str] = {split: home for home, split in split_folders(root).items() if split != "train"}
    for split, folder in labelled.items():
        files, labels = _labelled_files(root, folder, params.frames)
        clips += [_clip(split, file, labels[stem], None, split) for stem, file in files.items() if stem in labels]
        strangers += [file.path for stem, file in files.items() if stem not in labels]
        absent += [f"{folder}/{stem}.mp4" for stem in labels if stem not in files]
    parts = dict(_part_folders(root))
    known = {*parts.values(), *labelled.values()}
    strangers += [
        f"{e.name}/" for e in sorted(root.iterdir()) if "train_part" in e.name.lower() and e.name not in known
    ]
    unused: list[str] = []
    unlabelled: dict[str, int] = {}
    for number, folder in parts.items():
        listing = _list(root, folder, [folder], params.frames, unused)
        files = listing.files
        strangers += [path for path in listing.strangers if not path.endswith("/metadata.json")]
        if files and not (root / folder / "metadata.json").exists():
            unlabelled[folder] = len(files)
            continue
        entries = _read_metadata(root / folder / "metadata.json") if files else {}
        split = _split_of(number, params, labelled)
        told = [(file, entries[stem]) for stem, file in files.items() if stem in entries]
        clips += [
            _clip(f"part_{number}", file, entry["label"] == "FAKE", entry.get("original"), split)
            for file, entry in told
        ]
        strangers += [file.path for stem, file in files.items() if stem not in entries]
        absent += [f"{folder}/{stem}.mp4" for stem in entries if stem not in files]
        options.progress(len(clips))
    if unlabelled and not clips:
        refuse(root / min(unlabelled) / "metadata.json", None, "no such file, and it tells the labels; fetch it")
    warnings = [
        f"{folder} left out, with {counted(count, 'video')}: it has no metadata.json, which tells the labels; fetch it"
        for folder, count in unlabelled.items()
    ]
    warnings += told_unused(unused)
    return make_scan(DFDC, root, clips, options, warnings=warnings, strangers=strangers, absent=absent)


def _part_folders(root: Path) -> Iterator[tuple[int, str]]:
    found = {}
    for entry in sorted(root.iterdir()):
        match = _PART.fullmatch(entry.name)
        if match and entry.is_dir() and int(match[1]) <= LAST_PART:
            found[int(match[1])] = entry.name
    yield from sorted(found.items())


def _split_of(part: int, params: DfdcParams, labelled: dict[Split, str]) -> Split:
    chosen: dict[Split, str] = {"val": params.val_parts, "test": params.test_parts}
    # The authors' own folder takes the place of the parts.
    return next((split for split, text in chosen.items() if split not in labelled and part in _numbers(text)), "train")


def _numbers(text: str) -> set[int]:
    numbers: set[int] = set()
    for piece in filter(None, (piece.strip() for piece in text.split(","))):
        first, _, last = piece.partition("-")
        numbers |= set(range(int(first), int(last or first) + 1))
    return numbers


def _read_metadata(path: Path) -> dict[str, dict[str, Any]]:
    """Stem to entry of a part's ``metadata.json``."""
    found = {}
    for name, entry in read_json_object(path).items():
        stem = name.removesuffix(".mp4")
        original = entry.get("original")
        if stem == name or not _NAME.fullmatch(stem):
            refuse_entry(path, name, "is no name of a video")
        if entry.get("label") not in ("REAL", "FAKE"):
            refuse_entry(path, name, f"label must be REAL or FAKE, got {str(entry.get('label'))[:40]!r}")
        if original is not None and (
            not isinstance(original, str) or not _NAME.fullmatch(original.removesuffix(".mp4"))
        ):
            refuse_entry(path, name, f"original must be the name of a video, got {str(original)[:80]!r}")
        if original is not None and (entry["label"] == "REAL" or original == name):
            refuse_entry(path, name, "is a real, and has an original" if original != name else "is its own original")
        found[stem] = entry
    return found


def _list(root: Path, folder: str, videos: list[str], frames: Choice, unused: list[str] | None = None) -> Listing:
    homes = find_folders(root, [folder.lower()], HOMES)
    found = list_clips(root, videos, [*homes, *videos], _NAME, frames, unused)
    return Listing(found.files, [path for path in found.strangers if path not in homes])


def _labelled_files(root: Path, folder: str, frames: Choice) -> tuple[dict[str, VideoFile], dict[str, bool]]:
    """The videos of an official validation or test folder, and which of them are fake."""
    files = _list(root, folder, [folder, *find_folders(root, [folder.lower()], ["videos"])], frames).files
    path = next((root / folder / name for name in _LABELS if (root / folder / name).is_file()), None)
    labels: dict[str, bool] = {}
    if path is None:
        return files, labels
    for number, line in read_lines(path):
        row = next(csv.reader([line]))
        if number == 1 and row[:2] == ["filename", "label"]:
            continue
        if len(row) != 2 or row[1].strip() not in ("0", "1"):
            refuse(path, number, f"must be filename,label with label 0 (real) or 1 (fake), got '{line[:80]}'")
        stem = Path(row[0]).name.removesuffix(".mp4")
        if stem in labels:
            refuse(path, number, f"{row[0]} stands there twice")
        labels[stem] = row[1].strip() == "1"
    return files, labels


def _clip(place: str, file: VideoFile, fake: bool, original: str | None, split: Split) -> Clip:
    source = original.removesuffix(".mp4") if fake and original else file.stem
    kind = kind_of("dfdc", METHOD)
    return Clip(
        clip_id=f"dfdc/{place}/{file.stem}",
        dataset="dfdc",
        **file.facts,
        split=split,
        source_id=f"dfdc/{place}/{source}",
        original_id=f"dfdc/{place}/{source}" if fake and original else None,
        label=int(fake),
        forgery=kind.forgery if fake else "real",
        method=METHOD if fake else None,
        family=kind.family if fake else None,
        # Of a fake nothing says whether it is seen or heard.
        audio_label=None if fake else 0,
        audio_only="maybe" if fake else "no",
    )


def _published() -> Sequence[PublishedCount]:
    return (PublishedCount("originals", None, None, 19154 + 2000 + 2500), PublishedCount("fakes", METHOD, None, 104500))


def looks_like(root: Path) -> bool:
    """Whether a part of the training videos is there, or a labelled folder of validation or test."""
    if next(_part_folders(root), None) is not None:
        return True
    homes = find_folders(root, [name for name, split in SPLIT_NAMES.items() if split != "train"])
    return any((root / home / name).is_file() for home in homes for name in _LABELS)


DFDC = Dataset(
    name="dfdc",
    title="DFDC",
    url="https://ai.meta.com/datasets/dfdc/",
    citation="Dolhansky et al., The DeepFake Detection Challenge (DFDC) Dataset, arXiv:2006.07397, 2020",
    compressions=(),
    default_compressions=(),
    methods=methods_of("dfdc"),
    layout=(
        "dfdc_train_part_N/metadata.json and its videos, N from 0 to 49; or folders of their frames, x/NNNN.png",
        "validation/labels.csv, test/labels.csv and their videos (optional)",
    ),
    published=tuple(_published()),
    scan=scan,
    looks_like=looks_like,
    params=DfdcParams,
    official_split=False,
)
