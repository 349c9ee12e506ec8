"""Does a long run stay level? Memory, open files, temporary files and logs over a run of thousands of small clips.

    python benchmarks/endurance.py                 # 2,000 clips, 2 workers
    python benchmarks/endurance.py --clips 400 --workers 0

The clips are copies of a few encodes (192 x 192, 8 frames, a real photo of a face that moves a little); every second
the processes of the run are looked at. Prints the figures at the start, in the middle and at the end (medians of a
tenth of the run each, the first one after the workers are up) and the growth from the first to the last.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import av
import cv2
import numpy as np
import psutil
from skimage import data

SIDE, FRAMES, ENCODES = 192, 8, 8
FIGURES = (
    *("driver MB", "driver files", "worker MB", "worker files", "Ray MB", "Ray files"),
    *("temp files", "shm MB", "session files", "session MB"),
)


def main() -> None:
    """Make the clips, run, watch, print."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--clips", type=int, default=2000)
    arguments.add_argument("--workers", type=int, default=2)
    arguments.add_argument("--shard-size", type=int, default=40)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root, out, temp = Path(folder, "in"), Path(folder, "out"), Path(folder, "tmp")
        temp.mkdir()
        write(root, given.clips)
        words = [sys.executable, "-m", "forgeprep.cli", "run", "folder", "--root", str(root), "--out", str(out)]
        words += ["--workers", str(given.workers), "--frames", "2", "--stages", "crop,mask"]
        words += ["--shard-size", str(given.shard_size)]
        started = time.perf_counter()
        with Path(folder, "log").open("wb") as log:
            process = subprocess.Popen(words, stdout=log, stderr=log, env={**os.environ, "TMPDIR": str(temp)})
            seen = watch(psutil.Process(process.pid), process, out, temp)
        print(f"exit code {process.returncode}, {time.perf_counter() - started:.0f} s, {len(seen)} looks")
        print(Path(folder, "log").read_text(errors="replace")[-700:])
        show(seen)
        left = [path for path in temp.rglob("*") if path.is_file()]
        print(f"left behind: {len(left)} temporary files, {sum(path.stat().st_size for path in left) / 1e6:.1f} MB")


def write(root: Path, clips: int) -> None:
    """Pairs of an original and a fake of it, in the layout of ``folder``; of few encodes, under many names."""
    face = cv2.resize(np.asarray(data.astronaut(), np.uint8)[:240, 110:350], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    (root / "real").mkdir(parents=True)
    (root / "fake/blend").mkdir(parents=True)
    made = []
    for number in range(ENCODES):
        frames = [np.roll(face, (number - 4 + t // 4, t // 2 - 2), (0, 1)) for t in range(FRAMES)]
        forged = [frame.copy() for frame in frames]
        for frame in forged:
            frame[80:130, 70:120] = 255 - frame[80:130, 70:120]
        made.append((encode(root / f".real{number}", frames), encode(root / f".fake{number}", forged)))
    for number in range(clips // 2):
        real, fake = made[number % ENCODES]
        os.link(real, root / f"real/{number:05d}.mp4")
        os.link(fake, root / f"fake/blend/{number:05d}_{(number + 1) % (clips // 2):05d}.mp4")
    for pair in made:
        for path in pair:
            path.unlink()


def encode(path: Path, frames: Sequence[np.ndarray]) -> Path:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "23", "preset": "veryfast"})
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())
    return path


def watch(driver: psutil.Process, process: subprocess.Popen[bytes], out: Path, temp: Path) -> list[dict[str, float]]:
    """The figures, once a second, from the first shard to the last."""
    seen: list[dict[str, float]] = []
    while process.poll() is None:
        if list(out.glob("state/*/*.json")):
            with contextlib.suppress(psutil.Error, FileNotFoundError):
                row = look(driver, temp)
                # After the last shard the workers go, and the driver writes the tables: another state, no growth.
                if row["worker MB"] or not any(earlier["worker MB"] for earlier in seen):
                    seen.append(row)
        time.sleep(1)
    return seen


def look(driver: psutil.Process, temp: Path) -> dict[str, float]:
    """One row of figures; sums where there are several processes, but of the workers the largest."""
    groups: dict[str, list[psutil.Process]] = {"driver": [driver], "worker": [], "Ray": []}
    for child in driver.children(recursive=True):
        groups["worker" if "ray::" in " ".join(child.cmdline())[:40] else "Ray"].append(child)
    row: dict[str, float] = {}
    for name, members in groups.items():
        join = max if name == "worker" else sum
        row[f"{name} MB"] = join([m.memory_info().rss / 1e6 for m in members] or [0])
        row[f"{name} files"] = join([m.num_fds() for m in members] or [0])
    # Ray keeps its sessions in the folder for temporary files too.
    sessions, files = temp / "ray", [path for path in temp.rglob("*") if path.is_file()]
    row["temp files"] = sum(1 for path in files if not path.is_relative_to(sessions))
    row["shm MB"] = psutil.disk_usage("/dev/shm").used / 1e6
    logs = [path for path in files if path.is_relative_to(sessions)]
    row["session files"], row["session MB"] = len(logs), sum(path.stat().st_size for path in logs) / 1e6
    return row


def show(seen: list[dict[str, float]]) -> None:
    """Start, middle, end and growth of each figure."""
    tenth = max(1, len(seen) // 10)
    skip = min(5, len(seen) // 10)
    middle = len(seen) // 2
    parts = [seen[skip : skip + tenth], seen[middle : middle + tenth], seen[-tenth:]]
    print(f"{'':<14}{'start':>9}{'middle':>9}{'end':>9}{'growth':>9}{'most':>9}")
    for name in FIGURES:
        start, mid, end = (statistics.median(row[name] for row in part) for part in parts)
        most = max(row[name] for row in seen)
        print(f"{name:<14}{start:9.1f}{mid:9.1f}{end:9.1f}{end - start:+9.1f}{most:9.1f}")


if __name__ == "__main__":
    main()
