"""Train a forgery model on shards: CPU, a GPU, or many through Ray Train; one loop for all tasks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

from forgeprep.errors import ForgeprepError, UsageError
from forgeprep.io.lock import locked
from forgeprep.text import counted
from forgeprep.training.boards import open_board
from forgeprep.training.checkpoint import load_state, read_facts, save_state
from forgeprep.training.choose_task import make_task
from forgeprep.training.data import load_batches
from forgeprep.training.inference.loaded import load_model, pick_device
from forgeprep.training.models import build, get_model, package_of
from forgeprep.training.models.base import Batch, ForgeryModel
from forgeprep.training.optimize import (
    learning_rate,
    make_average,
    make_optimizer,
    set_learning_rate,
    sharpness_aware,
)
from forgeprep.training.pretrained import load_weights
from forgeprep.training.run_folder import Report, Training, as_begun, claim, logged, settings_of
from forgeprep.training.sample_index import Ints
from forgeprep.training.seen import note_sources
from forgeprep.training.task import LOOK, Task


class TooFewSamples(UsageError):
    """An epoch is less than a batch."""


def train(training: Training, *, device: str | None = None, report: Report = lambda _: None) -> dict[str, Any]:
    """Train, or go on where a training in the same folder stopped; returns the facts of its best state.

    Raises:
        UsageError: shards, options or weights do not fit; the folder holds another training, or one that is at work;
            no such device.
        ForgeprepError: the loss is not finite, or memory is too small; the message says what to do.
    """
    where = pick_device(device)
    task = make_task(as_begun(training), where)
    rank, ranks = world()
    if task.single and ranks > 1:
        raise UsageError(f"{training.model}: learns on one device; train it with --gpus 1 or 0")
    # Of processes that train together, the first one writes.
    with locked(training.run, "--run") if rank == 0 else nullcontext():
        return _train(task, where, rank, report)


def _train(task: Task, where: torch.device, rank: int, report: Report) -> dict[str, Any]:
    """The training of a task, from its start or where it stopped, in a folder that nobody else works in."""
    training = task.training
    if rank == 0:
        claim(training, task.index)
        note_sources(training.run, settings_of(training))
    task.prepare()
    _seed(training.recipe.seed)
    model = build(training.model, training.options)
    if read_facts(training.run, "last") is None:
        model.begin()
    notes = _start_from(training, model)
    loop = Loop(task, model, where)
    facts: dict[str, Any] = {"step": 0, "epoch": 0, "in_epoch": 0, "best": None}
    facts |= load_state(training.run, "last", model, loop.optimizer, loop.average) or {}
    board = open_board(training.log, training.run, facts["step"]) if rank == 0 else None
    if board is not None:
        loop.report = logged(training.run, report, facts, board)
    try:
        for note in (*notes, *task.notes):
            loop.report({"step": facts["step"], "epoch": facts["epoch"] + 1, "note": note})
        _epochs(loop, facts)
    finally:
        if board is not None:
            board.close()
    best: dict[str, Any] = facts["best"] or {}
    return best


def _epochs(loop: Loop, facts: dict[str, Any]) -> None:
    """The epochs that are left."""
    while facts["epoch"] < loop.training.recipe.epochs and not facts.get("done"):
        if not loop.epoch(facts):
            break
        if loop.rank == 0:
            _after_epoch(loop, facts, loop.report)
        _share(facts)


def world() -> tuple[int, int]:
    """The number of this process and how many train together; 0 and 1 alone."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def _share(facts: dict[str, Any]) -> None:
    """Give all processes what the first one knows."""
    if world()[1] > 1:
        box = [facts]
        torch.distributed.broadcast_object_list(box, src=0)
        facts.update(box[0])


def _silent(_: dict[str, Any]) -> None:
    """The report of all processes but the first."""


