"""Training, evaluation and prediction as a user runs them, on shards of the demo dataset."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from forgeprep.errors import ForgeprepError, MediaError, UsageError, VerifyError
from forgeprep.stages.crop.params import CropParams
from forgeprep.training.data import Samples, load_index
from forgeprep.training.distributed import train_on_many
from forgeprep.training.evaluation.evaluate import judge
from forgeprep.training.evaluation.tables import evaluate_run, load_detector, matrix
from forgeprep.training.inference.annotate import written_video
from forgeprep.training.inference.predict import get_ready, predict_file, tracks_of
from forgeprep.training.models import MODELS
from forgeprep.training.recipe import Recipe, make_recipe
from forgeprep.training.run_folder import Training
from forgeprep.training.trainer import pick_device, train
from tests.conftest import UInt8, run_cli

SMALL = {"size": 64, "batch": 4, "workers": 0, "steps": 6, "epochs": 2, "lr": 1e-3}


@pytest.fixture(scope="module")
def prepared(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of the demo, small crops with masks and noise."""
    out = tmp_path_factory.mktemp("shards") / "c23"
    flags = ["--stages", "crop,mask,noise", "--frames", "6", "--size", "96", "--workers", "0"]
    assert run_cli("run", "ffpp", "--root", str(demo), "--out", str(out), *flags) == 0
    return out


