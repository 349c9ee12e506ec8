"""What a sample costs, against decoding the same frames once and against the common way, and where the time goes.

    python benchmarks/pipeline.py --keep /tmp/clips --json figures.json

Clips are coded like the genuine ones (``genuine.py``), an original with five fakes; where there is no footage they are
made of the demo. All figures are CPU time of one core (user and system), as a worker needs it that does everything in
its own process, and the least of some tries.

(a) The floor: the same frames decoded once by PyAV on one thread, nothing else.
(b) The common way: cv2.VideoCapture, dlib's HOG detector on every colour frame, upsampled once, crop, PNG.
"""

from __future__ import annotations

import argparse
import functools
import json
import multiprocessing
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import cv2
import dlib
from genuine import make_genuine

from forgeprep.io.storage import spare_pandas
from forgeprep.pipeline.configure import make_config
from forgeprep.pipeline.make_shard import ShardJob, make_shard, quiet_libraries
from forgeprep.pipeline.run import prepare_run
from forgeprep.stages.crop import boxes

FOOTAGE = Path(__file__).parents[2] / "shared/data/footage"
STAGE_SETS = ("crop", "crop,mask", "crop,mask,noise")
ALL = STAGE_SETS[-1]


@dataclass(frozen=True, slots=True)
class Clips:
    """A set of clips: people, frames each, size of the pictures, side of a face, and what is asked of them."""

    name: str
    people: int
    frames: int
    size: tuple[int, int]
    face: int
    runs: tuple[tuple[str, str], ...]


SETS = (
    Clips("720p", 2, 75, (1280, 720), 150, tuple((stages, "all") for stages in STAGE_SETS)),
    Clips("720p long", 1, 300, (1280, 720), 150, ((ALL, "32"),)),
    Clips("1080p", 1, 50, (1920, 1080), 346, ((ALL, "all"),)),
)
"""Faces of 150 pixels at 720 lines; of 346, which make crops of 450, at 1080. FaceForensics++'s clips have 300 frames
and more, which counts where few of them are wanted."""


