"""The stage ``crop``: from the videos of a source group to samples.

The way of a frame, each step in a module of its own:

1. it is decoded, once                                  (:mod:`forgeprep.ops.video`)
2. its faces are found and followed, on the original    (:mod:`forgeprep.ops.lookahead`)
3. the fake's frame is laid on the original's           (:mod:`forgeprep.stages.crop.pairing`)
4. the same boxes are cut out of both                   (:mod:`forgeprep.stages.crop.crops`)
5. forged frames and faces are told by what differs     (:mod:`forgeprep.stages.crop.forged`)
6. samples are handed on, in runs of one clip           (:mod:`forgeprep.stages.crop.group`)

Between the steps travel frozen objects: Frame, (Frame, Faces), Moment (the original's crops), Laid (a fake's crops at a
moment), Sample.
"""

from __future__ import annotations

from forgeprep.schemas.samples import columns_of
from forgeprep.stages.base import Stage
from forgeprep.stages.crop.group import samples_of_group
from forgeprep.stages.crop.params import CropParams, check, resources_of

STAGE = Stage(
    name="crop",
    summary="find faces on the original and cut them out of it and all its fakes",
    needs=("frames",),
    adds=columns_of("crop"),
    params=CropParams,
    source=samples_of_group,
    resources=resources_of,
    check=check,
)
