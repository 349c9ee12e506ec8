"""What people call the folders and files of face crops: classes, methods, qualities, and who is in a video."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from forgeprep.datasets.listing import find_folders, listed
from forgeprep.datasets.taxonomy import Kind, taxonomy
from forgeprep.schemas.splits import SPLIT_NAMES, Split

REAL = frozenset({
    "real", "reals", "0_real", "real_0", "original", "originals", "original_sequences", "pristine", "genuine",
    "authentic", "bonafide",
})  # fmt: skip
FAKE = frozenset({
    "fake", "fakes", "1_fake", "fake_1", "manipulated", "manipulated_sequences", "forged", "altered", "deepfake",
    "synthetic",
})  # fmt: skip
"""Words for the two classes. Bare numbers are none: torchvision counts classes by their names, so fake is 0 there."""
SOURCES = frozenset({"youtube", "actors", "celeb-real", "youtube-real", "original_videos"})
"""What datasets call a folder of reals."""
QUALITIES = {"raw": "raw", "c0": "raw", "c23": "c23", "c40": "c40"}
PICTURES, MASKS, LANDMARKS = (
    frozenset({"frames", "images"}), frozenset({"masks", "mask"}), frozenset({"landmarks", "landmark"}),
)  # fmt: skip
"""Folders that say what is in them, and nothing of whose it is."""
_AROUND = frozenset({"datasets", "rgb"})
_FFPP = frozenset({"faceforensics++", "faceforensics", "ffpp", "original_sequences", "manipulated_sequences"})
_FF = re.compile(r"(?P<target>[0-9]{3})(?:_(?P<donor>[0-9]{3}))?")
_DFD = re.compile(r"(?P<target>[0-9]{2})(?:_(?P<donor>[0-9]{2}))?__(?P<scene>[a-z_]+?)(?:__[A-Z0-9]{8})?")
_CDF = re.compile(r"(?P<target>id[0-9]+)_(?:(?P<donor>id[0-9]+)_)?(?P<take>[0-9]{4})")
_FRAME = re.compile(r"(?P<video>.+?)[_-]+(?:frame_?)?(?P<number>[0-9]+)")


@dataclass(frozen=True, slots=True)
class Place:
    """What the folders around a clip say; None where they say nothing."""

    split: Split | None = None
    label: int | None = None
    method: str | None = None
    compression: str | None = None
    ffpp: bool = False


@dataclass(frozen=True, slots=True)
class Names:
    """The user's own words.

    Attributes:
        real, fake: folders that are reals or fakes, in lower case. Of fakes these are methods, too.
    """

    real: frozenset[str] = frozenset()
    fake: frozenset[str] = frozenset()


def place_of(parts: Sequence[str], names: Names) -> Place:
    """What the names of the folders say, from the outermost on.

    The first word for a class decides; without one, the first name of a method or of a folder of reals. The first split
    and the first quality count.

    >>> place_of(["train", "fake", "c23", "deepfakes"], Names())
    Place(split='train', label=1, method='Deepfakes', compression='c23', ffpp=False)
    """
    lower = [part.lower() for part in parts]
    own = next((part for part in lower if part in names.real | names.fake), None)
    plain = next((part for part in lower if part in REAL | FAKE), None)
    method = next((m for m in map(_method, parts) if m is not None), None)
    if own is not None:
        label: int | None = int(own in names.fake)
        method = method or (parts[lower.index(own)] if label else None)
    elif plain is not None:
        label = int(plain in FAKE)
    else:
        told = next((int(part not in SOURCES) for part in lower if part in SOURCES or _method(part)), None)
        label = told
    return Place(
        next((SPLIT_NAMES[part] for part in lower if part in SPLIT_NAMES), None),
        label,
        method if label else None,
        next((QUALITIES[part] for part in lower if part in QUALITIES), None),
        any(part in _FFPP for part in lower),
    )


def is_known(folder: str, names: Names) -> bool:
    """Whether a folder's name says what is in it, and not which video or person."""
    lower = folder.lower()
    words = REAL | FAKE | SOURCES | PICTURES | MASKS | names.real | names.fake | _FFPP | _AROUND
    return lower in words or lower in SPLIT_NAMES or lower in QUALITIES or lower in _methods()


def looks_like(root: Path) -> bool:
    """Whether there is DeepfakeBench's JSON or layout, a table of an imagefolder, or 0_real beside 1_fake."""
    jsons = find_folders(root, ["preprocessing"], ["dataset_json"]) + find_folders(root, ["dataset_json"])
    if any(name.endswith(".json") for home in jsons for name, _ in listed(root, home)):
        return True
    splits = find_folders(root, list(SPLIT_NAMES))
    if any((root / home / "metadata.csv").is_file() and find_folders(root / home, ["images"]) for home in splits):
        return True
    if any(len(find_folders(root / home, ["0_real", "1_fake"])) == 2 for home in ("", *splits)):
        return True
    # DF40 keeps its reals so.
    return not find_folders(root, ["df40", "df40_train"]) and bool(
        find_folders(
            root, ["faceforensics++"], ["original_sequences"], ["youtube", "actors"], list(QUALITIES), ["frames"]
        )
        or find_folders(root, ["celeb-df-v1", "celeb-df-v2"], ["celeb-real", "celeb-synthesis"], ["frames"])
    )


def kind_of_method(method: str) -> Kind | None:
    """What a method is, if it is one of any dataset's."""
    return next((methods[method] for methods in taxonomy().values() if method in methods), None)


def _method(folder: str) -> str | None:
    return _methods().get(folder.lower())


@functools.cache
def _methods() -> dict[str, str]:
    """Lower case -> name of all methods; words that say no more than a class or a source are left out."""
    found: dict[str, str] = {}
    for methods in taxonomy().values():
        for name in methods:
            if name.lower() not in REAL | FAKE | SOURCES:
                found.setdefault(name.lower(), name)
    return found


@dataclass(frozen=True, slots=True)
class Who:
    """What the name of a video says.

    Attributes:
        people: who is in it.
        reals: names of the reals that a fake with this name may be made of, the likeliest first.
        ffpp: the number of FaceForensics++'s clip; None for other names.
    """

    people: tuple[str, ...]
    reals: tuple[str, ...]
    ffpp: str | None = None


def who_of(video: str, label: int) -> Who:
    """What a name says: ``071_054`` of FaceForensics++, ``id0_id1_0003`` of Celeb-DF, ``01_02__walking__A1B2C3D4``.

    The name may have the method in front (``Deepfakes__071_054``), and a frame's number behind.

    >>> who_of("071_054", 1), who_of("portrait", 1).reals
    (Who(people=('071', '054'), reals=('071',), ffpp='071'), ('portrait',))
    """
    for name in dict.fromkeys((video, video.partition("__")[2], video.rpartition("__")[2])):
        if told := _DFD.fullmatch(name):
            people = tuple(part for part in (told["target"], told["donor"]) if part)
            return Who(people, (video, f"{told['target']}__{told['scene']}"))
        if told := _CDF.fullmatch(name):
            people = tuple(part for part in (told["target"], told["donor"]) if part)
            return Who(people, (video, f"{told['target']}_{told['take']}"))
        if told := _FF.fullmatch(name):
            donor = told["donor"] if label else None
            return Who((told["target"], *([donor] if donor else [])), (video, told["target"]), told["target"])
    return Who((), (video,))


def frame_of(stem: str) -> tuple[str, str] | None:
    """Video and frame's number in a picture's name, ``071_054_0012`` or ``id0_0003-frame5``; None where none is."""
    told = _FRAME.fullmatch(stem)
    return None if told is None else (told["video"], told["number"])
