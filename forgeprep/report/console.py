"""What the commands print.

A run begins with what takes long to start, in processes and threads of their own; modules are imported meanwhile.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from forgeprep.errors import ForgeprepError, Stopped, UsageError
from forgeprep.media import guard
from forgeprep.media import process as media_process
from forgeprep.pipeline.executors.ray import RayStart
from forgeprep.pipeline.progress import Progress as ShardProgress
from forgeprep.report.terminal import console, counting, unattended

if TYPE_CHECKING:
    from forgeprep.pipeline.run import Prepared

_READ_MEMORY = 4 << 30
"""What looking at a run may take: its records are held whole, its shards a few dozen rows at a time."""


@dataclass(frozen=True, slots=True)
class RunFlags:
    """The switches of ``forgeprep run``."""

    dry_run: bool = False
    overwrite: bool = False
    retry_failed: bool = False
    strict: bool = False


def run_on_console(given: Mapping[str, Any], config_file: Path | None, flags: RunFlags) -> int:
    """``forgeprep run``: returns the exit code."""
    with unattended():
        return _run(given, config_file, flags)


def _run(given: Mapping[str, Any], config_file: Path | None, flags: RunFlags) -> int:
    values = {**_read_config(config_file), **{key: value for key, value in given.items() if value is not None}}
    for name in ("root", "out"):
        if values.get(name) is None:
            raise UsageError(f"--{name} is missing: give it as a flag or in the file of --config")
    force = _force(values)
    with _ray_begun(None if flags.dry_run else force) as ray:
        with media_process.reading(memory=force.worker_memory, seconds=force.clip_timeout_s, ahead=1):
            from forgeprep.io.storage import spare_pandas, to_path
            from forgeprep.pipeline.configure import make_config
            from forgeprep.pipeline.run import prepare_run
            from forgeprep.report.preflight import print_estimate, print_plan

            spare_pandas()
            root, out = to_path(values["root"]), to_path(values["out"])
            config = make_config(str(values["dataset"]), values)
            with counting() as tell:
                prepared = prepare_run(
                    config,
                    root,
                    out,
                    overwrite=flags.overwrite,
                    retry=flags.retry_failed,
                    write=not flags.dry_run,
                    progress=tell,
                    # Of a single shard it is not sure yet that it needs Ray.
                    planning=lambda shards: ray.begin() if ray and (force.workers or shards) > 1 else None,
                )
            print_plan(prepared)
            if flags.dry_run:
                print_estimate(prepared, None if force.address else max(1, force.most))
                return 0
        code = _execute(prepared, force, ray, nothing="nothing to retry" if flags.retry_failed else None)
    if code == 0 and flags.strict:
        _check_coverage(out)
    return code


def _read_config(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    from forgeprep.pipeline.configure import read_yaml

    return read_yaml(file)


@contextmanager
def _ray_begun(force: _Force | None) -> Iterator[RayStart | None]:
    """Ray on its way up, where it may be needed."""
    if force is None or (force.address is None and force.most <= 1):
        yield None
        return
    ray = RayStart(force.most, force.address)
    try:
        yield ray
    finally:
        ray.end()


def add_on_console(out: Path, stages: str, given: Mapping[str, Any], execution: Mapping[str, Any]) -> int:
    """``forgeprep add``: returns the exit code."""
    from forgeprep.pipeline.add import prepare_added

    with unattended():
        names = [name.strip() for name in stages.split(",") if name.strip()]
        asked = {name: value for name, value in given.items() if value is not None}
        force = _force(execution)
        with _ray_begun(force) as ray:
            return _execute(prepare_added(out, names, asked), force, ray, nothing="nothing to add")


@dataclass(frozen=True, slots=True)
class _Force:
    """Who does the work; ``workers`` is None for as many as there are cores and shards."""

    workers: int | None
    address: str | None
    clip_timeout_s: float
    worker_memory: int

    @property
    def most(self) -> int:
        """Workers at most."""
        return (os.cpu_count() or 1) if self.workers is None else self.workers


def _force(values: Mapping[str, Any]) -> _Force:
    workers, address = _workers(values.get("workers")), values.get("address")
    if address is not None and workers == 0:
        raise UsageError("--workers 0 works in this process, --address on a cluster; give one of them")
    timeout, memory = _clip_timeout(values.get("clip_timeout")), _worker_memory(values.get("worker_memory"))
    return _Force(workers, address, timeout, memory)


def _execute(prepared: Prepared, force: _Force, ray: RayStart | None, *, nothing: str | None) -> int:
    """Make the shards and show what became of them; ``nothing`` is said where all were there already."""
    from forgeprep.pipeline.run import execute

    workers = min(force.most, len(prepared.shards)) if force.workers is None else force.workers
    if ray is not None and force.address is None and workers <= 1:
        ray.end(wait=False)
    with _live(prepared) as board, stoppable(prepared.out):
        result = execute(
            prepared,
            workers=workers,
            address=force.address,
            report=board.post,
            ray=ray,
            clip_timeout_s=force.clip_timeout_s,
            worker_memory=force.worker_memory,
        )
    board.print_rate(result.kept)
    if nothing and not result.made and not result.failed:
        console.print(nothing)
    for name, message in result.failed:
        console.print(f"failed: shard {name}: {' '.join(message.split())}", markup=False)
    if result.failed:
        console.print(f"{len(result.failed)} of {len(prepared.shards)} shards failed; the others are kept")
        return 1
    inspect_on_console(prepared.out, None)
    return 0


def _check_coverage(out: Path) -> None:
    from forgeprep.report.summary import summarise

    summary = summarise(out)
    # A bystander was never forged: it is no loss.
    lost = summary.drops.total() - summary.drops["bystander"]
    if lost or summary.total.empty:
        raise ForgeprepError(
            f"{out}: short of the plan (--strict): {lost:,} samples were dropped, "
            f"{summary.total.empty:,} clips gave none; see {out / 'drops.parquet'}"
        )


def demo_on_console(folder: Path, *, people: int, seconds: float, seed: int, layout: str) -> None:
    """``forgeprep demo``."""
    from forgeprep.demo import make_demo
    from forgeprep.report.summary import size_text

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: exists and is not an empty folder; give a new one")
    started = time.perf_counter()
    summary = make_demo(folder, people=people, seconds=seconds, seed=seed, layout=layout)
    console.print(f"{folder}: {summary.clips} files, {size_text(summary.bytes)}, {time.perf_counter() - started:.1f} s")
    console.print(f"next: forgeprep run {layout} --root {folder} --out OUT --stages crop,mask,noise", markup=False)


def verify_on_console(out: Path) -> int:
    """``forgeprep verify``: returns the exit code."""
    import pyarrow.parquet as pq

    from forgeprep.io.storage import parquet_source
    from forgeprep.shards.records import read_run
    from forgeprep.shards.verify import verify
    from forgeprep.stages import columns_of

    problems = verify(out, columns=columns_of(read_run(out)))
    for problem in problems:
        console.print(f"{problem.where}: {problem.what}", markup=False)
    if problems:
        console.print(f"{out}: {len(problems)} problems", markup=False)
        return 1
    rows = sum(
        clip["written"]
        for clip in pq.read_table(parquet_source(out / "clips.parquet"), columns=["written"]).to_pylist()
    )
    console.print(f"{out}: all shards are whole ({rows} rows)", markup=False)
    return 0


def inspect_on_console(out: Path, sheet: Path | None) -> None:
    """``forgeprep inspect``."""
    from forgeprep.report.doubt import doubts_of
    from forgeprep.report.pairs import coding_warnings, look_at_clips
    from forgeprep.report.summary import render, summarise

    with guard.memory(_READ_MEMORY):
        for table in render(summarise(out)):
            console.print(table)
        for line in [*coding_warnings(look_at_clips(out)), *doubts_of(out)]:
            console.print(f"warning: {line}", markup=False)
    if sheet is not None:
        from forgeprep.report.sheet import contact_sheet

        with guard.memory(_READ_MEMORY):
            contact_sheet(out, sheet)
        console.print(f"contact sheet: {sheet}", markup=False)


def report_on_console(out: Path, file: Path | None) -> None:
    """``forgeprep report``."""
    from forgeprep.report.page import write_report

    with guard.memory(_READ_MEMORY):
        written = write_report(out, file)
    console.print(f"report: {written}", markup=False)


def print_stages() -> None:
    """``forgeprep stages``."""
    from forgeprep.stages import all_stages

    for stage in all_stages().values():
        console.print(f"[bold]{stage.name}[/bold]  {stage.summary}")
        console.print(f"    needs: {', '.join(stage.needs) or 'nothing'}")
        if stage.adds:
            console.print(f"    adds:  {', '.join(column.name for column in stage.adds)}")
        for name, info in stage.params.model_fields.items():
            option = "--" + name.replace("_", "-")
            console.print(f"    {option} (default {info.default}): {info.description}", markup=False)


@dataclass(slots=True)
class _Board:
    """The live progress of a run."""

    bar: Progress
    task: Any
    latest: dict[str, ShardProgress] = field(default_factory=dict)
    total: ShardProgress = field(default_factory=ShardProgress)
    started: float = field(default_factory=time.perf_counter)

    def post(self, shard: str, progress: ShardProgress) -> None:
        before, total = self.latest.get(shard, ShardProgress()), self.total
        self.latest[shard] = progress
        # Kept, not summed anew: a thousand workers send thousands of messages a second.
        self.total = ShardProgress(
            total.clips - before.clips + progress.clips,
            total.rows - before.rows + progress.rows,
            total.drops - before.drops + progress.drops,
        )
        rows, drops = self.total.rows, self.total.drops
        rate = rows / max(1e-9, time.perf_counter() - self.started)
        self.bar.update(self.task, completed=self.total.clips, rows=rows, drops=drops, rate=f"{rate:.1f}")

    def print_rate(self, kept: list[str]) -> None:
        spent = time.perf_counter() - self.started
        made = sum(progress.rows for shard, progress in self.latest.items() if shard not in kept)
        note = f"; {len(kept)} shards were there already" if kept else ""
        console.print(f"{made} samples in {spent:.1f} s, {made / max(spent, 1e-9):.1f} samples/s{note}")


@contextmanager
def stoppable(out: Path) -> Iterator[None]:
    """Turn Ctrl-C into one line. Libraries may answer it with errors of their own, so the signal itself is noted.

    A request to terminate unwinds in the same way, so that what was started is ended.
    """
    asked = False

    def stop(*_: object) -> None:
        nonlocal asked
        asked = True
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, stop)
    before_term = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    except BaseException as error:
        if asked or isinstance(error, KeyboardInterrupt):
            raise Stopped(f"stopped; finished shards stay in {out}, run the same command to go on") from error
        raise
    finally:
        signal.signal(signal.SIGINT, before)
        signal.signal(signal.SIGTERM, before_term)


@contextmanager
def _live(prepared: Prepared) -> Iterator[_Board]:
    clips = sum(shard.clips for shard in prepared.shards)
    columns = (
        BarColumn(),
        TextColumn("clips"),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rows]} samples, {task.fields[rate]}/s, {task.fields[drops]} drops"),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        yield _Board(bar, bar.add_task("run", total=clips, rows=0, drops=0, rate="0.0"))


def _clip_timeout(value: Any) -> float:
    if value is None:
        return guard.TIMEOUT_S
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = 0.0
    if not 1 <= seconds <= 1e6:
        raise UsageError(f"--clip-timeout: must be a number of seconds from 1 to a million (got {value!r})")
    return seconds


def _worker_memory(value: Any) -> int:
    if value is None:
        return guard.MEMORY
    told = re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?) *([MGT])i?B?", str(value).strip(), re.IGNORECASE)
    count = int(float(told[1]) * (1 << {"M": 20, "G": 30, "T": 40}[told[2].upper()])) if told else 0
    if not 256 << 20 <= count <= 1 << 50:
        raise UsageError(f"--worker-memory: must be a size of at least 256MB, such as 800MB or 2GB (got {value!r})")
    return count


def _workers(value: Any) -> int | None:
    if value is None:
        return None
    try:
        workers = int(value)
    except (TypeError, ValueError, OverflowError):
        workers = -1
    if not 0 <= workers <= 100_000:
        raise UsageError(f"--workers: must be a whole number from 0 to 100,000 (got {value!r})")
    return workers
