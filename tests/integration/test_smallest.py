"""The smallest face that counts."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
import skimage.data

from forgeprep.faces.detectors import make_detector
from forgeprep.faces.search import find_faces
from tests.conftest import rgb_frame


@pytest.mark.parametrize("detector", ["libfacedetection", "dlib-hog"])
@pytest.mark.parametrize("size_wh", [(1920, 1080), (1080, 1920), (4032, 3024)])
def test_the_smallest_face_is_the_same_whatever_the_orientation(size_wh: tuple[int, int], detector: str) -> None:
    """Measured along the shorter side: a fifteenth by default, in pictures and in videos."""
    width, height = size_wh
    # The head of 190 of 512 pixels, brought to about a fourteenth of the shorter side.
    side = round(min(size_wh) / 14 * 512 / 120)
    head = np.asarray(PIL.Image.fromarray(skimage.data.astronaut()).resize((side, side), PIL.Image.Resampling.LANCZOS))
    picture = np.full((height, width, 3), 120, np.uint8)
    picture[height // 2 : height // 2 + side, width // 2 : width // 2 + side] = head[: height - height // 2]
    found = find_faces([rgb_frame(picture)], make_detector(detector)).faces_at(0)
    assert len(found) == 1
    assert not find_faces([rgb_frame(picture)], make_detector(detector, min_face=0.2)).faces_at(0)
