"""Trainings of earlier versions, whose networks or losses were others: they go on, and are judged, as they began."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from forgeprep.errors import UsageError
from forgeprep.training.checkpoint import save_state
from forgeprep.training.evaluation.tables import evaluate_run
from forgeprep.training.inference.loaded import load_model
from forgeprep.training.models.meso import MesoClassifier
from forgeprep.training.models.two_stream import TwoStream
from forgeprep.training.recipe import make_recipe
from forgeprep.training.run_folder import Training, as_begun, read_config, settings_of
from forgeprep.training.trainer import train
from tests.conftest import run_cli

META = {"threshold": None, "done": False}


def _aged(run: Path, option: str) -> None:
    """Make a training's folder as it was before there was an option."""
    config = json.loads((run / "config.json").read_text())
    del config["options"][option]
    (run / "config.json").write_text(json.dumps(config))


def test_a_mesonet_with_fully_connected_layers_goes_on_and_is_judged(prepared: Path, tmp_path: Path) -> None:
    recipe = make_recipe("mesoinception4-cls", {"batch": 2, "workers": 0, "steps": 1, "epochs": 1})
    old = Training("mesoinception4-cls", (prepared,), tmp_path / "old", recipe, {"head": "fc"})
    train(old, device="cpu")
    _aged(old.run, "head")
    assert isinstance(load_model(old.run, "cpu").model, MesoClassifier)
    # The whole command, as it was given then, goes on with it; so does the folder alone.
    more = replace(old, options={}, recipe=recipe.model_copy(update={"epochs": 2}))
    train(more, device="cpu")
    assert json.loads((old.run / "last.json").read_text())["epoch"] == 2
    _aged(old.run, "head")
    assert run_cli("train", "--run", str(old.run), "--epochs", "3", "--gpus", "0") == 0
    assert read_config(old.run)["options"] == {"head": "fc"}
    found = evaluate_run(load_model(old.run, "cpu").with_workers(0), [prepared])["sets"][str(prepared)]
    assert 0 <= found["frames"]["acc"] <= 1
    with pytest.raises(UsageError, match="takes images of 256 x 256 alone; give --set size=256 --set view=resize"):
        train(replace(old, run=tmp_path / "crop", recipe=recipe.model_copy(update={"view": "crop"})), device="cpu")
    assert settings_of(replace(old, run=tmp_path / "new", options={}))["options"] == {"head": "conv"}


def test_a_two_stream_training_keeps_its_noise_in_gray_levels(tmp_path: Path) -> None:
    run = tmp_path / "run"
    new = Training("two-stream", (tmp_path / "shards",), run, make_recipe("two-stream", {}))
    assert as_begun(new).options == {"noise_scale": "unit"}
    run.mkdir()
    config = {**settings_of(new), "methods": [None], "enlarge": 1.3, "options": {}}
    (run / "config.json").write_text(json.dumps(config))
    # The start of a training that came to nothing binds nobody.
    assert as_begun(new).options == {"noise_scale": "unit"}
    model = TwoStream()
    for state in ("last", "best"):
        save_state(run, state, model, None, {"step": 1, "epoch": 1, "in_epoch": 0, "best": None, **META})
    assert as_begun(new).options == settings_of(new)["options"] == {"noise_scale": "gray"}
    loaded = load_model(run, "cpu").model
    assert isinstance(loaded, TwoStream)
    noise, out = torch.rand(1, 1, 8, 8), {"logit": torch.zeros(1), "noise0": torch.zeros(1, 1, 8, 8)}
    batch = {"label": torch.ones(1), "noise": noise}
    torch.testing.assert_close(loaded.losses(out, batch)["noise0"], 0.1 * noise.mean())
    torch.testing.assert_close(TwoStream().losses(out, batch)["noise0"], 0.1 * (noise / 255).mean())
