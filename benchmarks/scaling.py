"""What more workers bring: measured with two, and reckoned for a thousand.

    python benchmarks/scaling.py                     # both
    python benchmarks/scaling.py --part measured     # the demo dataset with 1 and with 2 workers, on 2 idle cores
    python benchmarks/scaling.py --part reckoned     # FaceForensics++ and ForgeryNet on 1,000 workers, no files needed

How it reckons. The plan is the real planner's, over clips that exist on paper alone. The driver then runs the real
``execute`` on a Ray of this machine, with tasks that do nothing but send their messages, over records that lie there
already: what it costs is the CPU time of the driver's process, which other programs do not disturb. A real task sends a
message for each stretch of a clip; for those the time of the progress bar is measured by itself and added, as if the
driver had looked at each one, so that the sum is too large rather than too small. How long tasks take is drawn from a
log-normal distribution fitted to the demo's source groups, and, since real clips differ more, from a wider one.
Not in it: reading the headers of the dataset's files, which depends on the storage; 1,000 workers reading from it.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import multiprocessing
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from forgeprep.commands.progress import live
from forgeprep.datasets.base import Scan
from forgeprep.demo import make_demo
from forgeprep.pipeline.configure import make_config
from forgeprep.pipeline.executors import ray as on_ray
from forgeprep.pipeline.executors.job import Attempt, Job
from forgeprep.pipeline.executors.ray_board import tell
from forgeprep.pipeline.index import write_index
from forgeprep.pipeline.make_shard import ShardJob, make_shard
from forgeprep.pipeline.plan import Brief, Plan, Select, ShardPlan, make_plan, read_shard
from forgeprep.pipeline.progress import Progress
from forgeprep.pipeline.run import execute, prepare_run
from forgeprep.pipeline.run_folder import Prepared
from forgeprep.report.summary import summarise
from forgeprep.schemas.clips import CLIP_SCHEMA, SPLITS, Clip, Forgery, Split
from forgeprep.shards.records import record_path
from forgeprep.stages.base import Group, Wanted
from forgeprep.stages.frames import FramesParams, wanted_of

WORKERS = 1000
WIDE = 0.6
"""Sigma of the wider distribution: of 1,000 groups the slowest takes about 6 times the mean."""
FFPP, FORGERYNET = "FaceForensics++ (1,000 groups of 5 clips)", "ForgeryNet (221,247 clips)"


@dataclass(frozen=True)
class Times:
    """What source groups take: seconds a sample, sigma of their logarithm between groups, messages a clip."""

    sample: float
    sigma: float
    messages: float


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--part", choices=("measured", "reckoned", "both"), default="both")
    part = arguments.parse_args().part
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "ffpp")
        make_demo(root, people=12, seconds=2, compressions=("c23",))
        times = measure_groups(root, Path(folder, "groups"))
        if part != "reckoned":
            measured(root, Path(folder))
        if part != "measured":
            for what, shard_size in ((FFPP, 2000), (FFPP, 160), (FORGERYNET, 2000), (FORGERYNET, 500)):
                # In a process of its own, whose largest memory is then that of this run.
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    pool.apply(reckon, (what, shard_size, times, Path(folder, f"{len(what)}-{shard_size}")))


def measured(root: Path, folder: Path) -> None:
    """Throughput with one and with two workers, from the first sample on: without the start of Ray and its workers."""
    rates = {n: max(rate(root, folder / f"{n}-{go}", n) for go in range(2)) for n in (1, 2)}
    load = os.getloadavg()[0]
    print(f"load of this machine: {load:.1f} on {os.cpu_count()} cores; above 2, others have taken part of them")
    print(f"1 worker {rates[1]:.1f} samples/s, 2 workers {rates[2]:.1f} samples/s, the better of two runs each")
    print(f"2 workers are {rates[2] / rates[1]:.2f} times as fast as one (wanted: 1.85 or more)\n")


def rate(root: Path, out: Path, workers: int) -> float:
    latest: dict[str, int] = {}
    seen: list[tuple[float, int]] = []

    def report(shard: str, progress: Progress) -> None:
        latest[shard] = progress.rows
        seen.append((time.perf_counter(), sum(latest.values())))

    execute(prepare_run(one_group_a_shard(), root, out), workers=workers, report=report)
    (first, before), (last, after) = next(entry for entry in seen if entry[1]), seen[-1]
    return (after - before) / (last - first)


def measure_groups(root: Path, out: Path) -> Times:
    """Make the demo's source groups in this process, one a shard."""
    prepared = prepare_run(one_group_a_shard(), root, out)
    each, messages = [], 0
    for number, shard in enumerate(prepared.shards):
        marks: list[float] = []
        job = ShardJob(number, shard.name, prepared.config, root, out, "key")
        started = time.process_time()
        done = make_shard(job, Attempt(report=lambda _, marks=marks: marks.append(0.0)))  # type: ignore[misc]
        each.append((time.process_time() - started) / done.rows)
        messages += len(marks)
    # The first one loads libraries.
    logs = [math.log(seconds) for seconds in each[1:]]
    found = Times(statistics.mean(each[1:]), statistics.stdev(logs), messages / sum(s.clips for s in prepared.shards))
    print(
        f"demo: {1e3 * found.sample:.1f} ms of CPU a sample, sigma {found.sigma:.2f} between {len(logs)} source groups"
    )
    print(f"      {found.messages:.1f} messages a clip\n", flush=True)
    return found


