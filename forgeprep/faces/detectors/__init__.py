"""Face detectors behind one type: a frame in, boxes and scores out.

``libfacedetection`` and ``dlib-hog`` need no file. ``dlib-cnn`` and ``face-alignment`` need weights, which are never
fetched during a run: a missing file is an error that names the place where it is looked for. ``whole`` looks for
nothing: the picture is the face.

Another package adds one with an entry point in the group ``forgeprep.face_detectors`` whose value is a
:class:`~forgeprep.faces.detectors.base.RegisteredDetector`::

    [project.entry-points."forgeprep.face_detectors"]
    mine = "my_package:MINE"
"""

from __future__ import annotations

import math
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING

from forgeprep.faces.detectors.base import MIN_FACE, Detection, FaceDetector, RegisteredDetector
from forgeprep.registry import Registry

if TYPE_CHECKING:
    from forgeprep.faces.weights import Weights

__all__ = [
    "DETECTORS", "MIN_FACE", "Detection", "FaceDetector", "RegisteredDetector",
    "detector_names", "get_detector", "known_weights", "make_detector", "versions_of",
]  # fmt: skip

_BUILT_IN = {
    "libfacedetection": "forgeprep.faces.detectors.libfacedetection:DETECTOR",
    "dlib-hog": "forgeprep.faces.detectors.dlib_hog:DETECTOR",
    "dlib-cnn": "forgeprep.faces.detectors.dlib_cnn:DETECTOR",
    "face-alignment": "forgeprep.faces.detectors.face_alignment:DETECTOR",
    "whole": "forgeprep.faces.detectors.whole:DETECTOR",
}
DETECTORS: Registry[RegisteredDetector] = Registry(
    "face detector", "forgeprep.face_detectors", _BUILT_IN, "forgeprep.faces.detectors.base:RegisteredDetector"
)


def detector_names() -> list[str]:
    """The names that ``--detector`` takes, the built-in ones first; imports no detector."""
    return DETECTORS.names()


def get_detector(name: str) -> RegisteredDetector:
    """What is known of a detector; loads neither its library nor its weights.

    Raises:
        UsageError: the name is unknown, stands for two detectors, or its package cannot be loaded.
    """
    return DETECTORS.get(name)


def make_detector(name: str, min_face: float = MIN_FACE) -> FaceDetector:
    """Build a detector; do it once a worker.

    Args:
        name: one of :func:`detector_names`.
        min_face: height of the smallest face of interest over the shorter side of the picture, 0 to 1. The search is as
            fine as that takes, whatever the picture's size and orientation; smaller faces are left out.

    Raises:
        UsageError: no such detector.
        ForgeprepError: its library or weights are not installed.
    """
    entry = get_detector(name)
    built = entry.load()
    if entry.least_pixels is None:
        return built
    lines = math.ceil(entry.least_pixels / min_face)
    return replace(built, coarse=min(built.coarse, lines), fine=lines, smallest=min_face)


def known_weights() -> dict[str, Weights]:
    """The weights of all detectors, by name: what ``forgeprep weights fetch`` knows."""
    return {name: file for one in DETECTORS.usable().values() for name, file in one.weights.items()}


def versions_of(name: str) -> dict[str, str]:
    """What a detector's boxes depend on besides what every run does: packages -> version, weights -> SHA-256.

    Raises:
        UsageError: no such detector.
        ForgeprepError: its library or weights are not installed.
    """
    from forgeprep.faces.weights import weights_sha256

    entry = get_detector(name)
    packages = {package: version(package) for package in entry.distributions}
    weights = {f"weights {file}": weights_sha256(file, entry.weights) for file in entry.weights}
    others = {f"face detector {name}": package for package in DETECTORS.packages([name]).values()}
    return {**others, **packages, **weights}
