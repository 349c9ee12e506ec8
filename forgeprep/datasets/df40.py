"""DF40: crops of forty methods on FaceForensics++ and Celeb-DF, made for tests across methods and across data.

::

    DF40_train/<method>/frames/TTT_SSS/NNN.png                   on FaceForensics++ (ff)
    DF40/<method>/{ff,cdf}/frames/TTT_SSS/NNN.png                for tests, on both; cdf has idA_idB_NNNN
    DF40_train/<method>/<id>/<picture>                           whole syntheses and edits, picture by picture
    DF40/<method>/cdf/YouTube-real/NNNNN/NNN.png
    …/<method>/{fake,real}/…                                     nine methods bring reals of their own

The case of folders varies. A folder of numbered pictures of a swap or a re-enactment is a clip; whole syntheses and
edits are pictures. All are crops of 256 pixels, cut by the authors, so ``--detector whole`` takes them as they are.

The reals of 31 methods are FaceForensics++ at c23 and the test videos of Celeb-DF v2, which lie elsewhere:
``--real-root ffpp=DIR --real-root celebdf-v2=DIR``, best as the crops that the authors share, in folders ``frames``. A
swap is guessed to be made of its target's frame of the same number; where the pictures do not fit, or ``pairs=none``,
it has no original and no mask. Splits are FaceForensics++'s, and Celeb-DF's test; where nothing tells, DF40_train is
train and DF40 is test.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import Field

from forgeprep.datasets.base import Dataset, DatasetParams, Scan, ScanOptions
from forgeprep.datasets.clips import fake_clip, real_clip, spelled, told_mixed
from forgeprep.datasets.ffpp import official_split
from forgeprep.datasets.frame_folders import joined
from forgeprep.datasets.listing import VideoFile, check_root, find_folders, listed, walk_files
from forgeprep.datasets.other_reals import reals_of, told_without
from forgeprep.datasets.scan import make_scan
from forgeprep.datasets.taxonomy import Kind, kind_of, methods_of
from forgeprep.media.frame_folder import numbered
from forgeprep.media.pictures import PICTURE_SUFFIXES
from forgeprep.schemas.clips import Clip, Split

NAME = "df40"
_HOMES: dict[str, Split] = {"df40_train": "train", "df40": "test"}
_FF = re.compile(r"(?P<target>[0-9]{3})(?:_(?P<source>[0-9]{3}))?")
_CDF = re.compile(r"(?P<target>id[0-9]+)_(?:(?P<source>id[0-9]+)_)?(?P<take>[0-9]{4})|(?P<number>[0-9]{5})")


class Df40Params(DatasetParams):
    """Options of ``df40``."""

    pairs: Literal["name", "none"] = Field(default="name", description="originals by name, or none at all")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a file lies: whose folder it is in, and what it was made of."""

    method: str
    home: Split
    cdf: bool
    real: bool
    below: str


def scan(root: Path, options: ScanOptions) -> Scan:
    """List the clips under ``root`` and the reals elsewhere; raises UsageError where there are no fakes."""
    check_root(root)
    params = options.params if isinstance(options.params, Df40Params) else Df40Params()
    strangers: list[str] = []
    found: dict[tuple[_Place, str], list[tuple[str, int]]] = defaultdict(list)
    for home, split in _homes(root).items():
        for name in [name for name, size in listed(root, home) if size is None]:
            folder = f"{home}/{name}" if home else name
            for path, size in walk_files(root, folder, PICTURE_SUFFIXES, strangers):
                parent = path.rpartition("/")[0]
                found[_place(name, split, parent[len(folder) + 1 :]), parent].append((path, size))
    if not found:
        return make_scan(DF40, root, [], options, strangers=strangers)
    reals = {"ffpp": reals_of("ffpp", options, ("c23",)), "celebdf-v2": reals_of("celebdf-v2", options)}
    clips: list[Clip] = []
    mixed: list[str] = []
    for (place, parent), pictures in found.items():
        for file in _files(place, parent, pictures):
            clip = _clip(place, file, params, reals)
            if clip is None:
                mixed.append(file.path)
            else:
                clips.append(clip)
        options.progress(len(clips))
    on_ff = any(not place.cdf and not place.real for place, _ in found)
    on_cdf = any(place.cdf and not place.real for place, _ in found)
    # Nothing was trained on Celeb-DF, so of its reals only the test videos belong here.
    clips += list(reals["ffpp"].values()) if on_ff else []
    clips += [clip for clip in reals["celebdf-v2"].values() if clip.split == "test"] if on_cdf else []
    warnings = told_without(options, *["ffpp"] * on_ff, *["celebdf-v2"] * on_cdf) + told_mixed(mixed)
    videos = [name for name, known in reals.items() if any(clip.frames is None for clip in known.values())]
    if videos:
        warnings.append(
            f"the reals of {' and '.join(videos)} are videos, and the fakes crops of 256 pixels, so their look alone "
            "tells them apart; give the crops that the authors share, in folders 'frames'"
        )
    return make_scan(DF40, root, clips, options, warnings=warnings, strangers=strangers)


