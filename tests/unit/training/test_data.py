"""Samples for training: none lost, none twice, and picture, mask and noise always together."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forgeprep.errors import UsageError, VerifyError
from forgeprep.shards.read import shard_paths
from forgeprep.training.data import Samples, deal, epoch_order, load_batches
from forgeprep.training.evaluation.metrics import (
    PixelCounts,
    best_threshold,
    clip_means,
    confusion,
    equal_error_rate,
    recalls,
    verdict_figures,
)
from forgeprep.training.evaluation.tables import clip_figures
from forgeprep.training.recipe import Recipe, make_recipe
from forgeprep.training.run_folder import val_warnings
from forgeprep.training.sample_index import Ints, SampleIndex, load_index, refuse_same_samples
from forgeprep.training.transforms import collate, prepare
from tests.conftest import UInt8
from tests.helpers.shards_run import make_run


def index_of(groups: list[int], labels: list[int]) -> SampleIndex:
    """An index of row groups of these lengths; labels repeat."""
    count = sum(groups)
    label = np.array([labels[i % len(labels)] for i in range(count)], np.int64)
    group = np.repeat(np.arange(len(groups)), groups)
    zeros = np.zeros(count, np.int64)
    return SampleIndex((Path("x"),), zeros, group, zeros, group, label, label, (None, "a"), frozenset(), 1.3)


@given(
    groups=st.lists(st.integers(1, 40), min_size=1, max_size=30),
    ranks=st.integers(1, 3),
    batch=st.integers(1, 9),
    seed=st.integers(0, 3),
)
def test_every_sample_comes_once_over_ranks(groups: list[int], ranks: int, batch: int, seed: int) -> None:
    index = index_of(groups, [0, 1])
    order = epoch_order(index, seed=seed, epoch=1)
    assert sorted(order) == list(range(len(index)))
    shares = [deal(order, batch, ranks=ranks, rank=rank, drop_last=False) for rank in range(ranks)]
    assert sorted(np.concatenate([b for share in shares for b in share]).tolist()) == list(range(len(index)))
    full = [deal(order, batch, ranks=ranks, rank=rank) for rank in range(ranks)]
    assert len({len(share) for share in full}) == 1
    used = [number for share in full for b in share for number in b.tolist()]
    assert len(used) == len(set(used))
    assert all(len(b) == batch for share in full for b in share)
    assert len(index) - len(used) < batch * ranks + ranks


def test_threads_keep_the_order_and_stop_with_their_reader() -> None:
    batches = [np.array([number]) for number in range(200)]

    def slow(batch: Ints) -> int:
        time.sleep(0.002 * (int(batch[0]) % 3))
        return int(batch[0])

    for threads in (0, 1, 4):
        assert list(load_batches(batches, slow, threads)) == list(range(200))
    made: list[int] = []
    reader = load_batches(batches, lambda batch: made.append(int(batch[0])), 2)
    next(reader)
    reader.close()  # type: ignore[attr-defined]
    assert len(made) < 20

    def broken(batch: Ints) -> int:
        raise VerifyError(f"damaged {batch[0]}")

    with pytest.raises(VerifyError, match="damaged 0"):
        list(load_batches(batches, broken, 3))


def test_an_order_is_another_in_another_epoch_and_mixes_row_groups() -> None:
    index = index_of([50] * 40, [0, 1])
    one, again, other = (epoch_order(index, seed=0, epoch=epoch) for epoch in (0, 0, 1))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    first = index.group[one[:200]]
    assert len(set(first.tolist())) == 8
    assert np.mean(np.diff(one) == 1) < 0.05


def test_reals_come_as_often_as_asked() -> None:
    index = index_of([100] * 10, [0, 1, 1, 1])
    order = epoch_order(index, seed=0, epoch=0, real_repeat=4.0)
    assert np.bincount(index.label[order]).tolist() == [1000, 750]
    order = epoch_order(index, seed=0, epoch=0, real_repeat=2.5)
    assert abs(int(np.sum(index.label[order] == 0)) - 625) < 30
    balanced = index.label[epoch_order(index, seed=0, epoch=0, balance=True)]
    assert abs(balanced.mean() - 0.5) < 0.03


@pytest.mark.parametrize("formats", [("parquet",), ("webdataset",)])
def test_samples_are_read_by_number_from_either_format(formats: Any, tmp_path: Path, face_photo: UInt8) -> None:
    out = make_run(tmp_path, face_photo, formats=formats)
    index = load_index([out], "train", ["mask"])
    assert index.methods[0] is None
    rows = Samples(index).read(range(len(index)))
    assert [row["label"] for row in rows] == index.label.tolist()
    assert [row["method"] for row in rows] == [index.methods[code] for code in index.method]
    assert len({row["sample_id"] for row in rows}) == len(rows) > 4
    assert all(row["image"].shape[2] == 3 and row["mask"].ndim == 2 for row in rows)


def test_methods_keep_their_numbers_and_can_be_chosen(tmp_path: Path, face_photo: UInt8) -> None:
    out = make_run(tmp_path, face_photo)
    everything = load_index([out], "train")
    first, *others = [name for name in everything.methods if name]
    chosen = load_index([out], "train", only=[first])
    assert chosen.methods == (None, first)
    assert len(chosen) == np.count_nonzero((everything.method == 0) | (everything.method == 1))
    kept = load_index([out], "train", numbered=(None, "Unseen", first))
    assert kept.methods == (None, "Unseen", first, *others)
    assert np.count_nonzero(kept.method == 2) == np.count_nonzero(everything.method == 1)
    with pytest.raises(UsageError, match="unknown method"):
        load_index([out], "train", only=["DeepFace"])


def test_shards_without_what_a_detector_needs_are_told(tmp_path: Path, face_photo: UInt8) -> None:
    out = make_run(tmp_path, face_photo, stages=("frames", "crop"))
    with pytest.raises(UsageError, match="has no column 'mask'; make the shards with --stages crop,…,mask"):
        load_index([out], "train", ["mask"])
    with pytest.raises(UsageError, match="no shards of the split 'test'"):
        load_index([tmp_path / "nothing"], "test")
    cut = shard_paths(shutil.copytree(out, tmp_path / "cut"), "train")[0]
    cut.write_bytes(cut.read_bytes()[:-100])
    with pytest.raises(VerifyError, match=f"^{cut}: .*; forgeprep verify tells more$"):
        load_index([tmp_path / "cut"], "train")
    # Without a val, what makes one is told: of this dataset an option, else another run's.
    with pytest.raises(UsageError, match=r"no shards of the split .val.; .* give a run that has one with --shards too"):
        load_index([out], "val")
    for config, told in (
        ({"dataset": "celebdf-v2"}, "--option val=0.2"),
        ({"splits": ["train"]}, "--splits train,val"),
    ):
        document = json.loads((out / "run.json").read_text())
        (out / "run.json").write_text(json.dumps({**document, "config": config}))
        with pytest.raises(UsageError, match=told):
            load_index([out], "val")
    assert val_warnings([out]) == []
    shutil.copytree(out / "shards/train", tmp_path / "other/shards/val")
    assert val_warnings([out, tmp_path / "other"]) == [
        f"{out}: no val; the best state and the threshold are chosen on that of {tmp_path / 'other'} alone"
    ]


def sample(side: int, number: int = 0, **more: Any) -> dict[str, Any]:
    """A sample whose picture holds its own coordinates, and so do mask and noise."""
    y, x = np.mgrid[:side, :side].astype(np.uint8)
    base = {
        "number": number, "sample_id": str(number), "label": 1, "method_number": 1, "compression": "c40",
        "enlarge": 2.0, "image": np.dstack([x, y, np.zeros_like(x)]), "noise": y,
        "mask": np.where(x > side // 2, 255, 0).astype(np.uint8),
    }  # fmt: skip
    return base | more


@given(number=st.integers(0, 50), epoch=st.integers(0, 3), flip=st.booleans())
def test_picture_mask_and_noise_are_cut_and_mirrored_together(number: int, epoch: int, flip: bool) -> None:
    recipe = Recipe(view="crop", flip=flip)
    found = prepare(sample(100, number), recipe, 40, train=True, epoch=epoch)
    x, y = found["image"][..., 0], found["image"][..., 1]
    assert x.shape == (40, 40)
    np.testing.assert_array_equal(found["mask"] > 0, x > 50)
    np.testing.assert_array_equal(found["noise"], y)
    assert abs(int(x[0, 1]) - int(x[0, 0])) == 1
    assert flip or x[0, 1] > x[0, 0]
    again = prepare(sample(100, number), recipe, 40, train=True, epoch=epoch)
    np.testing.assert_array_equal(found["image"], again["image"])


def test_what_is_judged_is_not_drawn() -> None:
    whole = prepare(sample(100), Recipe(view="crop", flip=True), 40, train=False)
    np.testing.assert_array_equal(whole["image"], sample(100)["image"])
    small = prepare(sample(100), Recipe(view="resize"), 50, train=False)
    assert small["image"].shape == (50, 50, 3)
    assert set(np.unique(small["mask"])) == {0, 255}
    assert "noise" not in small
    kept = prepare(sample(100), Recipe(view="resize"), 100, train=False)
    np.testing.assert_array_equal(kept["noise"], sample(100)["noise"])


def test_the_middle_of_a_larger_crop_is_the_smaller_crop() -> None:
    found = prepare(sample(200), Recipe(view="resize", enlarge=1.3), 130, train=False)
    assert found["image"].shape == (130, 130, 3)
    np.testing.assert_array_equal(found["image"][0, 0], [35, 35, 0])
    np.testing.assert_array_equal(found["noise"], found["image"][..., 1])


def test_a_batch_says_what_is_absent_and_which_noise_level_counts() -> None:
    batch = collate([sample(8), sample(8, 1, mask=None, noise=None, compression="c23")])
    assert batch["has_mask"].tolist() == [True, False]
    assert batch["mask"][1].max() == 0
    assert "noise" not in batch
    assert batch["sigma"].tolist() == [10.0, 5.0]
    assert batch["image"].shape == (2, 3, 8, 8)


def test_recipes_follow_the_papers_and_what_is_given() -> None:
    assert make_recipe("fn3-seg", {}).lr == 1e-3
    assert make_recipe("two-stream", {}).real_repeat == 4
    assert make_recipe("local-similarity", {}).steps == 200
    assert make_recipe("cael", {"batch": 3, "lr": None}).batch == 3
    with pytest.raises(UsageError, match="unknown setting 'lrr'"):
        make_recipe("cael", {"lrr": 1})
    with pytest.raises(UsageError, match="lr: must be above 0"):
        make_recipe("cael", {"lr": -1})


def test_figures_against_hand_counts() -> None:
    labels, scores = [0, 0, 1, 1], [0.1, 0.6, 0.4, 0.9]
    figures = verdict_figures(labels, scores)
    assert figures == {"acc": 0.5, "auc": 0.75, "eer": 0.5, "ap": pytest.approx((1 + 2 / 3) / 2)}
    assert verdict_figures(labels, scores, 0.3)["acc"] == 0.75
    assert np.isnan(verdict_figures([1, 1], [0.2, 0.3])["auc"])
    assert equal_error_rate([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]) == 0
    assert equal_error_rate([0] * 4 + [1] * 4, [1, 2, 3, 6, 5, 7, 8, 9]) == pytest.approx(0.25)
    assert clip_means(["b", "a", "b"], [1, 5, 3]) == (["a", "b"], pytest.approx(np.array([5.0, 2.0])))
    assert best_threshold([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.9]) == pytest.approx(0.4)
    table = confusion([0, 0, 1, 2], [0, 1, 1, 1], 3)
    assert table.tolist() == [[1, 1, 0], [0, 1, 0], [0, 1, 0]]
    assert recalls(table).tolist() == [0.5, 1.0, 0.0]


def test_a_clip_that_is_forged_otherwise_is_no_real_clip() -> None:
    """Of b, forged in part by another method, the unforged frames count as reals, and the clip in no figure."""
    clips = [
        ("real", [0, 0], [0.1, 0.3]),
        ("other", [0], [0.6]),
        ("a", [1, 0], [0.9, 0.7]),
        ("b", [0, 1, 0], [0.95] * 3),
    ]
    rows = [{"clip_id": name, "label": label} for name, labels, _ in clips for label in labels]
    scores = np.array([score for _, _, own in clips for score in own])
    chosen = np.array([row["label"] == 0 or row["clip_id"] == "a" for row in rows])
    found = clip_figures(rows, scores, chosen, 0.65)
    assert (found["clips"], found["auc"], found["acc"]) == (3, 1.0, 1.0)
    assert clip_figures(rows, scores, np.ones(len(rows), bool), 0.5)["clips"] == 4


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=12))
def test_the_threshold_of_a_map_is_finite_and_no_other_is_better(values: list[tuple[bool, int]]) -> None:
    labels, scores = (np.array(part) for part in zip(*values, strict=True))
    threshold = best_threshold(labels, scores / 5)
    assert np.isfinite(threshold)
    if len(set(labels)) == 2:
        reached = [
            np.mean((scores / 5 > cut)[labels]) - np.mean((scores / 5 > cut)[~labels])
            for cut in (threshold, *(scores / 5 - 0.1))
        ]
        assert reached[0] >= max(reached) - 1e-9


def test_pixel_figures_against_hand_counts() -> None:
    truth = np.array([[1, 1, 0, 0]], bool)
    counts = PixelCounts()
    counts.add(truth, np.array([[1, 0, 1, 0]], bool))
    counts.add(np.zeros((1, 4), bool), np.array([[0, 0, 0, 1]], bool))
    assert counts.figures() == {
        "fg_iou": pytest.approx(1 / 4), "bg_iou": pytest.approx(4 / 7), "miou": pytest.approx((1 / 4 + 4 / 7) / 2),
        "pixel_f1": pytest.approx(2 / 5), "image_iou": pytest.approx(1 / 3),
    }  # fmt: skip
    reals = PixelCounts()
    reals.add(np.zeros((2, 2), bool), np.array([[1, 0], [0, 0]], bool))
    figures = reals.figures()
    assert figures["bg_iou"] == figures["miou"] == 0.75
    assert np.isnan(figures["fg_iou"])


def test_runs_that_hold_the_same_samples_are_refused_with_their_number(tmp_path: Path, face_photo: UInt8) -> None:
    one, other = make_run(tmp_path / "one", face_photo, size=32), make_run(tmp_path / "other", face_photo, size=32)
    refuse_same_samples([one])
    with pytest.raises(UsageError, match=r"one and .*other hold 18 of the same samples; leave one out"):
        refuse_same_samples([one, other])
    for path in other.glob("shards/train/*"):
        path.unlink()
    with pytest.raises(UsageError, match="hold 9 of the same samples"):
        refuse_same_samples([one, other])
