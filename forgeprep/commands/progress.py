"""The live progress of a run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from forgeprep.commands.events import Emit
from forgeprep.commands.terminal import console, now_and_then
from forgeprep.pipeline.progress import Progress as ShardProgress
from forgeprep.text import counted

if TYPE_CHECKING:
    from forgeprep.pipeline.run_folder import Prepared


@dataclass(slots=True)
class Board:
    """The live progress of a run: a bar in a terminal, else a line now and then."""

    clips: int
    bar: Progress | None = None
    task: Any = None
    emit: Emit = lambda event, **facts: None
    latest: dict[str, ShardProgress] = field(default_factory=dict)
    total: ShardProgress = field(default_factory=ShardProgress)
    kept: ShardProgress = field(default_factory=ShardProgress)
    started: float = field(default_factory=time.perf_counter)

    def post(self, shard: str, progress: ShardProgress) -> None:
        """Take in how far a shard is."""
        before, total = self.latest.get(shard, ShardProgress()), self.total
        self.latest[shard] = progress
        # Kept, not summed again: a thousand workers send thousands of messages a second.
        self.total = _sum(total, before, progress)
        if self.bar is not None:
            rows, drops = self.total.rows, self.total.drops
            rate = rows / max(1e-9, time.perf_counter() - self.started)
            self.bar.update(self.task, completed=self.total.clips, rows=rows, drops=drops, rate=f"{rate:.1f}")

    def end_shard(self, shard: str, state: str, failure: str | None) -> None:
        """Take note that a shard was ``made``, ``kept``, or has ``failed``."""
        told = self.latest.get(shard, ShardProgress())
        if state == "kept":
            self.kept = _sum(self.kept, ShardProgress(), told)
        facts = {"clips": told.clips, "samples": told.rows, "drops": told.drops}
        self.emit("shard", shard=shard, state=state, **facts, **({"error": failure} if failure else {}))

    def say(self) -> None:
        """Print a line that tells how far the run is, and how long it will go on at this speed."""
        spent, total = time.perf_counter() - self.started, self.total
        made, rows = total.clips - self.kept.clips, total.rows - self.kept.rows
        left = spent * (self.clips - total.clips) / made if made > 0 else None
        facts = {"clips": total.clips, "clips_planned": self.clips, "samples": total.rows, "drops": total.drops}
        self.emit("progress", **facts, seconds=round(spent, 1), seconds_left=None if left is None else round(left))
        to_go = "" if left is None else f", about {timedelta(seconds=round(left))} to go"
        console.print(
            f"{time.strftime('%H:%M:%S')}  {total.clips:,} of {self.clips:,} clips, {total.rows:,} samples, "
            f"{rows / max(spent, 1e-9):.1f}/s, {total.drops:,} drops{to_go}"
        )

    def print_rate(self, kept: list[str]) -> None:
        """Print how much was made how fast; ``kept`` are shards that were there already."""
        spent = time.perf_counter() - self.started
        made = sum(progress.rows for shard, progress in self.latest.items() if shard not in kept)
        note = f"; {counted(len(kept), 'shard was', 'shards were')} there already" if kept else ""
        console.print(f"{counted(made, 'sample')} in {spent:.1f} s, {made / max(spent, 1e-9):.1f} samples/s{note}")


def _sum(total: ShardProgress, before: ShardProgress, now: ShardProgress) -> ShardProgress:
    clips, rows = total.clips - before.clips + now.clips, total.rows - before.rows + now.rows
    return ShardProgress(clips, rows, total.drops - before.drops + now.drops)


@contextmanager
def live(prepared: Prepared, emit: Emit = lambda event, **facts: None) -> Iterator[Board]:
    """Show how far the run is, of all clips, while shards are made."""
    board = Board(sum(shard.clips for shard in prepared.shards), emit=emit)
    if not console.is_terminal:
        with now_and_then(board.say):
            yield board
        return
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
        board.bar, board.task = bar, bar.add_task("run", total=board.clips, rows=0, drops=0, rate="0.0")
        yield board
