"""What a face detector is: a function from a frame to boxes and scores, and what has to be known to use it.

Boxes are squares by dlib's convention, about from the brows to the chin. A detector that frames faces otherwise brings
its boxes to it, so that crops are alike whatever the detector.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from forgeprep.schemas.resources import Resources

if TYPE_CHECKING:
    from forgeprep.faces.weights import Weights
    from forgeprep.media.frames import Frame
    from forgeprep.media.regions import Box

MIN_FACE = 1 / 15
"""Height of the smallest face that is looked for, as a share of the picture's shorter side."""


@dataclass(frozen=True, slots=True)
class Detection:
    """A face found: box (x0, y0, x1, y1) in frame pixels, and the detector's own score, see :class:`FaceDetector`."""

    box: Box
    score: float


@dataclass(frozen=True, slots=True)
class FaceDetector:
    """A face detector, loaded, and what has to be known of it to follow faces with it.

    Attributes:
        find: ``find(frame, lines)`` searches the frame scaled to ``lines`` pixels along its shorter side.
        coarse: lines of the usual search.
        fine: lines of the search for small faces, at which the smallest one asked for can just be found.
        small: faces below this size in pixels at the coarse scale call for the fine one.
        sure: score from which a face may stand alone; the scale is the detector's own.
        least: score below which a detection is not even the sequel of a track.
        likely: score from which a detection may begin a track that later ones have to confirm.
        smallest: height of the smallest face that counts, as a share of the picture's shorter side.
        bridge: key frames without a detection over which a face may be followed by its looks. A detector that misses
            profiles needs long bridges; behind one that does not, they lead astray.
    """

    find: Callable[[Frame, int], list[Detection]]
    coarse: int
    fine: int
    small: int
    sure: float
    likely: float
    least: float
    bridge: int
    smallest: float = 0.0


@dataclass(frozen=True, slots=True)
class RegisteredDetector:
    """A face detector as it is registered, before anything of it is loaded.

    Attributes:
        name: what users write after ``--detector``.
        summary: one line.
        load: builds it, once a worker; raises ForgeprepError where its library or weights are missing.
        least_pixels: height of a face that it finds as surely as larger ones; None if it does not search, as where the
            picture is the face.
        score_range: the least and the highest score that it gives, about.
        resources: what a worker needs for it.
        weights: name -> file of weights that it needs; ``forgeprep weights fetch NAME`` gets one.
        distributions: packages whose version may change what it finds. The one that brings it by an entry point counts
            without being named.
    """

    name: str
    summary: str
    load: Callable[[], FaceDetector]
    least_pixels: int | None
    score_range: tuple[float, float]
    resources: Resources = field(default_factory=Resources)
    weights: Mapping[str, Weights] = field(default_factory=dict)
    distributions: tuple[str, ...] = ()
