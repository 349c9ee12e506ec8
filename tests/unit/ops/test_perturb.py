from __future__ import annotations

import json
import math
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from forgeprep.errors import UsageError
from forgeprep.media.frames import UInt8
from forgeprep.ops.perturb.catalogue import CATALOGUE, GROUPS, ORDER, SEVERITIES, Step, perturb, ready
from forgeprep.ops.perturb.draw import draw, parse, seeded
from forgeprep.report.perturbations import markdown_rows
from forgeprep.stages.base import Sample
from forgeprep.stages.perturb import PerturbParams, apply, check

MOVING = [name for name, entry in CATALOGUE.items() if entry.move is not None]

SIDES = st.integers(32, 300)


def portrait(photo: UInt8, height: int, width: int) -> UInt8:
    return np.ascontiguousarray(photo[:height, 80 : 80 + width])


def test_the_catalogue_is_as_documented() -> None:
    assert len(CATALOGUE) == 36
    assert {entry.group for entry in CATALOGUE.values()} == set(GROUPS) == set(ORDER)
    for entry in CATALOGUE.values():
        assert all(len(values) == len(SEVERITIES) for values in entry.levels.values())
    table = "\n".join(markdown_rows())
    assert table.count("\n") == len(CATALOGUE) + 1
    assert all(f"| {entry.group} | `{name}` |" in table for name, entry in CATALOGUE.items())


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(sorted(CATALOGUE)), st.sampled_from(SEVERITIES), SIDES, SIDES, st.integers(0, 99))
def test_any_perturbation_keeps_the_shape_and_repeats(
    face_photo: UInt8, name: str, severity: int, height: int, width: int, seed: int
) -> None:
    image = portrait(face_photo, height, width)
    before = image.copy()
    step = ready(name, severity, seeded(seed, "clip"))
    # What is recorded is all that is needed.
    again = Step(name, severity, json.loads(json.dumps(step.params)))
    first, second = (perturb(image, [one], seeded(seed, "sample"))[0] for one in (step, again))
    assert (first.shape, first.dtype) == (image.shape, np.uint8)
    assert (first == second).all()
    assert (image == before).all()