def one_group_a_shard() -> Any:
    return make_config("ffpp", {"stages": "crop,mask,noise", "frames": "all", "shard_size": "1"})


def reckon(what: str, shard_size: int, times: Times, out: Path) -> None:
    """Plan, run the driver and let 1,000 workers work in thought; print it all."""
    listed = ffpp if what == FFPP else forgerynet
    config = make_config(listed.__name__, {"stages": "crop,mask,noise", "shard_size": str(shard_size)})
    params = FramesParams()

    def chosen(count: int, group: Group) -> Wanted:
        return wanted_of(count, group, params)

    (plan, count), planning = timed(lambda: planned(listed(), chosen, shard_size))
    number, samples = len(plan.briefs), sum(brief.requested for brief in plan.briefs)
    print(f"{what}, --shard-size {shard_size}: {number:,} shards, {samples:,} samples", flush=True)
    print(f"  plan                {planning:8.1f} s     {len(plan.data) / 1e6:.1f} MB, headers not read")
    write_records(out, plan)
    reading = min(timed(lambda: read_shard(out / "meta/plan.pq", number // 2))[1] for _ in range(3))
    prepared = Prepared(config, Path("/nowhere"), out, Scan([]), {}, plan, "fingerprint", ("settings",))
    on_ray._ray_task = hollow_task  # type: ignore[assignment]
    # So that it is sent to the workers whole: they cannot import this script.
    hollow_task.__module__ = "__main__"
    with live(prepared, lambda event, **facts: None) as board:
        result, running = timed(lambda: execute(prepared, workers=2, report=board.post))
        assert len(result.made) == number, result.failed[:1]

        def post_many() -> None:
            for _ in range(200):
                board.post(plan.briefs[0].name, Progress())

        message = timed(post_many)[1] / 200
    _, indexing = timed(lambda: write_index(out, config, [brief.name for brief in plan.briefs]))
    _, counting = timed(lambda: summarise(out))
    messages = message * times.messages * count
    driver = planning + running + messages + counting
    work = samples * times.sample + number * reading
    loop = running - indexing
    print(f"  driver, tasks       {loop:8.1f} s     {1e3 * loop / number:.2f} ms a shard: jobs, submitting, waiting")
    print(f"  driver, messages    {messages:8.1f} s     {1e6 * message:.0f} us for each at {number:,} shards")
    print(f"  driver, indexes     {indexing:8.1f} s     from the records of {count:,} clips")
    print(f"  driver, summary     {counting:8.1f} s     what it prints at the end")
    share, memory = 100 * driver / work, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"  driver, all         {driver:8.1f} s     {share:.2f} % of the workers' time (wanted: below 1 %)")
    print(f"  driver's memory     {memory:8.0f} MB    at most (wanted: below 2,000)")
    share = 100 * number * reading / work
    print(f"  worker, its shard   {1e3 * reading:8.1f} ms    to read it from the plan, {share:.2f} % of its time")
    ideal = work / WORKERS
    print(f"  all on {WORKERS:,}        {ideal:8.1f} s     {work / 3600:.1f} hours of work evenly spread")
    for name, sigma in (("as the demo", times.sigma), ("wide", WIDE)):
        last = statistics.mean(makespan(plan.briefs, times.sample, sigma, seed) + reading for seed in range(5))
        print(f"  last worker done    {last:8.1f} s     {last / ideal:.2f} times that; sigma {sigma:.2f}, {name}")
    print(flush=True)


def planned(clips: list[Clip], chosen: Select, shard_size: int) -> tuple[Plan, int]:
    """The plan, and of how many clips."""
    return make_plan(clips, Path("/nowhere"), chosen, shard_size), len(clips)


def timed(act: Callable[[], Any]) -> tuple[Any, float]:
    """What ``act`` returns, and the CPU seconds of this process that it took."""
    started = time.process_time()
    result = act()
    return result, time.process_time() - started


def makespan(briefs: tuple[Brief, ...], sample: float, sigma: float, seed: int) -> float:
    """When the last of 1,000 workers is done, each taking the next shard of the plan as it becomes free."""
    random = np.random.default_rng(seed)
    free = [0.0] * WORKERS
    for brief in briefs:
        # Mean 1, whatever the sigma.
        factors = random.lognormal(-sigma * sigma / 2, sigma, brief.groups)
        heapq.heapreplace(free, free[0] + float(factors.mean()) * brief.requested * sample)
    return max(free)


def hollow_task(job: Job, limits: Any, board: Any) -> None:
    """A task that sends what every task sends, and does nothing."""
    for group in (None, 0):
        tell(board, "begin", job.name, group)
    tell(board, "post", job.name, (1, 1, 0))


def ffpp() -> list[Clip]:
    """Originals 000 to 999 and four fakes of each, 300 to 1,000 frames long."""
    clips = []
    for number in range(1000):
        split, source, fake = (
            SPLITS[(number >= 720) + (number >= 860)],
            f"{number:03d}",
            f"{number:03d}_{number ^ 1:03d}",
        )
        for method in (None, "Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures"):
            stem, folder = (
                (fake, f"manipulated_sequences/{method}") if method else (source, "original_sequences/youtube")
            )
            name = f"ffpp/c23/{method or 'youtube'}/{stem}"
            clips.append(clip("ffpp", name, f"{folder}/c23/videos/{stem}.mp4", split, f"ffpp/c23/{source}", method,
                              f"ffpp/c23/youtube/{source}", 300 + number * 7 % 700))  # fmt: skip
    return clips


def forgerynet() -> list[Clip]:
    """99,630 original videos, 121,617 fakes of them, 4 of 5 in train."""
    clips = []
    for number in range(99_630):
        split: Split = "train" if number % 5 else "val"
        source = f"forgerynet/{split}/video/{number:06d}/clip"
        for method in (None, "FaceShifter", "StarGAN2")[: 2 + (number < 21_987)]:
            name = f"{source}/{method or 'original'}"
            path = f"{split}/video/{name}.mp4"
            clips.append(clip("forgerynet", name, path, split, source, method, f"{source}/original", 60 + number % 200))
    return clips


def clip(
    dataset: str, name: str, path: str, split: Split, source: str, method: str | None, original: str, frames: int
) -> Clip:
    kind: Forgery = "identity_replaced" if method else "real"
    return Clip(name, dataset, path, split, source, original if method else None, int(bool(method)), kind, method,
                identities=[source], size_bytes=1_000_000, frame_count=frames)  # fmt: skip


def write_records(out: Path, plan: Plan) -> None:
    """The plan and, without waiting for the disk, a commit record of each shard; one sample of a hundred is dropped."""
    for split in SPLITS:
        (out / "state" / split).mkdir(parents=True)
    (out / "meta").mkdir()
    (out / "meta/plan.pq").write_bytes(plan.data)
    (out / "run.json").write_text(json.dumps({"root": "/nowhere", "formats": ["parquet"], "stages": ["crop"]}))
    for shard in plan.shards():
        record_path(out, shard.name).write_text(json.dumps(record(shard)))


def record(shard: ShardPlan) -> dict[str, Any]:
    """What a worker writes of a shard, in the types and lengths of a real one."""
    clips, drops = [], []
    for group in shard.groups:
        for number, item in enumerate(group.clips):
            wanted, known = len(group.frames), item.to_dict()
            row: dict[str, Any] = {name: known.get(name) for name in CLIP_SCHEMA.names}
            row |= dict.fromkeys(("requested", "decoded", "detected", "written"), wanted)
            row |= {"sha256": f"{number:064x}", "width": 640, "height": 480, "fps": 25.0, "dropped": 0, "tracks": 1}
            row |= {"header_frames": item.frame_count, "topped_up": 0, "offset": 0, "rate": 1.0, "scale": 1.0}
            row |= {"shift": [0.0, 0.0], "detected_spans": [[0.0, 12.0]]}
            clips.append(row)
            if number % 3 == 0:
                drops.append([shard.split, group.source_id, item.clip_id, group.frames[-1], 0, "no_face", None])
    rows = sum(row["written"] for row in clips)
    file = {"path": f"shards/{shard.name}.parquet", "format": "parquet", "bytes": 1, "sha256": "0" * 64, "rows": rows}
    return {"key": "", "split": shard.split, "shard": shard.name, "stages": ["crop"], "files": [file], "rows": rows,
            "planned": rows, "requested": rows, "drops": drops, "clips": clips}  # fmt: skip


if __name__ == "__main__":
    main()
