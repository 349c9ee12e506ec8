"""FFIW10K: 10,000 pairs of videos with several faces, of which only some are forged.

::

    FFIW10K-v1-release/source/{train,val}/{train,val,test}_NNNNNNNN.mp4         real
    FFIW10K-v1-release/target/{train,val}/{train,val,test}_NNNNNNNN.mp4         the forged video of the same name
    FFIW10K-v1-release/target_mask/{train,val}/{train,val,test}_NNNNNNNN.mp4    where it is forged
    …/{train,val}/videos/*.mp4                                                  in some copies

The split is the name's, not the folder's: the test videos lie in ``val``. Which faces are forged, the difference tells,
or with ``--mask-source provided`` the mask; the others are bystanders. People and methods are not named.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from forgeprep.datasets.base import Dataset, PublishedCount, Scan, ScanOptions
from forgeprep.datasets.clips import fake_clip, real_clip
from forgeprep.datasets.frame_folders import Choice, SequenceParams, list_clips, told_unused
from forgeprep.datasets.listing import Listing, check_root, find_folders
from forgeprep.datasets.scan import make_scan
from forgeprep.datasets.taxonomy import methods_of
from forgeprep.schemas.clips import Split

NAME = "ffiw10k"
METHOD = "FFIW"
TOP = "ffiw10k-v1-release"
_STEM = re.compile(r"(?P<split>train|val|test)_[0-9]{8}")
_COUNTS: dict[Split, int] = {"train": 8000, "val": 250, "test": 1738}
_SPLITS: dict[str, Split] = {"train": "train", "val": "val", "test": "test"}


def scan(root: Path, options: ScanOptions) -> Scan:
    """List the clips under ``root``, the release's folder or the one around it; raises UsageError without any."""
    check_root(root)
    params = options.params if isinstance(options.params, SequenceParams) else SequenceParams()
    unused: list[str] = []
    reals, fakes = (_list(root, kind, params.frames, unused) for kind in ("source", "target"))
    # Masks serve clips of either kind.
    masks = _list(root, "target_mask", "auto", [])
    clips = [real_clip(NAME, f"source/{stem}", file, _split(stem)) for stem, file in reals.files.items()]
    for stem, file in fakes.files.items():
        mask = masks.files.get(stem)
        clip = fake_clip(NAME, f"target/{stem}", file, _split(stem), METHOD, f"source/{stem}")
        clips.append(clip if mask is None else replace(clip, companions={"mask": mask.path}))
    strangers = reals.strangers + fakes.strangers + masks.strangers
    return make_scan(FFIW10K, root, clips, options, warnings=told_unused(unused), strangers=strangers)


def _list(root: Path, kind: str, choice: Choice, unused: list[str]) -> Listing:
    homes = [*find_folders(root, [TOP], [kind], ["train", "val", "test"]), *find_folders(root, [kind], [*_SPLITS])]
    below = [folder for home in homes for folder in find_folders(root, *([part.lower()] for part in home.split("/")),
                                                                 ["videos"])]  # fmt: skip
    listing = list_clips(root, [*below, *homes], [*below, *homes], _STEM, choice, unused)
    return Listing(listing.files, [path for path in listing.strangers if path not in below])


def _split(stem: str) -> Split:
    return _SPLITS[stem.split("_")[0]]


def looks_like(root: Path) -> bool:
    """Whether the folders of sources and targets are there."""
    return any(
        find_folders(root, *top, ["source"]) and find_folders(root, *top, ["target"], ["train", "val"])
        for top in ([], [[TOP]])
    )


FFIW10K = Dataset(
    name=NAME,
    title="FFIW10K",
    url="https://github.com/tfzhou/FFIW",
    citation="Zhou et al., Face Forensics in the Wild, CVPR 2021",
    compressions=(),
    default_compressions=(),
    methods=methods_of(NAME),
    layout=(
        "FFIW10K-v1-release/source/{train,val}/{train,val,test}_NNNNNNNN.mp4",
        "FFIW10K-v1-release/target/{train,val}/{train,val,test}_NNNNNNNN.mp4",
        "FFIW10K-v1-release/target_mask/{train,val}/{train,val,test}_NNNNNNNN.mp4 (optional)",
    ),
    published=(
        *(PublishedCount("originals", None, split, count) for split, count in _COUNTS.items()),
        *(PublishedCount("fakes", METHOD, split, count) for split, count in _COUNTS.items()),
    ),
    scan=scan,
    looks_like=looks_like,
    params=SequenceParams,
)
