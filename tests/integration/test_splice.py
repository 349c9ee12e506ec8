"""Clips that are forged in spans: where the spans lie, which frames the clips hold, and what a run makes of them."""

from __future__ import annotations

import csv
import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest

from forgeprep.datasets.forgerynet_lists import read_videos
from forgeprep.media.video import read_frames
from forgeprep.pipeline.executors.ray_start import FIRST_TRY
from forgeprep.shards.read import iter_rows, shard_paths
from forgeprep.shards.verify import verify
from forgeprep.stages.crop import forged
from forgeprep.stages.crop import original as reading
from tests.conftest import UInt8, encode_video, run_cli
from tests.helpers.runs import wait_for
from tests.helpers.variants import fake_path, original_path, pictures

LAG = 4


def small(source: Path) -> list[UInt8]:
    """The first frames of a clip, at half the size."""
    halves = (cv2.resize(rgb, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for rgb in pictures(source)[:48])
    return [np.asarray(rgb, np.uint8) for rgb in halves]


@pytest.fixture(scope="module")
def raw(couple: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fake that lies on its original, one that lags, and one that shows another take."""
    root = tmp_path_factory.mktemp("splice") / "in"
    for stem in ("071_054", "054_071"):
        encode_video(original_path(root, stem, "raw"), small(original_path(couple, stem, "raw")))
    fake = small(fake_path(couple, "Deepfakes", "071_054", "raw"))
    late = small(fake_path(couple, "NeuralTextures", "071_054", "raw"))[LAG:]
    encode_video(fake_path(root, "Deepfakes", "071_054", "raw"), fake)
    encode_video(fake_path(root, "NeuralTextures", "071_054", "raw"), late)
    encode_video(fake_path(root, "Deepfakes", "054_071", "raw"), fake)
    return root


def splice(root: Path, out: Path, *more: str) -> int:
    # Short spans and lossless coding, unless more says otherwise: the last flag counts.
    rules = ("--compression", "raw", "--spans", "1-2", "--length", "8-16", "--gap", "0.2s", "--crf", "0")
    return run_cli("splice", "ffpp", "--root", str(root), "--out", str(out), *rules, *more)


def checksums(out: Path) -> dict[str, str]:
    return {str(p.relative_to(out)): hashlib.sha256(p.read_bytes()).hexdigest() for p in out.glob("**/*.mp4")}


def test_spliced_clips_hold_the_right_frames_and_run(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "spliced"
    assert splice(raw, out, "--workers", "2") == 0
    rows = {row["path"]: row for row in csv.DictReader((out / "manifest.csv").read_text().splitlines())}
    original = "train/raw/youtube/071.mp4"
    fakes = [path for path, row in rows.items() if row["label"] == "1"]
    assert set(rows) == {original, *(f"train/raw/{m}/071_054.mp4" for m in ("Deepfakes", "NeuralTextures"))}
    skipped = list(csv.DictReader((out / "skipped.csv").read_text().splitlines()))
    assert [(s["clip_id"], s["reason"]) for s in skipped] == [("ffpp/raw/Deepfakes/054_071", "unaligned")]

    real = [frame.y for frame in read_frames(original_path(raw, "071_054", "raw"))]
    labels: dict[tuple[str, int], int] = {}
    for row in pq.read_table(out / "frames.parquet").to_pylist():
        labels[row["path"], row["frame_index"]] = row["label"]
    assert [np.array_equal(a.y, b) for a, b in zip(read_frames(out / original), real, strict=True)] == [True] * len(
        real
    )
    for path in fakes:
        lag = LAG if "NeuralTextures" in path else 0
        source = [frame.y for frame in read_frames(fake_path(raw, rows[path]["method"], "071_054", "raw"))]
        made = [frame.y for frame in read_frames(out / path)]
        assert len(made) == len(real)
        for index, picture in enumerate(made):
            truth = source[index - lag] if labels[path, index] else real[index]
            assert np.array_equal(picture, truth), (path, index)
        assert rows[path]["original"] == original
    check_lists(out, rows)

    # Real frames before the first forged one need not wait for it, so there is room for any number of them.
    monkeypatch.setattr(forged, "HOLD_BYTES", 300_000)
    monkeypatch.setattr(reading, "STRETCH_FRAMES", 4)
    assert run_cli("run", "manifest", "--root", str(out), "--out", str(tmp_path / "shards"), "--stages", "crop,mask",
                   "--frames", "all", "--workers", "0") == 0  # fmt: skip
    assert verify(tmp_path / "shards") == []
    seen = [row for path in shard_paths(tmp_path / "shards") for row in iter_rows(path)]
    assert len(seen) == 3 * len(real)
    for row in seen:
        path = row["clip_id"].removeprefix("manifest/") + ".mp4"
        assert row["label"] == labels[path, row["frame_index"]], row["sample_id"]
        assert row["mask"].any() == bool(row["label"])
        assert row["method"] == (rows[path]["method"] if row["label"] else None)

    # What is there is kept, what is missing comes out the same, also in this process.
    before = checksums(out)
    stamps = {path: path.stat().st_mtime_ns for path in out.glob("**/*.mp4")}
    assert splice(raw, out, "--workers", "0") == 0
    assert {path: path.stat().st_mtime_ns for path in out.glob("**/*.mp4")} == stamps
    (out / fakes[0]).unlink()
    assert splice(raw, out, "--workers", "0") == 0
    assert checksums(out) == before


def check_lists(out: Path, rows: dict[str, Any]) -> None:
    """The reader of ForgeryNet's lists is the oracle, once the paths have its folders' numbers."""
    lines = (out / "train/video_list.txt").read_text().splitlines()
    named = {f"train/{line.split()[1]}": line for line in lines}
    assert named.keys() == rows.keys()
    for path, line in named.items():
        fake = rows[path]["label"] == "1"
        number = {"identity_replaced": "3", "identity_remained": "7", "real": "16"}[rows[path]["forgery"]]
        place = f"{number}/A/B/video.mp4" if fake else f"{number}/B/video.mp4"
        (out / "one.txt").write_text(line.replace(line.split()[1], place) + "\n")
        found = read_videos(out / "one.txt")
        assert (len(found), found.odd, found.wrong) == (1, 0, [])
        if fake:
            assert ";".join(" ".join(map(str, span)) for span in found.spans.get(0, [])) == rows[path]["spans"]
    (out / "one.txt").unlink()
    assert (out / "methods.txt").read_text() == "1 Deepfakes\n2 NeuralTextures\n"


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--length", "80"], "spans longer than the clips: the longest original has"),
        (["--length", "5s"], "spans longer than the clips"),
        (["--length", "10-5"], "--length: must be"),
        (["--spans", "0"], "--spans: must be"),
        (["--gap", "1-4"], "--gap: must be one number"),
        (["--detector", "dlib-hogg"], "--detector"),
        (["--methods", "FaceSwap"], "FaceSwap"),
    ],
)
def test_rules_that_cannot_be_kept_are_refused(
    more: list[str], told: str, raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert splice(raw, tmp_path / "out", *more) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_of_other_settings_is_left_alone(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "splice.json").write_text('{"config": {"seed": 7}, "versions": {}}')
    assert splice(raw, out) == 2
    assert "seed: 7 -> 0" in capsys.readouterr().err
    (out / "splice.json").unlink()
    (out / "thesis.txt").write_text("mine")
    assert splice(raw, out) == 2
    assert "not empty" in capsys.readouterr().err


def test_an_interrupt_ends_the_workers_too(demo: Path, tmp_path: Path) -> None:
    """As a terminal sends it, to the command and its workers alike, while they work."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "forgeprep.cli", "splice", "ffpp", "--root", str(demo), "--out", str(out)]
    process = subprocess.Popen([*command, "--workers", "2"], start_new_session=True, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: process.poll() is not None or any(out.glob("*/**/*.mp4*")))
        workers = [] if process.poll() is not None else psutil.Process(process.pid).children(recursive=True)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        _, told = process.communicate(timeout=60)
    # On a busy machine Ray may have needed a second start, which is told.
    (line,) = [line for line in told.splitlines() if FIRST_TRY not in line]
    assert process.returncode == 130
    assert "run the same command to go on" in line
    assert psutil.wait_procs(workers, timeout=10)[1] == []
