"""How weights move: learning rates, running averages, sharpness-aware steps; what is judged and drawn on the way."""

from __future__ import annotations

import importlib.util
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from forgeprep.errors import UsageError
from forgeprep.training import models
from forgeprep.training.inference.loaded import load_model
from forgeprep.training.models.base import Bare
from forgeprep.training.models.record import ModelRecord
from forgeprep.training.optimize import learning_rate, sharpness_aware
from forgeprep.training.recipe import make_recipe
from forgeprep.training.run_folder import Training, read_config
from forgeprep.training.trainer import train
from tests.conftest import run_cli

SMALL: dict[str, Any] = {"size": 48, "batch": 8, "workers": 0, "steps": 3, "epochs": 4}


def _training(prepared: Path, run: Path, model: str = "fn3-seg", **more: Any) -> Training:
    return Training(model, (prepared,), run, make_recipe(model, SMALL | more))


def _tensors(run: Path, state: str) -> dict[str, Tensor]:
    return load_file(run / json.loads((run / f"{state}.json").read_text())["tensors"])


def _same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


def test_rates_are_functions_of_how_far_the_training_is() -> None:
    cosine = make_recipe("fn3-seg", {"lr": 1.0, "schedule": "cosine", "warmup": 4, "epochs": 10, "min_lr": 0.1})
    assert [learning_rate(cosine, step=step, passed=0.0) for step in range(5)] == [0.25, 0.5, 0.75, 1, 1]
    assert learning_rate(cosine, step=50, passed=5.0) == pytest.approx(0.55)
    assert learning_rate(cosine, step=99, passed=10.0) == pytest.approx(0.1)
    assert learning_rate(cosine, step=20, passed=2.5) == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi / 4)))
    falls = make_recipe("fn3-seg", {"lr": 1.0, "schedule": "step", "step_every": 2, "step_factor": 0.5, "min_lr": 0.2})
    assert [learning_rate(falls, step=9, passed=at) for at in (0, 1.9, 2, 4, 6.5)] == [1, 1, 0.5, 0.25, 0.2]
    with pytest.raises(UsageError, match="schedule: must be 'constant', 'step' or 'cosine'"):
        make_recipe("fn3-seg", {"schedule": "cosin"})
    with pytest.raises(UsageError, match="ema: must be below 1"):
        make_recipe("fn3-seg", {"ema": 1})


def test_a_step_up_is_taken_back_and_changes_no_statistics() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    x = torch.randn(8, 3)

    def loss() -> Tensor:
        found: Tensor = net(x).square().mean()
        return found

    loss().backward()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    grads = [p.grad.clone() for p in net.parameters()]
    sharpness_aware(net, 0.1, loss)
    assert _same(before, net.state_dict())
    length = torch.cat([g.flatten() for g in grads]).norm()
    with torch.no_grad():
        for p, g in zip(net.parameters(), grads, strict=True):
            p.add_(0.1 * g / length)
    there = torch.autograd.grad(loss(), list(net.parameters()))
    for p, g in zip(net.parameters(), there, strict=True):
        torch.testing.assert_close(p.grad, g)


@pytest.mark.parametrize(
    "more", [pytest.param({"optimizer": "sgd"}, marks=pytest.mark.long), {"optimizer": "adamw", "sam": 0.05}]
)
def test_average_cosine_and_warm_up_go_on_bit_by_bit(more: dict[str, Any], prepared: Path, tmp_path: Path) -> None:
    settings = {"ema": 0.6, "schedule": "cosine", "warmup": 5, **more}
    whole = _training(prepared, tmp_path / "whole", **settings)
    train(whole, device="cpu")
    parts = replace(whole, run=tmp_path / "parts")
    train(replace(parts, limit=6), device="cpu")
    assert json.loads((parts.run / "last.json").read_text())["epoch"] == 2
    train(parts, device="cpu")
    for state in ("last", "best"):
        assert _same(_tensors(whole.run, state), _tensors(parts.run, state))
    # What is kept as the best, and judges, is the average.
    last = _tensors(whole.run, "last")
    judged = load_model(whole.run, "cpu", state="last").model.state_dict()
    assert all(torch.equal(value, last[f"average/module.{name}"]) for name, value in judged.items())
    assert not all(torch.equal(value, last[f"model/{name}"]) for name, value in judged.items())
    log = [json.loads(line) for line in (whole.run / "log.jsonl").read_text().splitlines()]
    rates = [entry["lr"] for entry in log if "lr" in entry]
    assert rates == pytest.approx([learning_rate(whole.recipe, step=step, passed=step / 3) for step in range(12)])
    longer = replace(whole, recipe=whole.recipe.model_copy(update={"epochs": 5}))
    with pytest.raises(UsageError, match="holds another training \\(epochs: 4 -> 5, and a cosine ends with its"):
        train(longer, device="cpu")