class Loop:
    """The steps of a training; the model is moved to the device."""

    def __init__(self, task: Task, model: ForgeryModel, device: torch.device) -> None:
        self.task, self.model, self.device = task, model, device
        self.training, recipe = task.training, task.training.recipe
        self.report: Report = _silent
        self.rank, self.ranks = world()
        cuda = device.type == "cuda"
        bf16 = recipe.precision == "bf16" or (recipe.precision == "auto" and cuda)
        self.autocast = torch.autocast(device.type, torch.bfloat16, enabled=bf16)
        self.layout = task.layout if bf16 and cuda else torch.contiguous_format
        model.to(device).to(memory_format=self.layout)  # type: ignore[call-overload]
        self.optimizer = make_optimizer(model, recipe)
        self.average = make_average(model, recipe.ema)
        self.forward: Any = model
        if self.ranks > 1:
            self.forward = torch.nn.parallel.DistributedDataParallel(model)
        if recipe.compile:
            self.forward = torch.compile(self.forward)

    def epoch(self, facts: dict[str, Any]) -> bool:
        """The steps of an epoch that are still to be made; False if the limit of steps came first."""
        task, recipe = self.task, self.training.recipe
        dealt = task.batches(facts["epoch"], self.ranks, self.rank)
        if not dealt:
            raise TooFewSamples(
                f"train holds {counted(len(task.index), 'sample')}, less than a batch of {recipe.batch}; "
                "give --set batch=N"
            )
        steps = [len(dealt) - facts["in_epoch"], *[len(dealt)] * (recipe.epochs - facts["epoch"] - 1)]
        limit = self.training.limit if self.training.limit is not None else sum(steps) + facts["step"]
        place = {"epoch": facts["epoch"] + 1, "epochs": recipe.epochs}
        self.report({"step": facts["step"], **place, "steps": min(limit, facts["step"] + sum(steps))})
        self.model.train()
        started, seen = time.perf_counter(), 0
        last = min(len(dealt), LOOK)
        with _memory(self.training, task.unit):
            for batch in self.read(dealt[facts["in_epoch"] :], facts["epoch"]):
                if self.training.limit is not None and facts["step"] >= self.training.limit:
                    self.save(facts)
                    return False
                passed = facts["epoch"] + facts["in_epoch"] / len(dealt)
                rate = learning_rate(recipe, step=facts["step"], passed=passed)
                terms = self.step(batch, facts["step"], rate)
                seen += len(batch["sample_id"]) * self.ranks
                facts["step"] += 1
                facts["in_epoch"] += 1
                task.check(batch, facts["step"] == last)
                speed = seen / max(1e-9, time.perf_counter() - started)
                if facts["step"] % recipe.save_every == 0:
                    self.save(facts)
                try:
                    self.report({"step": facts["step"], "epoch": place["epoch"], f"{task.unit}_s": speed, **terms})
                except BaseException:
                    self.save(facts)
                    raise
        return True

    def read(self, batches: list[Ints], epoch: int) -> Iterator[Batch]:
        """The batches in main memory, some ahead."""

        def make(numbers: Ints) -> Batch:
            batch = self.task.read(numbers, epoch)
            if self.device.type == "cuda":
                return {name: v.pin_memory() if isinstance(v, torch.Tensor) else v for name, v in batch.items()}
            return batch

        return load_batches(batches, make, self.training.recipe.workers)

    def save(self, facts: dict[str, Any]) -> None:
        """Keep the state, from which a training goes on."""
        if self.rank == 0:
            save_state(self.training.run, "last", self.model, self.optimizer, facts, self.average)

    @property
    def judged(self) -> ForgeryModel:
        """The model that is judged and kept: the running average of the weights, where there is one."""
        averaged: Any = self.model if self.average is None else self.average.module
        found: ForgeryModel = averaged
        return found

    def step(self, batch: Batch, step: int, rate: float | None = None) -> dict[str, float]:
        """Learn from a batch of the task; returns the loss and its terms, and a learning rate that changes.

        ``rate`` is the learning rate, the recipe's where none is given.

        Raises:
            ForgeprepError: the loss is not finite.
        """
        recipe = self.training.recipe
        moved = self.task.to_device(batch, self.device)
        inputs = moved[self.task.input].contiguous(memory_format=self.layout)

        def terms_and_loss() -> tuple[dict[str, torch.Tensor], torch.Tensor]:
            # Dropout is drawn again for each step, so that a resumed training draws the same.
            _seed(hash((recipe.seed, step, self.rank)) % (1 << 63))
            with self.autocast:
                terms = self.model.losses(self.forward(inputs), moved)
            return terms, torch.stack(list(terms.values())).sum()

        terms, loss = terms_and_loss()
        if not torch.isfinite(loss):
            raise ForgeprepError(
                f"step {step + 1}: the loss is not finite; a smaller --set lr=… may help, or look at these "
                f"samples: {', '.join(batch['sample_id'])}"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if recipe.sam is not None:
            sharpness_aware(self.model, recipe.sam, lambda: terms_and_loss()[1])
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip_norm)
        rate = recipe.lr if rate is None else rate
        set_learning_rate(self.optimizer, rate)
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.model)
        told = {name: float(value.detach()) for name, value in {"loss": loss, **terms}.items()}
        return told if recipe.schedule == "constant" and not recipe.warmup else {**told, "lr": rate}


