"""Landmarkers find the same points whichever way the picture is turned, and tracks are smoothed without lag."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from forgeprep.errors import ForgeprepError
from forgeprep.faces.detectors import make_detector
from forgeprep.faces.landmarkers import get_landmarker, landmarker_names
from forgeprep.faces.landmarkers.base import DLIB_5, DLIB_81, FIVE, IBUG_68, Find, Points, Scheme
from forgeprep.faces.landmarkers.window import window_around
from forgeprep.faces.landmarks import REACH, smooth_points, with_landmarks
from forgeprep.faces.tracks import Face
from forgeprep.media.frames import Frame
from forgeprep.media.regions import Box
from tests.conftest import UInt8, rgb_frame

FLIP = {"dlib-5": 0.012, "dlib-68": 0.012, "centerface": 0.03}
"""Mean distance between a face's points and those of the mirrored picture, over the side of its box. Measured on six
faces: .003 to .009, .004 to .011 and .011 to .023; CenterFace's places are 4 pixels of a face of 96."""


def _find(name: str) -> Find:
    try:
        return get_landmarker(name).load(None)
    except ForgeprepError as error:
        pytest.skip(str(error))


def _smooth(found: dict[int, Points], side: float) -> Points:
    points = smooth_points(found, side)
    assert points is not None
    return points


@pytest.mark.parametrize("name", FLIP)
def test_a_mirrored_picture_has_mirrored_landmarks(name: str, face_photo: UInt8) -> None:
    find, scheme = _find(name), get_landmarker(name).scheme
    frame, mirrored = rgb_frame(face_photo), rgb_frame(np.ascontiguousarray(face_photo[:, ::-1]))
    x0, y0, x1, y1 = max(make_detector("libfacedetection").find(frame, 360), key=lambda one: one.score).box
    width = face_photo.shape[1]
    points, other = find(frame, (x0, y0, x1, y1)), find(mirrored, (width - x1, y0, width - x0, y1))
    assert points is not None
    assert other is not None
    assert points.shape == (scheme.count, 2)
    back = np.stack([width - 1 - other[:, 0], other[:, 1]], axis=1)[list(scheme.mirrored)]
    assert np.hypot(*(back - points).T).mean() < FLIP[name] * (x1 - x0)
    # In the order of the wrong side they would be eyes apart.
    assert np.hypot(*(back[list(scheme.mirrored)] - points).T).max() > 0.3 * (x1 - x0)
    middle = {part: points[list(own)].mean(axis=0) for part, own in scheme.parts.items()}
    nose = middle["nose" if "nose" in middle else "nose_base"]
    assert middle["right_eye"][0] < nose[0] < middle["left_eye"][0]
    assert all(y0 < y < y1 and x0 < x < x1 for x, y in middle.values())


@pytest.mark.parametrize("scheme", [FIVE, DLIB_5, IBUG_68, DLIB_81], ids=lambda one: one.name)
def test_a_scheme_mirrors_to_itself(scheme: Scheme) -> None:
    order = np.array(scheme.mirrored)
    assert np.array_equal(order[order], np.arange(scheme.count))
    for part, own in scheme.parts.items():
        twin = part.replace("right", "left") if "right" in part else part.replace("left", "right")
        assert {scheme.mirrored[place] for place in own} == set(scheme.parts[twin])


def test_what_is_no_such_model_is_refused_in_one_line(tmp_path: Path) -> None:
    junk = tmp_path / "model.dat"
    junk.write_bytes(b"not a model at all")
    for name in [one for one in landmarker_names() if one != "face-alignment"]:
        for file in (junk, tmp_path / "missing.dat"):
            with pytest.raises(ForgeprepError, match=str(file)) as told:
                get_landmarker(name).load(file)
            assert "\n" not in str(told.value)


def test_the_model_of_another_scheme_is_refused() -> None:
    from forgeprep.faces.weights import require

    _find("dlib-5")
    with pytest.raises(ForgeprepError, match="finds 5 points, dlib-68 has 68"):
        get_landmarker("dlib-68").load(require("dlib-5"))


