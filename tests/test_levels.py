"""The label tree, from a dataset's folders to a detector's confusion matrices."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch

from forgeprep.datasets import get_dataset
from forgeprep.datasets.base import ScanOptions
from forgeprep.datasets.taxonomy import LEVELS, class_at, taxonomy
from forgeprep.errors import UsageError
from forgeprep.training.evaluation.levels import agreement, level_figures
from forgeprep.training.models import build
from forgeprep.training.models.levels import UNKNOWN
from tests.conftest import LaidOut, run_cli


def sample(method: str | None, dataset: str = "genface") -> dict[str, Any]:
    if method is None:
        return {"label": 0, "forgery": "real", "generator": None, "method": None}
    kind = taxonomy()[dataset][method]
    return {"label": 1, "forgery": kind.forgery, "generator": kind.generator, "method": method}


def test_every_method_has_a_class_at_every_level() -> None:
    assert {class_at(level, sample(None)) for level in LEVELS} == {"real"}
    assert [class_at(level, sample("Diffae")) for level in LEVELS] == [
        "fake", "identity_remained", "attribute_edit", "diffusion", "Diffae",
    ]  # fmt: skip
    assert class_at("identity", sample("DDPM")) is None
    assert class_at("generator", sample("DeepFakeDetection", "dfd")) is None
    for name, methods in taxonomy().items():
        assert {class_at("method", sample(method, name)) for method in methods} == set(methods)
    ways = Counter(class_at("identity", sample(method, "forgerynet")) for method in taxonomy()["forgerynet"])
    assert ways == {"identity_replaced": 7, "identity_remained": 8}


def test_the_label_tree_comes_back_as_the_adapter_told_it(
    laid_out: LaidOut, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out, run = laid_out("genface"), tmp_path / "out", tmp_path / "run"
    where = ["--root", str(root), "--out", str(out)]
    assert run_cli("run", "genface", *where, "--stages", "crop", "--size", "64", "--workers", "0") == 0
    sets = ["--set", "size=32", "--set", "steps=1", "--set", "workers=0", "--epochs", "1", "--batch", "4"]
    more = ["--model-option", "weights={method: 0.5}", "--gpus", "0"]
    assert run_cli("train", "xception-levels", "--shards", str(out), "--run", str(run), *sets, *more) == 0
    assert run_cli("evaluate", str(run), "--shards", str(out), "--gpus", "0", "--workers", "0") == 0
    assert "| recall by forgery | real | attribute_edit |" in capsys.readouterr().out
    found = json.loads((run / "evaluation" / "evaluation.json").read_text())[0]["sets"][str(out)]
    clips = [asdict(clip) for clip in get_dataset("genface").scan(root, ScanOptions()).clips]
    tested = [clip for clip in clips if clip["split"] == "test"]
    assert list(found["levels"]) == ["label", "forgery", "generator", "method"]
    for level, figures in found["levels"].items():
        truth = Counter(class_at(level, clip) for clip in tested)
        counts = dict(zip(figures["classes"], map(sum, figures["confusion"]), strict=True))
        assert counts == truth
        assert figures["classes"][0] == "real"
        assert figures["unknown"] == 0
        assert cv2.imread(str(run / "evaluation" / f"confusion-{level}-0-out.png")).std() > 5
    names = json.loads((run / "config.json").read_text())["options"]["names"]
    assert names["method"] == ["real", "DDPM", "DiffFace", "Diffae", "FaceSwapper"]


def test_an_unknown_class_is_no_part_of_the_loss() -> None:
    torch.manual_seed(0)
    detector = build("xception-levels", {"levels": "label,generator", "names": {"generator": ["real", "gan"]}})
    out = {"level_label": torch.randn(3, 2), "level_generator": torch.randn(3, 2)}
    levels = {"label": ["real", "fake", "fake"], "generator": ["real", None, "gan"]}
    terms = detector.losses(out, {"levels": levels})
    two = out["level_generator"][[0, 2]]
    torch.testing.assert_close(terms["generator"], torch.nn.functional.cross_entropy(two, torch.tensor([0, 1])))
    assert detector.losses(out, {"levels": {**levels, "generator": [None] * 3}})["generator"] == 0
    assert UNKNOWN == -100
    with pytest.raises(UsageError, match="unknown level 'metod': did you mean 'method'"):
        build("xception-levels", {"levels": "label,metod"})


def test_figures_of_a_case_by_hand() -> None:
    rows = [sample(None), sample("Diffae"), sample("FSLSD"), {**sample("FSLSD"), "generator": None}]
    found = {"label": ["real", "fake", "fake", "real"], "generator": ["real", "diffusion", "diffusion", "real"]}
    figures = level_figures(rows, found, {"label": ["real", "fake"], "generator": ["real", "diffusion"]})
    assert figures["label"]["confusion"] == [[1, 0], [1, 2]]
    assert figures["label"]["recall"] == [1, pytest.approx(2 / 3)]
    # A generator that training never saw can not be found, and counts as missed.
    assert figures["generator"]["classes"] == ["real", "diffusion", "gan"]
    assert figures["generator"]["confusion"] == [[1, 0, 0], [0, 1, 0], [0, 1, 0]]
    assert (figures["generator"]["average"], figures["generator"]["unknown"]) == (pytest.approx(2 / 3), 1)
    assert agreement(rows, found) == 1
    assert agreement(rows[:3], {"label": ["real", "real", "fake"], "generator": ["real", "gan", "gan"]}) == 2 / 3
