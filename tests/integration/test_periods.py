"""Fakes that are forged in periods, and longer or shorter in them than their original: exact labels by the second."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from forgeprep.shards.read import iter_rows, shard_paths
from forgeprep.stages.crop.periods import frames_in
from tests.conftest import UInt8, run_cli
from tests.helpers.variants import fake_path, original_path, pictures

STEM = "071_054"
N = 75
Shown = list[tuple[int, bool]]
"""Of each frame of a fake the frame that it is made of, and whether it is forged."""


def real(first: int, last: int) -> Shown:
    return [(index, False) for index in range(first, last)]


def forged(first: float, last: float, count: int) -> Shown:
    """So many forged frames for those of the original from ``first`` to ``last``."""
    return [(int(first + (last - first) * i / count), True) for i in range(count)]


EDITS: dict[str, Shown] = {
    "as long": real(0, 20) + forged(20, 40, 20) + real(40, N),
    "a longer word": real(0, 20) + forged(20, 40, 33) + real(40, N),
    "a shorter word": real(0, 20) + forged(20, 45, 8) + real(45, N),
    "a word put in": real(0, 30) + forged(50, 74, 24) + real(30, N),
    "a word taken out": real(0, 15) + forged(15, 18, 3) + real(48, N),
    "one put in, one out": real(0, 10) + forged(10, 12, 20) + real(12, 50) + forged(50, 66, 4) + real(66, N),
    "a long one put in": real(0, 8) + forged(8, 20, 72) + real(20, N),
}


def times_of(count: int, seed: int) -> list[int]:
    """When frames are shown, in milliseconds: no two gaps need be alike, and the rate is not that of the list."""
    gaps = np.random.default_rng(seed).choice([17, 33, 40, 50, 120], count)
    return [0, *np.cumsum(gaps[:-1]).tolist()]


def write_timed(path: Path, frames: list[UInt8], times_ms: list[int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        options = {"crf": "18", "preset": "veryfast", "threads": "1"}
        stream: Any = container.add_stream("libx264", rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        for rgb, at in zip(frames, times_ms, strict=True):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts, frame.time_base = at, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@dataclass(frozen=True)
class Made:
    """A run of all edits: rows and row of the clips table, by the name of the edit."""

    rows: dict[str, list[dict[str, Any]]]
    clips: dict[str, dict[str, Any]]
    drops: list[dict[str, Any]]


@pytest.fixture(scope="module")
def made(couple: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    root, out = tmp_path_factory.mktemp("lavdf"), tmp_path_factory.mktemp("out")
    small = [
        [
            np.asarray(cv2.resize(frame, (200, 150), interpolation=cv2.INTER_AREA), np.uint8)
            for frame in pictures(path)[:N]
        ]
        for path in (original_path(couple, STEM, "raw"), fake_path(couple, "Deepfakes", STEM, "raw"))
    ]
    write_timed(root / "train/000000.mp4", small[0], times_of(N, 0))
    entries = [{"file": "train/000000.mp4", "split": "train", "modify_video": False, "video_frames": N}]
    for number, shown in enumerate(EDITS.values(), 1):
        name, times = f"train/{number:06d}.mp4", times_of(len(shown), number)
        write_timed(root / name, [small[int(fake)][index] for index, fake in shown], times)
        marks = [False, *(fake for _, fake in shown), False]
        edges = [i for i in range(len(shown) + 1) if marks[i] != marks[i + 1]]
        seconds = [times[i] / 1000 for i in edges]
        periods = [list(period) for period in zip(seconds[::2], seconds[1::2], strict=True)]
        entries.append(
            {"file": name, "split": "train", "original": "train/000000.mp4", "modify_video": True,
             "modify_audio": number % 2 == 0, "fake_periods": periods,
             # Of some, the list tells a wrong number of frames.
             "video_frames": len(shown) if number < 4 else N}
        )  # fmt: skip
    (root / "metadata.json").write_text(json.dumps(entries))
    flags = ("--frames", "all", "--stages", "crop", "--size", "64", "--workers", "0")
    assert run_cli("run", "lavdf", "--root", str(root), "--out", str(out), *flags) == 0
    assert run_cli("verify", str(out)) == 0
    ids = {f"lavdf/train/{number:06d}": name for number, name in enumerate(["original", *EDITS])}
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in ids.values()}
    for path in shard_paths(out):
        for row in iter_rows(path):
            rows[ids[row["clip_id"]]].append(row)
    clips = {ids[clip["clip_id"]]: clip for clip in pq.read_table(out / "meta/clips.pq").to_pylist()}
    return Made(rows, clips, pq.read_table(out / "meta/drops.pq").to_pylist())


@pytest.mark.parametrize("name", EDITS)
def test_every_frame_has_the_label_of_its_time_and_its_own_original(name: str, made: Made) -> None:
    shown, rows, clip = EDITS[name], made.rows[name], made.clips[name]
    assert [row["sample_id"] for row in rows if row["label"] != shown[row["frame_index"]][1]] == []
    assert sum(label * count for _, count, label in clip["spans"]) == sum(fake for _, fake in shown)
    # A frame that is real shows one of the original's, and that is known where the pair holds.
    shows = {index for index, fake in shown if not fake}
    if name == "a word put in":
        assert (clip["pairing"], clip["guesses"][0]["verdict"]) == ("refused", "unaligned")
        assert len(rows) == len(shown)
        assert {row["original_frame"] for row in rows} == {None}
    else:
        own = [row for row in rows if not row["label"]]
        assert [row["original_frame"] for row in own] == [shown[row["frame_index"]][0] for row in own]
        assert {row["original_frame"] for row in own} == shows
        # As many forged ones as the original has frames for, and of the rest there is a word.
        forged_rows, there = len(rows) - len(own), {index for index, fake in shown if fake} - shows
        assert forged_rows >= len(there)
        dropped = [drop for drop in made.drops if drop["clip_id"] == clip["clip_id"]]
        assert len(rows) + len(dropped) == N
        assert {drop["reason"] for drop in dropped} <= {"unaligned"}
    heard = clip["audio_label"] if name not in ("as long", "original") else 0
    assert {row["audio_label"] for row in rows if row["label"]} == {heard}
    assert {row["audio_label"] for row in rows if not row["label"]} == {0}
    assert all(row["visual_label"] == row["label"] for row in rows)


def test_what_the_list_says_wrongly_is_told(made: Made) -> None:
    told = {name: clip["warnings"] for name, clip in made.clips.items()}
    assert told["original"] == told["as long"] == []
    wrong = [name for name, lines in told.items() if any("the dataset's list says 75 frames, the" in x for x in lines)]
    assert wrong == list(EDITS)[3:]
    assert told["a longer word"] == [
        "laid on its original piece by piece around its periods: 88 frames for 75",
        "13 forged frames show nothing of the original: no samples of these",
    ]
    assert told["a word put in"][1:] == [
        "99 frames for 75, and its forged frames show nothing of the original",
        "it does not lie on its original: taken without, labelled as the dataset's list says",
    ]
    assert [made.clips[name]["pairing"] for name in ("as long", "a longer word")] == ["stated", "guessed"]


def test_periods_meet_frames_by_the_time_at_which_these_begin_to_be_shown() -> None:
    seconds = [0.0, 0.033, 0.1, 0.1334, 0.5, 0.501]
    assert frames_in([[0.1, 0.5]], seconds) == [(2, 4)]
    # Lists and containers round; what touches is one; what holds no frame is none.
    assert frames_in([[0.0335, 0.1003], [0.1, 0.2], [0.34, 0.4]], seconds) == [(1, 4)]
    assert frames_in([[0.6, 0.9], [0.5, 7.0]], seconds) == [(4, 6)]
