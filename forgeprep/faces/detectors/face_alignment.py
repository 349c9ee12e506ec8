"""S3FD (Zhang et al. 2017) through face-alignment, on the GPU where torch sees one."""

from __future__ import annotations

import importlib.util

from forgeprep.errors import ForgeprepError
from forgeprep.faces.detectors.base import Detection, FaceDetector, RegisteredDetector
from forgeprep.faces.detectors.scaled import rows_of
from forgeprep.faces.weights import WEIGHTS, require
from forgeprep.media.frames import Frame
from forgeprep.media.regions import small_rgb
from forgeprep.schemas.resources import Resources


def _load() -> FaceDetector:
    if importlib.util.find_spec("face_alignment") is None:
        raise ForgeprepError("the face-alignment detector is not installed: pip install 'forgeprep[align]'")
    import torch
    from face_alignment.detection import sfd

    # face-alignment would download them here and now; a run never touches the network on its own.
    require("s3fd")
    model = sfd.FaceDetector(device="cuda" if torch.cuda.is_available() else "cpu", verbose=False)

    def find(frame: Frame, lines: int) -> list[Detection]:
        rgb, scale = small_rgb(frame, rows_of(frame, lines))
        return [
            Detection((float(b[0] * scale), float(b[1] * scale), float(b[2] * scale), float(b[3] * scale)), float(b[4]))
            for b in model.detect_from_image(rgb)
        ]

    return FaceDetector(find, coarse=360, fine=720, small=30, sure=0.8, likely=0.5, least=0.5, bridge=2)


DETECTOR = RegisteredDetector(
    name="face-alignment",
    summary="S3FD, finds small faces and profiles; needs torch, weights, and best a GPU (Zhang et al. 2017)",
    load=_load,
    least_pixels=32,
    score_range=(0.0, 1.0),
    resources=Resources(memory=3 << 30, gpus=0.25),
    weights={"s3fd": WEIGHTS["s3fd"]},
    distributions=("face-alignment", "torch"),
)
