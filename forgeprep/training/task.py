"""What a task is: its batches, how they become tensors, how val is judged, and what is best.

The trainer (:mod:`forgeprep.training.trainer`) does all else alike for every task.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from forgeprep.training.models.base import Batch, ForgeryModel
from forgeprep.training.run_folder import Training
from forgeprep.training.sample_index import Ints, SampleIndex

Tell = Callable[[int, int], None]
LOOK = 100
"""Within so many steps a task has to see what it learns from, see :attr:`Task.check`."""


@dataclass(frozen=True, slots=True)
class Validation:
    """How a state does on val.

    Attributes:
        figures: name -> value, reported as ``val_NAME``.
        score: the larger, the better the state; None where nothing can be compared: then the newest state is the best.
        facts: kept in the state, e.g. the threshold chosen on val.
        others: ``SET/NAME`` -> value, figures of other sets than val, which choose nothing.
    """

    figures: dict[str, float]
    score: float | None
    facts: dict[str, Any] = field(default_factory=dict)
    others: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Task:
    """What is trained, as functions and values.

    Attributes:
        training: what was asked for, with the options that follow from the samples filled in.
        index: the samples of train, for the run's ``config.json``.
        unit: what a batch holds, for messages: ``images``.
        layout: memory format of the input where numbers are short and the device is a GPU.
        batches: ``batches(epoch, ranks, rank)``: the numbers in each batch of an epoch, for one of several processes.
            A function of these three alone, so that a training goes on in the middle of an epoch.
        read: ``read(numbers, epoch)``: a batch as tensors in main memory; called from several threads.
            ``sample_id`` names what is in it.
        to_device: the batch on a device, as the model's losses take it.
        input: which of its entries goes into the network.
        validate: ``validate(model, tell)``: judges a model on val; ``tell(done, of)`` is told how far it is, and ends
            it by raising.
        check: ``check(batch, last)``: raises UsageError where nothing can be learnt; ``last`` on the step by which it
            has to be seen.
        prepare: called once before training, when the run's folder is this training's.
        single: whether it trains in one process alone.
        notes: what the user should know before it begins, a line each.
    """

    training: Training
    index: SampleIndex
    unit: str
    layout: torch.memory_format
    batches: Callable[[int, int, int], list[Ints]]
    read: Callable[[Ints, int], Batch]
    to_device: Callable[[Batch, torch.device], Batch]
    input: str
    validate: Callable[[ForgeryModel, Tell], Validation]
    check: Callable[[Batch, bool], None] = lambda batch, last: None
    prepare: Callable[[], None] = lambda: None
    single: bool = False
    notes: tuple[str, ...] = ()
