"""Fill a table: train what is not trained, judge what is not judged, and read back what is there.

In the folder lie ``trainings/MODEL-DIGEST-seedN`` (each goes on by itself), ``figures/TRAINING/DATA.json`` (what a
training says of a data set; it names the checkpoint and the shards that it is of, and is made again for others), and
``reproduce.json``, which says whose folder it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forgeprep.errors import UsageError, VerifyError
from forgeprep.io.json_files import write_json
from forgeprep.io.lock import locked
from forgeprep.io.safe_files import read_json
from forgeprep.training.checkpoint import drop_optimizer
from forgeprep.training.evaluation.truth import shards_fingerprint
from forgeprep.training.protocols.fill import checkpoint_sum
from forgeprep.training.reproduce.figures import at_path, figures_of
from forgeprep.training.reproduce.plan import Asked, Cell, cells_of, lacking, trainings_of
from forgeprep.training.reproduce.table import Table
from forgeprep.training.run_folder import Training, is_finished

NOT_YET = "not made yet"


@dataclass(slots=True)
class Filler:
    """What fills a table.

    Attributes:
        table: unfolded.
        asked: what the user asked for.
        fit: trains, or goes on with a training.
        device: where samples are judged; None takes a GPU where there is one.
        workers: threads that decode what is judged.
        tell: gets a line for each thing that is done.
        after: called when a cell has been filled.
    """

    table: Table
    asked: Asked
    fit: Callable[[Training], object]
    device: str | None = None
    workers: int | None = None
    tell: Callable[[str], None] = lambda _: None
    after: Callable[[list[dict[str, Any]]], None] = lambda _: None
    _failed: dict[Path, str] = field(default_factory=dict)
    _sums: dict[Path, str] = field(default_factory=dict)
    _prints: dict[str, str] = field(default_factory=dict)

    def fill(self) -> list[dict[str, Any]]:
        """All cells of the table, those that were asked for filled where they can be.

        Raises:
            UsageError: the folder is of another table, or of other shards, or at work.
            VerifyError: a shard or a checkpoint is damaged.
        """
        asked = self.asked
        with locked(asked.to, "--to"):
            self._prints = {name: shards_fingerprint(out) for name, out in asked.shards.items()}
            _claim(self.table, asked, self._prints)
            cells = cells_of(self.table, asked.only)
            for cell in cells:
                if cell.chosen and lacking(self.table, asked, cell) is None and self._make(cell):
                    self.after(self.read(cells))
            return self.read(cells)

    def read(self, cells: list[Cell]) -> list[dict[str, Any]]:
        """The cells as far as they are filled."""
        return [self._read(cell) for cell in cells]

    def _make(self, cell: Cell) -> bool:
        """Train and judge for a cell; whether anything was new."""
        new = False
        for seed in range(self.asked.seeds):
            chain = trainings_of(self.table, self.asked, cell.row, cell.train, seed)
            own = chain[-1]
            if not all(self._trained(cell, training) for training in chain):
                continue
            path, key = self._figures(cell, own)
            if _read_figures(path, key) is None:
                self.tell(f"{cell.row.name}, seed {seed}: judging {cell.data}")
                told = self._evaluate(cell, own)
                if told is not None:
                    write_json(path, {"key": key, **told})
                    new = True
        return new

    def _trained(self, cell: Cell, training: Training) -> bool:
        """Whether a training is there, or could be made."""
        if training.run in self._failed:
            return False
        if is_finished(training):
            return True
        self.tell(f"{cell.row.name}, seed {training.recipe.seed}: training in {training.run}")
        self._sums.pop(training.run, None)
        try:
            self.fit(training)
        except UsageError as error:
            # What these samples lack for this row, other rows may not need.
            self._failed[training.run] = str(error)
            self.tell(f"{cell.row.name}: not trained, {error}")
            return False
        if self.asked.quick:
            drop_optimizer(training.run)  # It is three quarters of what a training keeps, and nobody goes on with it.
        return True

    def _evaluate(self, cell: Cell, own: Training) -> dict[str, Any] | None:
        table, asked = self.table, self.asked
        reading = cell.row.reading if own.model == cell.row.model else {}
        try:
            return figures_of(
                own.run, asked.shards[cell.data], split=table.split, reading=reading,
                samples=table.quick.samples if asked.quick else None, device=self.device, workers=self.workers,
            )  # fmt: skip
        except UsageError as error:
            self._failed[self._figures(cell, own)[0]] = str(error)
            self.tell(f"{cell.row.name}: not judged, {error}")
            return None

    def _figures(self, cell: Cell, own: Training) -> tuple[Path, dict[str, Any]]:
        """Where the figures of a training on a data set lie, and what they are of."""
        table, asked = self.table, self.asked
        if own.run not in self._sums:
            self._sums[own.run] = checkpoint_sum(own.run)
        # "judge" is the first name of a row's reading: figures that are there stay.
        key = {
            "checkpoint": self._sums[own.run], "shards": self._prints[cell.data], "split": table.split,
            "judge": cell.row.reading, "samples": table.quick.samples if asked.quick else None,
        }  # fmt: skip
        return asked.to / "figures" / own.run.name / f"{cell.data}{_suffix(cell.row.reading)}.json", key

    def _read(self, cell: Cell) -> dict[str, Any]:
        """A cell as ``table.json`` has it."""
        values: list[float] = []
        marks: list[str] = []
        runs = []
        for own in self._finished(cell, marks):
            path, key = self._figures(cell, own)
            figures = _read_figures(path, key)
            if figures is None:
                marks.append(self._failed.get(path, NOT_YET))
                continue
            runs.append(own.run.name)
            value, mark = at_path(figures, cell.path)
            if value is None:
                marks.append(mark or "undefined")
            else:
                values.append(value)
        return {
            "row": cell.row.name, "block": cell.block.title, "column": cell.column, "values": values,
            "mark": None if values else next(iter(marks), NOT_YET), "trainings": runs,
        }  # fmt: skip

    def _finished(self, cell: Cell, marks: list[str]) -> Iterator[Training]:
        """The trainings of a cell that are there; ``marks`` gets why others are not."""
        try:
            lack = lacking(self.table, self.asked, cell)
            chains = [trainings_of(self.table, self.asked, cell.row, cell.train, s) for s in range(self.asked.seeds)]
        except UsageError as error:  # A row that was not asked for needs what this version lacks.
            marks.append(str(error).partition(" (known")[0])
            return
        if lack is not None:
            marks.append(lack)
            return
        for chain in chains:
            reason = next((self._failed[t.run] for t in chain if t.run in self._failed), None)
            if reason is not None:
                marks.append(reason)
            elif is_finished(chain[-1]):
                yield chain[-1]
            else:
                marks.append(NOT_YET)


def state_of(table: Table, asked: Asked, cell: Cell) -> tuple[list[Path], str]:
    """The folders of a cell's trainings, and whether they are done; for ``--dry-run``."""
    lack = lacking(table, asked, cell)
    chains = [trainings_of(table, asked, cell.row, cell.train, seed) for seed in range(asked.seeds)]
    runs = [training.run for chain in chains for training in chain]
    if lack is not None:
        return runs, lack
    done = sum(is_finished(training) for chain in chains for training in chain)
    return runs, "trained" if done == len(runs) else f"{len(runs) - done} to train"


