"""Prediction as a user runs it."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from forgeprep.params.crop import CropParams
from forgeprep.training.data import Samples
from forgeprep.training.evaluation.evaluate import find_verdicts
from forgeprep.training.inference.predict import get_ready, media_files, predict_file
from forgeprep.training.sample_index import load_index
from tests.conftest import UInt8, read_picture, run_cli


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
    assert re.search(r"clip\.mp4: (real|fake) 0\.\d{3} \(fake above 0\.\d{3}\); 1 face, \d+ frames; written ", printed)
    clip = json.loads((out / "clip.mp4.json").read_text())
    assert [face["frame"] for face in clip["faces"]] == list(range(0, clip["faces"][-1]["frame"] + 1, 6))
    assert {face["track"] for face in clip["faces"]} == {0}
    assert clip["score"] == pytest.approx(np.mean([face["score"] for face in clip["faces"]]), abs=1e-4)
    with av.open(str(out / "clip.mp4.judged.mp4")) as made, av.open(str(media / "clip.mp4")) as given:
        times, told = ([frame.time for frame in file.decode(video=0)] for file in (made, given))
        assert times == pytest.approx(told, abs=1e-3)
    drawn = read_picture(out / "photo.png.judged.png")[..., ::-1]
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
    recipe = ready.loaded.recipe
    for changed in (recipe, recipe.model_copy(update={"enlarge": 1.1})):
        loaded = replace(ready.loaded, recipe=changed)
        verdicts = find_verdicts(loaded, index, numbers=chosen)
        told = {row["frame_index"]: score for row, score in zip(verdicts.rows, verdicts.scores, strict=True)}
        found = predict_file(file, replace(ready, loaded=loaded), tmp_path / "clip.mp4", every=6)
        own = {face["frame"]: face["score"] for face in found["faces"] if face["frame"] in told}
        assert own == pytest.approx(told, abs=1e-3)
        assert len(own) == 6
        assert found["score"] == max(track["score"] for track in found["tracks"])
        assert found["fake"] == (found["score"] > found["threshold"])


def test_shots_keep_their_sound_and_are_told(
    trained: Path, demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    run.symlink_to(trained)
    shots: list[Any] = []
    for name in ("071", "054", "071"):
        with av.open(str(demo / f"original_sequences/youtube/c23/videos/{name}.mp4")) as file:
            shots += [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)][:16]
    for codec, container in (("aac", "mp4"), ("pcm_s16le", "mkv")):
        clip = _with_tone(tmp_path / f"{codec}.{container}", shots, codec)
        to = tmp_path / f"to-{codec}"
        assert run_cli("predict", str(run), str(clip), "--to", str(to), "--gpus", "0", "--every", "8") == 0
        assert "; 1 face at a time, 3 tracks over 3 shots, 2 persons at most, " in capsys.readouterr().out
        with av.open(str(to / f"{clip.name}.judged.mp4")) as made:
            assert made.streams.audio[0].codec_context.name == "aac"
            heard = np.concatenate([frame.to_ndarray().ravel() for frame in made.decode(audio=0)])
            assert len(heard) / 48_000 == pytest.approx(len(shots) / 25, abs=0.1)
            spectrum = np.abs(np.fft.rfft(heard[:48_000]))
            assert abs(int(np.argmax(spectrum)) - 440) <= 2
    found = json.loads((to / f"{clip.name}.json").read_text())
    assert (found["at_once"], found["shots"], found["persons"]) == (1, 3, 2)
    assert [track["person"] for track in found["tracks"]] == [0, 1, 0]


def _with_tone(path: Path, frames: list[UInt8], codec: str) -> Path:
    """A clip of 25 frames a second with a tone of 440 Hz."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "crf": "18"})
        sound: Any = container.add_stream(codec, rate=48_000, layout="mono")
        video.height, video.width = frames[0].shape[:2]
        for number, rgb in enumerate(frames):
            container.mux(video.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
            tone = np.sin(2 * np.pi * 440 * (np.arange(1920) + 1920 * number) / 48_000)
            if codec == "aac":
                part = av.AudioFrame.from_ndarray(tone[None].astype(np.float32), format="fltp", layout="mono")
            else:
                part = av.AudioFrame.from_ndarray((tone[None] * 20_000).astype(np.int16), format="s16", layout="mono")
            part.sample_rate, part.pts = 48_000, 1920 * number
            container.mux(sound.encode(part))
        container.mux(video.encode())
        container.mux(sound.encode())
    return path


def test_results_lie_with_the_training_under_short_names(
    trained: Path, tmp_path: Path, face_photo: UInt8, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    far, near = tmp_path / "a" / "b" / "c" / "photo.png", tmp_path / "d" / "other.png"
    for file in (far, near):
        file.parent.mkdir(parents=True)
        cv2.imwrite(str(file), cv2.cvtColor(face_photo, cv2.COLOR_RGB2BGR))
    broken = tmp_path / "broken.mp4"
    broken.write_text("no video")
    words = ["predict", str(run), str(far), str(near), str(broken), "--gpus", "0", "--json"]
    assert run_cli(*words) == 1
    told = json.loads(capsys.readouterr().out)["files"]
    assert [(one.get("persons"), one["error"] is None) for one in told] == [(1, True), (1, True), (None, False)]
    names = {f"{name}{ending}" for name in ("photo.png", "other.png") for ending in (".json", ".judged.png")}
    assert {str(path.relative_to(run / "predicted")) for path in (run / "predicted").rglob("*.*")} == names
    # Two files of one name keep the folders that tell them apart.
    same = shutil.copy(far, near.parent / far.name)
    assert sorted(map(str, media_files([far, Path(same)]))) == ["a/b/c/photo.png", "d/photo.png"]


@pytest.mark.skipif(find_spec("face_recognition_models") is None, reason="no dlib models: pip install forgeprep[dev]")
def test_aligned_faces_are_cut_as_for_aligned_shards(trained: Path, demo: Path, tmp_path: Path) -> None:
    """The network is one of upright crops; what it says of the same pixels is the same."""
    asked = {"landmarks": "dlib-5", "align": "mean-face", "size": 96}
    flags = [part for name, value in asked.items() for part in (f"--{name}", str(value))]
    where = ["--root", str(demo), "--out", str(tmp_path / "out"), "--methods", "Deepfakes", "--splits", "test"]
    more = ["--stages", "crop,mask,noise", "--frames", "6", "--workers", "0", "--boxes-from", "own"]
    assert run_cli("run", "ffpp", *where, *more, *flags) == 0
    index = load_index([tmp_path / "out"], "test")
    rows = [row for row in Samples(index).read(range(len(index))) if row["label"] == 0]
    clip = rows[0]["clip_id"].rpartition("/")[2]
    chosen = np.array([row["number"] for row in rows if row["clip_id"] == rows[0]["clip_id"]])
    ready = get_ready(trained, asked, device="cpu")
    verdicts = find_verdicts(ready.loaded, index, numbers=chosen)
    told = {row["frame_index"]: score for row, score in zip(verdicts.rows, verdicts.scores, strict=True)}
    found = predict_file(
        demo / f"original_sequences/youtube/c23/videos/{clip}.mp4", ready, tmp_path / "clip.mp4", every=1
    )
    own = {face["frame"]: face["score"] for face in found["faces"] if face["frame"] in told}
    assert own == pytest.approx(told, abs=1e-3)
    assert len(own) == 6


def test_a_training_that_does_not_know_the_size_of_its_crops_judges_native_ones(trained: Path, tmp_path: Path) -> None:
    old = shutil.copytree(trained, tmp_path / "old")
    config = json.loads((old / "config.json").read_text())
    del config["crop"]
    (old / "config.json").write_text(json.dumps(config))
    assert get_ready(old, device="cpu").crop == CropParams(detector="dlib-hog", enlarge=1.3)
    assert get_ready(trained, {"enlarge": 2.0}, device="cpu").crop == CropParams(enlarge=2.0, size=96)