def _seed(value: int) -> None:
    """Seed torch. Its own function notes the whole stack thrice where there is no GPU, 10 ms each step."""
    torch.default_generator.manual_seed(value)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(value)


@contextmanager
def _memory(training: Training, unit: str) -> Iterator[None]:
    """Turn what libraries raise when memory is short into one line."""
    try:
        yield
    except Exception as error:
        # torch on a CPU and OpenCV have no error of their own for it.
        short = isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate" in str(error)
        package = package_of(training.model)
        if not short and package is not None and not isinstance(error, ForgeprepError):
            # What a network gives may fail far from its own code.
            told = " ".join(f"{type(error).__name__}: {error}".split())[:400]
            raise ForgeprepError(f"the model '{training.model}' of the package {package} failed: {told}") from error
        if not short or isinstance(error, ForgeprepError):
            raise
        batch, side = training.recipe.batch, training.size
        smaller = f"--set batch={batch // 2}" if batch > 1 else f"--set size={side // 2}"
        each = f" of {side} x {side}" if side else ""
        raise ForgeprepError(f"out of memory at {batch} {unit}{each}: try {smaller}") from None


def _after_epoch(loop: Loop, facts: dict[str, Any], report: Report) -> None:
    """Judge val, keep the state, and see whether it is the best or the last.

    Whoever stops it while it judges keeps all steps of the epoch: the state says that the epoch is not over.
    """
    place = {"step": facts["step"], "epoch": facts["epoch"] + 1}
    try:
        found = loop.task.validate(loop.judged, lambda done, of: report({**place, "judged": done, "of": of}))
    except BaseException:
        loop.save(facts)
        raise
    facts |= {"epoch": facts["epoch"] + 1, "in_epoch": 0, **found.facts}
    figures = {f"val_{name}": value for name, value in found.figures.items()} | found.others
    report({**place, **figures})
    best = facts["best"]
    if best is None or found.score is None or best["score"] is None or found.score > best["score"]:
        facts["best"] = {
            "score": found.score, "epoch": facts["epoch"], "step": facts["step"], **figures, **found.facts,
        }  # fmt: skip
        save_state(loop.training.run, "best", loop.judged, None, facts)
    facts["done"] = facts["epoch"] - facts["best"]["epoch"] >= loop.training.recipe.patience
    loop.save(facts)


def _start_from(training: Training, model: ForgeryModel) -> list[str]:
    """Take what another training or a file has; returns what the user should know of it, a line each."""
    if training.init is not None:
        other = load_model(training.init, "cpu").model.state_dict()
        own = model.state_dict()
        shared = {k: v for k, v in other.items() if k in own and own[k].shape == v.shape}
        if not shared:
            raise UsageError(f"--init {training.init}: shares nothing with {training.model}; give another")
        model.load_state_dict(shared, strict=False)
    if training.weights is not None:
        weights = get_model(training.model).weights
        if weights is None:
            raise UsageError(f"--weights: {training.model} has no pretrained backbone")
        note = load_weights(model, training.weights, weights)
        return [note] if note else []
    return []
