"""``forgeprep.load`` and ``forgeprep.torch.Samples``: what the shards hold, by number, for other people's trainers."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import forgeprep
from forgeprep.errors import UsageError
from forgeprep.shards.encode import UInt8
from forgeprep.shards.read import iter_rows, shard_paths
from tests.helpers.shards_run import make_run

SEQUENCES = Path(__file__).parents[1] / "data" / "run-schema-0-sequences"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, face_photo: UInt8) -> Path:
    return make_run(tmp_path_factory.mktemp("run") / "out", face_photo, size=48)


def test_load_gives_every_row_as_it_is_stored(out: Path) -> None:
    found = forgeprep.load(str(out))
    assert found.keys() == {"train", "test"}
    for split, samples in found.items():
        rows = [row for path in shard_paths(out, split) for row in iter_rows(path)]
        assert len(samples) == len(rows) == 9
        for got, row in zip(samples, rows, strict=True):
            assert got.keys() == row.keys()
            for name, value in row.items():
                assert np.array_equal(got[name], value) if isinstance(value, np.ndarray) else got[name] == value
    samples = pickle.loads(pickle.dumps(forgeprep.load(out, "train", ["label", "image"])))  # noqa: S301 -- its own
    assert list(samples[-1]) == ["label", "image"]
    assert [row["label"] for row in samples[2:5]] == [samples[number]["label"] for number in (2, 3, 4)]
    with pytest.raises(IndexError, match="there are 9 samples"):
        samples[9]


def test_what_is_not_there_is_said(out: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown column of this run 'maks': did you mean 'mask'"):
        forgeprep.load(out, "train", ["maks"])
    with pytest.raises(UsageError, match="no shards of the split 'val'"):
        forgeprep.load(out, "validation")
    with pytest.raises(UsageError, match="no shards of the split"):
        forgeprep.load(tmp_path)


@pytest.mark.parametrize("workers", [0, 1])
def test_torch_loads_batches_of_tensors(out: Path, workers: int) -> None:
    columns = ("image", "mask", "noise", "label", "method", "original_frame", "mask_provided")
    samples = forgeprep.torch.Samples(out, "train", columns, size=32)
    rows = [row for path in shard_paths(out, "train") for row in iter_rows(path)]
    order = forgeprep.torch.Shuffled(samples, seed=3)
    first, second = list(order), list(order)
    order.set_epoch(0)
    assert sorted(first) == sorted(second) == list(range(9))
    assert first == list(order) != second
    order.set_epoch(0)
    batches = list(DataLoader(samples, batch_size=3, sampler=order, num_workers=workers))
    assert len(batches) == 3
    for batch, numbers in zip(batches, np.array(first).reshape(3, 3), strict=True):
        assert (batch["image"].shape, batch["image"].dtype) == ((3, 3, 32, 32), torch.float32)
        assert batch["mask"].shape == batch["noise"].shape == (3, 1, 32, 32)
        assert set(batch["mask"].unique().tolist()) <= {0.0, 1.0}
        assert batch["has_mask"].all()
        assert not batch["has_mask_provided"].any()
        assert batch["label"].tolist() == [rows[number]["label"] for number in numbers]
        assert batch["method"] == [rows[number]["method"] or "" for number in numbers]
        frames = [rows[number]["original_frame"] for number in numbers]
        np.testing.assert_array_equal(batch["original_frame"], [np.nan if f is None else f for f in frames])
        means = [rows[number]["image"].mean() / 255 for number in numbers]
        np.testing.assert_allclose(batch["image"].mean(dim=(1, 2, 3)).numpy(), means, atol=0.01)


def test_pictures_keep_their_values_where_they_are_not_scaled(out: Path) -> None:
    row = forgeprep.load(out, "test")[4]
    found = forgeprep.torch.Samples(out, "test", ("image", "noise"))[4]
    assert np.array_equal(found["image"].permute(1, 2, 0).numpy() * 255, row["image"])
    np.testing.assert_allclose(found["noise"][0].numpy(), (row["noise"].astype(np.float32) - 128) / 5)
    doubled = forgeprep.torch.Samples(out, "test", ("image",), transform=lambda sample: sample["image"] * 2)
    assert torch.equal(doubled[4], found["image"] * 2)


def test_a_sequence_has_its_frames_in_front() -> None:
    split = next(iter(forgeprep.load(SEQUENCES)))
    found = forgeprep.torch.Samples(SEQUENCES, split, ("image", "mask", "label"), size=32)
    batch = next(iter(DataLoader(found, batch_size=2)))
    assert batch["image"].shape == (2, 2, 3, 32, 32)
    assert batch["mask"].shape == (2, 2, 1, 32, 32)
    assert batch["has_mask"].shape == (2, 2)


def test_neither_import_nor_load_needs_torch(out: Path) -> None:
    code = f"""
import sys
sys.modules["torch"] = None
import forgeprep
assert "forgeprep.reader" not in sys.modules and "numpy" not in sys.modules
assert len(forgeprep.load({str(out)!r}, "train")[0]["image"]) == 48
"""
    subprocess.run([sys.executable, "-c", code], check=True)
