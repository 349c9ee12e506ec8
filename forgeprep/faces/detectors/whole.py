"""The whole picture is the face, for datasets whose pictures are face crops already."""

from __future__ import annotations

from forgeprep.faces.detectors.base import Detection, FaceDetector, RegisteredDetector
from forgeprep.media.frames import Frame


def _load() -> FaceDetector:
    def find(frame: Frame, lines: int) -> list[Detection]:
        return [Detection((0.0, 0.0, float(frame.size_wh[0]), float(frame.size_wh[1])), 1.0)]

    # It never misses, but key frames may lie further apart than usual where numbers of pictures are missing.
    return FaceDetector(find, coarse=1, fine=1, small=0, sure=0.0, likely=0.0, least=0.0, bridge=1)


DETECTOR = RegisteredDetector(
    name="whole",
    summary="looks for nothing: the picture is the face",
    load=_load,
    least_pixels=None,
    score_range=(1.0, 1.0),
)
