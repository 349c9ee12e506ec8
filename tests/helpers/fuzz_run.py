"""What ``python -m tests.helpers.fuzz FOLDER COUNT`` does; not a test, as it takes minutes."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq

from forgeprep.errors import MediaError
from forgeprep.media import process as media_process
from forgeprep.media.regions import frame_rgb
from forgeprep.media.video import read_frames
from forgeprep.shards.read import iter_rows, shard_paths
from tests.conftest import SHARED, UInt8, encode_video
from tests.helpers.fuzz import make_fuzz
from tests.helpers.memory import most_held
from tests.helpers.mutations import parquet_pages, tar_headers

LIMIT_S = 60
GROUPS = 6


def main(folder: Path, count: int) -> None:
    """Make, run, compare, print."""
    from skimage import data

    face = np.asarray(data.astronaut(), np.uint8)[:300, 100:400]
    home, clean = folder / "data" / "train", folder / "clean" / "train"
    seeds = _seeds(folder / "seeds", face)
    made = make_fuzz(home, count, face, more=[path.read_bytes() for path in seeds])
    for number, path in enumerate(seeds[:GROUPS]):
        _pair(home, f"well{number}", path)
    for path in sorted(
        [*home.glob("real/well*"), *home.glob("fake/swap/well*"), *home.glob("*/good*"), home / "fake/swap/good_x.mp4"]
    ):
        if path.name in ("good.mp4", "good_x.mp4") or path.name.startswith("well"):
            target = clean / path.relative_to(home)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    with_bad, without = folder / "out", folder / "out-clean"
    _run(folder / "clean", without, "--format", "both")
    _run(folder / "data", with_bad, "--format", "both")
    clips = pq.read_table(with_bad / "meta/clips.pq").to_pylist()
    drops = pq.read_table(with_bad / "meta/drops.pq").to_pylist()
    print(f"{made} bad files; {len(clips)} clips, {sum(c['written'] for c in clips)} samples")
    print(f"drops {dict(Counter(drop['reason'] for drop in drops))}")
    print(f"defects told: {sum('defect' in (drop['detail'] or '') for drop in drops)}")
    found = {path.relative_to(folder / "data").as_posix() for path in home.rglob("*") if not path.is_dir()}
    print(f"files {len(found)}, clips {len(clips)}; accounted: {len(found) == len(clips)}")
    print(f"each clip's samples are rows or drops: {all(c['requested'] <= c['written'] + c['dropped'] for c in clips)}")
    _compare(without, with_bad)
    _time(sorted(path for path in home.rglob("*") if path.is_file() and not path.is_symlink()))
    _shards(without, folder / "hurt", max(40, count // 10))


def _seeds(folder: Path, face: UInt8) -> list[Path]:
    """Short clips of people as 4:4:4 H.264; of a portrait, where the footage is not here."""
    folder.mkdir(parents=True)
    made = []
    for file in sorted((SHARED / "footage").glob("*.mp4"))[:12]:
        frames = []
        for frame in read_frames(file):
            rgb = frame_rgb(frame)
            side = min(rgb.shape[:2])
            top, left = (rgb.shape[0] - side) // 2, (rgb.shape[1] - side) // 2
            square = rgb[top : top + side, left : left + side]
            frames.append(np.asarray(cv2.resize(square, (256, 256), interpolation=cv2.INTER_AREA), np.uint8))
            if len(frames) == 12:
                break
        made.append(encode_video(folder / f"{file.stem}.mp4", frames, crf=20, pix_fmt="yuv444p", preset="veryfast"))
    if not made:
        small = np.asarray(cv2.resize(face, (256, 256)), np.uint8)
        made = [
            encode_video(folder / f"{n}.mp4", [np.roll(small, n * k, 1) for k in range(12)], crf=20, pix_fmt="yuv444p")
            for n in range(GROUPS)
        ]
    return made


def _pair(home: Path, name: str, path: Path) -> None:
    shutil.copy(path, home / "real" / f"{name}.mp4")
    frames = [frame_rgb(frame).copy() for frame in read_frames(path)]
    for frame in frames:
        frame[90:150, 90:170] = frame[90:150, 90:170][::-1]
    encode_video(home / "fake" / "swap" / f"{name}_x.mp4", frames, crf=20, pix_fmt="yuv444p")


def _run(root: Path, out: Path, *more: str) -> None:
    words = ["run", "folder", "--root", str(root), "--out", str(out), "--stages", "crop,mask", "--frames", "4", *more]
    started = time.perf_counter()
    code, most = watched([*words, "--clip-timeout", str(LIMIT_S), "--workers", "2"])
    spent = time.perf_counter() - started
    worst = max(most.values()) >> 20
    print(f"{root.name}: exit code {code}, {spent:.0f} s, at most {worst} MB in a process: {_short(most)}")


def watched(words: list[str]) -> tuple[int, dict[str, int]]:
    """Run forgeprep; exit code, and the most bytes that each of its processes held, by its command."""
    process = subprocess.Popen(
        [sys.executable, "-m", "forgeprep.cli", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    most = most_held(process)
    return process.wait(), most


def _short(most: dict[str, int]) -> str:
    kinds = ("ray::", "forgeprep.media.reader", "forgeprep.cli", "default_worker", "raylet", "gcs_server")
    worst: dict[str, int] = {}
    for name, count in most.items():
        kind = next((kind for kind in kinds if kind in name), "other")
        worst[kind] = max(worst.get(kind, 0), count >> 20)
    return ", ".join(f"{kind} {count}" for kind, count in sorted(worst.items(), key=lambda item: -item[1]))


def _rows(out: Path) -> dict[str, dict[str, Any]]:
    return {row["sample_id"]: row for path in shard_paths(out) for row in iter_rows(path, decode=False)}


def _compare(without: Path, with_bad: Path) -> None:
    before, after = _rows(without), _rows(with_bad)
    same = sum(after.get(name) == row for name, row in before.items())
    print(f"samples of good files: {len(before)}, byte-identical beside bad ones: {same}")


def _time(files: list[Path]) -> None:
    """The longest that one file takes to be read whole, and how many kill their reader."""
    worst, died = (0.0, ""), 0
    with media_process.reading(seconds=LIMIT_S):
        for path in files:
            started = time.perf_counter()
            try:
                for _ in read_frames(path):
                    pass
            except MediaError as error:
                died += error.reason == "worker_died"
            worst = max(worst, (time.perf_counter() - started, path.name))
    print(f"longest to read: {worst[1]!r} {worst[0]:.2f} s; {died} of {len(files)} killed or hung their reader")


def _shards(out: Path, folder: Path, count: int) -> None:
    """Damage shards one by one, and verify each."""
    draw = random.Random(0)
    codes: Counter[int] = Counter()
    most = 0
    longest = 0.0
    shutil.copytree(out, folder)
    for number in range(count):
        kind, damage = (("parquet", parquet_pages), ("tar", tar_headers))[number % 2]
        victim = draw.choice(sorted(folder.glob(f"shards/*/*.{kind}")))
        good = victim.read_bytes()
        victim.write_bytes(damage(good, draw))
        started = time.perf_counter()
        code, held = watched(["verify", str(folder)])
        longest, most = max(longest, time.perf_counter() - started), max(most, *held.values())
        codes[code] += 1
        victim.write_bytes(good)
    print(f"{count} damaged shards: exit codes of verify {dict(codes)}, longest {longest:.1f} s, most {most >> 20} MB")
