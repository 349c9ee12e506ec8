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
import itertools
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from forgeprep.datasets.base import Dataset, DatasetParams, Listed, PublishedCount, Scan, ScanOptions
from forgeprep.datasets.forgerynet_lists import (
    FIRST_REAL,
    LAST_REAL,
    METHOD_NUMBERS,
    Entry,
    Names,
    read_images,
    read_videos,
    wholly_fake,
)
from forgeprep.datasets.listing import check_root, find_folders, shown, walk_files
from forgeprep.datasets.lists import refuse
from forgeprep.datasets.scan import make_scan
from forgeprep.datasets.taxonomy import kind_of, methods_of
from forgeprep.io.storage import is_remote
from forgeprep.media.pictures import PICTURE_SUFFIXES
from forgeprep.media.video import VIDEO_SUFFIXES
from forgeprep.schemas.clip_table import ClipKind, ClipTable
from forgeprep.schemas.clips import Split
from forgeprep.schemas.splits import SPLIT_NAMES
from forgeprep.text import counted

NOBODY = "7283059e2ee6ec302df2936c7d23313b"
"""Stands in A's place where a fake has no second source."""


Reals = dict[str, dict[str, int]]
"""Folder -> name -> the folders 16 to 19 that such a real lies in, one bit each: of millions, the least memory."""


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


@dataclass(frozen=True, slots=True)
class _Part:
    """One list: a split's pictures or videos, with the folders that its paths may start in."""

    split: Split
    kind: str
    file: Path
    bases: tuple[str, ...]
    masks: tuple[str, ...]


def scan(root: Path, options: ScanOptions) -> Scan:
    """List the clips under ``root``; raises UsageError where there are none, or on a bad line of a list."""
    check_root(root)
    params = options.params if isinstance(options.params, ForgeryNetParams) else ForgeryNetParams()
    clips = ClipTable()
    absent: list[str] = []
    warnings: list[str] = []
    strangers: list[str] = []
    for part in _parts(root, params):
        named = Names()
        reals = _reals(part, params, warnings, named)
        unlisted = [path for path in _walked(root, part) if not _is_listed(path, part.bases, named)]
        whole = [entry for path in unlisted if part.kind == "video" and (entry := wholly_fake(path))]
        strangers += sorted({*unlisted} - {entry.path for entry in whole})
        del named
        if whole and params.use == "localisation":
            warnings.append(
                f"{part.file} leaves out {counted(len(whole), 'video')} of folders 2 and 8, forged throughout, and so "
                "does this: --option use=classification takes them"
            )
        added = whole if params.use == "classification" else []
        find, find_mask = _Finder(root, (*part.bases, "")), _Finder(root, part.masks)
        for entry in itertools.chain(_usable(part, params), added):
            path = find(entry.path)
            if path is None:
                absent.append(entry.path)
                continue
            mask = find_mask(entry.below) if entry.number < FIRST_REAL else None
            _take_in(clips, part, entry, path, mask, reals, whole=params.use == "classification")
            if len(clips) % 1000 == 0:
                options.progress(len(clips))
    warnings += [
        f"{home} has no {kind}_list.txt, so its {kind}s are left out" for home, kind in _without_list(root, params)
    ]
    dataset = replace(FORGERYNET, published=_published(params.kind))
    return make_scan(dataset, root, clips, options, warnings=warnings, strangers=strangers, absent=absent)


def _reals(part: _Part, params: ForgeryNetParams, warnings: list[str], named: Names) -> Reals:
    """Read a list for the first time: its reals by name. Its paths go to ``named``, what is odd to ``warnings``.

    It is read twice, since a fake's original may stand behind it, and the lines of all are too many to be kept.
    """
    wrong: list[str] = []
    unknown: list[str] = []
    count = odd = 0
    reals: Reals = {}
    for entry in (read_images if part.kind == "image" else read_videos)(part.file, wrong, named):
        count += 1
        odd += entry.odd_kind
        if entry.number >= FIRST_REAL:
            if params.pairs == "name":
                folder, _, name = entry.source.rpartition("/")
                names = reals.setdefault(folder, {})
                name = sys.intern(name)
                names[name] = names.get(name, 0) | 1 << entry.number - FIRST_REAL
        elif entry.spans is None and _needs_spans(part, params):
            unknown.append(entry.path)
    if not count:
        refuse(part.file, None, "lists no file; fetch it again")
    if odd:
        warnings.append(
            f"{part.file}: {counted(odd, 'line calls', 'lines call')} another kind of forgery than its folder; "
            "the folder counts"
        )
    if wrong:
        warnings.append(f"{part.file}: {shown(wrong)}; the folder counts")
    if unknown:
        warnings.append(
            f"{part.file}: {counted(len(unknown), 'fake has', 'fakes have')} no spans, left out: {shown(unknown)}; "
            "--option use=classification takes them"
        )
    return reals


def _needs_spans(part: _Part, params: ForgeryNetParams) -> bool:
    return part.kind == "video" and params.use == "localisation"


def _usable(part: _Part, params: ForgeryNetParams) -> Iterator[Entry]:
    """The lines of a list that are used."""
    for entry in (read_images if part.kind == "image" else read_videos)(part.file):
        if entry.spans is not None or entry.number >= FIRST_REAL or not _needs_spans(part, params):
            yield entry


def _walked(root: Path, part: _Part) -> Iterator[str]:
    tops = [base for base in part.bases if not any(base.startswith(f"{other}/") for other in part.bases)]
    suffixes = PICTURE_SUFFIXES if part.kind == "image" else VIDEO_SUFFIXES
    return (path for base in tops for path, _ in walk_files(root, base, suffixes, sized=False))


