"""dlib's frontal HOG detector (King 2009; Dalal and Triggs 2005)."""

from __future__ import annotations

from forgeprep.faces.detectors.base import Detection, FaceDetector, RegisteredDetector
from forgeprep.faces.detectors.scaled import box_of, rows_of, scaled
from forgeprep.media.frames import Frame


def _load() -> FaceDetector:
    import dlib

    model = dlib.get_frontal_face_detector()

    def find(frame: Frame, lines: int) -> list[Detection]:
        gray, scale = scaled(frame.y, rows_of(frame, lines))
        boxes, scores, _ = model.run(gray, 0, 0.0)
        return [Detection(box_of(box, scale), float(score)) for box, score in zip(boxes, scores, strict=True)]

    return FaceDetector(find, coarse=360, fine=720, small=90, sure=0.2, likely=0.0, least=0.0, bridge=6)


DETECTOR = RegisteredDetector(
    name="dlib-hog",
    summary="dlib's frontal detector, which the papers use; misses profiles (King 2009)",
    load=_load,
    least_pixels=80,
    score_range=(0.0, 3.0),
)