def test_a_training_of_before_there_were_schedules_goes_on(prepared: Path, tmp_path: Path) -> None:
    training = _training(prepared, tmp_path / "run", epochs=1)
    train(training, device="cpu")
    config = json.loads((training.run / "config.json").read_text())
    for name in ("optimizer", "schedule", "warmup", "step_every", "step_factor", "min_lr", "ema", "sam", "select"):
        del config["recipe"][name]
    (training.run / "config.json").write_text(json.dumps(config))
    train(_training(prepared, training.run, epochs=2), device="cpu")
    assert json.loads((training.run / "last.json").read_text())["epoch"] == 2


def test_other_sets_are_judged_after_each_epoch(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    flags = ["--set", "size=48", "--set", "workers=0", "--set", "steps=2", "--batch", "8", "--epochs", "1"]
    whole = ["train", "fn3-seg", "--shards", prepared, "--run", run, *flags, "--gpus", "0"]
    assert run_cli(*map(str, whole), "--also", f"cross={prepared}") == 0
    assert "; cross AUC 0." in capsys.readouterr().out
    best = json.loads((run / "best.json").read_text())["best"]
    assert 0 <= best["cross/auc"] <= 1
    assert read_config(run)["also"] == {"cross": str(prepared.resolve())}
    # The folder alone remembers them, and so does the whole command without them.
    assert run_cli("train", "--run", str(run), "--epochs", "2", "--gpus", "0") == 0
    assert run_cli("train", "--run", str(run), "--set", "select=loss", "--gpus", "0") == 2
    assert "; cross AUC 0." in capsys.readouterr().out
    assert run_cli(*map(str, whole), "--also", "a b=x") == 2
    assert run_cli(*map(str, whole), "--also", f"cross={tmp_path / 'none'}", "--epochs", "3") != 0
    assert "none" in capsys.readouterr().err


def test_curves_for_weights_and_biases(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    training = replace(_training(prepared, tmp_path / "run", epochs=1), log="wandb")
    if importlib.util.find_spec("wandb") is None:
        with pytest.raises(UsageError, match="--log wandb: wandb is not installed: pip install 'forgeprep\\[wandb\\]'"):
            train(training, device="cpu")
        flags = ["train", "fn3-seg", "--shards", str(prepared), "--run", str(tmp_path / "cli"), "--log", "wandb"]
        assert run_cli(*flags) == 2
        assert "wandb is not installed" in capsys.readouterr().err
        return
    monkeypatch.delenv("WANDB_MODE", raising=False)
    train(training, device="cpu")
    assert list(training.run.glob("wandb/offline-run-*/*.wandb"))
    assert not (training.run / "tensorboard").exists()


class Plain(nn.Module):
    """A network that knows nothing of forgeprep."""

    def __init__(self, width: int = 8, classes: int = 1) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, width, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.out = nn.Linear(width, classes)

    def forward(self, image: Tensor) -> Tensor:
        return self.out(self.net(image))  # type: ignore[no-any-return]


def test_a_plain_torch_module_is_a_model(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = ModelRecord("plain", Plain, 48, {"lr": 1e-3}, "a test")
    monkeypatch.setitem(models._BUILT_IN, "plain", f"{__name__}:RECORD")
    globals()["RECORD"] = record
    training = replace(_training(prepared, tmp_path / "run", "plain", epochs=2), options={"width": 4})
    assert train(training, device="cpu")["val_auc"] >= 0
    loaded = load_model(training.run, "cpu").model
    assert isinstance(loaded, Bare)
    assert set(Bare(Plain(classes=3))(torch.rand(2, 3, 48, 48))) == {"logit", "classes"}
    assert loaded(torch.rand(2, 3, 48, 48))["logit"].shape == (2,)
    with pytest.raises(UsageError, match="Conv2d: gives \\(2, 1, 6, 6\\) of 2 images; a plain"):
        Bare(nn.Conv2d(3, 1, 3))(torch.rand(2, 3, 8, 8))
