"""One loop for every task: what a model of clips is spared since it is trained like any other."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from forgeprep.errors import UsageError
from forgeprep.training.choose_task import make_task
from forgeprep.training.inference.loaded import load_model
from forgeprep.training.models import build
from forgeprep.training.recipe import make_recipe
from forgeprep.training.run_folder import Training, crop_warnings
from forgeprep.training.sample_index import load_index, read_columns
from forgeprep.training.trainer import Loop, train
from tests.conftest import UInt8
from tests.helpers.shards_run import make_row, write_shard, write_tables

FRAMES = range(0, 60, 6)
STAGES = ("crop", "mask")


@pytest.fixture(scope="module")
def shards(face_photo: UInt8, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of ten frames, two real and four that are forged in their second half, in train and in val."""
    out = tmp_path_factory.mktemp("shards")
    records = []
    for split, source in (("train", 0), ("val", 10)):
        rows = []
        for number in (source, source + 3):
            for method in (None, "Deepfakes", "FaceSwap"):
                whole = make_row(face_photo, split, number, method, 0, 48)
                for frame in FRAMES:
                    forged = method if frame >= 30 else None
                    row = make_row(face_photo, split, number, forged, frame, 48)
                    names = {name: whole[name] for name in ("clip_id", "original_id")}
                    rows.append({**row, **names, "sample_id": f"{whole['clip_id']}/0/{frame:06d}"})
        records.append(write_shard(out, f"{split}/ffpp-{split}-00000", rows, formats=("parquet",), stages=STAGES))
    write_tables(out, records, STAGES)
    return out


