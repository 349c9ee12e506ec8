"""What is judged is what was shown, and what was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from forgeprep.errors import UsageError
from forgeprep.training.choose_task import make_task
from forgeprep.training.data import Samples
from forgeprep.training.evaluation.evaluate import Verdicts
from forgeprep.training.evaluation.tables import summary
from forgeprep.training.inference.loaded import LoadedModel, features, load_model, outputs, read_prepared
from forgeprep.training.models import build, model_names
from forgeprep.training.recipe import make_recipe
from forgeprep.training.run_folder import Training
from forgeprep.training.sample_index import load_index
from forgeprep.training.trainer import train
from tests.conftest import UInt8
from tests.helpers.shards_run import make_row, write_shard, write_tables

CPU = torch.device("cpu")
SEGS = [name for name in model_names() if name.endswith("-seg") and not name.startswith("xception")]


@pytest.mark.parametrize("name", SEGS)
def test_the_padding_of_a_picture_does_not_count_for_its_verdict(name: str) -> None:
    torch.manual_seed(0)
    loaded = LoadedModel(build(name), make_recipe(name, {"sigma": 5}), 256, CPU)
    # Dark, and bright where it would be repeated: below and on the right.
    image = np.zeros((70, 99, 3), np.uint8)
    image[-3:], image[:, -3:] = 255, 255
    row: dict[str, Any] = {"image": image, "label": 0, "method_number": 0, "compression": None, "sample_id": "x"}
    [found] = outputs(loaded, [[row]])
    assert found.maps is not None
    assert found.maps.shape[2:] == (70, 99)
    assert found.scores[0] == pytest.approx(float(found.maps.mean()), abs=1e-5)
    [(_, described)] = features(loaded, [[row]])
    assert described[0, -1] == pytest.approx(float(found.scores[0]), abs=1e-5)


def test_a_class_that_nobody_has_is_no_right_answer() -> None:
    rows = [
        {"method": name, "label": int(name is not None), "compression": "c23", "clip_id": f"{n}", "dataset": "x"}
        for n, name in enumerate((None, "A", "B"))
    ]
    verdicts = Verdicts(rows, np.array([0.1, 0.9, 0.9]), classes=np.array([0, 1, 4]), true_classes=np.array([0, 1, 2]))
    found = summary(verdicts, (None, "A", "B"), 0.5)["n_way"]
    assert found["classes"] == ["real", "A", "B", "class 3", "class 4"]
    assert found["recall"][:3] == [1, 1, 0]
    assert found["average"] == pytest.approx(2 / 3)


@pytest.fixture(scope="module")
def shards(face_photo: UInt8, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real and two methods, at the size of a model that learns noise, with noise."""
    out, stages = tmp_path_factory.mktemp("shards"), ("crop", "mask", "noise")
    records = []
    for split, source in (("train", 0), ("val", 10)):
        rows = [make_row(face_photo, split, source, kind, 0, 299) for kind in (None, "Deepfakes", "FaceSwap")]
        records.append(write_shard(out, f"{split}/00000", rows, formats=("parquet",), stages=stages))
    write_tables(out, records, stages)
    return out


def test_a_noise_level_that_is_asked_for_is_computed(shards: Path, tmp_path: Path) -> None:
    for sigma, stored in ((None, True), (7.0, False)):
        recipe = make_recipe("two-stream", {"sigma": sigma, "batch": 3, "workers": 0})
        task = make_task(Training("two-stream", (shards,), tmp_path, recipe), CPU)
        batch = task.read(np.arange(3), 0)
        assert ("noise" in batch) is stored
        assert batch["sigma"].tolist() == [sigma or 5.0] * 3
        assert task.to_device(batch, CPU)["noise"].abs().max() > 0


def test_fewer_classes_than_the_samples_have_are_refused_at_the_start(shards: Path, tmp_path: Path) -> None:
    def start(classes: int, **given: Any) -> None:
        recipe = make_recipe("two-stream", {"batch": 1, **given})
        make_task(Training("two-stream", (shards,), tmp_path, recipe, {"classes": classes}), CPU)

    with pytest.raises(UsageError, match=r"classes=2: train holds 3 classes \(real, Deepfakes, FaceSwap\); give"):
        start(2)
    start(3)
    start(2, methods="FaceSwap")
    start(0)


def test_classifiers_see_the_whole_crop_and_fixed_ones_no_other_size() -> None:
    assert {make_recipe(name, {}).view for name in model_names() if name.endswith("-cls")} == {"resize"}
    assert {make_recipe(name, {}).view for name in model_names() if name.endswith("-seg")} == {"crop"}
    with pytest.raises(UsageError, match="takes images of 299 x 299 alone; give view=resize"):
        make_recipe("two-stream", {"view": "crop"})


@pytest.mark.parametrize("name", ["mesoinception4-cls", "fn3-cls"])
def test_classifiers_learn_from_crops_and_judge_whole_pictures_of_any_size(
    name: str, face_photo: UInt8, tmp_path: Path
) -> None:
    records = []
    for split, source in (("train", 0), ("val", 10)):
        kinds = ((None, 71), ("Deepfakes", 102))
        rows = [make_row(face_photo, split, source, kind, 0, size) for kind, size in kinds]
        records.append(write_shard(tmp_path / "shards", f"{split}/00000", rows, formats=("parquet",)))
    write_tables(tmp_path / "shards", records)
    recipe = make_recipe(name, {"view": "crop", "size": 64, "batch": 2, "workers": 0, "epochs": 1})
    best = train(Training(name, (tmp_path / "shards",), tmp_path / "run", recipe), device="cpu")
    assert best["step"] == 1
    # Of a sample of each class, half-way between their scores.
    assert 0 < best["val_threshold"] < 1
    loaded = load_model(tmp_path / "run", "cpu")
    index = load_index([tmp_path / "shards"], "val")
    found = outputs(loaded, read_prepared(loaded, Samples(index), [np.arange(2)]))
    assert {tuple(one.maps.shape[2:]) for one in found if one.maps is not None} == {(71, 71), (102, 102)}
