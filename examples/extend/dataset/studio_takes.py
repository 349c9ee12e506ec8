"""A dataset for forgeprep: takes of a studio, and swaps of them, told by their names.

::

    takes/ANNA.mp4                a person
    takes/ANNA-as-BERT.mp4        the take of ANNA with the face of BERT, by a GAN
    takes/ANNA-relit.mp4          the take of ANNA, relit by a renderer
"""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import Field

from forgeprep.datasets.base import Dataset, DatasetParams, PublishedCount, Scan, ScanOptions
from forgeprep.datasets.listing import check_root, list_videos
from forgeprep.datasets.scan import make_scan
from forgeprep.datasets.splits import Ratios, split_together
from forgeprep.datasets.taxonomy import Kind
from forgeprep.schemas.clips import Clip

NAME = re.compile(r"(?P<person>[A-Z0-9]+)(?:-as-(?P<face>[A-Z0-9]+)|-(?P<relit>relit))?")
KINDS = {"swap": Kind("identity_replaced", "gan"), "relit": Kind("attribute_edit", "graphics")}
"""What each method does to a face, and what kind of program does it; the classes that models are trained on."""


class StudioParams(DatasetParams):
    """Options of ``studio``: each is a ``--option NAME=VALUE``, listed by ``forgeprep datasets show studio``."""

    ratios: Ratios = Field(default=(0.7, 0.15, 0.15), description="shares of train, val and test")
    seed: int = Field(default=0, description="another seed deals people out otherwise")


def scan(root: Path, options: ScanOptions) -> Scan:
    """List the clips under ``root``; raises UsageError where there are none."""
    check_root(root)
    params = options.params if isinstance(options.params, StudioParams) else StudioParams()
    listing = list_videos(root, ["takes"], NAME)
    # Whoever shares a clip stays in one split.
    clips = split_together(
        [_clip(stem, file.facts) for stem, file in listing.files.items()], params.ratios, params.seed
    )
    # Chooses what is asked for, checks for leaks, and compares with the published counts.
    return make_scan(STUDIO, root, clips, options, strangers=listing.strangers)


def _clip(stem: str, facts: dict[str, object]) -> Clip:
    found = NAME.fullmatch(stem)
    assert found is not None
    person, face = found["person"], found["face"]
    method = "swap" if face else "relit" if found["relit"] else None
    kind = KINDS[method] if method else Kind("real", None)
    return Clip(
        clip_id=f"studio/{method or 'real'}/{stem}",
        dataset="studio",
        split="train",
        source_id=f"studio/{person}",
        original_id=f"studio/real/{person}" if method else None,
        label=int(method is not None),
        forgery=kind.forgery,
        method=method,
        family=kind.family,
        identities=[person, face] if face else [person],
        **facts,  # type: ignore[arg-type]
    )


STUDIO = Dataset(
    name="studio",
    title="Studio takes",
    url="https://example.org/studio",
    citation="An example, not a dataset",
    compressions=(),
    default_compressions=(),
    methods=tuple(KINDS),
    kinds=KINDS,
    layout=("takes/PERSON.mp4", "takes/PERSON-as-PERSON.mp4", "takes/PERSON-relit.mp4"),
    published=(PublishedCount("originals", None, None, 8), PublishedCount("fakes", "swap", None, 6)),
    scan=scan,
    looks_like=lambda root: (root / "takes").is_dir(),
    params=StudioParams,
    official_split=False,
)