@dataclass(slots=True)
class Clock:
    """CPU seconds by step, without what steps inside them take."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    running: list[str] = field(default_factory=lambda: ["other"])
    since: float = 0.0

    def switch(self) -> None:
        """Count the time since the last call to the step that runs."""
        now = time.process_time()
        self.seconds[self.running[-1]] += now - self.since
        self.since = now

    def timed(self, step: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed as a step."""

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self.switch()
            self.running.append(step)
            try:
                return function(*args, **kwargs)
            finally:
                self.switch()
                self.running.pop()

        return wrapped

    def timed_items(self, step: str, generator: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        """The generator function, the making of its items timed as a step."""

        @functools.wraps(generator)
        def wrapped(*args: Any, **kwargs: Any) -> Iterator[Any]:
            items = generator(*args, **kwargs)
            step_on = self.timed(step, functools.partial(next, items, items))
            try:
                while (item := step_on()) is not items:
                    yield item
            finally:
                items.close()  # type: ignore[attr-defined]

        return wrapped


def clock_steps(clock: Clock) -> None:
    """From here on the steps of a sample are timed."""
    from forgeprep.faces.search import Search
    from forgeprep.media import forward_reader as forward
    from forgeprep.media import video
    from forgeprep.pipeline import make_shard as work
    from forgeprep.shards.write import ShardWriter
    from forgeprep.stages import all_stages
    from forgeprep.stages.crop import fake_reader, original
    from forgeprep.stages.crop.forged import ForgedFaces

    for module in (original, forward):
        module.read_frames = clock.timed_items("decode", video.read_frames)  # type: ignore[attr-defined]
    for step, owner, name in (
        ("hash", video, "sha256_of"),
        ("detect and track", Search, "push"),
        ("detect and track", Search, "finish"),
        ("pair", original, "thumb"),
        ("pair", original, "outside"),
        ("pair", fake_reader.FakeReader, "_compare"),
        ("tell forged", original, "face_patch"),
        ("tell forged", fake_reader, "face_patch"),
        ("tell forged", ForgedFaces, "label"),
        ("tell forged", ForgedFaces, "finish"),
        ("crop", original, "cut_face"),
        ("crop", fake_reader, "cut_face"),
        ("windows", original, "window"),
        ("windows", fake_reader, "window"),
        ("encode", work, "encode_row"),
        ("write", ShardWriter, "add"),
        ("write", ShardWriter, "commit"),
    ):
        setattr(owner, name, clock.timed(step, getattr(owner, name)))
    for name, stage in all_stages().items():
        if stage.apply is not None:
            object.__setattr__(stage, "apply", clock.timed(name, stage.apply))


def decode_only(root: Path) -> tuple[float, int]:
    """CPU seconds, and frames."""
    frames, started = 0, time.process_time()
    for clip in sorted(root.glob("*_sequences/*/c23/videos/*.mp4")):
        with av.open(str(clip)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            stream.thread_type = "NONE"
            frames += sum(1 for _ in container.decode(stream))
    return time.process_time() - started, frames


def common_way(root: Path, folder: Path, frames_each: int = 6) -> float:
    """CPU seconds a sample."""
    detector = dlib.get_frontal_face_detector()
    made, started = 0, time.process_time()
    for clip in sorted(root.glob("*_sequences/*/c23/videos/*.mp4")):
        capture = cv2.VideoCapture(str(clip))
        for number in range(frames_each):
            there, frame = capture.read()
            if not there:
                break
            for box in detector(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), 1)[:1]:
                side = round(box.width() * 1.3)
                x, y = max(0, box.center().x - side // 2), max(0, box.center().y - side // 2)
                cv2.imwrite(str(folder / f"{clip.stem}_{number}.png"), frame[y : y + side, x : x + side])
                made += 1
        capture.release()
    return (time.process_time() - started) / made


def ours(root: Path, out: Path, stages: str, frames: str, clock: Clock) -> tuple[float, int]:
    """CPU seconds of all shards, made as a worker makes them, and samples."""
    shutil.rmtree(out, ignore_errors=True)
    prepared = prepare_run(make_config("ffpp", {"stages": stages, "frames": frames}), root, out)
    boxes._kept.clear()  # Or the faces of the last try, of the same clips, would serve again.
    clock.seconds.clear()
    clock.since = started = time.process_time()
    places = root.resolve(), out.resolve()
    rows = sum(
        make_shard(ShardJob(number, shard.name, prepared.config, *places, "key")).rows
        for number, shard in enumerate(prepared.shards)
    )
    clock.switch()
    return time.process_time() - started, rows


def peak_memory_mb(root: Path, out: Path) -> float:
    """Peak resident memory of a fresh process that makes the shards, in MB."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_run_and_measure, (root, out))


def _run_and_measure(root: Path, out: Path) -> float:
    quiet_libraries()
    spare_pandas()  # As all workers do.
    ours(root, out, ALL, "all", Clock())
    # Not getrusage: there a process starts with what the one that started it had.
    told = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(told["VmHWM"].split()[0]) / 1024


def measure(clips: Clips, root: Path, folder: Path, clock: Clock, tries: int) -> dict[str, float]:
    """Print a table for a set of clips; returns its figures."""
    found: dict[str, float] = {}
    floor, frames = min(decode_only(root) for _ in range(tries))
    print(f"\n{clips.name}, faces of {clips.face} pixels: (a) decode only {1e3 * floor / frames:.2f} ms a frame")
    found[f"{clips.name} decode ms"] = 1e3 * floor / frames
    for stages, wanted in clips.runs:
        best, rows = float("inf"), 1
        steps: dict[str, float] = {}
        for _ in range(tries):
            seconds, rows = ours(root, folder / "out", stages, wanted, clock)
            if seconds < best:
                best, steps = seconds, dict(clock.seconds)
        floor = min(floor, decode_only(root)[0])
        name = f"{clips.name} {stages}" + ("" if wanted == "all" else f" {wanted} frames")
        found |= {f"{name} ms": 1e3 * best / rows, f"{name} ratio": best / floor}
        print(f"{name:<32}{1e3 * best / rows:7.2f} ms a sample ({rows} samples), {best / floor:.2f} x (a)")
        for step, spent in sorted(steps.items(), key=lambda item: -item[1]):
            print(f"    {step:<20}{1e3 * spent / rows:7.2f} ms {100 * spent / best:5.1f} %")
    return found


def main() -> None:
    """Make the clips, run everything on them, print and write the figures."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--footage", type=Path, default=FOOTAGE, help=f"talking heads; default: {FOOTAGE}")
    arguments.add_argument("--keep", type=Path, help="where the clips stay for the next time")
    arguments.add_argument("--only", choices=[clips.name for clips in SETS])
    arguments.add_argument("--tries", type=int, default=2)
    arguments.add_argument("--json", type=Path, help="write the figures there")
    given = arguments.parse_args()
    quiet_libraries()
    figures: dict[str, float] = {}
    clock = Clock()
    clock_steps(clock)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for clips in SETS if given.only is None else [one for one in SETS if one.name == given.only]:
            root = (given.keep or folder) / clips.name
            if not root.is_dir():
                make_genuine(
                    root, given.footage, people=clips.people, frames=clips.frames, size=clips.size, face=clips.face
                )
            figures |= measure(clips, root, folder, clock, given.tries)
            if clips.name == "720p":
                common = common_way(root, folder)
                figures["720p common way ms"] = 1e3 * common
                print(f"(b) the common way, crops alone {1e3 * common:.1f} ms a sample")
            if clips.name == "1080p":
                figures[f"{clips.name} worker MB"] = peak = peak_memory_mb(root, folder / "memory")
                print(f"worker's peak memory {peak:.0f} MB")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
