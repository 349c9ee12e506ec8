"""What a training does now: a bar in a terminal, lines where the output goes to a file; and how it is stopped."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Event
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn

from forgeprep.commands.terminal import console
from forgeprep.errors import Stopped
from forgeprep.text import counted

EVERY = 30.0
"""Seconds between two lines where the output is no terminal."""
_FIGURES = {"val_auc": "AUC", "val_acc": "ACC", "val_map": "mAP", "val_ar@5": "AR@5", "val_loss": "loss"}


@contextmanager
def interruptible(ask: Callable[[], None] | None = None) -> Iterator[Event]:
    """Ctrl-C, or a request to terminate, sets the event, so that a step comes to its end and the state is kept.

    Ctrl-C once more interrupts at once. ``ask`` is called with the first request. A :class:`~forgeprep.errors.Stopped`
    from inside gets the exit code of what was asked for.
    """
    asked = Event()
    first: list[int] = []

    def stop(number: int, _: object) -> None:
        if asked.is_set():
            # Batch systems repeat their request; a user who does so means it.
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            return
        first.append(number)
        asked.set()
        if ask is not None:
            ask()
        again = "; Ctrl-C again to stop at once" if number == signal.SIGINT else ""
        console.print(f"stopping after this step{again}")

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    except Stopped as stopped:
        stopped.exit_code = 128 + (first or [signal.SIGINT])[0]
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def board(epochs: int) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Show what a training reports, see :data:`forgeprep.training.run_folder.Report`."""
    state = _State(epochs)
    if not console.is_terminal:
        due = time.monotonic() + EVERY

        def tell(facts: Mapping[str, Any]) -> None:
            nonlocal due
            line = state.take(facts)
            now = time.monotonic()
            if line is None and now >= due:
                line, due = state.text(), now + EVERY
            if line is not None:
                # At once: what is piped waits in a buffer otherwise.
                console.print(line, markup=False)
                console.file.flush()

        yield tell
        return
    # The text alone fills a terminal of 80 columns.
    bars = [BarColumn(20)] if console.width >= 120 else []
    columns = (TextColumn("{task.description}", markup=False), *bars, TextColumn("{task.fields[more]}", markup=False))
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("starting", total=None, more="")

        def draw(facts: Mapping[str, Any]) -> None:
            line = state.take(facts)
            if line is not None:
                console.print(line, markup=False)
            total = state.steps or None
            more = state.more()
            bar.update(
                task,
                description=f"{state.doing}," if more else state.doing,
                total=total,
                completed=state.step,
                more=more,
            )

        yield draw


class _State:
    """What is known of a training that runs."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        self.epoch, self.step, self.steps, self.first = 1, 0, 0, 0
        self.started = time.monotonic()
        self.loss = self.rate = ""
        self.doing = "starting"

    def take(self, facts: Mapping[str, Any]) -> str | None:
        """Take a report in; returns a line that has to be shown in any case, if there is one."""
        self.step, self.epoch = facts["step"], facts["epoch"]
        if "note" in facts:
            return str(facts["note"])
        if "steps" in facts:
            first = not self.steps
            self.steps = facts["steps"]
            self.doing = f"learning, epoch {self.epoch} of {self.epochs}"
            if first:
                self.first, self.started = facts["step"], time.monotonic()
                begun = f"goes on at step {self.step:,}: " if self.step else ""
                epochs = counted(self.epochs, "epoch")
                return f"{begun}{counted(self.steps, 'step')} in {epochs} at most"
        elif "loss" in facts:
            self.doing = f"learning, epoch {self.epoch} of {self.epochs}"
            self.loss = f"loss {facts['loss']:.3f}"
            self.rate = next((f"{v:.1f} {k[:-2]}/s" for k, v in facts.items() if k.endswith("_s")), "")
        elif "judged" in facts:
            self.doing = f"validating, {facts['judged']:,} of {facts['of']:,}"
        else:
            told = ", ".join(f"{title} {_figure(facts[name])}" for name, title in _FIGURES.items() if name in facts)
            others = [f"; {n.removesuffix('/auc')} AUC {_figure(v)}" for n, v in facts.items() if n.endswith("/auc")]
            return f"epoch {self.epoch} of {self.epochs}, step {self.step:,}: val {told}{''.join(others)}"
        return None

    def more(self) -> str:
        """Step of steps, share, loss, rate, and the time that is left."""
        if not self.steps:
            return ""
        place = f"step {self.step:,} of {self.steps:,} ({100 * self.step // self.steps} %)"
        return ", ".join(part for part in (place, self.loss, self.rate, self._left()) if part)

    def text(self) -> str:
        """The state as a line."""
        return ", ".join(part for part in (self.doing, self.more()) if part)

    def _left(self) -> str:
        made = self.step - self.first
        if made <= 0 or self.step >= self.steps:
            return ""
        seconds = int((time.monotonic() - self.started) / made * (self.steps - self.step))
        return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02} left"


def _figure(value: float | None) -> str:
    return "undefined" if value is None or value != value else f"{value:.4f}"
