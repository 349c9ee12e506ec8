"""Landmarkers behind one type: a frame and a face's box in, points out.

None needs the network during a run: their weights are in an installed package, in a file that the user names, or were
fetched before. A missing file is an error that names the place where it is looked for.

Another package adds one with an entry point in the group ``forgeprep.landmarkers`` whose value is a
:class:`~forgeprep.faces.landmarkers.base.RegisteredLandmarker`::

    [project.entry-points."forgeprep.landmarkers"]
    mine = "my_package:MINE"
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from forgeprep.faces.landmarkers.base import Find, Points, RegisteredLandmarker, Scheme
from forgeprep.registry import Registry

if TYPE_CHECKING:
    from forgeprep.faces.weights import Weights

__all__ = [
    "LANDMARKERS", "Find", "Points", "RegisteredLandmarker", "Scheme",
    "get_landmarker", "landmark_weights", "landmarker_names", "versions_of",
]  # fmt: skip

_BUILT_IN = {
    "dlib-5": "forgeprep.faces.landmarkers.dlib_points:DLIB_5_POINTS",
    "dlib-68": "forgeprep.faces.landmarkers.dlib_points:DLIB_68_POINTS",
    "dlib-81": "forgeprep.faces.landmarkers.dlib_points:DLIB_81_POINTS",
    "face-alignment": "forgeprep.faces.landmarkers.face_alignment:LANDMARKER",
    "centerface": "forgeprep.faces.landmarkers.centerface:LANDMARKER",
}
LANDMARKERS: Registry[RegisteredLandmarker] = Registry(
    "landmarker", "forgeprep.landmarkers", _BUILT_IN, "forgeprep.faces.landmarkers.base:RegisteredLandmarker"
)


def landmarker_names() -> list[str]:
    """The names that ``--landmarks`` takes, the built-in ones first; imports no landmarker."""
    return LANDMARKERS.names()


def get_landmarker(name: str) -> RegisteredLandmarker:
    """What is known of a landmarker; loads neither its library nor its weights.

    Raises:
        UsageError: the name is unknown, stands for two landmarkers, or its package cannot be loaded.
    """
    return LANDMARKERS.get(name)


def landmark_weights() -> dict[str, Weights]:
    """The weights of all landmarkers, by name."""
    return {name: file for one in LANDMARKERS.usable().values() for name, file in one.weights.items()}


def versions_of(name: str, file: Path | None) -> dict[str, str]:
    """What a landmarker's points depend on besides what every run does: packages -> version, weights -> SHA-256.

    Args:
        name: one of :func:`landmarker_names`.
        file: the weights that the user named, if any.

    Raises:
        UsageError: no such landmarker.
        ForgeprepError: its library or weights are not installed.
    """
    from forgeprep.faces.weights import file_sha256, weights_sha256

    entry = get_landmarker(name)
    packages = {package: version(package) for package in entry.distributions}
    weights = {
        f"weights {one}": weights_sha256(one, entry.weights) if file is None else file_sha256(file)
        for one in entry.weights
    }
    others = {f"landmarker {name}": package for package in LANDMARKERS.packages([name]).values()}
    return {**others, **packages, **weights}
