"""Parameters of the stage ``crop``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from forgeprep.params import StageParams


class CropParams(StageParams):
    """Parameters of the stage ``crop``."""

    detector: str = Field(
        default="libfacedetection",
        description="face detector: libfacedetection, dlib-hog, dlib-cnn, face-alignment, whole (the picture is the "
        "face), or one of another package",
    )
    min_face: float = Field(
        default=1 / 15,
        gt=0.01,
        le=1.0,
        description="height of the smallest face, as a share of the picture's shorter side; default: 1/15",
    )
    landmarks: str | None = Field(
        default=None,
        description="landmarker: dlib-5, dlib-68, dlib-81, face-alignment, centerface, or one of another package",
    )
    landmarks_file: str | None = Field(
        default=None, description="file of the landmarker's weights; default: an installed or fetched one"
    )
    align: Literal["none", "deepfakebench", "gend", "mean-face"] = Field(
        default="none", description="turn and scale each face onto a template by its landmarks; none: upright squares"
    )
    align_per: Literal["frame", "clip"] = Field(
        default="frame", description="one matrix for each frame, or one for all frames of a clip or sequence"
    )
    enlarge: float = Field(
        default=1.3, ge=1.0, le=4.0, description="side of the crop over side of the face box, or over the template's"
    )
    size: int | None = Field(
        default=None, ge=16, le=4096, description="resize crops to this side in pixels; default: native resolution"
    )
    bystanders: Literal["skip", "real"] = Field(
        default="skip", description="faces of a fake that were not altered: skip them, or take them as real samples"
    )

    @field_validator("detector")
    @classmethod
    def _known_detector(cls, name: str) -> str:
        from forgeprep.errors import unknown_name
        from forgeprep.faces.detectors import detector_names

        known = detector_names()
        if name not in known:
            raise ValueError(str(unknown_name("face detector", name, known)))
        return name

    @field_validator("landmarks")
    @classmethod
    def _known_landmarker(cls, name: str | None) -> str | None:
        from forgeprep.errors import unknown_name
        from forgeprep.faces.landmarkers import landmarker_names

        if name is None or name.lower() == "none":
            return None
        known = landmarker_names()
        if name not in known:
            raise ValueError(str(unknown_name("landmarker", name, known)))
        return name

    @model_validator(mode="before")
    @classmethod
    def _whole_pictures_are_crops(cls, values: Any) -> Any:
        """Where the picture is the face, the crop is the picture, unless the user says otherwise."""
        if isinstance(values, dict) and values.get("detector") == "whole" and values.get("enlarge") is None:
            return {**values, "enlarge": 1.0}
        return values


PARAMS = CropParams
