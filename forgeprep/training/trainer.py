"""Train a detector on shards: CPU, a GPU, or many through Ray Train."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from forgeprep.errors import ForgeprepError, UsageError
from forgeprep.training.checkpoint import load_state, load_weights, save_state
from forgeprep.training.data import Ints, SampleIndex, Samples, deal, epoch_order, load_batches, load_index, without
from forgeprep.training.evaluation.evaluate import Judged, as_taken, judge, verdict_threshold
from forgeprep.training.evaluation.metrics import best_threshold, verdict_figures
from forgeprep.training.models import XCEPTION_WEIGHTS, build, get_model
from forgeprep.training.models.detector import Detector
from forgeprep.training.recipe import Recipe
from forgeprep.training.run_folder import Report, Training, claim, logged, read_config
from forgeprep.training.transforms import PLANES, collate, prepare, to_device

LOOK = 100
"""Within so many steps a detector that learns from maps alone has to see one of a fake."""

MAX_VAL = 2000
"""So many samples of val are judged after an epoch, spread over all of them."""


class TooFewSamples(UsageError):
    """An epoch is less than a batch."""


def train(training: Training, *, device: str | None = None, report: Report = lambda _: None) -> dict[str, Any]:
    """Train, or go on where a training in the same folder stopped; returns the facts of its best state.

    Raises:
        UsageError: shards, options or weights do not fit; the folder holds another training; no such device.
        ForgeprepError: the loss is not finite, or memory is too small; the message says what to do.
    """
    place = pick_device(device)
    if get_model(training.model).takes != "image":
        raise UsageError(f"{training.model}: is trained by forgeprep.training.temporal.spans.train_spans")
    plain = build(training.model, training.options)
    needs = plain.needs_columns()
    only, kind = training.recipe.methods, training.kind
    train_index = load_index(training.shards, "train", needs, only=only, kind=kind)
    val_index = load_index(training.shards, "val", needs, only=only, kind=kind, numbered=train_index.methods)
    train_index, val_index = as_taken(train_index, plain), as_taken(val_index, plain)
    if get_model(training.model).levels:
        training = replace(training, options={**training.options, "names": _names(train_index)})
    rank, _ = world()
    if rank == 0:
        claim(training, train_index)
    torch.manual_seed(training.recipe.seed)
    detector = build(training.model, training.options)
    _start_from(training, detector)
    loop = Loop(training, detector, place)
    facts = load_state(training.run, "last", detector, loop.optimizer) or {
        "step": 0,
        "epoch": 0,
        "in_epoch": 0,
        "best": None,
    }
    tell = loop.report = logged(training.run, report, facts) if rank == 0 else _silent
    while facts["epoch"] < training.recipe.epochs and not facts.get("done"):
        finished = loop.epoch(train_index, facts)
        if not finished:
            break
        if rank == 0:
            _after_epoch(training, loop, val_index, facts, tell)
        _share(facts)
    best: dict[str, Any] = facts["best"] or {}
    return best


def _names(index: SampleIndex) -> dict[str, list[str]]:
    """The classes at each level, as they stand in ``config.json``: the numbering that evaluation keeps to."""
    return {level: list(names) for level, names in index.classes.items()}


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


def pick_device(name: str | None) -> torch.device:
    """The device of that name; None takes a GPU where there is one.

    Raises:
        UsageError: CUDA is asked for and absent.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError("a GPU is asked for, and torch finds none here; use --gpus 0, or install torch for CUDA")
    return torch.device(name)