def _is_listed(path: str, bases: tuple[str, ...], listed: Names) -> bool:
    return any(path.startswith(f"{base}/") and path[len(base) + 1 :] in listed for base in bases)


def _without_list(root: Path, params: ForgeryNetParams) -> Iterator[tuple[str, str]]:
    """Homes with a folder of pictures or videos whose list is missing."""
    for home in find_folders(root, [name for name, split in SPLIT_NAMES.items() if split != "test"]):
        for kind in ("image", "video"):
            lists = [root / home, *(root / place for place in find_folders(root, ["list", "lists"], [home.lower()]))]
            there = any((place / f"{kind}_list.txt").is_file() for place in lists)
            if params.kind in ("both", f"{kind}s") and not there and _below(root, home, kind):
                yield home, kind


def _parts(root: Path, params: ForgeryNetParams) -> Iterator[_Part]:
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
                yield _Part(split, kind, file, tuple(bases), tuple(masks))


def _below(root: Path, home: str, prefix: str) -> list[str]:
    """The folders that begin with ``prefix``, and those right below them."""
    found = [f"{home}/{p.name}" for p in sorted((root / home).iterdir()) if p.is_dir() and p.name.startswith(prefix)]
    return found + [f"{base}/{p.name}" for base in found for p in sorted((root / base).iterdir()) if p.is_dir()]


class _Finder:
    """Finds listed files below one of some folders, the first that has them: path from the root, and size."""

    def __init__(self, root: Path, bases: tuple[str, ...]) -> None:
        self.root, self.bases = root, bases
        # A Path for each of millions of files takes longer than the system's answer.
        self._local = None if is_remote(root) else f"{root}/"
        self._folder: str | None = None
        self._here: tuple[str, ...] = ()

    def __call__(self, path: str) -> tuple[str, int] | None:
        folder, _, name = path.rpartition("/")
        if folder != self._folder:
            # Lists go folder by folder: where there is no such folder, a dozen files need not be looked for.
            self._folder = folder
            places = [f"{base}/{folder}" if base else folder for base in self.bases]
            self._here = tuple(place for place in places if self._is_folder(place))
        for place in self._here:
            file = f"{place}/{name}" if place else name
            try:
                status = (self.root / file).stat() if self._local is None else os.stat(self._local + file)  # noqa: PTH116
            except OSError:
                continue
            return file, status.st_size
        return None

    def _is_folder(self, place: str) -> bool:
        return (self.root / place).is_dir() if self._local is None else os.path.isdir(self._local + place)  # noqa: PTH112


def _take_in(
    clips: ClipTable,
    part: _Part,
    entry: Entry,
    path: tuple[str, int],
    mask: tuple[str, int] | None,
    reals: Reals,
    *,
    whole: bool,
) -> None:
    place = f"forgerynet/{part.split}/{part.kind}"
    fake = entry.number < FIRST_REAL
    options = [f"{place}/{real}" for real in _reals_of(entry, reals)] if fake else []
    kind = _kind(part.split, entry.number, guessed=bool(options))
    person = entry.source.partition("/")[0]
    people = (person,) if entry.driver in (None, NOBODY) else (person, entry.driver)
    clips.add(
        kind,
        f"{place}/{entry.below.rpartition('.')[0]}",
        path[0],
        f"{place}/{entry.source}",
        options[0] if options else None,
        None if mask is None else ("magnitude", mask[0]),
        people,
        path[1],
        int(part.kind == "image"),
    )
    spans = entry.spans if fake and not whole else None
    if len(options) > 1 or spans is not None:
        clips.set_rare(candidates=options[1:] or None, spans=spans)


@functools.cache
def _kind(split: Split, number: int, *, guessed: bool) -> ClipKind:
    if number >= FIRST_REAL:
        return ClipKind("forgerynet", split, 0, "real", None, None, None, guessed)
    method = METHOD_NUMBERS[number]
    kind = kind_of("forgerynet", method)
    return ClipKind("forgerynet", split, 1, kind.forgery, method, kind.family, None, guessed)


def _reals_of(entry: Entry, reals: Reals) -> Iterator[str]:
    """The reals that a fake may have been made of, the likeliest first: ``16/<B>/frame00012``."""
    driver = f"{entry.driver}/{entry.source.partition('/')[2]}"
    for source in dict.fromkeys((entry.source, driver)):
        folder, _, name = source.rpartition("/")
        numbers = reals.get(folder, {}).get(name, 0)
        yield from (f"{n}/{source}" for n in range(FIRST_REAL, LAST_REAL + 1) if numbers >> n - FIRST_REAL & 1)


def read_list(path: Path) -> list[Listed] | None:
    """The authors' lists of pictures and videos; None for a file of another name. Their paths tell the split."""
    read = {"image_list.txt": read_images, "video_list.txt": read_videos}.get(path.name.lower())
    if read is None:
        return None
    return [
        Listed(entry.path, _split_of(entry.path), int(entry.number < FIRST_REAL)) for entry in read(path, seen=Names())
    ]


def _split_of(path: str) -> Split | None:
    return "val" if path.startswith("val") else "train" if path.startswith("train") else None


def looks_like(root: Path) -> bool:
    """Whether a list of pictures or videos is there."""
    return next(_parts(root, ForgeryNetParams()), None) is not None


def _published(kind: str) -> tuple[PublishedCount, ...]:
    """The published reals of the lists that are used; of all the authors hold back the test part."""
    reals = {"images": 1_438_201, "videos": 99_630}
    return (PublishedCount("originals", None, None, sum(n for name, n in reals.items() if kind in ("both", name))),)


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
    published=_published("both"),
    scan=scan,
    looks_like=looks_like,
    read_list=read_list,
    params=ForgeryNetParams,
)
