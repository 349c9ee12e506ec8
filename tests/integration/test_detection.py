"""Tracks of faces that a real detector finds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest

from forgeprep.faces.detectors import make_detector
from forgeprep.faces.search import find_faces
from forgeprep.media.frames import Frame
from forgeprep.media.video import read_frames
from forgeprep.ops.geometry import iou
from tests.conftest import UInt8


def moving_photo(photo: UInt8, count: int, hide: range) -> Iterator[Frame]:
    """A real face that drifts to the right; at the frames of ``hide`` a bar covers eyes and nose."""
    gray = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    for i in range(count):
        y = np.asarray(cv2.warpAffine(gray, np.array([[1, 0, 1.2 * i - 60], [0, 1, 0.0]]), (640, 360)), np.uint8)
        if i in hide:
            left = round(178 + 1.2 * i - 60)
            y[95:150, left : left + 90] = 128
        half = np.full((180, 320), 128, np.uint8)
        yield Frame(i, i / 25, (y, half, half))


def test_a_face_that_is_covered_for_a_while_is_tracked_and_marked_so(face_photo: UInt8) -> None:
    hide = range(52, 76)
    plain = find_faces(moving_photo(face_photo, 130, range(0)), make_detector("dlib-hog"))
    found = find_faces(moving_photo(face_photo, 130, hide), make_detector("dlib-hog"))
    assert plain.tracks == found.tracks == 1
    for index in range(130):
        (free,), (face,) = plain.faces_at(index), found.faces_at(index)
        assert iou(free.box, face.box) > 0.7
        assert free.detection != "tracked"
    states = [found.faces_at(index)[0].detection for index in range(130)]
    assert set(states[56:74]) == {"tracked"}
    assert "tracked" not in states[:46] + states[86:]


def test_no_track_goes_on_over_a_cut(face_photo: UInt8) -> None:
    """Two shots with a face at the same place: an overlap of boxes would join them."""
    other = np.ascontiguousarray(255 - face_photo[::-1])
    other[100:300, 100:300] = face_photo[20:220, 120:320]
    pieces = [face_photo, other, face_photo]
    frames = [piece[:360, :480] for piece in pieces for _ in range(23)]
    planes = [cv2.cvtColor(np.ascontiguousarray(f), cv2.COLOR_RGB2GRAY) for f in frames]
    half = np.full((180, 240), 128, np.uint8)
    found = find_faces((Frame(i, i / 25, (y, half, half)) for i, y in enumerate(planes)), make_detector("dlib-hog"))
    assert found.cuts == [23, 46]
    ids = [{face.track_id for face in found.faces_at(index)} for index in range(69)]
    assert all(ids[0] == one and one for one in ids[:23])
    assert all(ids[46] == one and one for one in ids[46:])
    assert not ids[0] & ids[46]
    assert not (ids[0] | ids[46]) & set().union(*ids[23:46])


def two_people(photo: UInt8) -> tuple[UInt8, UInt8]:
    """Two real heads of about one size, uint8 (150, 120, 3) RGB."""
    import matplotlib.cbook

    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        other = np.asarray(PIL.Image.open(file).convert("RGB"))
    one, two = (cv2.resize(part, (120, 150)) for part in (photo[20:220, 140:300], other[30:330, 140:380]))
    return np.asarray(one, np.uint8), np.asarray(two, np.uint8)


def staged(heads: tuple[UInt8, UInt8], count: int, where: Any) -> Iterator[Frame]:
    """The heads before a wall, each where ``where`` says: left edges at a frame; the second is in front."""
    # So wide and uneven that no movement of heads looks like a cut.
    wall = np.repeat(np.tile(np.linspace(20, 230, 640), (360, 1))[..., None], 3, axis=2).astype(np.uint8)
    for i in range(count):
        picture = wall.copy()
        for head, x in zip(heads, where(i), strict=True):
            picture[50:200, x : x + 120] = head
        planes = tuple(np.ascontiguousarray(picture[..., channel]) for channel in range(3))
        yield Frame(i, i / 25, planes, "rgb", (0, 0), full_range=True, siting=(0.0, 0.0))


@pytest.mark.parametrize("way", ["cross", "hide", "swap"])
def test_no_track_passes_from_one_person_to_another(face_photo: UInt8, way: str) -> None:
    """One walks past the other; one takes the place that the other leaves; they swap places between two key frames."""

    def where(i: int) -> tuple[int, int]:
        if way == "cross":
            return 180, 4 * i
        if way == "hide":
            return 120, (300 if i < 33 else max(130, 300 - 60 * (i - 32)))
        return (60, 260) if i < 33 else (260, 90)

    found = find_faces(staged(two_people(face_photo), 80, where), make_detector("libfacedetection"))
    assert not found.cuts
    owners: dict[int, set[int]] = {}
    seen = [0, 0]
    for i in found.frames:
        for face in found.faces_at(i):
            apart = [abs((face.box[0] + face.box[2]) / 2 - x - 60) for x in where(i)]
            owner = 1 if apart[1] < 40 else 0
            if abs(where(i)[0] - where(i)[1]) > 90 or face.detection == "detected":
                owners.setdefault(face.track_id, set()).add(owner)
            seen[owner] += 1
    assert all(len(people) == 1 for people in owners.values()), owners
    assert min(seen) > 30


def test_a_false_alarm_in_a_picture_is_no_face(tmp_path: Path, face_photo: UInt8) -> None:
    file = tmp_path / "photo.png"
    cv2.imwrite(str(file), cv2.cvtColor(face_photo, cv2.COLOR_RGB2BGR))
    detector = make_detector("dlib-hog")
    (frame,) = read_frames(file)
    # HOG sees a second, faint face in the suit.
    assert len(detector.find(frame, 720)) + len(detector.find(frame, 360)) > 2
    found = find_faces(read_frames(file), detector)
    assert [(face.score or 0) > 1 for face in found.faces_at(0)] == [True]