class Loop:
    """The steps of a training; the detector is moved to the device."""

    def __init__(self, training: Training, detector: Detector, device: torch.device) -> None:
        recipe = training.recipe
        self.training, self.detector, self.device = training, detector, device
        self.report: Report = _silent
        self.taught = False
        self.rank, self.ranks = world()
        cuda = device.type == "cuda"
        bf16 = recipe.precision == "bf16" or (recipe.precision == "auto" and cuda)
        self.autocast = torch.autocast(device.type, torch.bfloat16, enabled=bf16)
        near = torch.channels_last_3d if detector.clip_frames else torch.channels_last
        self.layout = near if bf16 and cuda else torch.contiguous_format
        detector.to(device).to(memory_format=self.layout)  # type: ignore[call-overload]
        self.optimizer = torch.optim.Adam(
            detector.parameters(), lr=recipe.lr, betas=recipe.betas, weight_decay=recipe.weight_decay
        )
        self.forward: Any = detector
        if self.ranks > 1:
            self.forward = torch.nn.parallel.DistributedDataParallel(detector)
        if recipe.compile:
            self.forward = torch.compile(self.forward)

    def epoch(self, index: SampleIndex, facts: dict[str, Any]) -> bool:
        """The steps of an epoch that are still to be made; False if the limit of steps came first."""
        recipe = self.training.recipe
        dealt = epoch_batches(index, recipe, facts["epoch"], ranks=self.ranks, rank=self.rank)
        batches = dealt[facts["in_epoch"] :]
        if not dealt:
            raise TooFewSamples(
                f"train holds {len(index)} samples, less than a batch of {recipe.batch}; give --set batch=N"
            )
        self.detector.train()
        samples = Samples(index, without(set(PLANES) - {"image", *self.detector.needs}))
        started, seen = time.perf_counter(), 0
        last = min(len(dealt), LOOK)
        with _memory(recipe.batch, self.training.size):
            for batch in _batches(samples, recipe, self.training.size, batches, facts["epoch"]):
                if self.training.limit is not None and facts["step"] >= self.training.limit:
                    self.save(facts)
                    return False
                terms = self.step(batch, facts["step"])
                seen += len(batch["label"]) * self.ranks
                facts["step"] += 1
                facts["in_epoch"] += 1
                self.check_maps(batch, last=facts["step"] == last)
                rate = seen / max(1e-9, time.perf_counter() - started)
                if facts["step"] % recipe.save_every == 0:
                    self.save(facts)
                try:
                    self.report({"step": facts["step"], "epoch": facts["epoch"], "images_s": rate, **terms})
                except BaseException:
                    self.save(facts)
                    raise
        facts["epoch"] += 1
        facts["in_epoch"] = 0
        return True

    def check_maps(self, batch: dict[str, Any], *, last: bool) -> None:
        """Refuse to learn from reals alone, where no fake has what a detector of pixels learns from."""
        names = [name for name in self.detector.needs if name in _HAS]
        if self.detector.learns_label() or not names:
            return
        has = torch.stack([batch[_HAS[name]] for name in names]).any(dim=0)
        self.taught = self.taught or bool((has & (batch["label"] == 1)).any())
        if last and not self.taught:
            other = "; --model-option target=magnitude-or-mask takes masks too" if names == ["mask_magnitude"] else ""
            raise UsageError(f"no fake has a {' or '.join(names)} to learn from in {self.training.shards[0]}{other}")

    def save(self, facts: dict[str, Any]) -> None:
        """Keep the state, from which a training goes on."""
        if self.rank == 0:
            save_state(self.training.run, "last", self.detector, self.optimizer, facts)

    def step(self, batch: dict[str, Any], step: int) -> dict[str, float]:
        """Learn from a batch of :func:`forgeprep.training.transforms.collate`; returns the loss and its terms.

        Raises:
            ForgeprepError: the loss is not finite.
        """
        # Dropout is drawn anew for each step, so that a resumed training draws the same.
        torch.manual_seed(hash((self.training.recipe.seed, step, self.rank)) % (1 << 63))
        moved = to_device(batch, self.device, noise="noise" in self.detector.needs)
        moved["image"] = moved["image"].contiguous(memory_format=self.layout)
        with self.autocast:
            terms = self.detector.losses(self.forward(moved["image"]), moved)
        loss = torch.stack(list(terms.values())).sum()
        if not torch.isfinite(loss):
            raise ForgeprepError(
                f"step {step + 1}: the loss is not finite; a smaller --set lr=… may help, or look at these "
                f"samples: {', '.join(batch['sample_id'])}"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.detector.parameters(), self.training.recipe.clip_norm)
        self.optimizer.step()
        return {name: float(value.detach()) for name, value in {"loss": loss, **terms}.items()}


_HAS = {"mask": "has_mask", "mask_magnitude": "has_magnitude"}
"""What a detector learns from -> where a batch says whether a sample has it."""


