"""Batches of whole units: pairs at one frame, reals with their blends, over ranks, epochs and formats."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forgeprep.errors import UsageError
from forgeprep.training.augment import read_augment
from forgeprep.training.batches import Codes, deal_units, make_batches
from forgeprep.training.blends import PLACES, blended, read_rows, with_blend_classes
from forgeprep.training.data import KEPT, Samples, load_batches
from forgeprep.training.recipe import Recipe, make_recipe
from forgeprep.training.sample_index import Ints, load_index, read_values
from forgeprep.training.transforms import prepare
from tests.conftest import UInt8
from tests.helpers.shards_run import METHODS, make_row, write_shard, write_tables

FRAMES = (0, 12, 24)
LOST = {("real", 1, 12), (METHODS[0], 2, 0), (METHODS[1], 2, 0), (METHODS[0], 3, 24)}
"""Samples that were dropped: a real, whose fakes are alone then; all fakes of a real; one of two fakes."""
ANGLES = np.linspace(0, 2 * np.pi, 68, endpoint=False)
LANDMARKS = np.stack([527 + 24 * np.cos(ANGLES), 130 + 30 * np.sin(ANGLES)], axis=1).ravel().tolist()


def rows_of(photo: UInt8, sources: range) -> list[dict[str, Any]]:
    rows = []
    for source in sources:
        for method in (None, *METHODS):
            for frame in FRAMES:
                if (method or "real", source, frame) not in LOST:
                    row = make_row(photo, "train", source, method, frame)
                    known = source != 4 or frame != 24  # A real without landmarks.
                    rows.append(row | ({"landmarks": LANDMARKS, "landmark_scheme": "ibug-68"} if known else {}))
    return rows


@pytest.fixture(scope="module", params=["parquet", "webdataset"])
def out(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, face_photo: UInt8) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    parts = [range(0, 3), range(3, 6)]
    records = [
        write_shard(folder, f"train/ffpp-train-{at:05d}", rows_of(face_photo, part), formats=(request.param,))
        for at, part in enumerate(parts)
    ]
    write_tables(folder, records)
    return folder


def named(out: Path) -> list[tuple[str, int, int]]:
    """Of each sample its method, its source and its frame of the original."""
    rows = read_values(load_index([out], "train"), ["clip_id", "method", "frame_index"])
    return [(r["method"] or "real", int(r["clip_id"].split("/")[-1][:3]), r["frame_index"]) for r in rows]


def test_a_real_and_its_fakes_of_one_frame_come_together(out: Path) -> None:
    index, names = load_index([out], "train"), named(out)
    made = make_batches(index, Recipe(pairs=True, batch=7), where="shards")
    wanted: dict[tuple[int, int], set[str]] = defaultdict(set)
    for method, source, frame in names:
        wanted[source, frame].add(method)
    whole = {key: kinds for key, kinds in wanted.items() if "real" in kinds and len(kinds) > 1}
    batches = made.of_epoch(0)
    seen: dict[tuple[int, int], set[str]] = defaultdict(set)
    for batch in batches:
        inside: dict[tuple[int, int], list[str]] = defaultdict(list)
        for method, source, frame in (names[number] for number in Codes.of(batch, len(index)).numbers):
            inside[source, frame].append(method)
        for key, kinds in inside.items():
            assert key not in seen
            assert kinds[0] == "real"
            assert set(kinds) == whole[key]
            seen[key] = set(kinds)
        assert len(batch) <= 7
    assert len(whole) == 16
    # What is left over is less than a batch.
    assert sum(map(len, whole.values())) - sum(map(len, seen.values())) < 7
    assert made.notes == (
        "shards: pairs: 1 real and 2 fakes of train have no partner at the same frame: they are left out",
    )
    orders = [np.concatenate(made.of_epoch(epoch)) for epoch in (0, 0, 1)]
    assert np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])
    ranks = [made.of_epoch(0, 2, rank) for rank in (0, 1)] if (made.recipe.batch // 2) >= 3 else []
    assert len({len(one) for one in ranks}) == 1
    used = [number for one in ranks for batch in one for number in batch.tolist()]
    assert len(used) == len(set(used))
    with pytest.raises(UsageError, match=r"batch: 2 cannot hold the 3 samples .* give --set batch=3 or more"):
        replace(made, recipe=Recipe(batch=2)).of_epoch(0)
    with pytest.raises(UsageError, match=r"batch: 2 on each of 2 processes .* give --set batch=6"):
        replace(made, recipe=Recipe(batch=4)).of_epoch(0, 2, 1)


@given(
    sizes=st.lists(st.integers(1, 5), max_size=60), batch=st.integers(5, 11), ranks=st.integers(1, 3)
)  # fmt: skip
@settings(max_examples=150)
def test_units_are_dealt_whole_and_alike_over_ranks(sizes: list[int], batch: int, ranks: int) -> None:
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    unit_of = np.repeat(np.arange(len(sizes)), sizes)
    dealt = [deal_units(np.arange(starts[-1]), starts, batch, ranks=ranks, rank=rank) for rank in range(ranks)]
    assert len({len(one) for one in dealt}) == 1
    seen: list[int] = []
    for one in dealt:
        for at, codes in enumerate(one):
            assert 0 < len(codes) <= batch
            units = np.unique(unit_of[codes])
            assert len(codes) == sum(sizes[unit] for unit in units)
            # The next unit would not have gone in.
            if at + 1 < len(one):
                assert len(codes) + sizes[units[-1] + 1] > batch
            seen += units.tolist()
    assert len(seen) == len(set(seen))
    if ranks == 1:
        assert sum(sizes) - sum(sizes[unit] for unit in seen) < batch


def test_reals_come_with_their_blends(out: Path) -> None:
    plain = load_index([out], "train")
    index = with_blend_classes(plain)
    assert index.methods == (*plain.methods, "SelfBlended")
    assert index.classes["family"] == ("real", "graphics")
    assert index.classes["forgery"] == ("real", "identity_remained", "identity_replaced")
    recipe = Recipe(selfblend=1, batch=8, augment=read_augment("light"), steps=30, real_repeat=2.0)
    made = make_batches(index, recipe, where="shards")
    told = "1 of 17 reals in train get no blend: without landmarks, or a face of a fake"
    assert made.notes == (f"shards: selfblend: {told}",)
    batches = made.of_epoch(3)
    assert len(batches) == 30
    codes = Codes.of(np.concatenate(batches), len(index))
    assert made.blendable is not None
    reals = np.flatnonzero(~codes.blends & made.blendable[codes.numbers])
    np.testing.assert_array_equal(np.flatnonzero(codes.blends), reals + 1)
    np.testing.assert_array_equal(codes.numbers[reals], codes.numbers[reals + 1])
    # No sample comes twice as the same: each time has a draw of its own, over all passes of the epoch. So it is where
    # nothing but mirroring and cutting is drawn.
    alone = make_batches(plain, Recipe(batch=8, steps=30, real_repeat=4.0), where="shards").of_epoch(3)
    for dealt in (batches, alone):
        assert len(set(np.concatenate(dealt).tolist())) == sum(map(len, dealt)) > 2 * len(index)
    half = np.concatenate(make_batches(index, Recipe(selfblend=0.5, batch=8, steps=100), where="x").of_epoch(0))
    share = np.mean(Codes.of(half, len(index)).blends) * len(half) / np.sum(index.label[half % len(index)] == 0)
    assert 0.25 < share < 0.42  # Half of the reals have one: a third of reals and blends.


def test_the_real_of_a_blend_is_its_target_and_no_thread_changes_that(out: Path) -> None:
    index = with_blend_classes(load_index([out], "train"))
    recipe = Recipe(selfblend=1, batch=6, pairs=True)
    made = make_batches(index, recipe, where="x")
    samples = Samples(index, (*KEPT, *PLACES))
    batches = made.of_epoch(2)

    def read(codes: Ints) -> list[dict[str, Any]]:
        return read_rows(samples, codes, recipe, 2, index.methods)

    plain = {row["sample_id"]: row for row in samples.read(range(len(index)))}
    changed = 0
    for rows in load_batches(batches, read, 0):
        real: dict[str, Any] = {}
        for row in rows:
            if row["method"] != "SelfBlended":
                real = row if row["label"] == 0 else real
                continue
            assert row["number"] == real["number"]
            assert (row["label"], row["forgery"], row["family"]) == (1, "identity_remained", "graphics")
            assert index.methods[row["method_number"]] == "SelfBlended"
            assert row["sample_id"] == real["sample_id"].replace("c23/original/", "c23/SelfBlended/original__")
            outside = row["mask"] == 0
            np.testing.assert_array_equal(row["image"][outside], real["image"][outside])
            np.testing.assert_array_equal(outside, row["mask_magnitude"] == 0)
            assert not real["mask"].any()
            assert row["noise"] is None
            assert real["noise"] is None
            changed += not np.array_equal(real["image"], plain[real["sample_id"]]["image"])
    assert 0 < changed < 17
    threads = load_batches(batches, read, 3)
    for one, other in zip(load_batches(batches[1:], read, 0), list(threads)[1:], strict=True):
        for row, again in zip(one, other, strict=True):
            assert row["sample_id"] == again["sample_id"]
            np.testing.assert_array_equal(row["image"], again["image"])
    # A lone real comes in pairs where its blend is drawn; lone fakes do not.
    small = make_batches(index, recipe.model_copy(update={"batch": 4}), where="x")
    there = {row["sample_id"] for batch in small.of_epoch(0) for row in read(batch)}
    assert "ffpp/c23/SelfBlended/original__002/0/000000" in there
    assert not any("001_002/0/000012" in name for name in there)
    with pytest.raises(UsageError, match="batch: 3 cannot hold the 4 samples"):
        make_batches(index, recipe.model_copy(update={"batch": 3, "selfblend": 0.01}), where="x").of_epoch(0)


def test_what_cannot_be_is_told_in_a_line(tmp_path: Path, face_photo: UInt8) -> None:
    rows = [make_row(face_photo, "train", 0, None, frame) for frame in FRAMES]
    write_tables(tmp_path, [write_shard(tmp_path, "train/ffpp-train-00000", rows, formats=("parquet",))])
    index = load_index([tmp_path], "train")
    with pytest.raises(
        UsageError, match=r"shards: selfblend: .* need landmarks .*, and they have none; .*--landmarks dlib-68"
    ):
        make_batches(index, Recipe(selfblend=0.5), where="shards")
    with pytest.raises(UsageError, match="shards: pairs: no real of train has a fake at the same frame"):
        make_batches(index, Recipe(pairs=True), where="shards")
    with pytest.raises(UsageError, match="real_repeat: pairs=true"):
        make_recipe("fn3-seg", {"pairs": True, "real_repeat": 4})
    assert make_recipe("two-stream", {"pairs": True}).real_repeat == 1
    assert make_recipe("fn3-seg", {"methods": "none"}).methods == ()


def test_the_frames_of_a_sequence_are_blended_alike(face_photo: UInt8) -> None:
    known = {"landmarks": LANDMARKS, "landmark_scheme": "ibug-68", "number": 0}
    frame = make_row(face_photo, "train", 0, None, 0) | known
    row = {**frame, "frames": [frame, frame, frame]}
    found = blended(row, (0, 0, 0))
    assert found is not None
    real, fake = found
    assert (real["label"], fake["label"], fake["method"]) == (0, 1, "SelfBlended")
    images = [one["image"] for one in fake["frames"]]
    assert all(np.array_equal(image, images[0]) for image in images)
    assert not np.array_equal(images[0], real["frames"][0]["image"])
    clip = prepare(fake, Recipe(), 64, train=True)
    assert clip["image"].shape == (3, 64, 64, 3)
    # Where one frame cannot be blended, the sequence is not.
    assert blended({**row, "frames": [frame, {**frame, "landmarks": None}, frame]}, (0, 0, 0)) is None
