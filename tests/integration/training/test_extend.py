"""A forgery model and a metric of other packages, installed into a folder and used through the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from forgeprep.errors import UsageError
from forgeprep.training.evaluation.metrics import Metric, measure
from forgeprep.training.models import get_model
from forgeprep.training.models.record import ModelRecord
from tests.conftest import UInt8
from tests.helpers.extend_tools import EXAMPLES, LINES, forgeprep, install
from tests.helpers.shards_run import make_row, write_shard, write_tables

STAGES = ("crop",)


@pytest.fixture(scope="module")
def shards(face_photo: UInt8, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of two source groups a split; a real, and two fakes of it."""
    out = tmp_path_factory.mktemp("shards")
    records = []
    for split, source in (("train", 0), ("val", 10), ("test", 20)):
        rows = [
            make_row(face_photo, split, number, method, frame, 64)
            for number in (source, source + 3)
            for method in (None, "Deepfakes", "FaceSwap")
            for frame in (0, 12, 24)
        ]
        records.append(write_shard(out, f"{split}/ffpp-{split}-00000", rows, formats=("parquet",), stages=STAGES))
    write_tables(out, records, STAGES)
    cut = {"detector": "dlib-hog", "min_face": 0.2, "enlarge": 1.3, "size": 64}
    document = json.loads((out / "run.json").read_text())
    document |= {"config": {"params": {"crop": cut}}, "versions": {"av": "1.0"}}
    (out / "run.json").write_text(json.dumps(document))
    return out


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packages")
    return install(EXAMPLES / "metric", install(EXAMPLES / "forgery-model", folder))


def test_a_model_of_another_package_is_trained_evaluated_and_predicts(
    shards: Path, installed: Path, tmp_path: Path, face_photo: UInt8
) -> None:
    def call(*arguments: object, expect: int = 0) -> str:
        done = forgeprep(*arguments, installed=[installed], expect=expect, cwd=tmp_path)
        return done.stdout + done.stderr

    run, settings = tmp_path / "run", ["--set", "steps=4", "--set", "epochs=2", "--set", "workers=0", "--gpus", "0"]
    shown = call("models", "show", "tiny")
    assert "the recipe tiny" in shown
    assert "--model-option width=…" in shown
    call("train", "tiny", "--shards", shards, "--run", run, *settings, "--model-option", "width=4")
    config = json.loads((run / "config.json").read_text())
    assert (config["package"], config["recipe"]["lr"], config["recipe"]["batch"]) == ("tiny-forgery-model 1.0", 1e-3, 8)
    assert config["crop"] == {"detector": "dlib-hog", "min_face": 0.2, "enlarge": 1.3, "size": 64}
    best = json.loads((run / "best.json").read_text())["best"]
    assert 0 <= best["val_tpr@1%"] <= 1

    printed = call("evaluate", run, "--shards", shards, "--gpus", "0", "--workers", "0")
    assert "TPR@1%" in printed
    assert "Published, AUC by dataset" in printed
    found = json.loads((run / f"evaluation/test-{shards.name}/evaluation.json").read_text())[0]["sets"][str(shards)]
    assert set(found["frames"]) == {"acc", "auc", "eer", "ap", "tpr@1%"}

    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), cv2.cvtColor(face_photo, cv2.COLOR_RGB2BGR))
    told = call("predict", run, photo, "--to", tmp_path / "judged", "--gpus", "0")
    assert "its shards were cut by other versions (av: 1.0 -> " in told
    assert json.loads((tmp_path / "judged" / "photo.png.json").read_text())["faces"]

    # Another version of the package is another training; one without the package says so.
    metadata = next(installed.glob("tiny_forgery_model-*.dist-info")) / "METADATA"
    text = metadata.read_text()
    metadata.write_text(text.replace("Version: 1.0", "Version: 1.1"))
    again = ["train", "tiny", "--shards", shards, "--run", run, *settings, "--model-option", "width=4"]
    assert "package: tiny-forgery-model 1.0 -> tiny-forgery-model 1.1" in call(*again, expect=2)
    metadata.write_text(text)
    missing = forgeprep("evaluate", run, "--shards", shards, expect=2)
    told = "the model 'tiny' is of the package tiny-forgery-model 1.0, which is not installed here: pip install"
    assert told in missing.stderr


def test_a_metric_of_another_package_stands_in_the_matrix(shards: Path, installed: Path, tmp_path: Path) -> None:
    to = tmp_path / "to"
    command = ["evaluate", "--protocol", "cross-method", "--model", "tiny", "--shards", shards, "--to", to, "--gpus", 0]
    flags = ["--set", "steps=2", "--set", "epochs=1", "--set", "workers=0", "--set", "batch=4"]
    done = forgeprep(*command, *flags, installed=[installed])
    assert "Fakes found at 1 % false alarms by frame" in done.stdout
    found = json.loads((to / "matrix.json").read_text())
    assert all(0 <= cell["tpr@1%"] <= 1 and 0 <= cell["clip_tpr@1%"] <= 1 for cell in found["cells"])
    assert "## Fakes found at 1 % false alarms by frame" in (to / "matrix.md").read_text()
    kept = json.loads(next((to / "cells").rglob("*.json")).read_text())
    assert kept["key"]["metrics"] == {"tpr@1%": "hits-at-one-percent 1.0"}


def test_what_a_metric_or_a_record_does_wrong_is_told_in_one_line() -> None:
    def broken(scores: Any, labels: Any) -> float:
        return float(scores[labels.sum() + len(labels)])

    with pytest.raises(UsageError, match=r"metric .odd. failed on 2 samples \(IndexError"):
        measure(Metric("odd", broken), np.array([0.1, 0.9]), np.array([0, 1]))
    fn3 = get_model("fn3-seg")
    assert fn3.published_figures()["ACC"]["DF"] == 98.16
    for recipe in ("no_such_package:recipe.yaml", "forgeprep.training:no/such.yaml"):
        with pytest.raises(UsageError, match="the recipe of odd cannot be read"):
            ModelRecord("odd", fn3.maker, 64, recipe, "").recipe_values()
    with pytest.raises(UsageError, match="is no mapping"):
        ModelRecord("odd", fn3.maker, 64, {}, "", published="forgeprep.datasets:taxonomy.csv").published_figures()


def test_examples_are_short() -> None:
    for folder in ("forgery-model", "metric"):
        for file in (EXAMPLES / folder).rglob("*.py"):
            assert len(file.read_text().splitlines()) < LINES
