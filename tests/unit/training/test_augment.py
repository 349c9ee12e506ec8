"""Augmentations: what lies on a picture goes where its pixels go, and all chance follows from seed, epoch, sample."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forgeprep.errors import UsageError
from forgeprep.faces.landmarkers.base import IBUG_68
from forgeprep.ops.perturb.catalogue import CATALOGUE
from forgeprep.training.augment import MOST_HIDDEN, SETS, augmented, draw_steps, read_augment, summary
from forgeprep.training.recipe import Recipe, make_recipe
from forgeprep.training.run_folder import differing
from forgeprep.training.transforms import collate, prepare

GEOMETRY = [name for name, one in CATALOGUE.items() if one.move is not None]
SPOTS = np.array([[30, 34], [66, 32], [47, 50], [36, 68], [60, 70]], np.float64)


def spotted(side: int = 96) -> dict[str, Any]:
    """A sample whose picture is bright around its five landmarks, and nowhere else; so is its mask."""
    y, x = np.mgrid[:side, :side]
    near = np.min([np.hypot(x - px, y - py) for px, py in SPOTS], axis=0) <= 4
    image = np.where(near[..., None], 255, 0).repeat(3, axis=2).astype(np.uint8)
    mask = np.where(near, 255, 0).astype(np.uint8)
    return {
        "number": 3, "sample_id": "3", "label": 1, "method_number": 1, "compression": "c23", "enlarge": 1.3,
        "image": image, "mask": mask, "mask_magnitude": mask // 2, "noise": mask, "landmarks": SPOTS.ravel().tolist(),
        "landmark_scheme": "five", "crop_matrix": [1.0, 0, 0, 0, 1, 0], "crop_box": [0, 0, side, side],
        "image_size": [side, side],
    }  # fmt: skip


@given(
    name=st.sampled_from(GEOMETRY),
    number=st.integers(0, 40),
    flip=st.booleans(),
    view=st.sampled_from(("resize", "crop")),
)
@settings(max_examples=60)
def test_mask_magnitude_and_landmarks_go_where_the_pixels_go(
    name: str, number: int, flip: bool, view: Literal["resize", "crop"]
) -> None:
    recipe = Recipe(augment={name: {"p": 1, "severity": [1, 3]}}, flip=flip, view=view)
    found = prepare({**spotted(), "number": number}, recipe, 80, train=True, epoch=1)
    bright = found["image"][..., 0] > 127
    forged = found["mask"] > 0
    # At most the pixels of an edge are on the other side of a threshold.
    assert np.count_nonzero(bright ^ forged) < 0.35 * np.count_nonzero(forged)
    assert np.count_nonzero((found["mask_magnitude"] > 63) ^ forged) < 0.35 * np.count_nonzero(forged)
    assert "noise" not in found
    inside = [(x, y) for x, y in found["points"] if 3 < x < 77 and 3 < y < 77]
    assert inside
    assert all(bright[int(y), int(x)] for x, y in inside)


def test_a_mirrored_landmark_is_the_other_side_s() -> None:
    recipe = Recipe(flip=True)
    turned = next(
        found for number in range(20)
        if (found := prepare({**spotted(), "number": number}, recipe, 96, train=True))["points"][2, 0] != 47.5
    )  # fmt: skip
    # The scheme "five": right eye, left eye, nose, right and left corner of the mouth.
    there = np.array([[95 - 66, 32], [95 - 30, 34], [95 - 47, 50], [95 - 60, 70], [95 - 36, 68]]) + 0.5
    np.testing.assert_allclose(turned["points"], there)
    contour = {**spotted(), "landmarks": np.tile(SPOTS, (14, 1))[:68].ravel().tolist(), "landmark_scheme": "ibug-68"}
    plain, other = (
        prepare({**contour, "number": number}, recipe, 96, train=True)["points"] for number in _unlike(recipe)
    )
    np.testing.assert_allclose(other, (plain * (-1, 1) + (96, 0))[list(IBUG_68.mirrored)])


def _unlike(recipe: Recipe) -> tuple[int, int]:
    """A sample that is not mirrored, and one that is."""
    mirrored = [prepare({**spotted(), "number": n}, recipe, 96, train=True)["points"][2, 0] != 47.5 for n in range(20)]
    return mirrored.index(False), mirrored.index(True)


@pytest.mark.parametrize("name", ["gaussian-blur", "gaussian-noise", "jpeg", "hue", "downscale"])
def test_what_changes_levels_leaves_the_mask_alone(name: str, face_photo: Any) -> None:
    row = {**spotted(), "image": np.ascontiguousarray(face_photo[100:196, 180:276])}
    found = prepare(row, Recipe(augment={name: {"p": 1.0}}, flip=False), 96, train=True)
    assert not np.array_equal(found["image"], row["image"])
    np.testing.assert_array_equal(found["mask"], row["mask"])
    np.testing.assert_allclose(found["points"], SPOTS + 0.5)
    still = prepare(row, Recipe(augment={name: {"p": 1.0}}, flip=False), 96, train=False)
    np.testing.assert_array_equal(still["image"], row["image"])


def test_chance_follows_from_seed_epoch_sample_and_time_alone() -> None:
    recipe = make_recipe("fn3-seg", {"augment": "light", "flip": False, "view": "resize"})

    def made(**more: Any) -> bytes:
        seed, epoch = more.pop("seed", 0), more.pop("epoch", 0)
        found = prepare({**spotted(), **more}, recipe.model_copy(update={"seed": seed}), 96, train=True, epoch=epoch)
        return b"".join(found[name].tobytes() for name in ("image", "mask"))

    assert made() == made()
    others = [made(number=number, time=time, epoch=epoch) for number in range(6) for time in (0, 1) for epoch in (0, 1)]
    assert len(set(others)) > 18
    # One more augmentation or another chance does not change what existing recipes draw.
    assert Recipe().augment == {}
    assert read_augment(None) == read_augment("none") == Recipe(augment=read_augment({})).augment == {}


def test_frames_of_a_sequence_share_all_but_the_noise_of_pixels() -> None:
    frames = [spotted() for _ in range(3)]
    row = {**spotted(), "frames": frames}
    turned = prepare(row, Recipe(augment={"rotate": {"p": 1}}), 96, train=True)["image"]
    assert np.array_equal(turned[0], turned[1])
    assert not np.array_equal(turned[0], frames[0]["image"])
    noisy = prepare(row, Recipe(augment={"gaussian-noise": {"p": 1}}), 96, train=True)["image"]
    assert not np.array_equal(noisy[0], noisy[1])


def test_a_cutout_hides_pixels_and_their_mask_but_never_most_of_a_forgery() -> None:
    row = spotted()
    planes = {name: row[name] for name in ("image", "mask")}
    hidden = 0
    for number in range(200):
        spec = read_augment({"cutout": {"p": 1, "share": [0.3, 0.5]}})
        found, points = augmented(planes, SPOTS, spec, (0, 0, number))
        gone = planes["mask"].astype(bool) & ~found["mask"].astype(bool)
        assert gone.sum() <= MOST_HIDDEN * planes["mask"].astype(bool).sum()
        assert not found["image"][gone].any()
        np.testing.assert_array_equal(found["mask"] > 0, found["image"][..., 0] > 0)
        assert points is SPOTS
        hidden += bool(gone.any())
    assert hidden > 100


def test_a_forgery_that_would_leave_the_picture_stays_in_it() -> None:
    corner = np.zeros((96, 96), np.uint8)
    corner[:2, :2] = 255
    planes = {"image": np.full((96, 96, 3), 90, np.uint8), "mask": corner}
    spec = read_augment({"translate": {"p": 1}})
    results = [augmented(planes, None, spec, (0, 0, number))[0]["mask"].any() for number in range(30)]
    assert all(results)


def test_chances_are_kept_and_ranges_too() -> None:
    spec = read_augment(
        {"jpeg": {"p": 0.3, "quality": [40, 100]}, "rotate": {"p": 1, "angle": [2, 10]}, "perturb": 0.5}
    )
    drawn = [draw_steps(spec, np.random.default_rng(number)) for number in range(600)]
    jpeg = [step.params["quality"] for steps in drawn for step in steps[:2] if step.name == "jpeg"]
    assert 130 < len([s for s in drawn if any(one.params.get("quality", 0) >= 31 for one in s)]) < 300
    assert min(jpeg) < 60
    angles = np.array([steps[0].params["angle"] for steps in drawn])
    assert ((abs(angles) >= 2) & (abs(angles) <= 10)).all()
    assert 200 < np.count_nonzero(angles < 0) < 400
    names = {step.name for steps in drawn for step in steps[1:]}
    assert len(names) > 30


def test_settings_have_one_form_however_they_are_given() -> None:
    assert read_augment({"gaussian_blur": 0.2}) == {"gaussian-blur": {"p": 0.2}}
    changed = make_recipe("fn3-seg", {"augment": "light", "augment.jpeg": 0, "augment.gaussian_blur": 1})
    assert "jpeg" not in changed.augment
    assert changed.augment["gaussian-blur"] == {"p": 1.0}
    assert changed.augment.keys() == SETS["light"].keys() - {"jpeg"}
    again = Recipe(**changed.model_dump(mode="json"))
    assert list(again.augment.items()) == list(changed.augment.items())
    assert summary(read_augment({"jpeg": {"p": 0.5, "quality": [40, 100]}})) == "jpeg 0.5 (quality 40 to 100)"
    # A training of before goes on: it had none of these.
    old = Recipe().model_dump(mode="json")
    new = {"recipe": dict(old)}
    for name in ("augment", "selfblend", "pairs"):
        del old[name]
    assert differing({"recipe": old}, new) == {}
    assert differing({"recipe": old}, {"recipe": {**new["recipe"], "pairs": True}}) == {"pairs": "False -> True"}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("ligth", "did you mean 'light'"),
        ({"jpg": 0.5}, "unknown augmentation 'jpg': did you mean 'jpeg'"),
        ({"jpeg": 2}, "augment.jpeg: needs a chance from 0 to 1"),
        ({"jpeg": {"p": 0.5, "quality": [90, 40]}}, r"augment.jpeg: quality must be \[FROM, TO\]"),
        ({"jpeg": {"p": 0.5, "severity": [0, 9]}}, "severity must be .*1 to 5"),
        ({"contrast": {"p": 0.5, "factor": [0, 1]}}, "augment.contrast: cannot be applied"),
        ({"cutout": {"p": 0.5, "angle": [0, 1]}}, "unknown parameter of augment.cutout 'angle'"),
        (3, "augment: must be one of none, light, deepfakebench"),
    ],
)  # fmt: skip
def test_bad_settings_are_refused_before_any_sample_is_read(value: Any, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        make_recipe("fn3-seg", {"augment": value})


def test_a_batch_brings_landmarks_where_they_were_read() -> None:
    recipe = Recipe(flip=False)
    batch = collate([prepare(row, recipe, 48, train=True) for row in (spotted(), {**spotted(), "landmarks": None})])
    np.testing.assert_allclose(batch["landmarks"][0], (SPOTS + 0.5) / 2)
    assert batch["landmarks"][1] is None
