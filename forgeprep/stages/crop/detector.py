"""What follows from the parameters of the stage ``crop``: its face detector, its landmarker, and what they need."""

from __future__ import annotations

import functools
from pathlib import Path

from forgeprep.errors import UsageError
from forgeprep.faces import landmarkers
from forgeprep.faces.detectors import FaceDetector, get_detector, make_detector, versions_of
from forgeprep.faces.landmarkers import Find, get_landmarker
from forgeprep.ops.alignment import TEMPLATES, parts_of
from forgeprep.params.crop import CropParams
from forgeprep.schemas.resources import Resources


def detector_of(params: CropParams) -> FaceDetector:
    """The face detector, made once a process; raises ForgeprepError where its library or weights are missing."""
    return _detector(params.detector, params.min_face)


@functools.cache
def _detector(name: str, min_face: float) -> FaceDetector:
    return make_detector(name, min_face)


def landmarker_of(params: CropParams) -> Find | None:
    """The landmarker, made once a process; None where no landmarks are wanted.

    Raises:
        ForgeprepError: its library or weights are missing.
    """
    return None if params.landmarks is None else _landmarker(params.landmarks, params.landmarks_file)


def scheme_of(params: CropParams) -> str | None:
    """The name of the landmarks' scheme."""
    return None if params.landmarks is None else get_landmarker(params.landmarks).scheme.name


@functools.cache
def _landmarker(name: str, file: str | None) -> Find:
    return get_landmarker(name).load(None if file is None else Path(file))


def margin_of(params: CropParams) -> float:
    """Side of the crops over side of a face box; of aligned ones, over that of a usual face."""
    return params.enlarge if params.align == "none" else params.enlarge * TEMPLATES[params.align].face


def parts_to_align(params: CropParams) -> dict[str, tuple[int, ...]]:
    """The landmarks that are laid on the template: part of the face -> points.

    Raises:
        UsageError: no landmarks are wanted, or these have too few of the template's parts.
    """
    if params.landmarks is None:
        raise UsageError(f"--align {params.align}: needs landmarks; give --landmarks too, such as dlib-68")
    template, scheme = TEMPLATES[params.align], get_landmarker(params.landmarks).scheme
    parts = parts_of(template, scheme.name, scheme.parts)
    if len(parts) < template.least or not {"right_eye", "left_eye"} <= parts.keys():
        lacking = ", ".join(part.replace("_", " ") for part in template.places if part not in parts)
        raise UsageError(f"--align {params.align}: --landmarks {params.landmarks} has no {lacking}; give another one")
    return parts


def check(params: CropParams) -> None:
    """Load both once, so that missing weights show before the run and not in every worker."""
    if params.align != "none":
        parts_to_align(params)
    elif params.align_per == "clip":
        raise UsageError("--align-per clip: nothing is aligned; give --align too")
    if params.landmarks is None and params.landmarks_file is not None:
        raise UsageError("--landmarks-file: says with what, but no --landmarks; give the landmarker that it belongs to")
    detector_of(params)
    landmarker_of(params)


def resources_of(params: CropParams) -> Resources:
    """What a worker needs for its face detector and its landmarker."""
    needs = get_detector(params.detector).resources
    if params.landmarks is None:
        return needs
    more = get_landmarker(params.landmarks).resources
    # Each counts the process itself too.
    memory = needs.memory + more.memory - Resources().memory
    return Resources(memory, max(needs.gpus, more.gpus))


def depends_on(params: CropParams) -> dict[str, str]:
    """What the boxes depend on besides what every run does, see :attr:`forgeprep.stages.base.Stage.versions`."""
    found = versions_of(params.detector)
    if params.landmarks is None:
        return found
    file = None if params.landmarks_file is None else Path(params.landmarks_file)
    return found | landmarkers.versions_of(params.landmarks, file)
