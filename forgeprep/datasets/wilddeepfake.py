"""WildDeepfake: faces that were cut out of 707 videos from the internet, as sequences of pictures of 224 pixels.

::

    {real,fake}_{train,test}/<shard>.tar.gz                            as it comes; unpack each in its folder
    {real,fake}_{train,test}/<shard>/{real,fake}/<sequence>/<N>.png    what is read

A sequence is a clip. The numbers of shards recur in each of the four folders, and nothing says which fake was made of
which real, or by what: there are no originals and no masks. Pictures are crops already: ``--detector whole`` takes them
as they are. Sequences of one shard are of one video. The authors have no val: the option ``val`` takes shards of train.
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from pathlib import Path

from pydantic import Field

from forgeprep.datasets.base import Dataset, DatasetParams, PublishedCount, Scan, ScanOptions
from forgeprep.datasets.clips import fake_clip, real_clip, val_people
from forgeprep.datasets.frame_folders import joined
from forgeprep.datasets.listing import check_root, find_folders, listed, shown, walk_files
from forgeprep.datasets.scan import make_scan
from forgeprep.datasets.taxonomy import methods_of
from forgeprep.errors import UsageError
from forgeprep.media.pictures import PICTURE_SUFFIXES
from forgeprep.schemas.clips import Clip, Split
from forgeprep.text import counted

NAME = "wilddeepfake"
METHOD = "in-the-wild"
_PARTS: dict[str, Split] = {"real_train": "train", "fake_train": "train", "real_test": "test", "fake_test": "test"}
_PACKED = (".tar.gz", ".tar", ".tgz")


class WildDeepfakeParams(DatasetParams):
    """Options of ``wilddeepfake``."""

    val: float = Field(default=0.0, ge=0, lt=1, description="share of the shards in train that becomes val")
    seed: int = Field(default=0, description="another seed chooses other shards for val")


def scan(root: Path, options: ScanOptions) -> Scan:
    """List the sequences under ``root``; raises UsageError where there are none, or all are still packed."""
    check_root(root)
    params = options.params if isinstance(options.params, WildDeepfakeParams) else WildDeepfakeParams()
    clips: list[Clip] = []
    strangers: list[str] = []
    packed: list[str] = []
    for part, split in _PARTS.items():
        for home in find_folders(root, [part]):
            names = [name for name, _ in listed(root, home)]
            packed += [f"{home}/{n}" for n in names if n.endswith(_PACKED) and n.split(".")[0] not in names]
            pictures: dict[str, dict[str, int]] = defaultdict(dict)
            for path, size in walk_files(root, home, PICTURE_SUFFIXES, strangers):
                pictures[path.rpartition("/")[0]][path] = size
            for folder, sizes in pictures.items():
                below = folder[len(home) + 1 :]
                file = joined(folder, below.rpartition("/")[2], sizes)
                name, who = f"{part}/{below}", [f"{part}/{below.split('/')[0]}"]
                fake = part.startswith("fake")
                make = (NAME, name, file, split)
                clips.append(fake_clip(*make, METHOD, people=who) if fake else real_clip(*make, who))
            options.progress(len(clips))
    unpack = f"for f in *.tar.gz; do tar -xf $f; done, in each folder of {shlex.quote(str(root))}"
    told = f"{counted(len(packed), 'shard is', 'shards are')} still packed: {shown(packed)}; unpack with: {unpack}"
    if packed and not clips:
        raise UsageError(f"{root}: {told}")
    clips, warnings = val_people(clips, params.val, params.seed)
    strangers = [path for path in strangers if not path.endswith(_PACKED)]
    return make_scan(WILDDEEPFAKE, root, clips, options, warnings=[told] * bool(packed) + warnings, strangers=strangers)


def looks_like(root: Path) -> bool:
    """Whether two of the four folders are there."""
    return len(find_folders(root, list(_PARTS))) > 1


WILDDEEPFAKE = Dataset(
    name=NAME,
    title="WildDeepfake",
    url="https://github.com/OpenTAI/wild-deepfake",
    citation="Zi et al., WildDeepfake: A Challenging Real-World Dataset for Deepfake Detection, ACM MM 2020",
    compressions=(),
    default_compressions=(),
    methods=methods_of(NAME),
    layout=("{real,fake}_{train,test}/<shard>/{real,fake}/<sequence>/<N>.png, unpacked from <shard>.tar.gz",),
    published=(
        PublishedCount("originals", None, "train", 3409),
        PublishedCount("fakes", METHOD, "train", 3099),
        PublishedCount("originals", None, "test", 396),
        PublishedCount("fakes", METHOD, "test", 410),
    ),
    scan=scan,
    looks_like=looks_like,
    params=WildDeepfakeParams,
)
