"""The live progress of a run, and how it is stopped."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from forgeprep.commands.terminal import console
from forgeprep.errors import Stopped
from forgeprep.pipeline.progress import Progress as ShardProgress
from forgeprep.text import counted

if TYPE_CHECKING:
    from forgeprep.pipeline.run import Prepared


@dataclass(slots=True)
class Board:
    """The live progress of a run."""

    bar: Progress
    task: Any
    latest: dict[str, ShardProgress] = field(default_factory=dict)
    total: ShardProgress = field(default_factory=ShardProgress)
    started: float = field(default_factory=time.perf_counter)

    def post(self, shard: str, progress: ShardProgress) -> None:
        """Take in how far a shard is."""
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
        """Print how much was made how fast; ``kept`` are shards that were there already."""
        spent = time.perf_counter() - self.started
        made = sum(progress.rows for shard, progress in self.latest.items() if shard not in kept)
        note = f"; {counted(len(kept), 'shard was', 'shards were')} there already" if kept else ""
        console.print(f"{counted(made, 'sample')} in {spent:.1f} s, {made / max(spent, 1e-9):.1f} samples/s{note}")


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
def live(prepared: Prepared) -> Iterator[Board]:
    """Show a bar over all clips while shards are made."""
    clips = sum(shard.clips for shard in prepared.shards)
    columns = (
        BarColumn(),
        TextColumn("clips"),
        MofNCompleteColumn(),
        TextColumn("samples {task.fields[rows]}, {task.fields[rate]}/s, drops {task.fields[drops]}"),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        yield Board(bar, bar.add_task("run", total=clips, rows=0, drops=0, rate="0.0"))
