"""Aligned crops: the points come to lie on the template, and all that belongs to a crop goes through one matrix."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from forgeprep.faces.landmarkers.base import DLIB_5, DLIB_81, FIVE, IBUG_68, Scheme
from forgeprep.media.frames import Frame
from forgeprep.media.regions import frame_rgb
from forgeprep.ops.alignment import TEMPLATES, Aligned, align, aligned_gray, aligned_rgb, outside, parts_of, similarity
from forgeprep.ops.evidence import PIXELS, Pair, grid_side
from forgeprep.ops.geometry import inverse, through
from forgeprep.ops.masks import Crop, binarise, difference_masks
from forgeprep.ops.pairing import Placement
from tests.conftest import UInt8, rgb_frame

FIVE_PARTS = parts_of(TEMPLATES["gend"], "five", FIVE.parts)


def turned(points: np.ndarray, degrees: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    z = points @ np.array([1, 1j]) * scale * np.exp(1j * np.radians(degrees))
    return np.stack([z.real, z.imag], axis=1) + shift


def face(degrees: float = 20.0, scale: float = 90.0, shift: tuple[float, float] = (200.0, 130.0)) -> np.ndarray:
    """The five points of a face that is exactly like GenD's template."""
    places = np.array([TEMPLATES["gend"].places[part] for part in FIVE_PARTS])
    return turned(places, degrees, scale, shift)


def test_the_points_of_deepfakebench_lie_where_its_own_function_puts_them() -> None:
    """By hand from its template: on 112, moved by 8, scaled to 256, and a margin of 0.15 on each side."""
    template = TEMPLATES["deepfakebench"]
    rng = np.random.default_rng(2)
    points = rng.uniform(100, 300, (68, 2))
    arcface = [(30.2946, 51.6963), (65.5318, 51.5014), (48.0252, 71.7366), (33.5493, 92.3655), (62.7299, 92.2041)]
    wanted = np.add(arcface, (8, 0)) * 256 / 112
    wanted = (wanted + 0.15 * 256) / 1.3
    points[[37, 44, 30, 49, 55]] = turned(wanted, -14, 0.7, (320, 90))
    found = align([points], parts_of(template, "ibug-68", IBUG_68.parts), template, 1.3, None)
    assert found.side == 256
    assert np.abs(through(found.matrix, points[[37, 44, 30, 49, 55]]) - wanted).max() < 1e-6
    # Points that no similarity brings there: with the least squares.
    rough = points + rng.normal(0, 8, points.shape)
    ours = similarity(rough[[37, 44, 30, 49, 55]], wanted)
    design = np.array([[[x, -y, 1, 0], [y, x, 0, 1]] for x, y in rough[[37, 44, 30, 49, 55]]]).reshape(10, 4)
    a, b, c, d = np.linalg.lstsq(design, wanted.ravel(), rcond=None)[0]
    assert np.allclose(ours, [[a, -b, c], [b, a, d]])


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("scheme", [FIVE, DLIB_5, IBUG_68, DLIB_81], ids=lambda one: one.name)
def test_templates_are_laid_on_what_a_scheme_has(name: str, scheme: Scheme) -> None:
    template = TEMPLATES[name]
    parts = parts_of(template, scheme.name, scheme.parts)
    assert (len(parts) >= template.least) == (name == "mean-face" or scheme is not DLIB_5)
    assert all(place < scheme.count for own in parts.values() for place in own)
    right, left = (template.places[f"{side}_eye"] for side in ("right", "left"))
    assert right[0] < template.places["nose"][0] < left[0]


def test_a_margin_is_added_around_the_middle_and_size_only_scales() -> None:
    points = face()
    narrow, wide = (align([points], FIVE_PARTS, TEMPLATES["gend"], enlarge, 200) for enlarge in (1.0, 1.6))
    assert narrow.scale / wide.scale == pytest.approx(1.6)
    assert np.allclose(narrow.corners.mean(axis=0), wide.corners.mean(axis=0), atol=0.5)
    native = align([points], FIVE_PARTS, TEMPLATES["gend"], 1.3, None)
    assert native.side == round(1.3 * 90)
    assert native.scale == pytest.approx(1.0, abs=0.01)


def test_the_crop_of_several_frames_holds_the_face_in_each() -> None:
    still = align([face(), face()], FIVE_PARTS, TEMPLATES["gend"], 1.3, 256)
    assert np.allclose(still.matrix, align([face()], FIVE_PARTS, TEMPLATES["gend"], 1.3, 256).matrix)
    moving = [face(shift=(200.0 + step, 130.0)) for step in (0.0, 60.0, 120.0)]
    found = align(moving, FIVE_PARTS, TEMPLATES["gend"], 1.3, 256)
    for points in moving:
        alone = align([points], FIVE_PARTS, TEMPLATES["gend"], 1.0, 256)
        corners = through(found.matrix, alone.corners)
        assert corners.min() > -1
        assert corners.max() < 256


