"""Where the curves of a training are drawn: TensorBoard, or Weights & Biases."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from forgeprep.errors import UsageError
from forgeprep.io.safe_files import read_json

BoardName = Literal["tensorboard", "wandb"]
BOARDS: tuple[str, ...] = get_args(BoardName)


class Board(Protocol):
    """Takes the figures of a training."""

    def add(self, figures: Mapping[str, Any], step: int) -> None:
        """The figures of a step."""

    def close(self) -> None:
        """No more will come."""


def open_board(name: str, run: Path, step: int) -> Board:
    """A board for a training in ``run`` that goes on after ``step``.

    Raises:
        UsageError: there is no such board, or its library is not installed.
    """
    if name not in BOARDS:
        raise UsageError(f"--log: must be {' or '.join(BOARDS)} (got {name})")
    return _TensorBoard(run, step) if name == "tensorboard" else _Wandb(run)


class _TensorBoard:
    """Files in ``tensorboard/`` of the run."""

    def __init__(self, run: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(run / "tensorboard"), purge_step=step + 1)

    def add(self, figures: Mapping[str, Any], step: int) -> None:
        for name, value in figures.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


class _Wandb:
    """A run of Weights & Biases, in ``wandb/`` of the run.

    It stays on this machine unless ``WANDB_MODE=online`` says that it may be sent: forgeprep itself sends nothing.
    """

    def __init__(self, run: Path) -> None:
        try:
            import wandb
        except ImportError:
            raise UsageError("--log wandb: wandb is not installed: pip install 'forgeprep[wandb]'") from None
        own = hashlib.sha256(str(run.resolve()).encode()).hexdigest()[:16]
        self.board = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "forgeprep"),
            name=run.name,
            id=own,
            resume="allow",
            dir=str(run),
            mode=os.environ.get("WANDB_MODE", "offline"),
            config=read_json(run / "config.json"),
            settings=wandb.Settings(silent=True, console="off"),
        )

    def add(self, figures: Mapping[str, Any], step: int) -> None:
        self.board.log(dict(figures), step=step)

    def close(self) -> None:
        self.board.finish()
