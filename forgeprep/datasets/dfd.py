"""DeepFakeDetection: 363 videos of 28 actors in 16 scenes and 3068 swaps, in folders beside FaceForensics++.

::

    original_sequences/actors/{raw,c23,c40}/videos/TT__SCENE.mp4
    manipulated_sequences/DeepFakeDetection/{raw,c23,c40}/videos/TT_SS__SCENE__ID.mp4     actor TT with the face of SS
    manipulated_sequences/DeepFakeDetection/masks/videos/TT_SS__SCENE__ID.mp4             optional
    …/images/TT__SCENE/NNNN.png and so on                                            instead of videos: their frames

The authors made no split. Here the actors are dealt out to the splits; a swap of two actors of different splits would
leak a face and is left out, with a warning. The original of a swap is the target's video of the same scene.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator

from forgeprep.datasets.base import Dataset, PublishedCount, Scan, ScanOptions, match_names
from forgeprep.datasets.boxes import with_boxes
from forgeprep.datasets.ffpp_layout import COMPRESSION_ALIASES, COMPRESSIONS, PICTURE_HOMES, mask_folders, mask_pictures
from forgeprep.datasets.frame_folders import Choice, SequenceParams, list_clips, told_unused
from forgeprep.datasets.listing import Listing, VideoFile, check_root, find_folders, shown
from forgeprep.datasets.scan import make_scan
from forgeprep.datasets.splits import Ratios, split_closed_list
from forgeprep.datasets.taxonomy import kind_of, methods_of
from forgeprep.schemas.clips import Clip, Split
from forgeprep.text import counted

METHOD = "DeepFakeDetection"
ACTORS = tuple(f"{number:02d}" for number in range(1, 29))

_REAL = re.compile(r"[0-9]{2}__[a-z_]+")
_FAKE = re.compile(r"(?P<target>[0-9]{2})_(?P<source>[0-9]{2})__(?P<scene>[a-z_]+)__[A-Z0-9]{8}")


class DfdParams(SequenceParams):
    """Options of ``dfd``."""

    ratios: Ratios = Field(default=(0.7, 0.15, 0.15), description="shares of the actors: train,val,test")
    seed: int = Field(default=0, description="another seed deals the actors out otherwise")
    val_actors: str = Field(default="", description="the actors of val by number, such as 03,17; then ratios is unused")
    test_actors: str = Field(default="", description="the actors of test by number; then ratios is unused")

    @field_validator("val_actors", "test_actors", mode="before")
    @classmethod
    def _check(cls, value: object) -> str:
        numbers = [part.strip().zfill(2) for part in str(value).split(",") if part.strip()]
        for number in numbers:
            if number not in ACTORS:
                raise ValueError(f"actors are numbered 01 to 28, got '{number}'")
        return ",".join(sorted(set(numbers)))

    @model_validator(mode="after")
    def _check_apart(self) -> Self:
        both = set(self.val_actors.split(",")) & set(self.test_actors.split(",")) - {""}
        if both:
            raise ValueError(f"actor {min(both)} stands in val_actors and in test_actors")
        return self


def scan(root: Path, options: ScanOptions) -> Scan:
    """List the clips under ``root``; raises UsageError where there are none."""
    check_root(root)
    params = options.params if isinstance(options.params, DfdParams) else DfdParams()
    splits = actor_splits(params)
    names = options.compressions or DFD.default_compressions
    compressions = match_names("compression", names, COMPRESSIONS, aliases=COMPRESSION_ALIASES)
    clips: list[Clip] = []
    strangers: list[str] = []
    masks = list_clips(root, mask_folders(root, METHOD), mask_pictures(root, METHOD), _FAKE, "auto")
    unused: list[str] = []
    for compression in compressions:
        reals, swaps = (_list(root, compression, method, params.frames, unused) for method in (None, METHOD))
        clips += [_real(file, compression, splits) for file in reals.files.values() if _known(file, 1)]
        clips += [
            _fake(file, compression, splits, masks.files.get(file.stem))
            for file in swaps.files.values()
            if _known(file, 2)
        ]
        strangers += [*reals.strangers, *swaps.strangers]
        strangers += [file.path for file in reals.files.values() if not _known(file, 1)]
        strangers += [file.path for file in swaps.files.values() if not _known(file, 2)]
    crossing = {clip.clip_id for clip in clips if len({splits[actor] for actor in clip.identities}) > 1}
    warnings: list[str] = []
    if crossing:
        warnings.append(
            f"{len(crossing):,} of {counted(sum(clip.label for clip in clips), 'fake')} left out, made of two actors "
            f"of different splits: {shown(sorted(crossing))}"
        )
    warnings += told_unused(unused)
    kept, without_boxes = with_boxes(
        DFD,
        [clip for clip in clips if clip.clip_id not in crossing],
        options.boxes_from,
        lambda name, method: _list(root, name, method, params.frames, []).files,
    )
    warnings += without_boxes
    return make_scan(
        DFD, root, kept, options, compressions=compressions, warnings=warnings, strangers=[*strangers, *masks.strangers]
    )


def _list(root: Path, compression: str, method: str | None, frames: Choice, unused: list[str]) -> Listing:
    """The clips of the swaps, or for None of the actors, at a compression."""
    place = (["original_sequences"], ["actors"]) if method is None else (["manipulated_sequences"], [METHOD.lower()])
    spellings = [compression, *(alias for alias, name in COMPRESSION_ALIASES.items() if name == compression)]
    folders, pictures = (find_folders(root, *place, spellings, homes) for homes in (["videos"], PICTURE_HOMES))
    return list_clips(root, folders, pictures, _REAL if method is None else _FAKE, frames, unused)


def actor_splits(params: DfdParams) -> Mapping[str, Split]:
    """Actor to split, of all 28 actors, whoever is on disk: so a part of the dataset is split as the whole."""
    if not (params.val_actors or params.test_actors):
        return split_closed_list(ACTORS, params.ratios, params.seed)
    val, test = params.val_actors.split(","), params.test_actors.split(",")
    return {actor: "test" if actor in test else "val" if actor in val else "train" for actor in ACTORS}


def _known(file: VideoFile, count: int) -> bool:
    """Whether the actors that the name begins with are of the 28."""
    return all(actor in ACTORS for actor in file.stem.split("_")[:count])


def _real(file: VideoFile, compression: str, splits: Mapping[str, Split]) -> Clip:
    return Clip(
        clip_id=f"dfd/{compression}/actors/{file.stem}",
        dataset="dfd",
        **file.facts,
        split=splits[file.stem[:2]],
        source_id=f"dfd/{compression}/{file.stem}",
        original_id=None,
        label=0,
        forgery="real",
        compression=compression,
        identities=[file.stem[:2]],
    )


def _fake(file: VideoFile, compression: str, splits: Mapping[str, Split], mask: VideoFile | None) -> Clip:
    found = _FAKE.fullmatch(file.stem)
    assert found is not None
    original = f"{found['target']}__{found['scene']}"
    kind = kind_of("dfd", METHOD)
    return Clip(
        clip_id=f"dfd/{compression}/{METHOD}/{file.stem}",
        dataset="dfd",
        **file.facts,
        split=splits[found["target"]],
        source_id=f"dfd/{compression}/{original}",
        original_id=f"dfd/{compression}/actors/{original}",
        label=1,
        forgery=kind.forgery,
        method=METHOD,
        family=kind.family,
        compression=compression,
        companions={} if mask is None else {"mask": mask.path},
        identities=[found["target"], found["source"]],
    )


def looks_like(root: Path) -> bool:
    """Whether the folder of the actors or that of the swaps is there."""
    swaps = find_folders(root, ["manipulated_sequences"], [METHOD.lower()])
    return bool(swaps or find_folders(root, ["original_sequences"], ["actors"]))


DFD = Dataset(
    name="dfd",
    title="DeepFakeDetection",
    url="https://github.com/ondyari/FaceForensics",
    citation="Dufour and Gully, Contributing Data to Deepfake Detection Research, Google AI Blog 2019",
    compressions=COMPRESSIONS,
    default_compressions=("c23",),
    compression_aliases=COMPRESSION_ALIASES,
    methods=methods_of("dfd"),
    layout=(
        "original_sequences/actors/<compression>/videos/TT__SCENE.mp4",
        "manipulated_sequences/DeepFakeDetection/<compression>/videos/TT_SS__SCENE__ID.mp4",
        "manipulated_sequences/DeepFakeDetection/masks/videos/TT_SS__SCENE__ID.mp4 (optional)",
    ),
    published=(PublishedCount("originals", None, None, 363), PublishedCount("fakes", METHOD, None, 3068)),
    scan=scan,
    looks_like=looks_like,
    params=DfdParams,
    official_split=False,
)