def test_a_crop_is_cut_from_a_part_as_from_the_whole_frame(face_photo: UInt8) -> None:
    yuv = cv2.cvtColor(face_photo, cv2.COLOR_RGB2YUV_I420)
    planes = (yuv[:512], yuv[512:640].reshape(256, 256), yuv[640:].reshape(256, 256))
    frame = Frame(0, 0.0, planes, full_range=False)
    for shift in ((180.0, 60.0), (-40.0, 400.0)):
        crop = align([face(shift=shift)], FIVE_PARTS, TEMPLATES["gend"], 1.3, 256)
        whole = cv2.warpAffine(frame_rgb(frame), crop.matrix, (256, 256))
        assert np.abs(aligned_rgb(frame, crop).astype(int) - whole).mean() < 0.01
    assert not np.any(aligned_rgb(frame, align([face(shift=(9e3, 9e3))], FIVE_PARTS, TEMPLATES["gend"], 1.3, 64)))


def test_fine_patterns_do_not_alias_when_a_large_face_is_reduced() -> None:
    stripes = np.zeros((900, 900, 3), np.uint8)
    stripes[:, ::2] = 255
    crop = align([face(0.0, 700.0, (90.0, 90.0))], FIVE_PARTS, TEMPLATES["gend"], 1.0, 128)
    assert aligned_rgb(rgb_frame(stripes), crop).std() < 12
    assert aligned_rgb(rgb_frame(stripes), replace(crop, plain=True)).std() > 40


def test_masks_keep_their_levels() -> None:
    levels = np.zeros((300, 300), np.uint8)
    levels[100:200, 100:200], levels[120:150, 120:150] = 90, 200
    frame = Frame(0, 0.0, (levels,), "gray", (0, 0), full_range=True)
    crop = align([face(shift=(110.0, 80.0))], FIVE_PARTS, TEMPLATES["gend"], 1.3, 256)
    assert set(np.unique(aligned_gray(frame, crop))) == {0, 90, 200}


@pytest.mark.parametrize("placement", [Placement(), Placement(0.5, (12.0, -7.0))])
def test_a_fake_that_lies_elsewhere_gives_the_same_crop(placement: Placement) -> None:
    points = face(shift=(300.0, 200.0))
    crop = align([points], FIVE_PARTS, TEMPLATES["gend"], 1.3, 256)
    moved = crop.placed(placement.scale, placement.shift)
    assert np.allclose(through(moved.matrix, placement.points(points)), through(crop.matrix, points))
    assert moved.side == crop.side


def test_what_lies_outside_is_told_pixel_by_pixel() -> None:
    crop = Aligned(np.array([[1.0, 0.0, 5.0], [0.0, 1.0, 0.0]]), 20)
    assert outside(crop, (-5, 0, 15, 20)) is None
    found = outside(crop, (0, 0, 40, 12))
    assert found is not None
    assert found[:, :5].all()
    assert found[12:].all()
    assert not found[:12, 5:].any()


def test_the_mask_of_an_aligned_crop_is_the_upright_one_turned() -> None:
    """Evidence is found on the windows, then turned: nothing of it depends on how crops are cut."""
    rng = np.random.default_rng(1)
    side = PIXELS * grid_side(2.0)
    original = np.asarray(
        cv2.resize(astronaut()[20:220, 124:324], (side, side), interpolation=cv2.INTER_AREA), np.uint8
    )
    fake = np.clip(original + rng.normal(0, 1.5, original.shape), 0, 255).astype(np.uint8)
    fake[70:130, 60:120] = cv2.GaussianBlur(fake, (0, 0), 4)[70:130, 60:120]
    upright = Crop(250, (0.175, 0.175, 0.825, 0.825))
    # The window shows 200 pixels of the frame from (0, 0) on.
    crop = align([face(25.0, 100.0, (90.0, 35.0))], FIVE_PARTS, TEMPLATES["gend"], 1.3, 256)
    x0, y0, x1, y1 = crop.box
    back = inverse(crop.matrix)
    back[:, 2] += 0.5
    unseen = outside(crop, (0, 0, 200, 200))
    turned_crop = Crop(256, (x0 / 200, y0 / 200, x1 / 200, y1 / 200), matrix=back / 200, outside=unseen)
    (plain,) = difference_masks([Pair(fake, original)], [upright], forged=True)
    (found,) = difference_masks([Pair(fake, original)], [turned_crop], enlarge=1.7, forged=True)
    box = 0.175 * 200, 0.65 * 200 / 250
    to_frame = np.array([[box[1], 0, box[0] + 0.5 * box[1] - 0.5], [0, box[1], box[0] + 0.5 * box[1] - 0.5]])
    laid = cv2.warpAffine(plain.mask, crop.matrix @ np.vstack([to_frame, [0, 0, 1]]), (256, 256))
    both, either = np.count_nonzero(found.mask & (laid > 127)), np.count_nonzero((found.mask > 0) | (laid > 127))
    assert both / either > 0.9
    assert found.confidence == pytest.approx(plain.confidence, abs=0.15)
    assert np.array_equal(binarise(found.difference, found.threshold, enlarge=1.7), found.mask)
    assert unseen is not None
    assert not found.difference[unseen].any()
    assert found.difference[~unseen].all()