def test_fan_reads_its_heatmaps_where_its_window_lies(tmp_path: Path, face_photo: UInt8) -> None:
    """With the network's real shape, and weights of our own; those of face-alignment have to be fetched."""
    torch, fan = pytest.importorskip("torch"), pytest.importorskip("face_alignment.models")
    from forgeprep.faces.landmarkers.face_alignment import peaks

    heat = np.zeros((3, 64, 64), np.float32)
    heat[0, 20, 31] = heat[1, 0, 63] = heat[2, 40, 7] = 1.0
    heat[0, 20, 32] = heat[0, 19, 31] = heat[2, 40, 6] = 0.5
    assert np.allclose(peaks(heat), [(31.75, 20.25), (63.5, 0.5), (7.25, 40.5)])
    torch.manual_seed(0)
    torch.save(fan.FAN(4).state_dict(), tmp_path / "fan.pth")
    box: Box = (180.0, 60.0, 280.0, 160.0)
    points = get_landmarker("face-alignment").load(tmp_path / "fan.pth")(rgb_frame(face_photo), box)
    window = window_around(box, 400 / 195, 256, up=0.12).box
    assert points is not None
    assert points.shape == (68, 2)
    assert (points > np.array(window[:2]) - 1).all()
    assert (points < window[2:]).all()
    (tmp_path / "junk.pth").write_bytes(b"junk")
    with pytest.raises(ForgeprepError, match=r"junk\.pth: no weights"):
        get_landmarker("face-alignment").load(tmp_path / "junk.pth")
    with pytest.raises(ForgeprepError, match=r"none\.pth: no such file; --landmarks-file"):
        get_landmarker("face-alignment").load(tmp_path / "none.pth")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_fan_is_read_as_torchscript_too(tmp_path: Path, face_photo: UInt8) -> None:
    """As face-alignment fetched it before 1.5: any module that gives 68 heatmaps."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("face_alignment")

    class Heat(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, count: int) -> None:
            super().__init__()
            self.net = torch.nn.Conv2d(3, count, 4, stride=4)

        def forward(self, x):
            return self.net(x)

    torch.manual_seed(0)
    for count in (68, 5):
        torch.jit.trace(Heat(count), torch.zeros(1, 3, 256, 256)).save(str(tmp_path / f"{count}.zip"))
    points = get_landmarker("face-alignment").load(tmp_path / "68.zip")(rgb_frame(face_photo), (180, 60, 280, 160))
    assert points is not None
    assert points.shape == (68, 2)
    with pytest.raises(ForgeprepError, match=r"5\.zip: no weights of face-alignment's 2DFAN-4 \(it gives \(1, 5,"):
        get_landmarker("face-alignment").load(tmp_path / "5.zip")


def test_smoothing_follows_steady_motion_and_takes_out_noise() -> None:
    rng = np.random.default_rng(5)
    course = np.array([[10.0, 20.0], [40.0, 22.0]])
    moving = {step: course + step * np.array([3.0, -1.0]) for step in range(-2, 3)}
    assert np.allclose(_smooth(moving, 100.0), course)
    assert np.allclose(_smooth({step: moving[step] for step in (0, 1)}, 100.0), course)
    rough = [
        smooth_points({step: points + rng.normal(0, 1, (2, 2)) for step, points in moving.items()}, 100.0)
        for _ in range(200)
    ]
    assert np.std(np.array(rough), axis=0).max() < 0.75


def test_a_neighbour_that_is_far_off_moves_nothing() -> None:
    own = np.array([[50.0, 50.0]])
    found = _smooth({-1: own, 0: own, 1: own + 80.0}, 100.0)
    assert np.allclose(found, own)


def test_where_a_face_is_not_seen_its_neighbours_on_both_sides_tell() -> None:
    points = np.array([[5.0, 5.0]])
    assert smooth_points({-1: points, -2: points}, 10.0) is None
    assert smooth_points({}, 10.0) is None
    assert np.allclose(_smooth({-1: points, 1: points + 2}, 10.0), points + 1)


def test_landmarks_are_looked_for_where_they_are_needed_and_nowhere_else() -> None:
    frames = [Frame(index, 0.0, (np.zeros((8, 8), np.uint8),), "gray", (0, 0)) for index in range(0, 40)]
    face = Face(3, (1.0, 1.0, 5.0, 5.0), 1.0, "detected")
    asked: list[int] = []

    def find(frame: Frame, box: Box) -> Points:
        asked.append(frame.index)
        return np.full((1, 2), float(frame.index))

    given = ((frame, [face] if frame.index < 30 else []) for frame in frames)
    out = list(with_landmarks(given, find, {5, 20, 29, 35}.__contains__))
    assert [frame.index for frame, _ in out] == list(range(40))
    wanted = {index + step for index in (5, 20, 29) for step in range(-REACH, REACH + 1)}
    assert asked == sorted(index for index in wanted if index < 30)
    told = {frame.index: faces[0].landmarks for frame, faces in out if faces and faces[0].landmarks is not None}
    assert told.keys() == {5, 20, 29}
    assert np.allclose([points[0, 0] for points in told.values()], [5, 20, 29])
