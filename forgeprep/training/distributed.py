"""Train on several GPUs, or processes, through Ray Train: the same loop in each, gradients averaged."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

from forgeprep.errors import ForgeprepError, Stopped, UsageError
from forgeprep.pipeline.executors.ray_start import cluster_address, end_ray, set_environment, start_ray
from forgeprep.training.checkpoint import read_facts
from forgeprep.training.models import get_model
from forgeprep.training.run_folder import STOP, Report, Training


def train_on_gpus(
    training: Training,
    ranks: int,
    *,
    gpu: bool = True,
    address: str | None = None,
    report: Report = lambda _: None,
) -> dict[str, Any]:
    """Train with ``ranks`` processes, each with a GPU of its own unless ``gpu`` is False; returns the best's facts.

    The folder of the run has to be one that all of them see. Without ``address`` Ray runs on this machine, unless
    ``RAY_ADDRESS`` names a cluster. A file ``stop`` in that folder ends the training after a step. ``report`` is called
    in this process, with what the first of them tells.

    Raises:
        UsageError: the batch cannot be shared out, or there are not as many GPUs.
        ForgeprepError: a process failed.
        Stopped: it was asked to stop; the state is kept.
    """
    if get_model(training.model).takes == "features":
        raise UsageError(f"--gpus {ranks}: {training.model} learns on one device")
    address = cluster_address(address)
    set_environment(local=address is None)
    import ray
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer
    from ray.util.queue import Queue

    if training.recipe.batch % ranks:
        raise UsageError(f"--batch {training.recipe.batch} cannot be shared out to {ranks} processes")
    (training.run / STOP).unlink(missing_ok=True)
    started = start_ray(None, address, agents=True)
    try:
        there = int(ray.cluster_resources().get("GPU", 0))
        if gpu and there < ranks:
            raise UsageError(f"--gpus {ranks}: Ray sees {there}; give --gpus {there}{', for the CPU' * (not there)}")
        told = Queue(actor_options={"num_cpus": 0})
        trainer = TorchTrainer(
            _loop,
            train_loop_config={"training": training, "gpu": gpu, "told": told},
            scaling_config=ScalingConfig(num_workers=ranks, use_gpu=gpu),
            run_config=RunConfig(name="ray", storage_path=str(training.run.resolve())),
        )
        with _passed_on(told, report):
            trainer.fit()
    except UsageError:
        raise
    except Exception as error:  # whatever a process raised, wrapped by Ray in errors of many kinds
        kind, text = _innermost(error)
        if kind == "Stopped":
            raise Stopped(text) from error
        if kind == "UsageError":
            raise UsageError(text) from error
        raise ForgeprepError(f"training with {ranks} processes failed: {text}") from error
    finally:
        end_ray(started)
        (training.run / STOP).unlink(missing_ok=True)
    facts = read_facts(training.run, "last") or {}
    return facts.get("best") or {}


@contextmanager
def _passed_on(told: Any, report: Report) -> Iterator[None]:
    """Call ``report``, in a thread, with all that is put into a queue of Ray's."""

    def pass_on() -> None:
        while (facts := told.get()) is not None:
            report(facts)

    thread = Thread(target=pass_on, name="forgeprep-told", daemon=True)
    thread.start()
    try:
        yield
    finally:
        told.put(None)
        thread.join(timeout=10)


def _loop(config: dict[str, Any]) -> None:
    from forgeprep.training.trainer import train

    asked, told = config["training"].run / STOP, config["told"]

    def report(facts: dict[str, Any]) -> None:
        told.put(facts)
        if asked.exists():
            raise Stopped(f"stopped at step {facts['step']}")

    train(config["training"], device="cuda" if config["gpu"] else "cpu", report=report)


def _innermost(error: BaseException) -> tuple[str, str]:
    """The error that began it, the last line of the longest chain: the kind, if it is ours, and the text."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line for line in str(error).splitlines() if line.strip()]
    text = lines[-1].strip() if lines else type(error).__name__
    ours = re.fullmatch(r"forgeprep\.errors\.(\w+): (.*)", text)
    return (ours[1], ours[2]) if ours else ("", text)
