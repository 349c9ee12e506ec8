"""The square around a face that a landmarker looks at, and the way from its pixels to those of the frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forgeprep.faces.landmarkers.base import Points
from forgeprep.media.regions import Box, IntBox
from forgeprep.ops.geometry import square_crop_box


@dataclass(frozen=True, slots=True)
class Window:
    """A square of the frame, ``box``, that is scaled to ``side`` pixels."""

    box: IntBox
    side: int

    @property
    def step(self) -> float:
        """Pixels of the frame for one of the window."""
        return (self.box[2] - self.box[0]) / self.side

    def inside(self, box: Box) -> Box:
        """A box of the frame in the window's pixels."""
        x, y = self.box[:2]
        return (box[0] - x) / self.step, (box[1] - y) / self.step, (box[2] - x) / self.step, (box[3] - y) / self.step

    def to_frame(self, points: Points) -> Points:
        """Points of the window in the frame; both count from the centre of the upper left pixel."""
        corner = np.array(self.box[:2], np.float64)
        return np.asarray((points + 0.5) * self.step + corner - 0.5, np.float64)


def window_around(box: Box, wide: float, side: int, *, up: float = 0.0) -> Window:
    """The window ``wide`` times as wide as the box, moved up by a share ``up`` of the box's height."""
    more = up * (box[3] - box[1])
    return Window(square_crop_box((box[0], box[1] - more, box[2], box[3] - more), wide), side)
