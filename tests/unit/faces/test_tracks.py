from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from forgeprep.faces.detectors import Detection, FaceDetector, make_detector
from forgeprep.faces.search import MAX_GAP, find_faces
from forgeprep.faces.tracks import KEY_EVERY
from forgeprep.media.frames import Frame
from tests.conftest import UInt8, rgb_frame


def blank(count: int) -> Iterator[Frame]:
    plane, half = np.zeros((360, 640), np.uint8), np.zeros((180, 320), np.uint8)
    return (Frame(i, i / 25, (plane, half, half)) for i in range(count))


def detector_of(place: Any) -> Any:
    """A detector that reports squares (x, y, side) from a function of the frame's index."""

    def find(frame: Frame, lines: int) -> list[Detection]:
        return [Detection((x - s / 2, y - s / 2, x + s / 2, y + s / 2), 1.0) for x, y, s in place(frame.index)]

    return FaceDetector(find, coarse=360, fine=720, small=90, sure=0.2, likely=0.0, least=0.0, bridge=6)


def test_steady_motion_is_followed_without_lag_and_jitter_is_smoothed() -> None:
    rng = np.random.default_rng(0)
    jitter = rng.normal(0, 3, (400, 2))

    def place(i: int) -> list[tuple[float, float, float]]:
        return [(100 + 1.5 * i + jitter[i, 0], 150 + jitter[i, 1], 120)]

    errors, steps, before = [], [], None
    found = find_faces(blank(200), detector_of(place))
    for index in range(200):
        faces = found.faces_at(index)
        assert [face.track_id for face in faces] == [0]
        x0, y0, x1, y1 = faces[0].box
        centre = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
        errors.append(centre - (100 + 1.5 * index, 150))
        if before is not None:
            steps.append(np.abs(centre - before - (1.5, 0)).max())
        before = centre
    assert np.abs(np.mean(errors, axis=0)).max() < 0.8
    assert np.std(errors) < 2.2
    assert max(steps) < 1.5


def test_a_gap_is_bridged_a_false_alarm_ignored_and_a_leaver_ends() -> None:
    def place(i: int) -> list[tuple[float, float, float]]:
        found = [] if 50 <= i < 50 + MAX_GAP * KEY_EVERY or i >= 120 else [(200.0, 150.0, 100.0)]
        return found + ([(500.0, 100.0, 90.0)] if i == 30 else [])

    found = find_faces(blank(180), detector_of(place))
    assert list(found.frames) == list(range(180))
    assert found.tracks == 1
    seen = {index: found.faces_at(index) for index in range(180)}
    assert all([f.track_id for f in seen[i]] == [0] for i in range(116))
    assert all(seen[i] == [] for i in range(121, 180))
    assert {seen[i][0].detection for i in range(51, 60)} == {"interpolated"}
    assert seen[45][0].detection == "detected"


def test_two_faces_keep_their_ids_and_a_late_one_gets_a_new_one() -> None:
    def place(i: int) -> list[tuple[float, float, float]]:
        late = [(320.0, 300.0, 80.0)] if i >= 100 else []
        return [(120 + 0.5 * i, 150.0, 90.0), (520 - 0.5 * i, 150.0, 100.0), *late]

    found = find_faces(blank(200), detector_of(place))
    for index in range(200):
        faces = found.faces_at(index)
        expected = {0: 120.0 + 0.5 * index, 1: 520.0 - 0.5 * index, 2: 320.0}
        assert [f.track_id for f in faces] == ([0, 1, 2] if index >= 100 else [0, 1])
        for face in faces:
            assert abs((face.box[0] + face.box[2]) / 2 - expected[face.track_id]) < 2


def test_where_the_picture_is_the_face_every_picture_has_it_whatever_its_number_and_size() -> None:
    """Numbers as an exporter chose them: too near to be key frames each; and two pictures of a size of their own."""
    sides = {0: 64, 2: 64, 6: 64, 10: 64, 14: 64, 18: 64, 21: 50, 23: 40}
    frames = (
        Frame(number, number / 25, (np.full((side, side), 90, np.uint8),), "gray", (0, 0), full_range=True)
        for number, side in sides.items()
    )
    found = find_faces(frames, make_detector("whole"), sparse=True)
    assert {number: [face.box for face in found.faces_at(number)] for number in sides} == {
        number: [(0, 0, side, side)] for number, side in sides.items()
    }


def test_a_head_shaken_before_a_near_camera_is_one_track_and_another_picture_a_cut(face_photo: UInt8) -> None:
    """Of a window that shows hardly more than the face, moved by up to a fifth of it from frame to frame."""
    aside = (0, 14, 36, 50, 34, 8, -20, -44, -48, -18)
    shaken = [face_photo[10:250, 118 + aside[i % 10] : 338 + aside[i % 10]] for i in range(40)]
    from skimage import data

    other = np.asarray(data.cat()[40:280, 60:280], np.uint8)
    frames = (replace(rgb_frame(rgb), index=i, time_s=i / 25) for i, rgb in enumerate([*shaken, *[other] * 5]))
    found = find_faces(frames, make_detector("libfacedetection"))
    assert found.cuts == [40]
    assert [(track.points[0].index, track.last.index) for track in found.found] == [(0, 39)]