@pytest.fixture(scope="module")
def seer(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of images, whose features are learnt from."""
    run = tmp_path_factory.mktemp("runs") / "fn3"
    train(training("fn3-cls", shards, run, size=32, steps=1, epochs=1), device="cpu")
    return run


def training(model: str, shards: Path, run: Path, options: dict[str, Any] | None = None, **given: Any) -> Training:
    recipe = make_recipe(model, {"batch": 4, "workers": 0, **given})
    return Training(model, (shards,), run, recipe, options or {})


def of_clips(shards: Path, seer: Path, run: Path, **given: Any) -> Training:
    options = {"features": str(seer), "scale": 8, "samples": 4}
    return training("bmn", shards, run, options, **{"batch": 2, "epochs": 2, **given})


def tensors(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / json.loads((run / "last.json").read_text())["tensors"])


def same(run: Path, other: Path) -> bool:
    left, right = tensors(run), tensors(other)
    return left.keys() == right.keys() and all(torch.equal(value, right[name]) for name, value in left.items())


def stop_at(step: int) -> Callable[[dict[str, Any]], None]:
    def report(facts: dict[str, Any]) -> None:
        if facts["step"] == step and "loss" in facts:
            raise KeyboardInterrupt

    return report


def test_a_model_of_clips_stops_within_an_epoch_and_ends_with_the_same_bits(
    shards: Path, seer: Path, tmp_path: Path
) -> None:
    train(of_clips(shards, seer, tmp_path / "whole"), device="cpu")
    parts = of_clips(shards, seer, tmp_path / "parts")
    for step, place in ((2, (2, 0, 2)), (4, (4, 1, 1))):
        with pytest.raises(KeyboardInterrupt):
            train(parts, device="cpu", report=stop_at(step))
        state = json.loads((parts.run / "last.json").read_text())
        assert (state["step"], state["epoch"], state["in_epoch"]) == place
    train(replace(parts, limit=5), device="cpu")
    train(parts, device="cpu")
    assert same(tmp_path / "whole", parts.run)
    log = [json.loads(line) for line in (parts.run / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log if "loss" in entry] == list(range(1, 7))
    assert [entry["epoch"] for entry in log if "val_map" in entry] == [1, 2]
    assert all("clips_s" in entry for entry in log if "loss" in entry)
    other = of_clips(shards, seer, tmp_path / "other", seed=1)
    train(other, device="cpu")
    assert not same(tmp_path / "whole", other.run)


def test_a_model_of_clips_keeps_states_and_goes_on_from_older_ones(
    shards: Path, seer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    save = Loop.save

    def noted(loop: Loop, facts: dict[str, Any]) -> None:
        saved.append(facts["step"])
        save(loop, facts)

    monkeypatch.setattr(Loop, "save", noted)
    run = of_clips(shards, seer, tmp_path / "run", save_every=2, epochs=1)
    train(run, device="cpu")
    assert saved == [2, 3]  # and after the epoch
    # Older states of such trainings were of whole epochs alone, and do not say where in one they are.
    state = run.run / "last.json"
    facts = json.loads(state.read_text())
    del facts["in_epoch"]
    state.write_text(json.dumps(facts))
    train(of_clips(shards, seer, run.run, save_every=2), device="cpu")
    train(of_clips(shards, seer, tmp_path / "whole"), device="cpu")
    assert same(run.run, tmp_path / "whole")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own parts
def test_precision_and_compilation_count_for_every_task(shards: Path, seer: Path, tmp_path: Path) -> None:
    cpu = torch.device("cpu")
    losses: dict[str, float] = {}
    seen: list[torch.dtype] = []
    for precision in ("fp32", "bf16"):
        task = make_task(of_clips(shards, seer, tmp_path / precision, precision=precision), cpu)
        (tmp_path / precision).mkdir()
        task.prepare()
        torch.manual_seed(0)
        model = build(task.training.model, task.training.options)
        model.get_submodule("base").register_forward_hook(lambda layer, inputs, out: seen.append(out.dtype))
        loop = Loop(task, model, cpu)
        [batch, *_] = loop.read(task.batches(0, 1, 0), 0)
        losses[precision] = loop.step(batch, 0)["loss"]
    assert seen == [torch.float32, torch.bfloat16]
    assert losses["fp32"] != losses["bf16"]
    assert losses["fp32"] == pytest.approx(losses["bf16"], rel=0.05)
    compiled = Loop(make_task(of_clips(shards, seer, tmp_path / "c", compile=True), cpu), build("bmn"), cpu)
    assert isinstance(compiled.forward, torch._dynamo.eval_frame.OptimizedModule)


def test_an_epoch_of_clips_holds_each_clip_once(shards: Path, seer: Path, tmp_path: Path) -> None:
    task = make_task(of_clips(shards, seer, tmp_path / "run"), torch.device("cpu"))
    assert task.single
    for epoch in (0, 1):
        batches = task.batches(epoch, 1, 0)
        assert sorted(np.concatenate(batches).tolist()) == list(range(6))
    assert [b.tolist() for b in task.batches(0, 1, 0)] != [b.tolist() for b in task.batches(1, 1, 0)]
    longer = make_task(of_clips(shards, seer, tmp_path / "run", steps=5), torch.device("cpu")).batches(0, 1, 0)
    assert [b.tolist() for b in longer[:3]] == [b.tolist() for b in task.batches(0, 1, 0)]
    assert len(longer) == 5
    for name, value in (("flip", True), ("balance", True), ("sigma", 7.0)):
        with pytest.raises(UsageError, match=f"{name}: bmn learns from features of whole clips; leave it out"):
            of_clips(shards, seer, tmp_path / "run", **{name: value})
    bmn = tmp_path / "bmn"
    train(of_clips(shards, seer, bmn, epochs=1), device="cpu")
    with pytest.raises(UsageError, match="is a training of bmn; features are those of a model of images or seq"):
        make_task(of_clips(shards, bmn, tmp_path / "x"), torch.device("cpu"))


def test_a_split_of_one_class_is_told_and_compared_by_loss(face_photo: UInt8, tmp_path: Path) -> None:
    def make(name: str, train_kinds: tuple[str | None, ...]) -> Path:
        rows = {"train": [make_row(face_photo, "train", 0, kind, 6 * n, 48) for n in range(4) for kind in train_kinds]}
        rows["val"] = [make_row(face_photo, "val", 10, None, 6 * n, 48) for n in range(3)]
        records = [
            write_shard(tmp_path / name, f"{split}/00000", own, formats=("parquet",), stages=STAGES)
            for split, own in rows.items()
        ]
        write_tables(tmp_path / name, records, STAGES)
        return tmp_path / name

    told: list[dict[str, Any]] = []
    shards, run = make("both", (None, "Deepfakes")), tmp_path / "run"
    best = train(training("fn3-cls", shards, run, size=32, steps=1, epochs=3), device="cpu", report=told.append)
    notes = [facts["note"] for facts in told if "note" in facts]
    assert notes == [f"{shards}: val holds no fakes, so AUC is not defined there, and the smallest loss on val is the "
                     "best state"]  # fmt: skip
    losses = [facts["val_loss"] for facts in told if "val_loss" in facts]
    assert (best["val_loss"], best["epoch"]) == (min(losses), 1 + losses.index(min(losses)))
    assert not [file for file in run.iterdir() if file.suffix in (".json", ".jsonl") and "NaN" in file.read_text()]
    with pytest.raises(UsageError, match=r"train holds no fakes, and .* learnt from both; give shards with fakes, or"):
        train(training("fn3-cls", make("reals", (None,)), tmp_path / "x", size=32), device="cpu")


def test_columns_come_in_the_order_of_the_index(shards: Path) -> None:
    whole = load_index([shards], "train")
    chosen = load_index([shards], "train", only=["FaceSwap"])
    assert len(chosen) == len(whole) - np.count_nonzero(whole.method == whole.methods.index("Deepfakes"))
    table = read_columns(chosen, ["label", "method", "no_such"])
    assert table.column_names == ["label", "method"]
    assert table["label"].to_pylist() == chosen.label.tolist()
    assert [chosen.methods[code] for code in chosen.method] == table["method"].to_pylist()
    assert (whole.label.dtype, whole.shard.dtype) == (np.int8, np.int32)
    kept = load_index([shards], "train", kind=("method", "Deepfakes"))
    assert kept.classes["method"] == ("real", "Deepfakes")


def test_a_training_says_how_its_shards_were_cut(shards: Path, seer: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for folder, detector in ((shards, "dlib-hog"), (other, "whole")):
        document = json.loads((shards / "run.json").read_text())
        cut = {"detector": detector, "min_face": 0.1, "enlarge": 1.3, "size": 48, "bystanders": "skip"}
        document |= {"config": {"params": {"crop": cut}}, "versions": {"av": "1.0"}}
        (folder / "run.json").write_text(json.dumps(document))
    [line] = crop_warnings([shards, other])
    assert "(detector: dlib-hog -> whole)" in line
    assert crop_warnings([shards, shards, tmp_path]) == []
    run = tmp_path / "run"
    train(training("fn3-cls", shards, run, size=32, steps=1, epochs=1), device="cpu")
    config = json.loads((run / "config.json").read_text())
    assert config["crop"] == cut | {"detector": "dlib-hog"}
    assert config["crop_versions"] == {"av": "1.0"}
    assert config["package"] is None
    # One loaded model serves everything that judges.
    loaded = load_model(run, "cpu")
    assert (loaded.size, loaded.threshold, loaded.with_workers(3).recipe.workers) == (32, 0.5, 3)
