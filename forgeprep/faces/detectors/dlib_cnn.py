"""dlib's max-margin CNN detector (King 2015), on the GPU where dlib was built with CUDA."""

from __future__ import annotations

from forgeprep.faces.detectors.base import Detection, FaceDetector, RegisteredDetector
from forgeprep.faces.detectors.scaled import box_of, rows_of
from forgeprep.faces.weights import WEIGHTS, require
from forgeprep.media.frames import Frame
from forgeprep.media.regions import small_rgb
from forgeprep.schemas.resources import Resources


def _load() -> FaceDetector:
    import dlib

    model = dlib.cnn_face_detection_model_v1(str(require("dlib-cnn")))

    def find(frame: Frame, lines: int) -> list[Detection]:
        rgb, scale = small_rgb(frame, rows_of(frame, lines))
        return [Detection(box_of(found.rect, scale), float(found.confidence)) for found in model(rgb, 0)]

    return FaceDetector(find, coarse=360, fine=720, small=50, sure=0.6, likely=0.0, least=0.0, bridge=2)


DETECTOR = RegisteredDetector(
    name="dlib-cnn",
    summary="dlib's CNN, slow without a GPU; needs weights (King 2015)",
    load=_load,
    least_pixels=48,
    score_range=(0.0, 1.1),
    resources=Resources(memory=2 << 30),
    weights={"dlib-cnn": WEIGHTS["dlib-cnn"]},
)