@pytest.fixture(scope="module")
def trained(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector of pixels after a minute of training."""
    run = tmp_path_factory.mktemp("runs") / "fn3"
    settings = ["size=96", "workers=0", "steps=60", "epochs=3", "flip=true", "batch=8"]
    flags = [part for setting in settings for part in ("--set", setting)]
    assert run_cli("train", "fn3-seg", "--shards", str(prepared), "--run", str(run), *flags, "--gpus", "0") == 0
    return run


def training(model: str, shards: Path, run: Path, **more: Any) -> Training:
    limit = more.pop("limit", None)
    options = more.pop("options", {})
    return Training(model, (shards,), run, make_recipe(model, {**SMALL, **more}), options, limit=limit)


def weights(run: Path, state: str = "last") -> dict[str, torch.Tensor]:
    return load_file(run / json.loads((run / f"{state}.json").read_text())["tensors"])


@pytest.mark.parametrize(("model", "size"), [("fn3-seg", 64), ("mesoinception4-cls", 256)])
def test_a_resumed_training_ends_with_the_same_weights(model: str, size: int, prepared: Path, tmp_path: Path) -> None:
    train(training(model, prepared, tmp_path / "whole", size=size, batch=2), device="cpu")
    parts = training(model, prepared, tmp_path / "parts", size=size, batch=2, epochs=1, limit=2)
    train(parts, device="cpu")
    with pytest.raises(KeyboardInterrupt):
        train(replace(parts, limit=None), device="cpu", report=_interrupt_at(4))
    train(replace(parts, limit=None), device="cpu")
    # More epochs are the same training. What a killed process wrote after its last state comes again.
    train(training(model, prepared, tmp_path / "parts", size=size, batch=2, limit=9), device="cpu")
    log = tmp_path / "parts" / "log.jsonl"
    with log.open("a") as file:
        file.write('{"step": 10, "epoch": 1, "loss": 9}\n{"step": 11, "ep')
    train(training(model, prepared, tmp_path / "parts", size=size, batch=2), device="cpu")
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert [entry["step"] for entry in entries if "loss" in entry] == list(range(1, 13))
    assert [entry["epoch"] for entry in entries if "val_auc" in entry] == [0, 1]
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


def test_threads_do_not_change_what_is_learnt(prepared: Path, tmp_path: Path) -> None:
    for threads in (0, 3):
        train(training("fn3-seg", prepared, tmp_path / str(threads), workers=threads), device="cpu")
    one, other = weights(tmp_path / "0"), weights(tmp_path / "3")
    assert all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Ray's own parts
def test_several_processes_train_one_detector_and_go_on(prepared: Path, tmp_path: Path) -> None:
    train(training("fn3-seg", prepared, tmp_path / "run", steps=3, limit=2), device="cpu")
    train_on_many(training("fn3-seg", prepared, tmp_path / "run", steps=3), 2, gpu=False)
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log if "loss" in entry] == list(range(1, 7))
    assert [entry["epoch"] for entry in log if "val_auc" in entry] == [0, 1]
    load_detector(tmp_path / "run")
    with pytest.raises(UsageError, match="--batch 4 cannot be shared out to 3 processes"):
        train_on_many(training("fn3-seg", prepared, tmp_path / "run"), 3, gpu=False)


def test_it_learns_where_the_forgery_is(trained: Path, prepared: Path) -> None:
    found = evaluate_run(trained, [prepared], device="cpu", workers=0)["sets"][str(prepared)]
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
    assert "Published, mIoU (on FaceForensics++, not on these samples):" in printed
    evaluation = json.loads((folder / "evaluation.json").read_text())
    found = evaluation[0]["sets"][str(prepared)]
    assert set(found["methods"]) == {"real", "Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures"}
    assert sum(f["samples"] for f in found["methods"].values()) == found["samples"]
    accuracy = sum(f["acc"] * f["samples"] for f in found["methods"].values()) / found["samples"]
    assert accuracy == pytest.approx(found["frames"]["acc"])
    assert found["methods"]["real"]["fg_iou"] is None
    for name in ("roc.png", "matrix.png", "predictions-0-c23.png"):
        assert cv2.imread(str(folder / name)).std() > 5
    assert cv2.imread(str(trained / "curves.png")).std() > 5
    runs, heads, values = matrix(evaluation)
    assert (runs, heads[-1], values.shape) == (["fn3", "fn3"], "all", (2, 5))


def test_the_command_predicts_pictures_and_videos(
    trained: Path, demo: Path, tmp_path: Path, face_photo: UInt8, capsys: pytest.CaptureFixture[str]
) -> None:
    media = tmp_path / "media"
    media.mkdir()
    shutil.copy(demo / "original_sequences/youtube/c23/videos/071.mp4", media / "clip.mp4")
    cv2.imwrite(str(media / "photo.png"), cv2.cvtColor(face_photo, cv2.COLOR_RGB2BGR))
    cv2.imwrite(str(media / "nobody.jpg"), np.full((200, 200, 3), 90, np.uint8))
    (media / "broken.mp4").write_bytes(b"no video")
    out = tmp_path / "out"
    assert run_cli("predict", str(trained), str(media), "--to", str(out), "--gpus", "0", "--every", "6") == 1
    printed = capsys.readouterr().out
    assert "broken.mp4: not a video that can be opened" in printed
    assert "nobody.jpg: no face" in printed
    assert re.search(r"clip\.mp4: (real|fake) 0\.\d{3}; 1 face, \d+ frames; written .*clip\.mp4\.judged\.mp4", printed)
    clip = json.loads((out / "clip.mp4.json").read_text())
    assert [face["frame"] for face in clip["faces"]] == list(range(0, clip["faces"][-1]["frame"] + 1, 6))
    assert {face["track"] for face in clip["faces"]} == {0}
    assert clip["score"] == pytest.approx(np.mean([face["score"] for face in clip["faces"]]), abs=1e-4)
    with av.open(str(out / "clip.mp4.judged.mp4")) as made, av.open(str(media / "clip.mp4")) as given:
        assert sum(1 for _ in made.decode(video=0)) == sum(1 for _ in given.decode(video=0))
    drawn = cv2.cvtColor(cv2.imread(str(out / "photo.png.judged.png")), cv2.COLOR_BGR2RGB)
    assert drawn.shape == face_photo.shape
    assert (drawn != face_photo).any()
    (face,) = json.loads((out / "photo.png.json").read_text())["faces"]
    assert 0 <= face["score"] <= 1
    assert face["box"][2] - face["box"][0] > 60
    assert not list(out.glob("*broken*"))


def test_predictions_replace_neither_inputs_nor_each_other(
    trained: Path, tmp_path: Path, face_photo: UInt8, capsys: pytest.CaptureFixture[str]
) -> None:
    media = tmp_path / "media"
    names = ["photo.png", "photo.jpg", "fake/photo.png", "real/photo.png"]
    for name in names:
        (media / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(media / name), cv2.cvtColor(face_photo, cv2.COLOR_RGB2BGR))
    before = {name: (media / name).read_bytes() for name in names}
    judged = sorted(f"{name}{ending}" for name in names for ending in (".judged.png", ".json"))
    for given in ([str(media)], [str(media), str(media / "real" / ".." / "real" / "photo.png"), str(media / "fake")]):
        assert run_cli("predict", str(trained), *given, "--to", str(media), "--gpus", "0") == 0
        assert capsys.readouterr().out.count("; written") == len(names)
        files = {str(file.relative_to(media)) for file in media.rglob("*") if file.is_file()}
        assert files == {*names, *judged}
    assert {name: (media / name).read_bytes() for name in names} == before
    (media / "photo.png.json").write_bytes(before["photo.png"])
    assert run_cli("predict", str(trained), str(media), str(media / "photo.png.json"), "--to", str(media)) == 2
    assert "would be overwritten" in capsys.readouterr().err


def test_a_video_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def break_off() -> None:
        with written_video(tmp_path / "a" / "x.mp4", 25.0) as add:
            add(np.zeros((33, 1, 3), np.uint8))
            raise MediaError("x.mp4", "breaks off")

    with pytest.raises(MediaError):
        break_off()
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_the_most_suspicious_track_decides() -> None:
    faces = [{"track": t, "score": s} for t, s in [(0, 0.2), (1, 0.9), (0, 0.4), (1, 0.5), (0, 0.3)]]
    quiet, loud = tracks_of(faces, 0.6)
    assert quiet == {"track": 0, "score": pytest.approx(0.3), "fake": False, "frames": 3}
    assert loud == {"track": 1, "score": pytest.approx(0.7), "fake": True, "frames": 2}


def test_predict_and_evaluate_agree_on_a_frame(trained: Path, prepared: Path, demo: Path, tmp_path: Path) -> None:
    index = load_index([prepared], "test")
    rows = [row for row in Samples(index).read(range(len(index))) if row["label"] == 0]
    clip = rows[0]["clip_id"].rpartition("/")[2]
    chosen = np.array([row["number"] for row in rows if row["clip_id"] == rows[0]["clip_id"]])
    ready = get_ready(trained, device="cpu")
    assert (ready.crop.size, ready.crop.enlarge) == (96, 1.3)
    cut = json.loads((trained / "config.json").read_text())["crop"]
    assert cut["detector"] == "libfacedetection"
    assert cut["min_face"] == pytest.approx(1 / 15)
    file = demo / f"original_sequences/youtube/c23/videos/{clip}.mp4"
    # The whole crop, and the middle of it.
    for recipe in (ready.recipe, ready.recipe.model_copy(update={"enlarge": 1.1})):
        judged = judge(ready.detector, index, recipe, ready.size, ready.device, numbers=chosen)
        told = {row["frame_index"]: score for row, score in zip(judged.rows, judged.scores, strict=True)}
        found = predict_file(file, replace(ready, recipe=recipe), tmp_path / "clip.mp4", every=6)
        own = {face["frame"]: face["score"] for face in found["faces"] if face["frame"] in told}
        assert own == pytest.approx(told, abs=1e-3)
        assert len(own) == 6
        assert found["score"] == max(track["score"] for track in found["tracks"])
        assert found["fake"] == (found["score"] > found["threshold"])


def test_a_training_that_does_not_know_the_size_of_its_crops_judges_native_ones(trained: Path, tmp_path: Path) -> None:
    old = shutil.copytree(trained, tmp_path / "old")
    config = json.loads((old / "config.json").read_text())
    del config["crop"]
    (old / "config.json").write_text(json.dumps(config))
    assert get_ready(old, device="cpu").crop == CropParams(detector="dlib-hog", enlarge=1.3)
    assert get_ready(trained, enlarge=2.0, device="cpu").crop == CropParams(enlarge=2.0, size=96)


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
    says(2, "no shards of the split 'dev'", "evaluate", str(trained), *shards, "--split", "dev")
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
    with pytest.raises(VerifyError, match="damaged checkpoint"):
        load_detector(cut)
    other = copy("other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "model": "vgg3-seg"}))
    with pytest.raises(UsageError, match="is of another detector"):
        load_detector(other)
    gone = copy("gone")
    (gone / json.loads((gone / "best.json").read_text())["tensors"]).unlink()
    with pytest.raises(VerifyError, match=r"gone/best-\d+\.safetensors: no such file, but best\.json names it"):
        load_detector(gone)
    early = copy("early")
    (early / "best.json").unlink()
    with pytest.raises(UsageError, match="has no state 'best' yet"):
        load_detector(early)


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
    assert {line[0] for line in listed if len(line) == 4} >= set(MODELS)
    assert run_cli("models", "show", "two-stream") == 0
    printed = capsys.readouterr().out
    assert "two-stream: 21,486,450 parameters, input 299 x 299" in printed
    assert "--model-option stream=… (one of both, semantic, none; default 'both')" in printed
    assert "real_repeat    4.0" in printed
    assert Recipe().view == "resize"
