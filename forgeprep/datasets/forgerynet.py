"""ForgeryNet: 2.9 million pictures and 221,247 videos of 15 forgery approaches, named by lists.

::

    Training/image_list.txt            <path> <0|1> <0|1|2> <0..15>
    Training/video_list.txt            <n> <path> (<start> <frames> <0|1>) x n <0|1> <0|1|2> <0..15>
    Training/image/train_release/1-15/<A>/<B>/frameNNNNN.jpg            a fake; 16-19/<B>/frameNNNNN.jpg: a real
    Training/spatial_localize/train_mask_release/1-15/<A>/<B>/frameNNNNN.jpg
    Training/video/train_video_release/1-8|16-19/…/video.mp4
    Validation/…                       the same, with val_perturb_release and val_video_release

The lists may also lie in ``list/Training`` and so on, and the folders' names vary: every folder that begins with
``image``, ``video`` or ``spatial`` is looked into. What a file is follows from the number of its folder, since the last
column of the image lists disagrees with it; a line whose second column disagrees is told.

Inferred, not documented: B names the real that a fake was made of, so its original is guessed to be the real ``B`` of
the same frame name, else the real ``A``; the pipeline compares them. Fakes and reals were perturbed apart, so most
pairs of pictures do not fit: such a fake has no original, and the provided mask. With the option ``pairs=none`` no fake
has an original. The provided masks are magnitudes of the difference.

Videos serve two tasks. With ``use=localisation``, frames outside the listed spans are unknown and not used. With
``use=classification`` a fake is a fake throughout, and the videos of folders 2 and 8 are there too, which the lists
leave out since nothing is to be localised in them. Test labels are not public: Validation is val, or with
``validation=test`` test.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from forgeprep.datasets.base import Dataset, DatasetParams, Listed, PublishedCount, Scan, ScanOptions
from forgeprep.datasets.forgerynet_clips import Part, add_clips
from forgeprep.datasets.forgerynet_files import Finder, locate
from forgeprep.datasets.forgerynet_lists import Lines, read_images, read_videos, wholly_fake
from forgeprep.datasets.listing import check_root, find_folders, shown
from forgeprep.datasets.lists import refuse
from forgeprep.datasets.scan import make_scan
from forgeprep.datasets.taxonomy import methods_of
from forgeprep.media.pictures import PICTURE_SUFFIXES
from forgeprep.media.video import VIDEO_SUFFIXES
from forgeprep.schemas.clip_table import NONE, ClipTable, Int64
from forgeprep.schemas.clips import Split
from forgeprep.schemas.splits import SPLIT_NAMES
from forgeprep.text import counted


class ForgeryNetParams(DatasetParams):
    """Options of ``forgerynet``."""

    kind: Literal["both", "images", "videos"] = Field(default="both", description="which lists are used")
    validation: Literal["val", "test"] = Field(default="val", description="the split that Validation becomes")
    pairs: Literal["name", "none"] = Field(default="name", description="originals by name, or none at all")
    use: Literal["classification", "localisation"] = Field(
        default="localisation",
        description="videos by their listed spans (localisation), or as a whole, with those of folders 2 and 8 "
        "(classification)",
    )


def scan(root: Path, options: ScanOptions) -> Scan:
    """List the clips under ``root``; raises UsageError where there are none, or on a bad line of a list."""
    check_root(root)
    params = options.params if isinstance(options.params, ForgeryNetParams) else ForgeryNetParams()
    clips = ClipTable()
    absent: list[str] = []
    warnings: list[str] = []
    strangers: list[str] = []
    for part in _parts(root, params):
        lines = (read_images if part.kind == "image" else read_videos)(part.file)
        warnings += _told(part, lines, params)
        suffixes = PICTURE_SUFFIXES if part.kind == "image" else VIDEO_SUFFIXES
        seen = functools.partial(_seen, options.progress, len(clips))
        found = locate(root, part.bases, suffixes, lines.keys(), *lines.numbers, seen)
        whole = {path: size for path, size in found.others if part.kind == "video" and wholly_fake(path)}
        strangers += sorted({path for path, _ in found.others} - whole.keys())
        if whole and params.use == "localisation":
            warnings.append(
                f"{part.file} leaves out {counted(len(whole), 'video')} of folders 2 and 8, forged throughout, and so "
                "does this: --option use=classification takes them"
            )
        added = whole if params.use == "classification" else {}
        for path in added:
            lines.add(*path.rsplit("/", 1))
        base = np.concatenate([found.base, np.full(len(added), len(part.bases))])
        size_bytes = np.concatenate([found.size_bytes, np.array([*added.values()], np.int64)])
        used = np.ones(len(lines), bool)
        used[_without_spans(part, lines, params)] = False
        absent += _look_again(root, part, lines, np.flatnonzero(used & (base == NONE)), base, size_bytes)
        by_name, classified = params.pairs == "name", params.use == "classification"
        rows = np.flatnonzero(used & (base != NONE))
        add_clips(clips, root, part, lines, rows, base, size_bytes, by_name=by_name, whole=classified)
        options.progress(len(clips))
    warnings += [
        f"{home} has no {kind}_list.txt, so its {kind}s are left out" for home, kind in _without_list(root, params)
    ]
    dataset = FORGERYNET.chosen(params)
    return make_scan(dataset, root, clips, options, warnings=warnings, strangers=strangers, absent=absent)


def _seen(progress: Callable[[int], None], before: int, count: int) -> None:
    progress(before + count)


def _look_again(root: Path, part: Part, lines: Lines, rows: Int64, base: Int64, size_bytes: Int64) -> list[str]:
    """Find what the walk has not seen; returns the paths of what is not there."""
    find = Finder(root, (*part.bases, ""))
    absent = []
    for row in rows.tolist():
        there = find(lines.places[lines.folder[row]].folder, lines.names[lines.name[row]])
        if there is None:
            absent.append(lines.path(row))
        else:
            base[row], size_bytes[row] = there
    return absent


def _told(part: Part, lines: Lines, params: ForgeryNetParams) -> Iterator[str]:
    """What is odd in a list."""
    if not len(lines):
        refuse(part.file, None, "lists no file; fetch it again")
    if lines.odd:
        yield (
            f"{part.file}: {counted(lines.odd, 'line calls', 'lines call')} another kind of forgery than its folder; "
            "the folder counts"
        )
    if lines.wrong:
        yield f"{part.file}: {shown(lines.wrong)}; the folder counts"
    unknown = [lines.path(row) for row in _without_spans(part, lines, params)]
    if unknown:
        yield (
            f"{part.file}: {counted(len(unknown), 'fake has', 'fakes have')} no spans, left out: {shown(unknown)}; "
            "--option use=classification takes them"
        )


def _without_spans(part: Part, lines: Lines, params: ForgeryNetParams) -> list[int]:
    """The fakes that are of no use, since nothing tells where they are forged."""
    if part.kind != "video" or params.use != "localisation":
        return []
    return [row for row in range(len(lines)) if row not in lines.spans and lines.places[lines.folder[row]].fake]


def _without_list(root: Path, params: ForgeryNetParams) -> Iterator[tuple[str, str]]:
    """Homes with a folder of pictures or videos whose list is missing."""
    for home in find_folders(root, [name for name, split in SPLIT_NAMES.items() if split != "test"]):
        for kind in ("image", "video"):
            lists = [root / home, *(root / place for place in find_folders(root, ["list", "lists"], [home.lower()]))]
            there = any((place / f"{kind}_list.txt").is_file() for place in lists)
            if params.kind in ("both", f"{kind}s") and not there and _below(root, home, kind):
                yield home, kind


def _parts(root: Path, params: ForgeryNetParams) -> Iterator[Part]:
    splits: dict[Split, Split] = {"train": "train", "val": params.validation}
    for called, split in splits.items():
        names = [name for name, other in SPLIT_NAMES.items() if other == called]
        homes = [*find_folders(root, names), *find_folders(root, ["list", "lists"], names)]
        for kind in ("image", "video"):
            if params.kind not in ("both", f"{kind}s"):
                continue
            file = next(
                (root / h / f"{kind}_list.txt" for h in homes if (root / h / f"{kind}_list.txt").is_file()), None
            )
            if file is not None:
                bases = [base for home in homes for base in _below(root, home, kind)]
                masks = [base for home in homes for base in _below(root, home, "spatial")] if kind == "image" else []
                yield Part(split, kind, file, tuple(bases), tuple(masks))


def _below(root: Path, home: str, prefix: str) -> list[str]:
    """The folders that begin with ``prefix``, and those right below them."""
    found = [f"{home}/{p.name}" for p in sorted((root / home).iterdir()) if p.is_dir() and p.name.startswith(prefix)]
    return found + [f"{base}/{p.name}" for base in found for p in sorted((root / base).iterdir()) if p.is_dir()]


def read_list(path: Path) -> list[Listed] | None:
    """The authors' lists of pictures and videos; None for a file of another name. Their paths tell the split."""
    read = {"image_list.txt": read_images, "video_list.txt": read_videos}.get(path.name.lower())
    if read is None:
        return None
    lines = read(path)
    splits: list[Split | None] = [_split_of(place.folder) for place in lines.places]
    return [
        Listed(lines.path(row), splits[folder], int(lines.places[folder].fake))
        for row, folder in enumerate(lines.folder)
    ]