@contextmanager
def _memory(batch: int, side: int) -> Iterator[None]:
    """Turn what libraries raise when memory is short into one line."""
    try:
        yield
    except Exception as error:
        # torch on a CPU and OpenCV have no error of their own for it.
        short = isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate" in str(error)
        if not short or isinstance(error, ForgeprepError):
            raise
        smaller = f"--set batch={batch // 2}" if batch > 1 else f"--set size={side // 2}"
        raise ForgeprepError(f"out of memory at {batch} images of {side} x {side}: try {smaller}") from None


def epoch_batches(index: SampleIndex, recipe: Recipe, epoch: int, *, ranks: int = 1, rank: int = 0) -> list[Ints]:
    """The batches of an epoch for a rank: one pass, or as many as ``steps`` takes."""
    share = max(1, recipe.batch // ranks)
    batches: list[Ints] = []
    turn = 0
    while turn == 0 or (recipe.steps is not None and len(batches) < recipe.steps):
        order = epoch_order(
            index, seed=recipe.seed, epoch=epoch * 10_000 + turn, real_repeat=recipe.real_repeat, balance=recipe.balance
        )
        dealt = deal(order, share, ranks=ranks, rank=rank)
        batches += dealt
        turn += 1
        if not dealt:
            break
    return batches[: recipe.steps]


def _after_epoch(training: Training, loop: Loop, index: SampleIndex, facts: dict[str, Any], report: Report) -> None:
    """Judge val, keep the state, and see whether it is the best or the last."""
    chosen = np.unique(np.linspace(0, len(index) - 1, min(MAX_VAL, len(index))).astype(np.int64))
    judged = judge(loop.detector, index, training.recipe, training.size, loop.device, numbers=chosen)
    facts["threshold"] = best_threshold(judged.labels, judged.mask_means) if judged.mask_means is not None else None
    figures = verdict_figures(judged.labels, judged.scores, verdict_threshold(loop.detector, facts))
    score = figures["auc"] if not math.isnan(figures["auc"]) else -judged_loss(judged)
    report({"step": facts["step"], "epoch": facts["epoch"] - 1, **{f"val_{k}": v for k, v in figures.items()}})
    if facts["best"] is None or score > facts["best"]["score"]:
        facts["best"] = {
            "score": score, "epoch": facts["epoch"], "step": facts["step"],
            **{f"val_{k}": v for k, v in figures.items()}, "threshold": facts["threshold"],
        }  # fmt: skip
        save_state(training.run, "best", loop.detector, None, {**facts, "best": facts["best"]})
    facts["done"] = facts["epoch"] - facts["best"]["epoch"] >= training.recipe.patience
    loop.save(facts)


def judged_loss(judged: Judged) -> float:
    """Binary cross-entropy of the scores, for a val with one class only."""
    score = np.clip(judged.scores, 1e-6, 1 - 1e-6)
    return float(-np.mean(np.where(judged.labels == 1, np.log(score), np.log(1 - score))))


def _batches(
    samples: Samples, recipe: Recipe, size: int, batches: Sequence[Ints], epoch: int
) -> Iterator[dict[str, Any]]:
    def make(numbers: Ints) -> dict[str, Any]:
        rows = samples.read(numbers)
        batch = collate([prepare(row, recipe, size, train=True, epoch=epoch) for row in rows], recipe.sigma)
        if torch.cuda.is_available():
            return {name: v.pin_memory() if isinstance(v, torch.Tensor) else v for name, v in batch.items()}
        return batch

    return load_batches(batches, make, recipe.workers)


def _start_from(training: Training, detector: Detector) -> None:
    if training.init is not None:
        found = load_state(training.init, "best", build(*_model_of(training.init)))
        if found is None:
            raise UsageError(f"{training.init}: holds no trained detector")
        other = build(*_model_of(training.init))
        load_state(training.init, "best", other)
        own = detector.state_dict()
        shared = {k: v for k, v in other.state_dict().items() if k in own and own[k].shape == v.shape}
        detector.load_state_dict(shared, strict=False)
    if training.weights is not None:
        backbone = get_model(training.model).backbone
        if backbone is None:
            raise UsageError(f"--weights: {training.model} has no pretrained backbone (xception: {XCEPTION_WEIGHTS})")
        load_weights(detector.get_submodule(backbone), training.weights)


def _model_of(run: Path) -> tuple[str, dict[str, Any]]:
    config = read_config(run)
    return config["model"], config["options"]