@pytest.mark.parametrize("group", GROUPS)
def test_a_higher_severity_goes_farther(face_photo: UInt8, group: str) -> None:
    image = portrait(face_photo, 201, 201)
    for name in [name for name, entry in CATALOGUE.items() if entry.group == group]:
        for seed in (0, 1):
            far = []
            for severity in SEVERITIES:
                step = ready(name, severity, seeded(seed, name))
                changed, _ = perturb(image, [step], seeded(seed, "sample"))
                far.append(np.abs(changed.astype(int) - image).mean())
            assert far == sorted(far), name
            assert far[0] > 0.3, name


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(MOVING), st.sampled_from(SEVERITIES), SIDES, SIDES, st.integers(0, 99), st.data())
def test_points_and_masks_go_where_the_pixels_go(
    name: str, severity: int, height: int, width: int, seed: int, data: st.DataObject
) -> None:
    x = data.draw(st.integers(width // 3, width - width // 3))
    y = data.draw(st.integers(height // 3, height - height // 3))
    image = np.zeros((height, width, 3), np.uint8)
    image[y - 1 : y + 2, x - 1 : x + 2] = 255
    region = np.zeros((height, width), np.uint8)
    region[height // 4 : height - height // 4, width // 4 : width - width // 4] = 255
    moved, (warp,) = perturb(image, [ready(name, severity, seeded(seed))], seeded(seed))
    # At the rim a part of the dot is lost, and its centre with it.
    (to_x, to_y) = warp.points(np.array([[x + 0.5, y + 0.5]]))[0]
    assume(4 < to_x < width - 4 and 4 < to_y < height - 4)
    bright = moved[..., 0].astype(float)
    rows, columns = (np.asarray(one) for one in np.indices(bright.shape))
    centre = np.array([(columns * bright).sum(), (rows * bright).sum()]) / bright.sum()
    assert np.abs(np.array([to_x, to_y]) - 0.5 - centre).max() < 0.6
    left, top, right, bottom = warp.box((x - 1.0, y - 1.0, x + 2.0, y + 2.0))
    lit = bright > 120
    if lit.any():
        assert left - 1 <= columns[lit].min() <= columns[lit].max() <= right
        assert top - 1 <= rows[lit].min() <= rows[lit].max() <= bottom
    mask = warp.mask(region)
    assert set(np.unique(mask)) == {0, 255}
    shown = warp.picture(np.repeat(region[..., None], 3, axis=2))[..., 0] >= 128
    assert np.count_nonzero(shown != (mask > 0)) <= 0.05 * np.count_nonzero(mask) + 8
    assert set(np.unique(warp.levels(region // 2))) <= {0, 127}


def test_the_shares_are_kept_and_mixtures_are_well_formed() -> None:
    recipe, count = parse("mixed:0.5,single:0.3"), 4000
    drawn = [draw(recipe, seeded(0, "clip", f"ffpp/{number}")) for number in range(count)]
    sizes = Counter(len(steps) for steps in drawn)
    assert set(sizes) == {0, 1, 2, 3, 4}
    for share, found in ((0.2, sizes[0]), (0.3, sizes[1]), (0.5, sizes[2] + sizes[3] + sizes[4])):
        assert abs(found - share * count) < 4 * math.sqrt(share * (1 - share) * count)
    for steps in drawn:
        places = [ORDER.index(CATALOGUE[step.name].group) for step in steps]
        assert places == sorted(set(places))
    used = Counter(step.name for steps in drawn for step in steps)
    assert set(used) == set(CATALOGUE)
    severities = Counter(step.severity for steps in drawn for step in steps)
    assert set(severities) == set(SEVERITIES)
    assert min(severities.values()) > 0.9 * max(severities.values())
    assert parse("forgerynet") == parse("mixed:0.98,single:0.01,clean:0.01")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("jpg:3", "unknown perturbation 'jpg': did you mean 'jpeg'?"),
        ("motion_blur", "did you mean 'motion-blur'?"),
        ("jpeg:9", "unknown severity '9' of jpeg: did you mean 'jpeg:5'?"),
        ("jpeg:2.4", "did you mean 'jpeg:2'?"),
        ("jpeg:hard", "unknown severity 'hard' of jpeg (known: 1 to 5)"),
        ("mixed:1.5", "mixed needs a share of the clips from 0 to 1"),
        ("mixed:0.9,single:0.2", "sum up to 1.1, more than 1"),
        ("single:0.1,single:0.2", "single is given twice"),
        ("jpeg:3,mixed:0.5", "give either names or shares"),
        ("forgerynet:3", "forgerynet stands alone"),
        (" , ", "--perturb is empty"),
    ],
)
def test_what_cannot_be_is_refused_with_the_nearest_name(text: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse(text)
    assert said in str(refused.value)


def crop_of(clip: str, frame: int, *, original: str | None = None, side: int = 120) -> Sample:
    """A crop at half the frame's resolution, with a white dot on gray where its one landmark is, in its mask."""
    rng = np.random.default_rng(frame)
    x, y = (int(value) for value in rng.integers(50, 70, 2))
    image, mask = np.full((side, side, 3), 60, np.uint8), np.zeros((side, side), np.uint8)
    image[y - 1 : y + 2, x - 1 : x + 2] = 255
    if original is not None:
        mask[y - 20 : y + 21, x - 20 : x + 21] = 255
    return Sample(
        sample_id=f"{clip}/0/{frame:06d}",
        dataset="own",
        split="train",
        source_id="a",
        clip_id=clip,
        original_id=original,
        frame_index=frame,
        original_frame=None,
        timestamp_s=None,
        track_id=0,
        label=int(original is not None),
        forgery="real" if original is None else "identity_replaced",
        method=None,
        family=None,
        compression=None,
        frame_size=(300, 300),
        face_box=(-30.0 + 2 * (x - 1), 40.0 + 2 * (y - 1), -30.0 + 2 * (x + 2), 40.0 + 2 * (y + 2)),
        crop_box=(-30, 40, -30 + 2 * side, 40 + 2 * side),
        enlarge=1.3,
        padding=(30, 0, 0, 0),
        detector="whole",
        detection="detected",
        detection_score=None,
        image=image,
        landmarks=[2 * (x + 0.5) - 30 - 0.5, 2 * (y + 0.5) + 40 - 0.5],
        columns={
            "mask": mask,
            "mask_fraction": float((mask > 0).mean()),
            "difference": mask // 2,
            "mask_magnitude": None,
        },
        original=image.copy(),
        companions={"mask": mask.copy()},
    )


@pytest.mark.parametrize("seed", range(4))
def test_all_that_lies_on_a_crop_moves_with_it(seed: int) -> None:
    sample = crop_of("a/fake", seed, original="a/real")
    apply([sample], PerturbParams(perturb="rotate,zoom,lens:2", perturb_seed=seed))
    row = sample.row()
    assert row["perturbation"].count("+") == 2
    bright = row["image"][..., 0] > 130
    y, x = np.argwhere(bright).mean(axis=0)
    expected = (np.array(row["landmarks"]) + 0.5 - (-30, 40)) / 2 - 0.5
    assert np.abs(expected - (x, y)).max() < 1
    middle = np.array(row["face_box"]).reshape(2, 2).mean(axis=0)
    assert np.abs(middle - row["landmarks"] - 0.5).max() < 2
    forged = np.argwhere(row["mask"] > 0)
    assert np.abs(forged.mean(axis=0) - (y, x)).max() < 1
    assert row["mask_fraction"] == len(forged) / row["mask"].size
    assert sample.original is not None
    assert (sample.original == row["image"]).all()
    assert abs(np.count_nonzero(row["difference"]) - len(forged)) < 0.1 * len(forged)
    assert (sample.companions["mask"] > 0).sum() == np.count_nonzero(row["difference"])


def test_a_forged_region_that_is_moved_out_is_a_drop_and_never_an_empty_mask() -> None:
    samples = [crop_of(f"a/{number}", 0, original="a/real") for number in range(8)]
    for sample in samples:
        sample.columns["mask"][:] = 0
        sample.columns["mask"][0, 0] = 255
    apply(samples, PerturbParams(perturb="zoom:5"))
    assert {sample.reason for sample in samples} == {"mask_lost"}


def test_a_clip_has_one_draw_and_pairs_can_share_it() -> None:
    kinds = {"real": None, "f": "real", "g": "real"}
    names = [(f"g{n}/{kind}", of and f"g{n}/{of}") for n in range(12) for kind, of in kinds.items()]
    for pairing in ("own", "shared"):
        samples = [crop_of(clip, frame, original=original) for clip, original in names for frame in (0, 1)]
        apply(samples, PerturbParams(perturb="single:1", perturb_pairing=pairing))
        drawn: dict[str, set[tuple[str | None, str]]] = defaultdict(set)
        for sample in samples:
            drawn[sample.clip_id].add((sample.perturbation, sample.columns["perturbation_params"]))
        assert all(len(draws) == 1 for draws in drawn.values())
        same = [drawn[f"g{n}/real"] == drawn[f"g{n}/f"] == drawn[f"g{n}/g"] for n in range(12)]
        assert all(same) if pairing == "shared" else not any(same)


def test_an_encoder_that_is_not_there_is_told_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("av.codecs_available", {"libx264", "mpeg4", "libvpx-vp9"})
    check(PerturbParams(perturb="h264:2,jpeg"))
    for recipe in ("jpeg,h265:1", "forgerynet"):
        with pytest.raises(UsageError, match="no encoder libx265"):
            check(PerturbParams(perturb=recipe))
