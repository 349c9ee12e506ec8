"""Parameters of the stage ``crop``."""

from __future__ import annotations

import functools
from typing import Any, Literal

from pydantic import Field, model_validator

from forgeprep.faces.detectors import MIN_FACE, DetectorName, FaceDetector, make_detector
from forgeprep.stages.base import Resources, StageParams


class CropParams(StageParams):
    """Parameters of the stage ``crop``."""

    detector: DetectorName = Field(
        default="libfacedetection", description="libfacedetection, dlib-hog, dlib-cnn, face-alignment or whole"
    )
    min_face: float = Field(
        default=MIN_FACE,
        gt=0.01,
        le=1.0,
        description="height of the smallest face, as a share of the picture's shorter side",
    )
    enlarge: float = Field(default=1.3, ge=1.0, le=4.0, description="side of the crop over side of the face box")
    size: int | None = Field(
        default=None, ge=16, le=4096, description="resize crops to this side in pixels; default: native resolution"
    )
    bystanders: Literal["skip", "real"] = Field(
        default="skip", description="faces of a fake that were not altered: skip them, or take them as real samples"
    )

    @model_validator(mode="before")
    @classmethod
    def _whole_pictures_are_crops(cls, values: Any) -> Any:
        """Where the picture is the face, the crop is the picture, unless the user says otherwise."""
        if isinstance(values, dict) and values.get("detector") == "whole" and values.get("enlarge") is None:
            return {**values, "enlarge": 1.0}
        return values


def detector_of(params: CropParams) -> FaceDetector:
    """The face detector, made once a process; raises ForgeprepError where its library or weights are missing."""
    return _detector(params.detector, params.min_face)


@functools.cache
def _detector(name: str, min_face: float) -> FaceDetector:
    return make_detector(name, min_face)


def check(params: CropParams) -> None:
    """Load the detector once, so that missing weights show before the run and not in every worker."""
    detector_of(params)


def resources_of(params: CropParams) -> Resources:
    """What a worker needs for its face detector."""
    return _RESOURCES[params.detector]


_RESOURCES = {
    "libfacedetection": Resources(),
    "dlib-hog": Resources(),
    "whole": Resources(),
    "dlib-cnn": Resources(memory=2 << 30),
    "face-alignment": Resources(memory=3 << 30, gpus=0.25),
}
