"""The stage ``crop``: from the videos of a source group to samples.

The way of a frame, each step in a module of its own:

1. it is decoded, once                                  (:mod:`forgeprep.media.video`)
2. its faces are found and tracked, on the original     (:mod:`forgeprep.stages.crop.boxes`),
   with landmarks and the places of aligned crops       (:mod:`forgeprep.stages.crop.places`)
3. the original's frame is cut into a moment            (:mod:`forgeprep.stages.crop.original`)
4. the fake's frame is laid on it, and cut alike        (:mod:`forgeprep.stages.crop.fake_reader`)
5. forged frames and faces are told by what differs     (:mod:`forgeprep.stages.crop.forged`)
6. samples are handed on, in runs of one clip           (:mod:`forgeprep.stages.crop.group`)

Between the steps travel Frame, (Frame, Faces), Moment (what is cut out of the original's frame), Laid (the same of a
fake at a moment), Sample. :mod:`~forgeprep.stages.crop.crops` has the cutting itself, alike for both;
:mod:`~forgeprep.stages.crop.choice` says which frames are used, :mod:`~forgeprep.stages.crop.fake` what becomes of a
fake as a whole, and :mod:`~forgeprep.stages.crop.own_faces` makes samples of the clip whose faces were found.
"""

from __future__ import annotations

from forgeprep.params.crop import CropParams
from forgeprep.schemas.clips import BOXES
from forgeprep.schemas.samples import columns_of
from forgeprep.stages.base import Stage
from forgeprep.stages.crop.detector import check, depends_on, resources_of
from forgeprep.stages.crop.group import samples_of_group

STAGE = Stage(
    name="crop",
    summary="find faces on the original and cut them out of it and all its fakes",
    needs=("frames",),
    adds=columns_of("crop"),
    params=CropParams,
    companions=lambda _: frozenset({BOXES}),
    source=samples_of_group,
    resources=resources_of,
    versions=depends_on,
    check=check,
)
