"""Train on several GPUs, or processes, through Ray Train: the same loop in each, gradients averaged."""

from __future__ import annotations

from typing import Any

from forgeprep.errors import ForgeprepError, Stopped, UsageError
from forgeprep.pipeline.executors.ray_start import cluster_address, end_ray, make_folder, set_environment, start_ray
from forgeprep.training.checkpoint import read_facts
from forgeprep.training.models import get_model
from forgeprep.training.run_folder import STOP, Training


def train_on_gpus(training: Training, ranks: int, *, gpu: bool = True, address: str | None = None) -> dict[str, Any]:
    """Train with ``ranks`` processes, each with a GPU of its own unless ``gpu`` is False; returns the best's facts.

    The folder of the run has to be one that all of them see. Without ``address`` Ray runs on this machine, unless
    ``RAY_ADDRESS`` names a cluster. A file ``stop`` in that folder ends the training after a step.

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

    if training.recipe.batch % ranks:
        raise UsageError(f"--batch {training.recipe.batch} cannot be shared out to {ranks} processes")
    (training.run / STOP).unlink(missing_ok=True)
    started = start_ray(None, address, make_folder() if address is None else None)
    try:
        there = int(ray.cluster_resources().get("GPU", 0))  # type: ignore[no-untyped-call]
        if gpu and there < ranks:
            raise UsageError(f"--gpus {ranks}: Ray sees {there}")
        trainer = TorchTrainer(
            _loop,
            train_loop_config={"training": training, "gpu": gpu},
            scaling_config=ScalingConfig(num_workers=ranks, use_gpu=gpu),
            run_config=RunConfig(name="ray", storage_path=str(training.run.resolve())),
        )
        trainer.fit()
    except UsageError:
        raise
    except Exception as error:  # whatever a process raised, wrapped by Ray in errors of many kinds
        if (training.run / STOP).exists():
            raise Stopped(_innermost(error)) from error
        raise ForgeprepError(f"training with {ranks} processes failed: {_innermost(error)}") from error
    finally:
        end_ray(started)
        (training.run / STOP).unlink(missing_ok=True)
    facts = read_facts(training.run, "last") or {}
    return facts.get("best") or {}


def _loop(config: dict[str, Any]) -> None:
    from forgeprep.training.trainer import train

    asked = config["training"].run / STOP

    def report(facts: dict[str, Any]) -> None:
        if asked.exists():
            raise Stopped(f"stopped at step {facts['step']}")

    train(config["training"], device="cuda" if config["gpu"] else "cpu", report=report)


def _innermost(error: BaseException) -> str:
    """The text of the error that began it: the last line of the longest chain."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
