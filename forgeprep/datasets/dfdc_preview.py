"""The preview of DFDC: 1,131 videos of actors and 4,119 swaps by two methods, all named in ``dataset.json``.

::

    dataset.json                              {path: {"set": "train", "label": "fake", "augmentations": [], …}, …}
    original_videos/T/T_K….mp4
    method_A/T/T_K/S_T_K_NNN.mp4              the clip T_K of actor T with the face of actor S
    method_B/…

That T is the target and S the other actor is inferred from the names, not documented: where the pictures disagree, the
clip S_K is tried; with the option ``pairs=none`` fakes have no original. The authors' sets are train and test; the
option ``val`` takes actors out of train, and swaps of them with others are left out.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import Field

from forgeprep.datasets.base import Dataset, DatasetParams, PublishedCount, Scan, ScanOptions
from forgeprep.datasets.listing import check_root, safe_file, shown, walk_files
from forgeprep.datasets.lists import read_json_object, refuse_entry
from forgeprep.datasets.scan import make_scan
from forgeprep.datasets.splits import split_by_ratio
from forgeprep.datasets.taxonomy import kind_of, methods_of
from forgeprep.schemas.clips import Clip, Split
from forgeprep.text import counted

_FAKE = re.compile(r"(?P<source>[0-9]+)_(?P<clip>(?P<target>[0-9]+)_(?P<take>[A-Za-z]))_.*")


class DfdcPreviewParams(DatasetParams):
    """Options of ``dfdc-preview``."""

    val: float = Field(default=0.0, ge=0, lt=1, description="share of the actors in train that becomes val")
    seed: int = Field(default=0, description="another seed chooses other actors for val")
    pairs: Literal["name", "none"] = Field(default="name", description="originals by name, or none at all")


def scan(root: Path, options: ScanOptions) -> Scan:
    """List the clips under ``root``; raises UsageError where there are none, or on a bad ``dataset.json``."""
    check_root(root)
    params = options.params if isinstance(options.params, DfdcPreviewParams) else DfdcPreviewParams()
    entries = _read(root)
    people = {path: _people(path) for path in entries}
    trained = {person for path, entry in entries.items() if entry["set"] == "train" for person in people[path]}
    val = {p for p, s in split_by_ratio(trained, (1 - params.val, params.val, 0), params.seed).items() if s == "val"}
    clips: list[Clip] = []
    mixed: list[str] = []
    absent: list[str] = []
    for path, entry in entries.items():
        in_val = [person in val for person in people[path]]
        size = safe_file(root, path)
        if size is None:
            absent.append(path)
        elif entry["set"] == "train" and any(in_val) and not all(in_val):
            mixed.append(path)
        else:
            split: Split = "test" if entry["set"] == "test" else "val" if any(in_val) else "train"
            clips.append(_clip(path, entry, split, people[path], params.pairs == "name", size))
    reals = {clip.clip_id for clip in clips if clip.label == 0}
    clips = [c if reals.issuperset(c.candidates or ()) else replace(c, candidates=None) for c in clips]
    warnings = (
        [f"{counted(len(mixed), 'fake left out, it', 'fakes left out, they')} would leak actors of val: {shown(mixed)}"]
        if mixed
        else []
    )
    folders = ("original_videos", *methods_of("dfdc-preview"))
    strangers = [path for name in folders for path, _ in walk_files(root, name, {".mp4"}) if path not in entries]
    return make_scan(DFDC_PREVIEW, root, clips, options, warnings=warnings, strangers=strangers, absent=absent)


def _read(root: Path) -> dict[str, dict[str, Any]]:
    path = root / "dataset.json"
    entries = read_json_object(path)
    known = {"original_videos", *methods_of("dfdc-preview")}
    for name, entry in entries.items():
        if name.split("/")[0] not in known or ".." in name.split("/"):
            refuse_entry(path, name, f"is no path below {', '.join(sorted(known))}")
        if entry.get("set") not in ("train", "test"):
            refuse_entry(path, name, f"set must be train or test, got {str(entry.get('set'))[:40]!r}")
        if entry.get("label") not in ("real", "fake"):
            refuse_entry(path, name, f"label must be real or fake, got {str(entry.get('label'))[:40]!r}")
        if (entry["label"] == "real") != name.startswith("original_videos/"):
            refuse_entry(path, name, f"says {entry['label']} of a video in {name.split('/')[0]}")
    return entries


def _people(path: str) -> list[str]:
    found = _FAKE.fullmatch(PurePosixPath(path).stem)
    if path.startswith("original_videos/") or found is None:
        return [path.split("/")[1]]
    return [found["target"], found["source"]]


def _clip(path: str, entry: dict[str, Any], split: Split, people: list[str], paired: bool, size: int) -> Clip:
    fake = entry["label"] == "fake"
    stem = PurePosixPath(path).stem
    found = _FAKE.fullmatch(stem) if fake else None
    original = found["clip"] if found and paired else None
    swapped = [f"dfdc-preview/original_videos/{found['source']}_{found['take']}"] if found and paired else None
    method = path.split("/")[0] if fake else None
    kind = kind_of("dfdc-preview", method) if method else None
    return Clip(
        clip_id=f"dfdc-preview/{method or 'original_videos'}/{stem}",
        dataset="dfdc-preview",
        path=path,
        split=split,
        source_id=f"dfdc-preview/{original or stem}",
        original_id=f"dfdc-preview/original_videos/{original}" if original else None,
        label=int(fake),
        forgery=kind.forgery if kind else "real",
        method=method,
        family=kind.family if kind else None,
        guessed=original is not None,
        candidates=swapped,
        identities=people,
        size_bytes=size,
    )


def looks_like(root: Path) -> bool:
    """Whether the list of all videos and the folder of the originals are there."""
    return (root / "dataset.json").is_file() and (root / "original_videos").is_dir()


DFDC_PREVIEW = Dataset(
    name="dfdc-preview",
    title="DFDC preview",
    url="https://ai.meta.com/datasets/dfdc/",
    citation="Dolhansky et al., The Deepfake Detection Challenge (DFDC) Preview Dataset, arXiv:1910.08854, 2019",
    compressions=(),
    default_compressions=(),
    methods=methods_of("dfdc-preview"),
    layout=(
        "dataset.json",
        "original_videos/T/T_K.mp4",
        "method_A/T/T_K/S_T_K_NNN.mp4",
        "method_B/T/T_K/S_T_K_NNN.mp4",
    ),
    published=(
        PublishedCount("originals", None, "train", 855),
        PublishedCount("originals", None, "test", 276),
        PublishedCount("fakes", "method_A", "train", 3501),
        PublishedCount("fakes", "method_A", "test", 474),
        PublishedCount("fakes", "method_B", "train", 117),
        PublishedCount("fakes", "method_B", "test", 27),
    ),
    scan=scan,
    looks_like=looks_like,
    params=DfdcPreviewParams,
)
