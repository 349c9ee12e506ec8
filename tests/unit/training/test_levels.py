"""The label tree, from a dataset's folders to a detector's confusion matrices."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from forgeprep.datasets.taxonomy import LEVELS, class_at, taxonomy
from forgeprep.errors import UsageError
from forgeprep.training.checkpoint import fill
from forgeprep.training.evaluation.levels import agreement, level_figures
from forgeprep.training.models import build
from forgeprep.training.models.levels import UNKNOWN
from forgeprep.training.run_folder import read_config


def sample(method: str | None, dataset: str = "genface") -> dict[str, Any]:
    if method is None:
        return {"label": 0, "forgery": "real", "family": None, "method": None}
    kind = taxonomy()[dataset][method]
    return {"label": 1, "forgery": kind.forgery, "family": kind.family, "method": method}


def test_every_method_has_a_class_at_every_level() -> None:
    assert {class_at(level, sample(None)) for level in LEVELS} == {"real"}
    assert [class_at(level, sample("Diffae")) for level in LEVELS] == [
        "fake", "identity_remained", "attribute_edit", "diffusion", "Diffae",
    ]  # fmt: skip
    assert class_at("identity", sample("DDPM")) is None
    assert class_at("family", sample("DeepFakeDetection", "dfd")) is None
    for name, methods in taxonomy().items():
        assert {class_at("method", sample(method, name)) for method in methods} == set(methods)
    ways = Counter(class_at("identity", sample(method, "forgerynet")) for method in taxonomy()["forgerynet"])
    assert ways == {"identity_replaced": 7, "identity_remained": 8}


def test_an_unknown_class_is_no_part_of_the_loss() -> None:
    torch.manual_seed(0)
    detector = build("xception-levels", {"levels": "label,family", "names": {"family": ["real", "gan"]}})
    out = {"level_label": torch.randn(3, 2), "level_family": torch.randn(3, 2)}
    levels = {"label": ["real", "fake", "fake"], "family": ["real", None, "gan"]}
    terms = detector.losses(out, {"levels": levels})
    two = out["level_family"][[0, 2]]
    torch.testing.assert_close(terms["family"], torch.nn.functional.cross_entropy(two, torch.tensor([0, 1])))
    assert detector.losses(out, {"levels": {**levels, "family": [None] * 3}})["family"] == 0
    assert UNKNOWN == -100
    with pytest.raises(UsageError, match="unknown level 'metod': did you mean 'method'"):
        build("xception-levels", {"levels": "label,metod"})


def test_a_training_of_before_the_family_had_its_name_is_read(tmp_path: Path) -> None:
    """Its column was called ``generator``, and so was the head."""
    options = {"levels": "label, generator", "weights": {"generator": 0.5}, "names": {"generator": ["real", "gan"]}}
    config = {"model": "xception-levels", "options": options, "recipe": {}, "kind": ["generator", "gan"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    read = read_config(tmp_path)
    assert read["options"] == {
        "levels": "label,family", "weights": {"family": 0.5}, "names": {"family": ["real", "gan"]},
    }  # fmt: skip
    assert read["kind"] == ["family", "gan"]
    detector, other = (build("xception-levels", read["options"]) for _ in range(2))
    older = {name.replace("heads.family", "heads.generator"): value for name, value in detector.state_dict().items()}
    assert "heads.generator.weight" in older
    fill(other, older, "old")
    assert torch.equal(*(one.state_dict()["heads.family.weight"] for one in (other, detector)))


def test_figures_of_a_case_by_hand() -> None:
    rows = [sample(None), sample("Diffae"), sample("FSLSD"), {**sample("FSLSD"), "family": None}]
    found = {"label": ["real", "fake", "fake", "real"], "family": ["real", "diffusion", "diffusion", "real"]}
    figures = level_figures(rows, found, {"label": ["real", "fake"], "family": ["real", "diffusion"]})
    assert figures["label"]["confusion"] == [[1, 0], [1, 2]]
    assert figures["label"]["recall"] == [1, pytest.approx(2 / 3)]
    # A family that training never saw can not be found, and counts as missed.
    assert figures["family"]["classes"] == ["real", "diffusion", "gan"]
    assert figures["family"]["confusion"] == [[1, 0, 0], [0, 1, 0], [0, 1, 0]]
    assert (figures["family"]["average"], figures["family"]["unknown"]) == (pytest.approx(2 / 3), 1)
    assert agreement(rows, found) == 1
    assert agreement(rows[:3], {"label": ["real", "real", "fake"], "family": ["real", "gan", "gan"]}) == 2 / 3
