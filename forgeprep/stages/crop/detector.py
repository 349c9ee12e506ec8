"""What follows from the parameters of the stage ``crop``: its face detector, and what a worker needs for it."""

from __future__ import annotations

import functools

from forgeprep.faces.detectors import FaceDetector, get_detector, make_detector, versions_of
from forgeprep.params.crop import CropParams
from forgeprep.schemas.resources import Resources


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
    return get_detector(params.detector).resources


def depends_on(params: CropParams) -> dict[str, str]:
    """What the boxes depend on besides what every run does, see :attr:`forgeprep.stages.base.Stage.versions`."""
    return versions_of(params.detector)
