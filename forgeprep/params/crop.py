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
    enlarge: float = Field(default=1.3, ge=1.0, le=4.0, description="side of the crop over side of the face box")
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

    @model_validator(mode="before")
    @classmethod
    def _whole_pictures_are_crops(cls, values: Any) -> Any:
        """Where the picture is the face, the crop is the picture, unless the user says otherwise."""
        if isinstance(values, dict) and values.get("detector") == "whole" and values.get("enlarge") is None:
            return {**values, "enlarge": 1.0}
        return values


PARAMS = CropParams