def _suffix(reading: Mapping[str, Any]) -> str:
    """What tells apart the figures of one training that is read in several ways."""
    text = json.dumps(reading, sort_keys=True, default=str)
    return f"-{hashlib.sha256(text.encode()).hexdigest()[:8]}" if reading else ""


def _claim(table: Table, asked: Asked, prints: Mapping[str, str]) -> None:
    """Write ``reproduce.json``, or see that the one there is of the same table and shards."""
    path = asked.to / "reproduce.json"
    own = {"paper": table.paper, "table": table.table, "quick": asked.quick}
    before: dict[str, str] = {}
    try:
        old = read_json(path)
        before = dict(old["shards"])
        told = {name: old[name] for name in own}
    except FileNotFoundError:
        told = own
    except (OSError, ValueError, KeyError, TypeError):
        raise VerifyError(f"{path}: damaged; remove it, if the folder is this table's") from None
    if told != own:
        quick = " --quick" if told["quick"] else ""
        raise UsageError(f"{asked.to}: holds {told['paper']} {told['table']}{quick}; give another --to")
    changed = [name for name, text in prints.items() if before.get(name, text) != text]
    if changed:
        raise UsageError(
            f"{asked.to}: its trainings are of other shards, {changed[0]} has been made again since; give another --to"
        )
    write_json(path, {**own, "shards": {**before, **prints}})


def _read_figures(path: Path, key: Mapping[str, Any]) -> dict[str, Any] | None:
    """Figures that were kept; None if there are none, or of another checkpoint, or damaged: they can be made again."""
    with suppress(OSError, ValueError):
        found = read_json(path)
        if isinstance(found, dict) and found.get("key") == json.loads(json.dumps(key, default=str)):
            return found
    return None