def _homes(root: Path) -> dict[str, Split]:
    """``DF40_train`` and ``DF40``; the root itself where it is one of them."""
    found = {home: split for name, split in _HOMES.items() for home in find_folders(root, [name])}
    return found or ({"": _HOMES.get(root.absolute().name.lower(), "test")} if _methods_in(root, "") else {})


def _methods_in(root: Path, home: str) -> list[str]:
    known = {name.lower() for name in methods_of(NAME)}
    return [name for name, size in listed(root, home) if size is None and name.lower() in known]


def _place(folder: str, home: Split, below: str) -> _Place:
    parts = [part for part in below.split("/") if part]
    lower = [part.lower() for part in parts]
    cdf = "cdf" in lower[:1] or any(part in ("celeb-real", "youtube-real", "celeb-synthesis") for part in lower)
    rest = [part for part in parts if part.lower() not in ("ff", "cdf", "frames", "inversions", "fake", "real")]
    return _Place(spelled(folder, methods_of(NAME)), home, cdf, "real" in lower, "/".join(rest))


def _files(place: _Place, parent: str, pictures: list[tuple[str, int]]) -> Iterator[VideoFile]:
    """A clip, or pictures one by one."""
    sizes = dict(pictures)
    moving = not _is_still(place.method) and (_CDF if place.cdf else _FF).fullmatch(parent.rpartition("/")[2])
    if moving and numbered(path.rpartition("/")[2] for path in sizes) is not None:
        yield joined(parent, parent.rpartition("/")[2], sizes)
        return
    for path, size in pictures:
        yield VideoFile(PurePosixPath(path).stem, path, size)


def _is_still(method: str) -> bool:
    return method in methods_of(NAME) and kind_of(NAME, method).forgery in ("entire_synthesis", "attribute_edit")


def _clip(place: _Place, file: VideoFile, params: Df40Params, reals: dict[str, dict[str, Clip]]) -> Clip | None:
    """The clip of a file; None where it shows people of two splits."""
    still = file.frames is None
    more: dict[str, Any] = {"frame_count": 1} if still else {}
    domain = "cdf" if place.cdf else "ff"
    kind = "real/" if place.real else ""
    name = f"{place.home}/{place.method}/{kind}{domain}/{place.below}{f'/{file.stem}' if still else ''}"
    if place.real:
        return real_clip(NAME, name, file, place.home, **more)
    key = next((part for part in (file.stem, *place.below.split("/")[::-1]) if _told(place, part)), "")
    told = _told(place, key)
    if told is None:
        return fake_clip(NAME, name, file, place.home, place.method, **more)
    people = [part for part in (told["target"], told["source"]) if part]
    if place.cdf:
        other, stem = "celebdf-v2", told["number"] or f"{told['target']}_{told['take']}"
        guess = f"celebdf-v2/{'YouTube-real' if told['number'] else 'Celeb-real'}/{stem}"
        split, people = place.home, people or [stem]
    else:
        other, stem = "ffpp", told["target"]
        guess, split = f"ffpp/c23/youtube/{stem}", official_split()[stem]
        if told["source"] and official_split()[told["source"]] != split:
            return None
    if still or params.pairs == "none":
        return fake_clip(NAME, name, file, split, place.method, people=people, **more)
    original = reals[other].get(stem)
    clip = fake_clip(NAME, name, file, split, place.method, original, people, Kind("identity_replaced", None),
                     guessed=True)  # fmt: skip
    return clip if original is not None else replace(clip, original_id=guess)


def _told(place: _Place, name: str) -> re.Match[str] | None:
    return (_CDF if place.cdf else _FF).fullmatch(name)


def looks_like(root: Path) -> bool:
    """Whether ``DF40`` or ``DF40_train`` is there with some methods, or the root is one of them."""
    return any(len(_methods_in(root, home)) >= (1 if home else 3) for home in _homes(root))


DF40 = Dataset(
    name=NAME,
    title="DF40",
    url="https://github.com/YZY-stack/DF40",
    citation="Yan et al., DF40: Toward Next-Generation Deepfake Detection, NeurIPS Datasets and Benchmarks 2024",
    compressions=(),
    default_compressions=(),
    methods=methods_of(NAME),
    layout=(
        "DF40_train/<method>/frames/TTT_SSS/NNN.png",
        "DF40/<method>/{ff,cdf}/frames/<video>/NNN.png",
        "DF40_train/<method>/<id>/<picture>, DF40/<method>/{ff,cdf}/… (whole syntheses and edits)",
        "…/<method>/{fake,real}/… (methods with reals of their own)",
    ),
    published=(),
    scan=scan,
    looks_like=looks_like,
    params=Df40Params,
    reals_from=("ffpp", "celebdf-v2"),
)
