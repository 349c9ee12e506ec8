"""What a landmarker is: a function from a frame and a face's box to points, and what has to be known to use it.

Points are float64 (n, 2), x and y in frame pixels, counted from the centre of the upper left pixel. Right and left are
the person's: the right eye is on the left of the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from forgeprep.schemas.resources import Resources

if TYPE_CHECKING:
    from forgeprep.faces.weights import Weights
    from forgeprep.media.frames import Frame
    from forgeprep.media.regions import Box

Points = npt.NDArray[np.float64]
Find = Callable[["Frame", "Box"], Points | None]
"""The points of the face in a box of the full frame, by dlib's convention; None where it sees no face there."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """Which points there are, and in which order.

    Attributes:
        name: what stands in the column ``landmark_scheme``.
        mirrored: for each point, which one it is in the mirrored picture.
        parts: part of the face -> the points whose mean it is. Templates know ``right_eye``, ``left_eye``, ``nose``
            (its tip), ``nose_base``, ``right_mouth`` and ``left_mouth`` (the corners).
    """

    name: str
    mirrored: tuple[int, ...]
    parts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many points there are."""
        return len(self.mirrored)


@dataclass(frozen=True, slots=True)
class RegisteredLandmarker:
    """A landmarker as it is registered, before anything of it is loaded.

    Attributes:
        name: what users write after ``--landmarks``.
        summary: one line.
        scheme: its points.
        load: builds it, once a worker, from a file of weights that the user names, or None for the usual one. Raises
            ForgeprepError where its library or weights are missing.
        resources: what a worker needs for it.
        weights: name -> file of weights that it needs.
        distributions: packages whose version may change what it finds. The one that brings it by an entry point counts
            without being named.
    """

    name: str
    summary: str
    scheme: Scheme
    load: Callable[[Path | None], Find]
    resources: Resources = field(default_factory=Resources)
    weights: Mapping[str, Weights] = field(default_factory=dict)
    distributions: tuple[str, ...] = ()


def _pairs(count: int, *pairs: tuple[int, int]) -> tuple[int, ...]:
    """A mirror that swaps these points and leaves the others."""
    order = list(range(count))
    for one, other in pairs:
        order[one], order[other] = other, one
    return tuple(order)


_CONTOURS = (
    *((i, 16 - i) for i in range(8)),
    *((17 + i, 26 - i) for i in range(5)),
    (31, 35), (32, 34), (36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46),
    (48, 54), (49, 53), (50, 52), (55, 59), (56, 58), (60, 64), (61, 63), (65, 67),
)  # fmt: skip
_FOREHEAD = (77, 75, 76, 68, 69, 70, 71, 80, 72, 73, 79, 74, 78)
"""The points of the hairline, from the left of the picture to its right."""
_PARTS = {
    "right_eye": tuple(range(36, 42)), "left_eye": tuple(range(42, 48)), "nose": (30,), "nose_base": (33,),
    "right_mouth": (48,), "left_mouth": (54,),
}  # fmt: skip

FIVE = Scheme(
    "five",
    _pairs(5, (0, 1), (3, 4)),
    {"right_eye": (0,), "left_eye": (1,), "nose": (2,), "right_mouth": (3,), "left_mouth": (4,)},
)
"""Right eye, left eye, tip of the nose, right and left corner of the mouth."""
DLIB_5 = Scheme("dlib-5", (2, 3, 0, 1, 4), {"left_eye": (0, 1), "right_eye": (2, 3), "nose_base": (4,)})
"""Outer and inner corner of the left eye, of the right eye, and the nose where it meets the lip."""
IBUG_68 = Scheme("ibug-68", _pairs(68, *_CONTOURS), _PARTS)
"""The 68 points of the 300-W challenge (Sagonas et al. 2013)."""
DLIB_81 = Scheme("dlib-81", _pairs(81, *_CONTOURS, *zip(_FOREHEAD[:6], _FOREHEAD[:6:-1], strict=True)), _PARTS)
"""The same, and 13 along the hairline."""