def _split_of(path: str) -> Split | None:
    return "val" if path.startswith("val") else "train" if path.startswith("train") else None


def looks_like(root: Path) -> bool:
    """Whether a list of pictures or videos is there."""
    return next(_parts(root, ForgeryNetParams()), None) is not None


def _published(params: ForgeryNetParams) -> tuple[PublishedCount, ...]:
    """The published reals of the lists that are used; of all the authors hold back the test part."""
    reals = {"images": 1_438_201, "videos": 99_630}
    return (
        PublishedCount("originals", None, None, sum(n for name, n in reals.items() if params.kind in ("both", name))),
    )


FORGERYNET = Dataset(
    name="forgerynet",
    title="ForgeryNet",
    url="https://yinanhe.github.io/projects/forgerynet.html",
    citation="He et al., ForgeryNet: A Versatile Benchmark for Comprehensive Forgery Analysis, CVPR 2021",
    compressions=(),
    default_compressions=(),
    methods=methods_of("forgerynet"),
    layout=(
        "{Training,Validation}/image_list.txt, video_list.txt",
        "{Training,Validation}/image*/*_release/NUMBER/…/frameNNNNN.jpg",
        "{Training,Validation}/spatial_localize/*_release/NUMBER/…/frameNNNNN.jpg",
        "{Training,Validation}/video*/*_video_release/NUMBER/…/video.mp4",
    ),
    published=_published(ForgeryNetParams()),
    scan=scan,
    looks_like=looks_like,
    read_list=read_list,
    params=ForgeryNetParams,
    published_of=_published,
)
