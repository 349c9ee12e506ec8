"""Where and when: soft magnitudes against cases by hand, and spans in time, on shards of ForgeryNet's layout."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch

from forgeprep.errors import UsageError
from forgeprep.training.data import Samples
from forgeprep.training.evaluation.metrics import MagnitudeCounts
from forgeprep.training.inference.loaded import LoadedModel
from forgeprep.training.models import build, parameters
from forgeprep.training.models.bmn import Bmn
from forgeprep.training.recipe import Recipe
from forgeprep.training.sample_index import load_index, read_values, sequence_index
from forgeprep.training.temporal.figures import temporal_figures
from forgeprep.training.temporal.spans import frame_features, lines_of, load_features_model, sequences_around
from forgeprep.training.temporal.timeline import (
    Timeline,
    make_timeline,
    proposals_of_maps,
    spread,
    targets,
)
from forgeprep.training.transforms import collate, prepare, to_device
from tests.conftest import LaidOut, run_cli


@pytest.fixture(scope="module")
def shards(laid_out: LaidOut, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures with magnitudes, and videos that are forged in a span."""
    folder = tmp_path_factory.mktemp("forgerynet")
    where = ["--root", str(laid_out("forgerynet")), "--out", str(folder / "out"), "--stages", "crop,mask"]
    assert run_cli("run", "forgerynet", *where, "--size", "64", "--frames", "15", "--workers", "0") == 0
    return folder / "out"


def train(shards: Path, run: Path, model: str, *options: str, **settings: Any) -> None:
    sets = [part for name, value in {"workers": 0, **settings}.items() for part in ("--set", f"{name}={value}")]
    more = [part for option in options for part in ("--model-option", option)]
    assert run_cli("train", model, "--shards", str(shards), "--run", str(run), "--gpus", "0", *sets, *more) == 0


def prepare_sequence(seer: LoadedModel, samples: Samples, numbers: Any) -> torch.Tensor:
    """Frames as one sequence, float (1, 3, T, H, W)."""
    frames = [prepare(row, seer.recipe, seer.size, train=False)["image"] for row in samples.read(numbers)]
    return torch.from_numpy(np.stack(frames)).movedim(-1, 0)[None].float() / 255


