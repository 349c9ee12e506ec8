"""Hand a run's samples to other programs: a folder in a format that they read.

A third party adds a format through the entry-point group ``forgeprep.export_formats``: name -> an
:class:`forgeprep.export.base.ExportFormat`.
"""

from __future__ import annotations

from forgeprep.export.base import ExportFormat
from forgeprep.registry import Registry

FORMATS: Registry[ExportFormat] = Registry(
    kind="export format",
    group="forgeprep.export_formats",
    built_in={
        "pictures": "forgeprep.export.pictures:PICTURES",
        "deepfakebench": "forgeprep.export.deepfakebench:DEEPFAKEBENCH",
        "imagefolder": "forgeprep.export.imagefolder:IMAGEFOLDER",
        "forensichub": "forgeprep.export.forensichub:FORENSICHUB",
        "imdl-benco": "forgeprep.export.imdl_benco:IMDL_BENCO",
        "gend": "forgeprep.export.gend:GEND",
        "mds": "forgeprep.export.mds:MDS",
        "lav-df": "forgeprep.export.lav_df:LAV_DF",
        "fiftyone": "forgeprep.export.fiftyone:FIFTYONE",
        "self-blended": "forgeprep.export.self_blended:SELF_BLENDED",
        "laa-net": "forgeprep.export.laa_net:LAA_NET",
    },
    type="forgeprep.export.base:ExportFormat",
)
