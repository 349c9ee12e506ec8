"""Training, evaluation and prediction as a user runs them, on shards of the demo dataset."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from forgeprep.errors import ForgeprepError, UsageError, VerifyError
from forgeprep.training.evaluation.document import matrix, published
from forgeprep.training.evaluation.tables import evaluate_run
from forgeprep.training.inference.loaded import load_model, pick_device
from forgeprep.training.models import model_names
from forgeprep.training.recipe import Recipe, make_recipe
from forgeprep.training.run_folder import Training
from forgeprep.training.trainer import train
from tests.conftest import run_cli

SMALL = {"size": 64, "batch": 4, "workers": 0, "steps": 6, "epochs": 2, "lr": 1e-3}


def training(model: str, shards: Path, run: Path, **more: Any) -> Training:
    limit = more.pop("limit", None)
    options = more.pop("options", {})
    return Training(model, (shards,), run, make_recipe(model, {**SMALL, **more}), options, limit=limit)


def weights(run: Path, state: str = "last") -> dict[str, torch.Tensor]:
    return load_file(run / json.loads((run / f"{state}.json").read_text())["tensors"])


@pytest.mark.parametrize(("model", "size"), [("fn3-seg", 64), ("mesoinception4-cls", 64)])
def test_a_resumed_training_ends_with_the_same_weights(model: str, size: int, prepared: Path, tmp_path: Path) -> None:
    train(training(model, prepared, tmp_path / "whole", size=size, batch=2), device="cpu")
    parts = training(model, prepared, tmp_path / "parts", size=size, batch=2, epochs=1, limit=2)
    train(parts, device="cpu")
    with pytest.raises(KeyboardInterrupt):
        train(replace(parts, limit=None), device="cpu", report=_interrupt_at(4))
    # Stopped while val is judged, it keeps the epoch's steps, and judges when it goes on.
    with pytest.raises(KeyboardInterrupt):
        train(replace(parts, limit=None), device="cpu", report=_interrupt_judging)
    state = json.loads((tmp_path / "parts/last.json").read_text())
    assert (state["step"], state["epoch"], state["in_epoch"]) == (6, 0, 6)
    train(replace(parts, limit=None), device="cpu")
    # More epochs are the same training. What a killed process wrote after its last state comes again.
    train(training(model, prepared, tmp_path / "parts", size=size, batch=2, limit=9), device="cpu")
    log = tmp_path / "parts" / "log.jsonl"
    with log.open("a") as file:
        file.write('{"step": 10, "epoch": 1, "loss": 9}\n{"step": 11, "ep')
    train(training(model, prepared, tmp_path / "parts", size=size, batch=2), device="cpu")
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert [entry["step"] for entry in entries if "loss" in entry] == list(range(1, 13))
    assert [entry["epoch"] for entry in entries if "val_auc" in entry] == [1, 2]
    assert json.loads((tmp_path / "parts/best.json").read_text())["best"]["epoch"] in (1, 2)
    whole, again = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert whole.keys() == again.keys()
    assert any(name.startswith("optimizer/") for name in whole)
    assert all(torch.equal(value, again[name]) for name, value in whole.items())
    other = training(model, prepared, tmp_path / "other", size=size, batch=2, seed=1, limit=1)
    train(other, device="cpu")
    assert not all(torch.equal(value, whole[name]) for name, value in weights(tmp_path / "other").items())
    assert not list(tmp_path.rglob("*.tmp"))


def _interrupt_at(step: int) -> Any:
    def report(facts: dict[str, Any]) -> None:
        if facts["step"] == step:
            raise KeyboardInterrupt

    return report


def _interrupt_judging(facts: dict[str, Any]) -> None:
    if "judged" in facts:
        raise KeyboardInterrupt


def test_a_request_to_terminate_keeps_the_state_and_the_folder_alone_goes_on(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    log = run / "log.jsonl"

    def terminate() -> None:
        # As batch systems do before they end a job.
        while not log.is_file() or log.read_text().count('"loss"') < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    flags = [part for name in ("size=64", "steps=6", "epochs=2", "workers=0") for part in ("--set", name)]
    asking = threading.Thread(target=terminate)
    asking.start()
    command = ["train", "fn3-seg", "--shards", str(prepared), "--run", str(run), *flags, "--batch", "4", "--gpus", "0"]
    assert run_cli(*command) == 143
    asking.join()
    assert f"go on with: forgeprep train --run {run}" in capsys.readouterr().err
    step = json.loads((run / "last.json").read_text())["step"]
    assert 2 <= step < 12
    # Files follow the umask, those of safetensors too.
    (tmp_path / "plain").touch()
    modes = {file.stat().st_mode for file in run.iterdir() if file.is_file()}
    assert modes == {(tmp_path / "plain").stat().st_mode}
    # Other threads are no other training.
    assert run_cli("train", "--run", str(run), "--set", "workers=1", "--gpus", "0") == 0
    printed = capsys.readouterr().out
    assert f"goes on at step {step}: 12 steps in 2 epochs at most" in printed
    assert re.search(r"^epoch 2 of 2, step 12: val AUC 0\.\d{4}, ACC 0\.\d{4}$", printed, flags=re.MULTILINE)
    assert f"next: forgeprep evaluate {run} --shards {prepared}" in printed
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert [entry["step"] for entry in entries if "loss" in entry] == list(range(1, 13))
    assert run_cli("train", "--run", str(tmp_path / "none")) == 2
    assert "holds no training to go on with; give a MODEL and --shards to begin one" in capsys.readouterr().err


def test_a_folder_is_one_training_s_and_a_start_that_fails_does_not_claim_it(prepared: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(UsageError, match="less than a batch of 999"):
        train(training("fn3-seg", prepared, run, batch=999), device="cpu")
    own = training("fn3-cls", prepared, run, limit=1)
    refused = []

    def again(facts: dict[str, Any]) -> None:
        if "loss" in facts:
            with pytest.raises(UsageError, match=r"another run is working in this folder.* give another --run"):
                train(own, device="cpu")
            refused.append(facts["step"])

    train(own, device="cpu", report=again)
    assert refused == [1]
    with pytest.raises(UsageError, match="holds another training"):
        train(training("fn3-seg", prepared, run), device="cpu")


def test_threads_do_not_change_what_is_learnt(prepared: Path, tmp_path: Path) -> None:
    for threads in (0, 3):
        train(training("fn3-seg", prepared, tmp_path / str(threads), workers=threads), device="cpu")
    one, other = weights(tmp_path / "0"), weights(tmp_path / "3")
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_it_learns_where_the_forgery_is(trained: Path, prepared: Path) -> None:
    found = evaluate_run(load_model(trained, "cpu").with_workers(0), [prepared])["sets"][str(prepared)]
    # By chance, a map of all forged has the forged share as its IoU, below 0.4 here; other people than in training.
    assert found["pixels"]["fg_iou"] > 0.5
    assert found["pixels"]["miou"] > 0.6
    assert found["frames"]["auc"] > 0.6
    log = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    losses = [entry["loss"] for entry in log if "loss" in entry]
    assert np.mean(losses[-20:]) < 0.7 * np.mean(losses[:5])
    assert list((trained / "tensorboard").glob("events.*"))


def test_the_command_evaluates_and_draws(
    trained: Path, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "evaluation"
    flags = ["--shards", str(prepared), "--to", str(folder), "--workers", "0", "--gpus", "0"]
    assert run_cli("evaluate", str(trained), str(trained), *flags) == 0
    printed = capsys.readouterr().out
    assert "AUC by frame, trained (rows) against tested (columns)" in printed
    assert "| " not in printed
    # The paper's figures are of raw videos; these samples are c23.
    assert "Published" not in printed
    assert published("fn3-seg", ["ffpp"], ["raw"])["mIoU"]["average"] == 87.78
    assert published("fn3-seg", ["celebdf-v2"], ["raw"]) == {}
    assert published("local-similarity", ["celebdf-v2"], ["-"]).keys() == {"AUC by dataset, trained on FaceForensics++"}
    assert published("two-stream", ["ffpp"], ["c23"], {"methods": {}}).keys() == {"c23, frames"}
    evaluation = json.loads((folder / "evaluation.json").read_text())
    found = evaluation[0]["sets"][str(prepared)]
    assert set(found["methods"]) == {"real", "Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures"}
    assert sum(f["samples"] for f in found["methods"].values()) == found["samples"]
    accuracy = sum(f["acc"] * f["samples"] for f in found["methods"].values()) / found["samples"]
    assert accuracy == pytest.approx(found["frames"]["acc"])
    assert found["methods"]["real"]["fg_iou"] is None
    for name in ("roc.png", "matrix.png", "predictions-0-fn3-c23.png", "predictions-1-fn3-c23.png"):
        assert cv2.imread(str(folder / name)).std() > 5
    assert cv2.imread(str(trained / "curves.png")).std() > 5
    runs, heads, values = matrix(evaluation)
    assert (runs, heads[-1], values.shape) == (["0-fn3", "1-fn3"], "all", (2, 5))


def test_an_evaluation_takes_no_other_ones_place(
    trained: Path, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    other = shutil.copytree(prepared, tmp_path / "more" / prepared.name)

    def evaluate(*more: str, shards: Path = prepared, code: int = 0) -> str:
        assert run_cli("evaluate", str(run), "--shards", str(shards), "--workers", "0", "--gpus", "0", *more) == code
        said = capsys.readouterr()
        return said.out + said.err

    folder = run / "evaluation"
    assert "written to" in evaluate()
    first = (folder / "test-c23/evaluation.json").read_bytes()
    assert "holds this evaluation already" in evaluate()
    assert (folder / "test-c23/evaluation.json").read_bytes() == first
    document, _ = json.JSONDecoder().raw_decode(evaluate("--split", "val", "--json"))
    assert document["evaluations"] == json.loads((folder / "val-c23/evaluation.json").read_text())
    evaluate(shards=other)
    # A later state is another result.
    state = json.loads((run / "best.json").read_text())
    (run / "best.json").write_text(json.dumps({**state, "step": state["step"] + 1}))
    evaluate()
    assert {path.name for path in folder.iterdir()} == {"test-c23", "test-c23-2", "test-c23-3", "val-c23"}
    assert (folder / "test-c23/evaluation.json").read_bytes() == first
    told = evaluate("--to", str(folder / "test-c23"), code=2)
    assert f"holds the evaluation of run at step {state['step']} on test of c23; give another --to" in told
    assert not [path for path in run.rglob("*.json") if "NaN" in path.read_text()]


def test_what_cannot_be_is_told_in_one_line(
    trained: Path,
    prepared: Path,
    demo: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def says(code: int, message: str, *command: str) -> None:
        assert run_cli(*command) == code
        error = capsys.readouterr().err.strip()
        assert len(error.splitlines()) == 1
        assert message in error

    shards, run = ["--shards", str(prepared)], ["--run", str(tmp_path / "run")]
    says(2, "unknown model 'fn3': did you mean 'fn3-", "train", "fn3", *shards, *run)
    says(2, "unknown setting 'learning_rate'", "train", "fn3-seg", *shards, *run, "--set", "learning-rate=1")
    says(2, "no shards of the split 'train'", "train", "fn3-seg", "--shards", str(tmp_path), *run)
    says(2, "holds another training (size: ", "train", "fn3-seg", *shards, "--run", str(trained))
    says(2, "less than a batch of 999", "train", "fn3-seg", *shards, *run, "--batch", "999", "--set", "workers=0")
    says(
        2,
        "unknown method 'FaceSwop': did you mean 'FaceSwap'?",
        "train",
        "fn3-seg",
        *shards,
        *run,
        "--methods",
        "FaceSwop",
    )
    says(2, "holds no training of forgeprep", "evaluate", str(tmp_path), *shards)
    says(2, "unknown split 'holdout'", "evaluate", str(trained), *shards, "--split", "holdout")
    says(2, "no such file or folder", "predict", str(trained), str(tmp_path / "gone.mp4"), "--to", str(tmp_path))
    for enlarge in ("0.1", "0", "nan", "1e9"):
        says(2, "--enlarge: must be between 1 and 4", "predict", str(trained), str(tmp_path), "--to", str(tmp_path),
             "--enlarge", enlarge)  # fmt: skip
    says(2, "enlarge: 2 is more than the 1.3", "train", "fn3-seg", *shards, *run, "--set", "enlarge=2")
    file = tmp_path / "file"
    file.touch()
    says(2, f"--run {file}: {file} is a file", "train", "fn3-seg", *shards, "--run", str(file))
    says(2, f"--to {file}: {file} is a file", "evaluate", str(trained), *shards, "--to", str(file))
    says(2, f"--to {file / 'a'}: {file} is a file", "predict", str(trained), str(demo), "--to", str(file / "a"))
    says(2, f"--to {prepared}: holds the shards of a run", "evaluate", str(trained), *shards, "--to", str(prepared))
    says(2, "holds the shards of a run", "train", "fn3-seg", *shards, "--run", str(prepared / "shards"))
    says(2, "--lr 0.1 and --set lr=0.2: two values", "train", "fn3-seg", *shards, *run, "--lr", ".1", "--set", "lr=.2")
    says(2, "has no pretrained backbone", "train", "fn3-cls", *shards, "--run", str(tmp_path / "w"), "--weights", "x")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="a GPU is asked for, and torch finds none"):
        pick_device("cuda")


def test_a_loss_that_is_not_finite_names_its_samples(prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(ForgeprepError, match=r"step \d+: the loss is not finite; .* ffpp/c23/.*/0/0000"):
        train(training("vgg3-seg", prepared, tmp_path / "run", lr=1e30, clip_norm=1e30, steps=12), device="cpu")


def test_damaged_and_foreign_checkpoints_are_told(trained: Path, tmp_path: Path) -> None:
    def copy(name: str) -> Path:
        shutil.copytree(trained, tmp_path / name)
        return tmp_path / name

    cut = copy("cut")
    file = cut / json.loads((cut / "best.json").read_text())["tensors"]
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(VerifyError, match=r"damaged checkpoint \(.*\); train again in another folder"):
        load_model(cut)
    other = copy("other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "model": "vgg3-seg"}))
    with pytest.raises(UsageError, match="is of another model"):
        load_model(other)
    gone = copy("gone")
    (gone / json.loads((gone / "best.json").read_text())["tensors"]).unlink()
    with pytest.raises(VerifyError, match=r"gone/best-\d+\.safetensors: no such file, but best\.json names it"):
        load_model(gone)
    early = copy("early")
    (early / "best.json").unlink()
    with pytest.raises(UsageError, match="has no state 'best' yet"):
        load_model(early)


def test_a_training_starts_from_what_another_has_in_common(prepared: Path, tmp_path: Path) -> None:
    train(training("fn3-seg", prepared, tmp_path / "first", steps=1, epochs=1), device="cpu")
    recipe = make_recipe("fn3-cls", {**SMALL, "steps": 1, "epochs": 1})
    second = Training("fn3-cls", (prepared,), tmp_path / "second", recipe, init=tmp_path / "first", limit=0)
    train(second, device="cpu")
    before, after = weights(tmp_path / "first", "best"), weights(tmp_path / "second")
    assert len(before) > 10
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_models_are_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli("models") == 0
    listed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["vgg5-seg", "pixel-level", "260,289", "256"] in listed
    assert {line[0] for line in listed if len(line) == 4} >= set(model_names())
    assert run_cli("models", "show", "two-stream") == 0
    printed = capsys.readouterr().out
    assert "two-stream: 21,486,450 parameters, input 299 x 299" in printed
    assert "--model-option stream=… (one of both, semantic, noise, none; default 'both')" in printed
    assert "real_repeat    4.0" in printed
    assert Recipe().view == "resize"