@pytest.fixture(scope="module")
def eyes(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector that has learnt magnitudes."""
    run = tmp_path_factory.mktemp("runs") / "fn3"
    settings = {"size": 64, "batch": 8, "steps": 50, "epochs": 1, "flip": True, "real_repeat": 0.3}
    train(shards, run, "fn3-seg", "target=magnitude-or-mask", **settings)
    return run


def test_magnitudes_are_read_with_their_picture_and_known_or_not(shards: Path) -> None:
    index = load_index([shards], "train", ["mask_magnitude"])
    rows = Samples(index).read(range(len(index)))
    picture = next(row for row in rows if row["mask_magnitude"] is not None)
    video = next(row for row in rows if row["mask_magnitude"] is None and row["label"] == 1)
    real = next(row for row in rows if row["label"] == 0)
    same = {**picture, "image": np.repeat(picture["mask_magnitude"][..., None], 3, axis=2)}
    for recipe in (Recipe(view="crop"), Recipe(enlarge=1.1), Recipe(flip=True)):
        for epoch in range(3):
            made = prepare(same, recipe, 48, train=True, epoch=epoch)
            assert np.abs(made["image"][..., 0].astype(int) - made["mask_magnitude"]).max() <= 2
    whole = [prepare(row, Recipe(), 64, train=False) for row in (picture, video, real)]
    batch = to_device(collate(whole), torch.device("cpu"), noise=False)
    assert batch["has_magnitude"].tolist() == [True, False, True]
    assert torch.equal(batch["magnitude"][0, 0] * 255, torch.from_numpy(picture["mask_magnitude"]).float())
    assert batch["magnitude"][2].max() == 0
    out = {"mask": torch.zeros(3, 1, 64, 64, requires_grad=True)}
    for target, known in (("magnitude", [True, False, True]), ("magnitude-or-mask", [True, True, True])):
        out["mask"].grad = None
        detector = build("fn3-seg", {"target": target})
        detector.losses(out, batch)["magnitude"].backward()
        assert out["mask"].grad is not None
        assert (out["mask"].grad.abs().amax(dim=(1, 2, 3)) > 0).tolist() == known
    with pytest.raises(UsageError, match="--model-option target: must be 'mask', 'magnitude' or"):
        build("fn3-seg", {"target": "magnitud"})


def test_magnitudes_are_learnt_and_judged(
    shards: Path, eyes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to = ["--to", str(tmp_path), "--split", "val", "--gpus", "0"]
    assert run_cli("evaluate", str(eyes), "--shards", str(shards), *to) == 0
    # A table that is too wide is turned over, or printed as a list.
    assert re.search(r"^ *magnitude( +all +fakes |$)", capsys.readouterr().out, re.MULTILINE)
    assert "| magnitude | agree@0.1 |" in (tmp_path / "evaluation.md").read_text()
    found = json.loads((tmp_path / "evaluation.json").read_text())[0]["sets"][str(shards)]["magnitude"]
    index = load_index([shards], "val", ["mask_magnitude"])
    told = [row["mask_magnitude"] for row in Samples(index).read(range(len(index)))]
    # A map that is forged everywhere has the forged share as its IoU.
    share = np.mean([np.mean(one >= 25.5) for one in told if one is not None])
    assert found["fakes"]["iou@0.1"] > 1.4 * share
    assert found["fakes"]["l1"] < 0.2
    counts = MagnitudeCounts()
    for one in told:
        if one is not None:
            counts.add(one / 255, one / 255)
    assert (counts.figures()["iou@0.2"], counts.figures()["l1"]) == (1, 0)


def test_spans_are_found_that_training_never_saw() -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)

    def clip(number: int) -> tuple[Timeline, npt.NDArray[np.float32]]:
        length = int(rng.integers(4, 14))
        start = int(rng.integers(0, 17 - length))
        labels = [int(start <= frame < start + length) for frame in range(16)]
        values = np.stack([labels + rng.normal(0, 0.3, 16), rng.normal(0, 1, 16)], axis=1)
        line = make_timeline(str(number), range(16), labels)
        return line, spread(line, values, 16)

    clips = [clip(number) for number in range(88)]
    told = [targets(line, 16) for line, _ in clips[:64]]
    features = torch.from_numpy(np.stack([values for _, values in clips]))
    net = Bmn(scale=16, channels=2, samples=8)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(35):
        chosen = rng.choice(64, 16, replace=False)
        batch = {name: torch.from_numpy(np.stack([told[i][name] for i in chosen])) for name in told[0]}
        loss = torch.stack(list(net.losses(net(features[chosen]), batch).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.inference_mode():
        out = {name: torch.sigmoid(value.double()).numpy() for name, value in net.eval()(features[64:]).items()}
    found, truth = {}, {}
    for i, (line, _) in enumerate(clips[64:]):
        truth[line.clip_id] = line.spans()
        found[line.clip_id] = proposals_of_maps(line, out["start"][i], out["end"][i], out["map"][i])
    figures = temporal_figures(truth, found)
    assert figures["ap@0.5"] > 0.9
    assert figures["ar@5"] > 0.75


def test_spans_are_learnt_from_any_detector_and_judged(
    shards: Path, eyes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "bmn"
    train(shards, run, "bmn", f"features={eyes}", "scale=16", batch=6, epochs=2)
    before = (run / "last.json").read_text()
    train(shards, run, "bmn", f"features={eyes}", "scale=16", batch=6, epochs=2)
    assert (run / "last.json").read_text() == before
    capsys.readouterr()
    assert run_cli("evaluate", str(run), "--shards", str(shards), "--split", "val", "--gpus", "0") == 0
    assert "val: 12 spans in 16 clips" in capsys.readouterr().out
    (found,) = json.loads((run / f"evaluation/val-{shards.name}/evaluation.json").read_text())[0]["sets"].values()
    assert found["ways"]["oracle: masks"]["recall@5 tiou .5"] >= 0.8
    assert found["ways"]["oracle: masks"]["ar@5"] >= 0.8
    assert all(0 <= value <= 1 for value in found["ways"]["bmn"].values())
    assert cv2.imread(str(run / f"evaluation/val-{shards.name}/timelines-{run.name}.png")).std() > 5
    lines = lines_of(load_index([shards], "val"))
    assert temporal_figures({li.time.clip_id: li.time.spans() for li in lines}, {})["map"] == 0
    for features, message in (("", "give --model-option features=RUN"), (f"features={run}", "is a training of bmn")):
        more = ["--model-option", features] if features else []
        assert run_cli("train", "bmn", "--shards", str(shards), "--run", str(tmp_path / "x"), *more) == 2
        assert message in capsys.readouterr().err
    assert run_cli("evaluate", str(run), str(eyes), "--shards", str(shards)) == 2


def test_clips_are_stretches_of_one_track_and_lose_no_frame(shards: Path) -> None:
    index = load_index([shards], "train")
    rows = list(read_values(index, ["clip_id", "track_id", "frame_index", "label"]))
    for frames, step in ((4, 1), (3, 2), (16, 1)):
        clips = sequence_index(index, frames=frames, step=step)
        assert clips.parts is not None
        members = clips.parts[1]
        assert members.shape == (len(clips), frames)
        seen = set()
        for number, clip in enumerate(members):
            own = [rows[at] for at in clip]
            assert len({(row["clip_id"], row["track_id"]) for row in own}) == 1
            order = [row["frame_index"] for row in own]
            assert order == sorted(order)
            assert clips.label[number] == max(row["label"] for row in own)
            seen |= {(own[0]["clip_id"], frame) for frame in order}
        videos = {(row["clip_id"], row["frame_index"]) for row in rows if "/video/" in row["clip_id"]}
        assert seen == videos if step == 1 else seen < videos
    (clip,) = Samples(clips).read([0])
    assert len(clip["frames"]) == 16
    made = prepare(clip, Recipe(view="crop"), 48, train=True)
    alone = prepare({**clip["frames"][3], "number": 0}, Recipe(view="crop"), 48, train=True)
    assert made["image"].shape == (16, 48, 48, 3)
    assert (made["image"][3] == alone["image"]).all()
    assert collate([made, made])["image"].shape == (2, 3, 16, 48, 48)


def test_slowfast_is_as_published_and_learns_a_batch() -> None:
    for options, count in (({"classes": 400}, 34.57), ({"classes": 400, "fusion": 5, "alpha": 8}, 34.48)):
        with torch.device("meta"):
            assert parameters(build("slowfast-r50", options)) / 1e6 == pytest.approx(count, abs=0.005)
    torch.manual_seed(0)
    detector = build("slowfast-r50", {"frames": 4})
    still = torch.rand(4, 3, 1, 32, 32).expand(-1, -1, 4, -1, -1).clone()
    still[:2, :, ::2] = 0.5  # two clips flicker, which no single frame tells
    batch = {"label": torch.tensor([1.0, 1.0, 0.0, 0.0])}
    optimizer = torch.optim.Adam(detector.parameters(), 1e-3)
    losses = []
    for _ in range(5):
        loss = detector.losses(detector(still), batch)["label"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in detector.parameters())
    with pytest.raises(UsageError, match="frames: 10 is no multiple of alpha, 4"):
        build("slowfast-r50", {"frames": 10})


def test_videos_are_classified_by_clips_in_the_same_table(
    shards: Path, demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    train(shards, run, "slowfast-r50", "frames=16", "alpha=16", size=32, batch=4, steps=1, epochs=1)
    flags = ["--shards", str(shards), "--split", "val", "--gpus", "0", "--workers", "0"]
    assert run_cli("evaluate", str(run), *flags) == 0
    assert "\nclips " in capsys.readouterr().out
    (found,) = json.loads((run / f"evaluation/val-{shards.name}/evaluation.json").read_text())[0]["sets"].values()
    assert found["clips"]["auc"] is not None
    assert found["samples"] == len(sequence_index(load_index([shards], "val"), frames=16))
    # Spans are learnt from what it sees around each moment.
    index = load_index([shards], "val")
    line, seer = lines_of(index)[0], load_features_model({"features": str(run)}, torch.device("cpu"))
    seen = frame_features(seer, Samples(index), line)
    assert seen.shape == (len(line.time.frames), 2304 + 1)
    members, places = sequences_around(line, 16, 1)
    image = prepare_sequence(seer, Samples(index), members[0])
    with torch.inference_mode():
        np.testing.assert_allclose(seen[places[0][0]], seer.model.describe(image, (32, 32))[0].numpy(), atol=1e-4)
    # The same from shards of sequences; of their frames so many are taken as the detector sees.
    clips = tmp_path / "clips"
    where = ["--root", str(demo), "--out", str(clips), "--stages", "crop", "--size", "32", "--frames", "1"]
    assert run_cli("run", "ffpp", *where, "--sequence-length", "5", "--sequence-stride", "3", "--workers", "0") == 0
    train(clips, tmp_path / "again", "slowfast-r50", "frames=4", size=32, batch=4, steps=1, epochs=1)
    assert run_cli("evaluate", str(tmp_path / "again"), "--shards", str(clips), "--gpus", "0") == 0
    (found,) = json.loads((tmp_path / "again/evaluation/test-clips/evaluation.json").read_text())[0]["sets"].values()
    assert found["samples"] == len(load_index([clips], "test"))
    where = ["--shards", str(clips), "--run", str(tmp_path / "fn3"), "--gpus", "0"]
    assert run_cli("train", "fn3-cls", *where) == 2
    assert "sequences (--sequence-length)" in capsys.readouterr().err
    assert run_cli("predict", str(run), str(run), "--to", str(tmp_path / "to")) == 2
    assert "slowfast-r50 takes sequences, from shards" in capsys.readouterr().err
